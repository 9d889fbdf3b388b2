"""The HTTP client on pyreqwest (reqwest and hyper below): HTTP/1.1 and HTTP/2, off the event loop's thread."""

from __future__ import annotations

import asyncio
import atexit
import functools
import threading
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Literal, NoReturn, cast
from urllib.parse import urlsplit

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import (
    BuilderError,
    DetailedPyreqwestError,
    NetworkError,
    PyreqwestError,
    RequestTimeoutError,
)
from pyreqwest.proxy import ProxyBuilder
from pyreqwest.request import RequestBuilder, StreamRequest
from pyreqwest.response import Response

from agentic_synth.config import UpstreamConfig
from agentic_synth.errors import AttemptTimeout, BadReply, ConfigError, ConnectFailed
from agentic_synth.transport.client import MEND_CONNECT, MEND_FIRST_TOKEN, MEND_TOTAL, Answer, HttpStatistics
from agentic_synth.transport.peer import HTTP1, Peer, discover
from agentic_synth.transport.pool import Lease, ShardedPool

__all__ = ["PyreqwestClient"]

# A larger buffer is filled before the reply is handed over at all: the first token would wait for the 64th KiB.
_READ_BUFFER_BYTES = 0
_LAST_CALL_S = 0.02
_STREAM_WINDOW_BYTES = 128 * 1024
_CONNECTION_WINDOW_BYTES = 2**31 - 1
_MAX_AGE_S = 600.0
_IDLE_S = 60.0


