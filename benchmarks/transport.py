"""What the transport costs: CPU a request, added latency, paced streams, sockets over HTTP/2.

The server runs in a process of its own and answers from memory; everything else of the machine's time is ours. Run
``python -m benchmarks.transport [suite ...]``; the figures go to stdout as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import random
import resource
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias, cast

import aiohttp
import msgspec
import pyreqwest.client
import trustme
import uvloop

from agentic_synth.config import UpstreamConfig
from agentic_synth.transport.aiohttp_client import AiohttpClient
from agentic_synth.transport.client import HttpClient
from agentic_synth.transport.pycurl_client import PycurlClient
from agentic_synth.transport.sse import SseParser
from agentic_synth.transport.upstream import HttpUpstream
from agentic_synth.types import Call, Message, Request

Once: TypeAlias = Callable[[], Awaitable[object]]
Figures: TypeAlias = dict[str, Any]
Clients: TypeAlias = dict[str, Callable[[UpstreamConfig, Mapping[str, str]], HttpClient]]

ANSWER = {
    "id": "chatcmpl-0",
    "object": "chat.completion",
    "created": 1_760_000_000,
    "model": "bench-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "word " * 100}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 24, "completion_tokens": 100, "total_tokens": 124},
}
REQUEST = Request(
    model="openai/bench-1", messages=(Message("user", "Write a function to calculate fibonacci numbers"),)
)
CALL = Call(request=REQUEST, model="bench-1")
LIMITS = (
    b"x-ratelimit-limit-requests: 5000\r\nx-ratelimit-remaining-requests: 4999\r\nx-ratelimit-reset-requests: 12ms\r\n"
)


class ServerProtocol(asyncio.Protocol):
    """Answers every POST from memory; a path that ends in ``/stream`` gets its tokens paced."""

    def __init__(self) -> None:
        body = json.dumps(ANSWER).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n%scontent-length: %d\r\n\r\n"
        self._answer = head % (LIMITS, len(body)) + body
        self._pending = b""
        self._tasks: set[asyncio.Task[None]] = set()
        self._writable = asyncio.Event()
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, error: Exception | None) -> None:
        for task in self._tasks:
            task.cancel()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._pending += data
        while (end := self._pending.find(b"\r\n\r\n")) >= 0:
            head = self._pending[:end].lower()
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            if len(self._pending) < end + 4 + length:
                return
            self._pending = self._pending[end + 4 + length :]
            if b"/paced/" in head or b"/flood/" in head:
                pace = self._paced() if b"/paced/" in head else self._flood()
                task = asyncio.get_running_loop().create_task(pace)
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            else:
                self._transport.write(self._answer)

    async def _paced(self, tokens: int = 40, pause: float = 0.025) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        self._transport.write(head)
        for index in range(tokens):
            await asyncio.sleep(pause)
            finish = "stop" if index == tokens - 1 else None
            chunk = {"choices": [{"index": 0, "delta": {"content": " word"}, "finish_reason": finish}], "model": "b"}
            event = b"data: " + json.dumps(chunk).encode() + b"\n\n"
            self._transport.write(b"%x\r\n%s\r\n" % (len(event), event))
        self._transport.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")

    async def _flood(self) -> None:
        """As many tokens as the reader takes, for ever."""
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        event = b"data: " + json.dumps({"choices": [{"delta": {"content": "x" * 1_000}}]}).encode() + b"\n\n"
        while True:
            self._transport.write(event)
            await self._writable.wait()


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The same answer as an ASGI application, for the HTTP/2 server."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    if scope["path"].startswith("/held/"):
        await asyncio.sleep(1.0)
    body = json.dumps(ANSWER).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def serve(certificate: str) -> None:
    """The server's process: HTTP/1.1 over TLS on a free port, which it prints."""

    async def main() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server = await asyncio.get_running_loop().create_server(
            ServerProtocol, "127.0.0.1", 0, ssl=context, backlog=4096
        )
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    uvloop.run(main())


@contextmanager
def running(certificate: Path, *, http2: bool = False) -> Iterator[int]:
    """A server in another process; its port."""
    if http2:
        port = 18_443
        command = ["-m", "granian", "--interface", "asgi", "--http", "2", "--port", str(port), "--log-level", "error"]
        command += ["--ssl-certificate", str(certificate), "--ssl-keyfile", str(certificate.with_suffix(".key"))]
        command += ["--no-ws", "benchmarks.transport:app"]
    else:
        command = [__file__, "--serve", str(certificate)]
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True)
    try:
        if http2:
            wait_for_port(port)
        else:
            assert process.stdout is not None
            port = int(process.stdout.readline())
        yield port
    finally:
        process.terminate()
        process.wait()


