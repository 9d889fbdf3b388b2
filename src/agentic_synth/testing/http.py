"""A small HTTP/1.1 server side on asyncio and httptools.

Built here because no ASGI server lets an application reset a connection, cut a body, or keep silent and notice that
the client has left; those are what a misbehaving provider consists of. One call of *handle* a request, no task.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import cast

import httptools

__all__ = ["Connection", "Exchange"]

MAX_BODY_BYTES = 32 << 20
MAX_BATCH_BYTES = 272 << 20
_MAX_PIPELINED = 16
_LINGER_ZERO = struct.pack("ii", 1, 0)
_REASONS = {status.value: status.phrase for status in HTTPStatus} | {529: "Site Is Overloaded"}
_HEADS = {status: f"HTTP/1.1 {status} {phrase}\r\n".encode() for status, phrase in _REASONS.items()}
_OK_JSON = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "


def _nobody() -> None:
    """What happens when the client leaves, unless an exchange says otherwise."""


class Exchange:
    """One request and the reply to it; *left* is called if the client goes before the reply is finished."""

    __slots__ = ("_connection", "authorization", "body", "keep_alive", "left", "method", "path", "query", "resumed")

    def __init__(self, connection: Connection, method: str, path: str, body: bytes, authorization: str) -> None:
        self._connection = connection
        self.method = method
        self.path = path
        self.query = ""
        self.body = body
        self.authorization = authorization
        self.keep_alive = True
        self.left: Callable[[], None] = _nobody
        self.resumed: Callable[[], None] | None = None

    @property
    def origin(self) -> str:
        """The address at which the client has reached this server, as a URL without a path."""
        return self._connection.origin

    def reply(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send the whole reply, a JSON body, and be done."""
        if status == 200 and not headers and self.keep_alive:
            self._connection.write(b"%b%d\r\n\r\n%b" % (_OK_JSON, len(body), body))
        else:
            self._connection.write(self._head(status, "application/json", headers, len(body)) + body)
        self._connection.finished(self)

    def begin(
        self, headers: Mapping[str, str] | None = None, content_type: str = "text/event-stream; charset=utf-8"
    ) -> None:
        """Send the head of a streamed reply, of server-sent events unless *content_type* says otherwise."""
        self._connection.write(self._head(200, content_type, headers, None))

    def write(self, data: bytes) -> bool:
        """Send a chunk of a streamed reply; False asks to wait for *resumed*: the client reads too slowly."""
        return self._connection.write(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        """The streamed reply is complete."""
        self._connection.write(b"0\r\n\r\n")
        self._connection.finished(self)

    def cut_reply(self, body: bytes, share: float, headers: Mapping[str, str] | None = None) -> None:
        """Promise the whole *body*, send a *share* of it and hang up."""
        self._connection.write(
            self._head(200, "application/json", headers, len(body)) + body[: int(share * (len(body) - 1))]
        )
        self.hang_up()

    def hang_up(self) -> None:
        """Close the connection once what was written is sent; a reply that is not complete stays so."""
        self._connection.hang_up()

    def reset(self) -> None:
        """Reset the connection (RST)."""
        self._connection.reset()

    def _head(self, status: int, content_type: str, headers: Mapping[str, str] | None, length: int | None) -> bytes:
        lines = [f"content-type: {content_type}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        lines.append("transfer-encoding: chunked" if length is None else f"content-length: {length}")
        if not self.keep_alive:
            lines.append("connection: close")
        return _HEADS[status] + "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


class Connection(asyncio.Protocol):
    """One client: parses its requests and hands them to *handle*, one after the other."""

    def __init__(self, handle: Callable[[Exchange], None], connections: set[Connection]) -> None:
        self._handle = handle
        self._connections = connections
        self._parser = _Intake(self).parser
        self._current: Exchange | None = None
        self._waiting: deque[Exchange] = deque()
        self._full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio's protocol."""
        self._transport = cast("asyncio.Transport", transport)
        self.origin = _origin(transport)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of asyncio's protocol: tell the exchange under way that its client is gone."""
        self._connections.discard(self)
        self._waiting.clear()
        current, self._current = self._current, None
        if current is not None:
            current.left()

    def data_received(self, data: bytes) -> None:
        """Part of asyncio's protocol."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            raise error.__context__ or error from None  # a fault of this server, not of the client
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.refuse(400, "this is not HTTP/1.1")

    def pause_writing(self) -> None:
        """Part of asyncio's protocol: the client reads too slowly."""
        self._full = True

    def resume_writing(self) -> None:
        """Part of asyncio's protocol."""
        self._full = False
        if self._current is not None and self._current.resumed is not None:
            resumed, self._current.resumed = self._current.resumed, None
            resumed()

    def take(self, exchange: Exchange) -> None:
        """Begin with *exchange*, or keep it until the replies before it are sent."""
        if self._current is None:
            self._current = exchange
            self._handle(exchange)
        else:
            self._waiting.append(exchange)
            if len(self._waiting) >= _MAX_PIPELINED:
                self._transport.pause_reading()

    def refuse(self, status: int, message: str) -> None:
        """A request that cannot be read: say so and hang up."""
        if not self._transport.is_closing():
            body = b'{"error": {"message": "%b", "type": "invalid_request_error"}}' % message.encode()
            head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
            self._transport.write(_HEADS[status] + head + body)
            self._transport.close()

    def write(self, data: bytes) -> bool:
        """Send; False says that the buffer towards the client is full."""
        self._transport.write(data)
        return not self._full

    def finished(self, exchange: Exchange) -> None:
        """The reply to *exchange* is sent; the next request may have its turn."""
        self._current = None
        exchange.left = _nobody  # no cycle is left for the collector
        if not exchange.keep_alive:
            self._transport.close()
        elif self._waiting:
            self._transport.resume_reading()
            self._current = self._waiting.popleft()
            self._handle(self._current)

    def hang_up(self) -> None:
        """Close after what was written."""
        self._current = None
        self._transport.close()

    def abort(self) -> None:
        """Drop the connection, whatever is under way."""
        self._transport.abort()

    def reset(self) -> None:
        """Drop the connection with a reset, whatever is unsent."""
        self._current = None
        raw = self._transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self._transport.abort()


def _origin(transport: asyncio.BaseTransport) -> str:
    """This server's end of a connection as a URL."""
    host, port, *_ = transport.get_extra_info("sockname")
    name = f"[{host}]" if ":" in host else host
    return f"{'http' if transport.get_extra_info('ssl_object') is None else 'https'}://{name}:{port}"


class _Intake:
    """What the parser tells: collects one request after the other and gives each, whole, to the connection."""

    __slots__ = ("_authorization", "_body", "_body_bytes", "_connection", "_expects", "_limit", "_url", "parser")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.parser = httptools.HttpRequestParser(self)

    def on_message_begin(self) -> None:
        """Called by the parser."""
        self._url, self._authorization, self._expects = b"", "", False
        self._body: list[bytes] = []
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Called by the parser, perhaps piece by piece."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        length = len(name)
        if length == 13 and name.lower() == b"authorization":
            self._authorization = value.decode("latin-1")
        elif length in (9, 14) and name.lower() in (b"x-api-key", b"x-goog-api-key"):
            self._authorization = f"Bearer {value.decode('latin-1')}"
        elif length == 6 and name.lower() == b"expect":
            self._expects = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        self._limit = MAX_BATCH_BYTES if self._url.endswith((b"/files", b"/batches")) else MAX_BODY_BYTES
        if self._expects:
            self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Called by the parser, perhaps piece by piece; what is too much is not kept."""
        self._body_bytes += len(body)
        if self._body_bytes <= self._limit:
            self._body.append(body)
        else:
            self._body.clear()
            self._connection.refuse(413, "the body is too large")

    def on_message_complete(self) -> None:
        """Called by the parser: a whole request is here."""
        if self._body_bytes > self._limit:
            return
        url = self._url if self._url[:1] == b"/" else httptools.parse_url(self._url).path
        path, _, query = url.decode("latin-1").partition("?")
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        exchange = Exchange(self._connection, self.parser.get_method().decode(), path, body, self._authorization)
        exchange.query = query
        exchange.keep_alive = self.parser.should_keep_alive()
        self._connection.take(exchange)
