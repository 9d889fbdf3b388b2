"""Starting and stopping the simulated server: inside a test, as a command, or as a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import errno
import http.client
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import msgspec

from agentic_synth.errors import ConfigError
from agentic_synth.testing.answers import AnswerLaw
from agentic_synth.testing.behaviour import Behaviour

__all__ = ["SimulatorProcess", "run_server", "simulated_server"]

_BACKLOG = 2048
_STOP_SECONDS = 5.0


@asynccontextmanager
async def simulated_server(
    behaviour: Behaviour | None = None,
    *,
    seed: int = 0,
    host: str = "127.0.0.1",
    port: int = 0,
    answer: AnswerLaw | None = None,
    certificate: tuple[str, str] | None = None,
) -> AsyncIterator[str]:
    """Serve on this loop while the block runs; yields the base URL, which ends in ``/v1``.

    *port* 0 takes a free one. *certificate* is the files of a chain and its key and turns TLS on.

    Raises:
        ConfigError: the address cannot be listened on, the certificate cannot be read, or ``httptools`` is missing.
    """
    server = _server(behaviour, seed, answer)
    tls = _tls(certificate) if certificate is not None else None
    try:
        listener = await asyncio.get_running_loop().create_server(
            server.connection, host, port, ssl=tls, backlog=_BACKLOG
        )
    except OSError as error:
        taken = error.errno in (errno.EADDRINUSE, errno.EACCES)
        mend = "choose another --port, or 0 for any free one" if taken else "choose a --host of this machine"
        raise ConfigError(f"cannot listen on {host}:{port}: {_reason(error)}", mend=mend) from error
    try:
        name = f"[{host}]" if ":" in host else host
        yield f"{'https' if tls else 'http'}://{name}:{listener.sockets[0].getsockname()[1]}/v1"
    finally:
        listener.close()
        server.close()
        await asyncio.sleep(0)
        await listener.wait_closed()


def run_server(
    host: str = "127.0.0.1",
    port: int = 0,
    behaviour: Behaviour | None = None,
    seed: int = 0,
    certificate: tuple[str, str] | None = None,
) -> None:
    """Serve until Ctrl+C or SIGTERM; prints ``listening on URL`` to stderr once ready."""
    with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(host, port, behaviour, seed, certificate))


async def _serve(
    host: str, port: int, behaviour: Behaviour | None, seed: int, certificate: tuple[str, str] | None
) -> None:
    stop = asyncio.Event()
    with suppress(NotImplementedError):  # Windows: Ctrl+C arrives as KeyboardInterrupt instead
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with simulated_server(behaviour, seed=seed, host=host, port=port, certificate=certificate) as url:
        sys.stderr.write(f"listening on {url}\n")
        sys.stderr.flush()
        await stop.wait()


class SimulatorProcess:
    """The server as a process of its own, so that a benchmark or test does not share its loop: ``with`` starts it.

    :attr:`url` is the base URL. The process is stopped on leaving, and killed if it does not go.
    """

    def __init__(
        self,
        behaviour: Behaviour | None = None,
        *,
        seed: int = 0,
        port: int = 0,
        certificate: tuple[str, str] | None = None,
    ) -> None:
        self._arguments = [f"--seed={seed}", f"--port={port}"]
        self._arguments.append(f"--behaviour={msgspec.json.encode(behaviour or Behaviour()).decode()}")
        if certificate is not None:
            self._arguments += [f"--certificate={certificate[0]}", f"--key={certificate[1]}"]
        self._certificate = certificate
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def __enter__(self) -> SimulatorProcess:
        command = [sys.executable, "-m", "agentic_synth.testing.serve", *self._arguments]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)  # noqa: S603 - our own module
        assert process.stderr is not None
        line = process.stderr.readline()
        if not line.startswith("listening on "):
            reason = line + process.stderr.read()
            process.stderr.close()
            process.wait()
            raise ConfigError(f"the simulator did not start: {reason.strip()}")
        self._process = process
        self.url = line.removeprefix("listening on ").strip()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.communicate(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()

    @property
    def pid(self) -> int | None:
        """The process, for whoever measures it."""
        return self._process.pid if self._process is not None else None

    def statistics(self) -> dict[str, Any]:
        """The server's books (``GET /stats``)."""
        return self._ask("GET", "/stats")

    def advance(self, seconds: float) -> None:
        """Let time pass for the batches."""
        self._ask("POST", "/advance", {"seconds": seconds})

    def reset(self, **settings: str | int) -> None:
        """Begin the books anew; *settings* are text flags (and ``seed``) of another behaviour."""
        self._ask("POST", "/reset", settings)

    def _ask(self, method: str, path: str, body: Mapping[str, str | float] | None = None) -> dict[str, Any]:
        address = urlsplit(self.url)
        connection: http.client.HTTPConnection
        if self._certificate is not None:
            trust = ssl.create_default_context(cafile=self._certificate[0])
            connection = http.client.HTTPSConnection(address.netloc, context=trust)
        else:
            connection = http.client.HTTPConnection(address.netloc)
        try:
            connection.request(method, path, msgspec.json.encode(body) if body else None)
            answer = connection.getresponse()
            reply: dict[str, Any] = msgspec.json.decode(answer.read())
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            raise ConfigError(reply["error"]["message"])
        return reply


def _server(behaviour: Behaviour | None, seed: int, answer: AnswerLaw | None) -> Any:
    try:
        from agentic_synth.testing.server import SimulatedServer  # noqa: PLC0415 - needs an extra
    except ModuleNotFoundError as error:
        if error.name != "httptools":
            raise
        mend = 'install it with: pip install "agentic-synth[simulate]"'
        raise ConfigError("the simulated server needs the package httptools", mend=mend) from error
    return SimulatedServer(behaviour, seed=seed, answer=answer, loop=asyncio.get_running_loop())


def _reason(error: OSError) -> str:
    """What the system says; asyncio puts the address into it, once more."""
    number = error.errno or 0
    return (os.strerror(number) if number > 0 else error.strerror or str(error)).lower()


def _tls(certificate: tuple[str, str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(*certificate)
    except OSError as error:
        message = f"cannot read the certificate {certificate[0]} with the key {certificate[1]}: {error}"
        raise ConfigError(message, mend="give PEM files: the chain, and its private key") from error
    return context


def _loop_factory() -> Any:
    """uvloop's loop where there is one: half the cost of a request."""
    try:
        import uvloop  # noqa: PLC0415
    except ModuleNotFoundError:
        return None
    return uvloop.new_event_loop


def _main() -> None:
    parser = argparse.ArgumentParser(description="Serve a simulated provider.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--behaviour", default="{}", help="a Behaviour as JSON")
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    given = parser.parse_args()
    behaviour = msgspec.json.decode(given.behaviour, type=Behaviour)
    certificate = (given.certificate, given.key) if given.certificate else None
    try:
        run_server(given.host, given.port, behaviour, given.seed, certificate)
    except ConfigError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    _main()