def wait_for_port(port: int) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on {port}")


def config_of(port: int, authority: Path, **changes: Any) -> UpstreamConfig:
    config = UpstreamConfig(
        reference="openai/bench-1",
        name="openai/bench-1",
        model="bench-1",
        wire="openai",
        base_url=f"https://127.0.0.1:{port}/v1",
        ca_file=str(authority),
        http="1",
    )
    return msgspec.structs.replace(config, **changes)


async def saturate(once: Once, in_flight: int, total: int) -> Figures:
    """CPU of this process, all threads, for *total* requests kept *in_flight* at once."""
    left = iter(range(total))

    async def worker() -> None:
        for _ in left:
            await once()

    await asyncio.gather(*(once() for _ in range(in_flight)))
    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"cpu_us": round(cpu / total * 1e6, 1), "requests_per_s": round(total / wall)}


async def candidates(port: int, authority: Path) -> AsyncIterator[tuple[str, Once]]:
    """Every client with the same work: encode the request, send it, decode the answer."""
    config = config_of(port, authority)
    url = f"{config.base_url}/chat/completions"
    body = {"model": CALL.model, "messages": REQUEST.messages}

    builder = pyreqwest.client.ClientBuilder().add_root_certificate_pem(authority.read_bytes())
    async with builder.build() as native:

        async def bare_pyreqwest() -> object:
            request = native.post(url).body_bytes(msgspec.json.encode(body)).build()
            return msgspec.json.decode(await (await request.send()).bytes())

        yield "bare pyreqwest", bare_pyreqwest

    context = ssl.create_default_context(cafile=str(authority))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, ssl=context)) as session:

        async def bare_aiohttp() -> object:
            async with session.post(url, data=msgspec.json.encode(body)) as response:
                return msgspec.json.decode(await response.read())

        yield "bare aiohttp", bare_aiohttp

    clients: Clients = {"ours on pycurl": PycurlClient, "ours on aiohttp": AiohttpClient}
    for name, client in clients.items():
        upstream = HttpUpstream(config, client)
        yield name, lambda upstream=upstream: upstream(CALL)  # type: ignore[misc]
        await upstream.aclose()


async def suite_cpu(certificate: Path, authority: Path) -> Figures:
    """CPU a request at 50 and 500 in flight over TLS, the candidates interleaved three times, the best kept."""
    best: Figures = {}
    with running(certificate) as port:
        for _ in range(3):
            for in_flight in (50, 500):
                async for name, once in candidates(port, authority):
                    figures = await saturate(once, in_flight, 4_000)
                    key = f"{name}, {in_flight} in flight"
                    if key not in best or figures["cpu_us"] < best[key]["cpu_us"]:
                        best[key] = figures
    return best


async def suite_latency(certificate: Path, authority: Path) -> Figures:
    """Latency at 1,000 requests/s paced, which on loopback is what we and the server's process add."""
    with running(certificate) as port:
        upstream = HttpUpstream(config_of(port, authority))
        await asyncio.gather(*(upstream(CALL) for _ in range(50)))
        seconds: list[float] = []

        async def timed() -> None:
            begun = time.perf_counter()
            await upstream(CALL)
            seconds.append(time.perf_counter() - begun)

        loop, total = asyncio.get_running_loop(), 5_000
        begun = loop.time()
        async with asyncio.TaskGroup() as group:
            for index in range(total):
                await asyncio.sleep(begun + index / 1_000 - loop.time())
                group.create_task(timed())
        await upstream.aclose()
    seconds.sort()
    at = {name: round(seconds[int(share * total)] * 1e3, 3) for name, share in (("p50", 0.5), ("p99", 0.99))}
    return {f"{name}_ms": value for name, value in at.items()} | {"max_ms": round(seconds[-1] * 1e3, 3)}