class PyreqwestClient:
    """Implements :class:`~agentic_synth.transport.client.HttpClient`.

    *headers* go with every request. Over HTTP/2 a stalled reader holds at most one stream window (128 KiB), and
    the connection's window is as wide as it can be, so that it stalls nobody beside it.

    A caller that is cancelled leaves at once, and from the head of the reply on its exchange ends upstream at once too.
    Before the head, pyreqwest detaches the native exchange instead of aborting it, so that it lives on until the head
    comes or ``Timeouts.total`` is over; it then holds no room of ours any more.
    """

    def __init__(self, config: UpstreamConfig, headers: Mapping[str, str] | None = None) -> None:
        self._config = config
        self._headers = dict(headers or {})
        self._certificate = _read_certificate(config.ca_file)
        self._pool: ShardedPool[Client] | None = None
        self._opening = asyncio.Lock()
        self._peer: Peer | None = None

    async def send(
        self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        lease = await (self._pool or await self._open_pool()).acquire()
        try:
            response = await _builder(lease.client, method, url, body, headers).build().send()
            # The native buffer is bytes-like; it is decoded as it is, without a copy.
            content = cast("bytes", await response.bytes())
            if (task := asyncio.current_task()) is not None and task.cancelling():
                # The native future drops a cancellation that meets a ready answer.
                raise asyncio.CancelledError
            return Answer(response.status, _headers_of(response), content, lease.age())
        except PyreqwestError as error:
            _raise(error, self._config)
        finally:
            lease.release()

    async def open(self, method: str, url: str, body: bytes | None = None) -> PyreqwestBody:
        timeout = self._config.timeouts.first_token
        lease = await (self._pool or await self._open_pool()).acquire()
        try:
            builder = _builder(lease.client, method, url, body, None)
            request = builder.streamed_read_buffer_limit(_READ_BUFFER_BYTES).build_streamed()
            async with asyncio.timeout(timeout) as scope:
                response = await request.__aenter__()
            return PyreqwestBody(request, response, lease, self._config)
        except (PyreqwestError, TimeoutError) as error:
            lease.release()
            if scope.expired() or not isinstance(error, PyreqwestError):
                raise AttemptTimeout(f"no reply within {timeout:g} s", mend=MEND_FIRST_TOKEN) from None
            _raise(error, self._config)
        except BaseException:
            lease.release()
            raise

    async def _open_pool(self) -> ShardedPool[Client]:
        async with self._opening:
            if self._pool is None:
                self._pool = await self._build_pool()
        return self._pool

    async def _build_pool(self) -> ShardedPool[Client]:
        config = self._config
        peer: Peer = HTTP1
        if config.proxy is None:
            peer = await discover(config.base_url, config.http, config.timeouts.connect)
        elif config.http == "2":
            peer = Peer("2", 100)
        self._peer = peer
        _await_native_thread_at_exit()
        multiplexed = peer.protocol == "2"
        return ShardedPool(
            lambda: self._build(peer.protocol),
            room=peer.max_streams if multiplexed else config.max_connections,
            max_shards=config.max_connections if multiplexed else 1,
            wait=config.timeouts.pool,
            max_age=_MAX_AGE_S,
        )

    def _build(self, protocol: Literal["1", "2"]) -> Client:
        config = self._config
        builder = (
            ClientBuilder()
            .default_headers(self._headers)
            .user_agent("agentic-synth")
            .follow_redirects(False)
            .referer(False)
            .timeout(timedelta(seconds=config.timeouts.total))
            .connect_timeout(timedelta(seconds=config.timeouts.connect))
            .pool_idle_timeout(timedelta(seconds=_IDLE_S))
            .tcp_nodelay(True)
        )
        if protocol == "2":
            builder = (
                builder.http2_prior_knowledge()
                .http2_initial_stream_window_size(_STREAM_WINDOW_BYTES)
                .http2_initial_connection_window_size(_CONNECTION_WINDOW_BYTES)
                .http2_keep_alive_interval(timedelta(seconds=60))
                .http2_keep_alive_timeout(timedelta(seconds=20))
            )
        else:
            builder = builder.http1_only().pool_max_idle_per_host(config.max_connections)
        if self._certificate is not None:
            builder = builder.add_root_certificate_pem(self._certificate)
        builder = builder.no_proxy() if config.proxy is None else builder.proxy(_proxy(config.proxy))
        return builder.build()

    def statistics(self) -> HttpStatistics:
        pool, peer = self._pool, self._peer
        if pool is None or peer is None:
            return HttpStatistics()
        return pool.statistics(f"HTTP/{peer.protocol}")

    async def aclose(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.aclose()


class PyreqwestBody:
    """Implements :class:`~agentic_synth.transport.client.Body`."""

    __slots__ = ("_closed", "_config", "_lease", "_reader", "_request", "headers", "started", "status")

    def __init__(
        self, request: StreamRequest, response: Response, lease: Lease[Client], config: UpstreamConfig
    ) -> None:
        self._request = request
        self._reader = response.body_reader
        self._lease = lease
        self._config = config
        self._closed = False
        self.started = lease.started
        self.status = response.status
        self.headers = _headers_of(response)

    async def read(self) -> bytes | None:
        try:
            piece = await self._reader.read_chunk()
        except PyreqwestError as error:
            _raise(error, self._config)
        return None if piece is None else bytes(piece)

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            await self._request.__aexit__(None, None, None)
        finally:
            self._lease.release()


@functools.cache
def _await_native_thread_at_exit() -> None:
    """Let the native thread leave its last call into Python before the interpreter goes, or the process aborts."""
    atexit.register(threading.Event().wait, _LAST_CALL_S)


def _builder(
    client: Client, method: str, url: str, body: bytes | None, headers: Mapping[str, str] | None
) -> RequestBuilder:
    builder = client.request(method, url)
    if body is not None:
        builder = builder.body_bytes(body)
    return builder.headers(headers) if headers else builder


def _headers_of(response: Response) -> dict[str, str]:
    return dict(response.headers.items())


def _read_certificate(ca_file: str | None) -> bytes | None:
    if ca_file is None:
        return None
    try:
        return Path(ca_file).read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read the CA file {ca_file}: {error.strerror}", mend="check ca_file") from None


def _proxy(url: str) -> ProxyBuilder:
    try:
        return ProxyBuilder.all(url)
    except (PyreqwestError, ValueError):
        raise ConfigError("the proxy's URL cannot be read", mend="write proxy as http://host:port") from None


def _raise(error: PyreqwestError, config: UpstreamConfig) -> NoReturn:
    """Say in our classes what went wrong; URLs are left out, for they may carry credentials."""
    host, timeouts = urlsplit(config.base_url).hostname, config.timeouts
    causes = _causes(error)
    reason = causes[-1]
    if isinstance(error, RequestTimeoutError) and _CONNECT in causes:
        raise ConnectFailed(f"no connection to {host} within {timeouts.connect:g} s", mend=MEND_CONNECT) from None
    if isinstance(error, RequestTimeoutError):
        raise AttemptTimeout(f"no complete answer within {timeouts.total:g} s", mend=MEND_TOTAL) from None
    if isinstance(error, BuilderError):
        raise ConfigError(f"the request cannot be built: {reason}", mend="check base_url and headers") from None
    if _CONNECT in causes:
        raise ConnectFailed(f"cannot connect to {host}: {reason}", mend=MEND_CONNECT) from None
    if isinstance(error, NetworkError) or _BODY_BROKE in causes:
        raise ConnectFailed(f"the connection to {host} broke: {reason}") from None
    raise BadReply(f"the reply of {host} cannot be read: {reason}") from None


_CONNECT = "client error (Connect)"
_BODY_BROKE = "error reading a body from connection"


def _causes(error: PyreqwestError) -> list[str]:
    """The chain of reasons, outermost first; never empty."""
    causes = error.details["causes"] if isinstance(error, DetailedPyreqwestError) else None
    return [cause["message"] for cause in causes or ()] or [error.message]
