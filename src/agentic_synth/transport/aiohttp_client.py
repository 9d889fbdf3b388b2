"""The HTTP client on aiohttp: HTTP/1.1 only, pure asyncio, kept by a team; the second choice, and the yardstick."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import NoReturn
from urllib.parse import urlsplit

import aiohttp

from agentic_synth.config import UpstreamConfig
from agentic_synth.errors import AttemptTimeout, BadReply, ConfigError, ConnectFailed
from agentic_synth.transport.client import (
    MAX_ANSWER_BYTES,
    MEND_CONNECT,
    MEND_FIRST_TOKEN,
    MEND_TOTAL,
    Answer,
    Content,
    HttpStatistics,
    too_long,
)
from agentic_synth.transport.pool import Lease, ShardedPool

__all__ = ["AiohttpClient"]

_READ_BUFFER_BYTES = 64 * 1024
_MAX_AGE_S = 600.0
_IDLE_S = 60.0


class AiohttpClient:
    """Implements :class:`~agentic_synth.transport.client.HttpClient`; *headers* go with every request."""

    def __init__(self, config: UpstreamConfig, headers: Mapping[str, str] | None = None) -> None:
        if config.http == "2":
            raise ConfigError("aiohttp speaks HTTP/1.1 only", mend="use http = auto or 1, or the default client")
        self._config = config
        self._headers = dict(headers or {})
        self._tls = _tls_context(config)
        self._timeout = aiohttp.ClientTimeout(total=config.timeouts.total, sock_connect=config.timeouts.connect)
        self._pool: ShardedPool[aiohttp.ClientSession] | None = None

    async def send(
        self, method: str, url: str, body: Content | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        lease = await self._lease()
        try:
            async with self._request(lease, method, url, body, headers) as response:
                content = await _read(response)
            return Answer(response.status, _headers_of(response), content, lease.age())
        except (aiohttp.ClientError, OSError, ValueError) as error:
            _raise(error, self._config)
        finally:
            lease.release()

    async def open(self, method: str, url: str, body: bytes | None = None) -> AiohttpBody:
        timeout = self._config.timeouts.first_token
        lease = await self._lease()
        try:
            async with asyncio.timeout(timeout) as scope:
                response = await self._request(lease, method, url, body, None)
            return AiohttpBody(response, lease, self._config)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            lease.release()
            if scope.expired():
                raise AttemptTimeout(f"no reply within {timeout:g} s", mend=MEND_FIRST_TOKEN) from None
            _raise(error, self._config)
        except BaseException:
            lease.release()
            raise

    async def _lease(self) -> Lease[aiohttp.ClientSession]:
        if self._pool is None:
            limit, timeouts = self._config.max_connections, self._config.timeouts
            self._pool = ShardedPool(self._build, room=limit, max_shards=1, wait=timeouts.pool, max_age=_MAX_AGE_S)
        return await self._pool.acquire()

    def _request(
        self,
        lease: Lease[aiohttp.ClientSession],
        method: str,
        url: str,
        body: Content | None,
        headers: Mapping[str, str] | None,
    ) -> aiohttp.client._RequestContextManager:
        proxy = self._config.proxy
        return lease.client.request(method, url, data=body, headers=headers, allow_redirects=False, proxy=proxy)

    def _build(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=0, ssl=self._tls, keepalive_timeout=_IDLE_S)
        return aiohttp.ClientSession(
            connector=connector,
            headers={"user-agent": "agentic-synth", **self._headers},
            timeout=self._timeout,
            read_bufsize=_READ_BUFFER_BYTES,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    def statistics(self) -> HttpStatistics:
        return HttpStatistics() if self._pool is None else self._pool.statistics("HTTP/1")

    async def aclose(self) -> None:
        if self._pool is not None:
            await self._pool.aclose()


class AiohttpBody:
    """Implements :class:`~agentic_synth.transport.client.Body`."""

    __slots__ = ("_config", "_ended", "_lease", "_response", "headers", "started", "status")

    def __init__(
        self, response: aiohttp.ClientResponse, lease: Lease[aiohttp.ClientSession], config: UpstreamConfig
    ) -> None:
        self._response = response
        self._lease = lease
        self._config = config
        self._ended = False
        self.started = lease.started
        self.status = response.status
        self.headers = _headers_of(response)

    async def read(self) -> bytes | None:
        try:
            piece = await self._response.content.readany()
        except (aiohttp.ClientError, OSError, ValueError) as error:
            _raise(error, self._config)
        self._ended = not piece
        return piece or None

    async def aclose(self) -> None:
        if self._ended:
            self._response.release()
        else:
            self._response.close()
        self._lease.release()


async def _read(response: aiohttp.ClientResponse) -> bytes:
    if (response.content_length or 0) > MAX_ANSWER_BYTES:
        raise too_long(response.url.host)
    pieces: list[bytes] = []
    size = 0
    while piece := await response.content.readany():
        pieces.append(piece)
        size += len(piece)
        if size > MAX_ANSWER_BYTES:
            raise too_long(response.url.host)
    return b"".join(pieces)


def _headers_of(response: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def _tls_context(config: UpstreamConfig) -> ssl.SSLContext | bool:
    if config.ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=config.ca_file)
    except OSError as error:
        reason = error.strerror or "no certificate in it"
        raise ConfigError(f"cannot read the CA file {config.ca_file}: {reason}", mend="check ca_file") from None


def _raise(error: Exception, config: UpstreamConfig) -> NoReturn:
    """Say in our classes what went wrong; URLs are left out, for they may carry credentials."""
    host, timeouts = urlsplit(config.base_url).hostname, config.timeouts
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        raise ConnectFailed(f"no connection to {host} within {timeouts.connect:g} s", mend=MEND_CONNECT) from None
    if isinstance(error, TimeoutError):
        raise AttemptTimeout(f"no complete answer within {timeouts.total:g} s", mend=MEND_TOTAL) from None
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        raise ConnectFailed(f"cannot connect to {host}: {error.certificate_error}", mend=MEND_CONNECT) from None
    if isinstance(error, ValueError):  # aiohttp's own InvalidURL is one
        raise ConfigError("the request cannot be built from base_url and headers", mend="check base_url") from None
    if isinstance(error, aiohttp.ClientConnectorError):
        reason = error.os_error.strerror or str(error.os_error)
        raise ConnectFailed(f"cannot connect to {host}: {reason}", mend=MEND_CONNECT) from None
    if isinstance(error, aiohttp.ClientResponseError):
        raise BadReply(f"the reply of {host} cannot be read: {error.message}") from None
    reason = str(error) or type(error).__name__
    raise ConnectFailed(f"the connection to {host} broke: {reason}") from None