async def suite_streams(certificate: Path, authority: Path) -> Figures:
    """512 streams of 40 tokens, one each 25 ms, at once: the longest silence a consumer saw."""
    with running(certificate) as port:
        config = config_of(port, authority)
        upstream = HttpUpstream(msgspec.structs.replace(config, base_url=f"https://127.0.0.1:{port}/paced"))
        call = Call(request=msgspec.structs.replace(REQUEST, stream=True), model="bench-1")
        gaps: list[float] = []

        async def consume() -> int:
            body = (await upstream(call)).response.body
            assert body is not None
            count, last = 0, time.perf_counter()
            async for _ in body:
                now = time.perf_counter()
                gaps.append(now - last)
                count, last = count + 1, now
            return count

        await asyncio.gather(*(consume() for _ in range(512)))  # opens the connections
        gaps.clear()
        cpu, wall = time.process_time(), time.perf_counter()
        deltas = sum(await asyncio.gather(*(consume() for _ in range(512))))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        statistics = upstream.statistics()
        await upstream.aclose()
    gaps.sort()
    return {
        "deltas": deltas,
        "cpu_us_a_delta": round(cpu / deltas * 1e6, 1),
        "wall_s": round(wall, 2),
        "gap_p99_ms": round(gaps[int(len(gaps) * 0.99)] * 1e3, 1),
        "gap_max_ms": round(gaps[-1] * 1e3, 1),
        "left_in_flight": statistics.in_flight,
    }


def sockets_to(port: int) -> int:
    """Established connections to *port*, as the kernel lists them (Linux)."""
    rows = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    return sum(1 for row in rows if row[3] == "01" and int(row[2].partition(":")[2], 16) == port)


async def suite_http2(certificate: Path, authority: Path) -> Figures:
    """1,000 requests in flight for a second each: how many sockets; then CPU a request at 50 and 500 in flight."""
    with running(certificate, http2=True) as port:
        config = config_of(port, authority, http="auto")
        held = HttpUpstream(msgspec.structs.replace(config, base_url=f"https://127.0.0.1:{port}/held"))
        async with asyncio.TaskGroup() as group:
            waiting = [group.create_task(held(CALL)) for _ in range(1_000)]
            await asyncio.sleep(0.8)
            sockets = sockets_to(port)
        statistics = held.statistics()
        await held.aclose()
        upstream = HttpUpstream(config)
        cpu = {str(n): await saturate(lambda: upstream(CALL), n, 4_000) for n in (50, 500)}
        await upstream.aclose()
    answered = sum(1 for task in waiting if task.result().response.text)
    return {"in_flight": 1_000, "answered": answered, "sockets": sockets, "protocol": statistics.protocol, "cpu": cpu}


async def suite_cancels(certificate: Path, authority: Path) -> Figures:
    """100,000 calls, plain and streamed, cancelled at random moments: what is left of them."""
    with running(certificate) as port:
        config = config_of(port, authority, max_connections=100)
        upstream = HttpUpstream(config)
        await upstream(CALL)
        rng, total, finished = random.Random(0), 100_000, 0
        streamed = Call(request=msgspec.structs.replace(REQUEST, stream=True), model="bench-1")

        async def once(call: Call) -> None:
            nonlocal finished
            body = (await upstream(call)).response.body
            if body is not None:
                await body.aclose()
            finished += 1

        loop, sizes = asyncio.get_running_loop(), []
        for turn in range(total // 500):
            tasks = [asyncio.ensure_future(once(rng.choice((CALL, streamed)))) for _ in range(500)]
            for task in tasks:
                # A cut connection costs a handshake, so that the moments are spread over three sizes of them.
                loop.call_later(rng.random() * rng.choice((0.003, 0.03, 0.3)), task.cancel)
            await asyncio.gather(*tasks, return_exceptions=True)
            if turn % 20 == 0:
                sizes.append(resident_kib() // 1024)
        statistics = upstream.statistics()
        reply = await upstream(CALL)
        sockets = sockets_to(port)
        await upstream.aclose()
    left = {"in_flight": statistics.in_flight, "waiting": statistics.waiting, "tasks": len(asyncio.all_tasks()) - 1}
    figures = {"calls": total, "finished": finished, "left": left, "sockets": sockets}
    return figures | {"alive": bool(reply.response.text), "mib": sizes}


def resident_kib() -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1])


async def suite_stalled(certificate: Path, authority: Path) -> Figures:
    """Memory that a stream holds while its consumer has stopped reading and its sender has not stopped sending."""
    with running(certificate) as port:
        upstream = HttpUpstream(config_of(port, authority, base_url=f"https://127.0.0.1:{port}/flood"))
        call = Call(request=msgspec.structs.replace(REQUEST, stream=True), model="bench-1")
        bodies = [(await upstream(call)).response.body for _ in range(10)]
        before, count = resident_kib(), 200
        bodies += [(await upstream(call)).response.body for _ in range(count)]
        await asyncio.sleep(3)
        held = resident_kib() - before
        for body in bodies:
            assert body is not None
            await body.aclose()
        await upstream.aclose()
    return {"streams": count, "kib_a_stream": round(held / count, 1)}


IDLE = """
import asyncio, re, sys
from agentic_synth.config import UpstreamConfig
from agentic_synth.transport.upstream import HttpUpstream
from agentic_synth.types import Call, Message, Request

async def main():
    base_url = f"https://127.0.0.1:{sys.argv[1]}/v1"
    config = UpstreamConfig(reference="m", name="m", model="m", wire="openai", base_url=base_url, ca_file=sys.argv[2])
    upstream = HttpUpstream(config)
    await upstream(Call(request=Request(model="m", messages=(Message("user", "hi"),)), model="m"))
    print(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1])
    await upstream.aclose()

asyncio.run(main())
"""


async def suite_idle(certificate: Path, authority: Path) -> Figures:
    """Resident memory of a process that has one client open and has sent one request."""
    with running(certificate) as port:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", IDLE, str(port), str(authority)), stdout=subprocess.PIPE
        )
        said, _ = await child.communicate()
    return {"mib": round(int(said) / 1024, 1)}


async def suite_sse(certificate: Path, authority: Path) -> Figures:
    """Parse time (CPU, medians) of 1 and 16 MiB cut into pieces of every size; linear means a ratio of about 16.

    Beside one event of that size stands what it costs merely to cut and join the same bytes.
    """
    event = b'data: {"choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}\n\n'
    figures: Figures = {}
    for size in (1, 16, 256, 4_096, 65_536):
        scale = 64 if size == 1 else 1  # one byte at a time is slow in any Python
        totals = [mebibytes * 1024 * 1024 // scale for mebibytes in (1, 16)]
        inputs = {
            "small events": (parse, [event * (total // len(event)) for total in totals]),
            "one event": (parse, [b"data: " + b"x" * total + b"\n\n" for total in totals]),
            "joined": (join, [b"data: " + b"x" * total + b"\n\n" for total in totals]),
        }
        for label, (work, (small, large)) in inputs.items():
            times = [(cpu_seconds(work, small, size), cpu_seconds(work, large, size)) for _ in range(5)]
            before, after = (statistics.median(column) for column in zip(*times, strict=True))
            figures[f"{label}, pieces of {size}"] = {
                "mib_per_s": round(16 / scale / after, 1),
                "t16_over_t1": round(after / before, 1),
            }
    return figures


def cpu_seconds(work: Callable[[bytes, int], object], data: bytes, size: int) -> float:
    begun = time.thread_time()
    work(data, size)
    return time.thread_time() - begun


def parse(data: bytes, size: int) -> None:
    parser = SseParser(max_event_bytes=1 << 30)
    for start in range(0, len(data), size):
        parser.feed(data[start : start + size])


def join(data: bytes, size: int) -> bytes:
    return b"".join([data[start : start + size] for start in range(0, len(data), size)])


SUITES: dict[str, Callable[[Path, Path], Awaitable[Figures]]] = {
    "cpu": suite_cpu,
    "latency": suite_latency,
    "streams": suite_streams,
    "http2": suite_http2,
    "cancels": suite_cancels,
    "stalled": suite_stalled,
    "idle": suite_idle,
    "sse": suite_sse,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suites", nargs="*", help=f"of {', '.join(SUITES)}; all by default")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    with tempfile.TemporaryDirectory() as folder:
        certificate, authority = Path(folder) / "server.pem", Path(folder) / "ca.pem"
        ca = trustme.CA()
        issued = ca.issue_cert("127.0.0.1", "localhost")
        issued.private_key_and_cert_chain_pem.write_to_path(str(certificate))
        issued.private_key_pem.write_to_path(str(certificate.with_suffix(".key")))
        ca.cert_pem.write_to_path(str(authority))
        figures: Figures = {"python": platform.python_version(), "machine": platform.machine()}
        for name in options.suites or SUITES:
            figures[name] = uvloop.run(SUITES[name](certificate, authority))  # type: ignore[arg-type]
        figures["peak_memory_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
