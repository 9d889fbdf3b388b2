"""Real servers on loopback whose every byte a test decides."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, cast

import msgspec

from agentic_synth.config import Secret, Timeouts, UpstreamConfig
from agentic_synth.types import Call, Message, Request

ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_760_000_000,
    "model": "test-1-0613",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "four"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10},
}
CHUNKS = [
    {"model": "test-1-0613", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
    {"choices": [{"index": 0, "delta": {"content": "fo"}, "finish_reason": None}]},
    {"choices": [{"index": 0, "delta": {"content": "ur"}, "finish_reason": None}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}},
]
KEY = "sk-planted-0123456789"


class Exchange:
    """One request as it came, and the means to answer it byte by byte."""

    def __init__(self, head: bytes, body: bytes, connection: Connection) -> None:
        first, *rest = head.decode("latin-1").split("\r\n")
        self.method, self.path, _ = first.split(" ", 2)
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest if line)}
        self.body = body
        self.connection = connection

    @property
    def asked(self) -> Any:
        return json.loads(self.body)

    async def raw(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.connection.transport.write(piece)
            await self.connection.writable.wait()

    async def answer(self, value: Any, status: int = 200, **headers: str) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        headers.setdefault("content_type", "application/json")
        lines = "".join(f"{name.replace('_', '-')}: {text}\r\n" for name, text in headers.items())
        await self.raw(f"HTTP/1.1 {status} X\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body)

    async def begin_stream(self) -> None:
        await self.raw(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")

    async def piece(self, data: bytes) -> None:
        await self.raw(b"%x\r\n%s\r\n" % (len(data), data))

    async def event(self, value: Any) -> None:
        await self.piece(b"data: " + json.dumps(value).encode() + b"\n\n")

    async def stream(self, events: Iterable[Any], *, end: bytes = b"data: [DONE]\n\n") -> None:
        await self.begin_stream()
        for value in events:
            await self.event(value)
        if end:
            await self.piece(end)
        await self.raw(b"0\r\n\r\n")

    async def silence(self) -> None:
        """Say nothing more, until the client leaves."""
        await asyncio.Event().wait()

    def close(self) -> None:
        self.connection.transport.close()

    def reset(self) -> None:
        """Close with RST, as a crashed peer does."""
        self.connection.transport.abort()


Script: TypeAlias = Callable[[Exchange], Awaitable[None]]


class Connection(asyncio.Protocol):
    """One client; its requests are answered in turn, and a script stops when the client leaves."""

    def __init__(self, loopback: Loopback) -> None:
        self._loopback = loopback
        self._pending = b""
        self._script: asyncio.Task[None] | None = None
        self.writable = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.writable.set()
        self._loopback.connections += 1
        self._loopback.live.add(self)

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        self._pending += data
        self._next()

    def _next(self) -> None:
        end = self._pending.find(b"\r\n\r\n")
        if end < 0 or self._script is not None:
            return
        length = int(self._pending[:end].lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        if len(self._pending) < end + 4 + length:
            return
        exchange = Exchange(self._pending[:end], self._pending[end + 4 : end + 4 + length], self)
        self._pending = self._pending[end + 4 + length :]
        self._loopback.exchanges.append(exchange)
        self._script = asyncio.ensure_future(self._answer(exchange))

    async def _answer(self, exchange: Exchange) -> None:
        await self._loopback.script(exchange)
        self._script = None
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if self._script is not None:
            self._script.cancel()
        self._loopback.live.discard(self)
        if not self._loopback.live:
            self._loopback.empty.set()


class Loopback:
    """What the server saw."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.url = ""
        self.connections = 0
        self.live: set[Connection] = set()
        self.empty = asyncio.Event()
        self.exchanges: list[Exchange] = []

    async def all_closed(self) -> None:
        """Wait until the client has closed every connection."""
        while self.live:
            self.empty.clear()
            await self.empty.wait()


@asynccontextmanager
async def serving(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[Loopback]:
    """A server that answers each request by *script*, as long as the client stays."""
    loopback = Loopback(script)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(loopback), "127.0.0.1", 0, ssl=tls, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    loopback.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/v1"
    try:
        yield loopback
    finally:
        server.close()
        for connection in list(loopback.live):
            connection.transport.abort()
        await loopback.all_closed()


def config_of(base_url: str, **changes: Any) -> UpstreamConfig:
    config = UpstreamConfig(
        reference="openai/test-1",
        name="openai/test-1",
        model="test-1",
        wire="openai",
        base_url=base_url,
        api_key=Secret(KEY),
        key_variable="OPENAI_API_KEY",
        timeouts=Timeouts(pool=2, connect=2, first_token=5, inter_token=5, total=10),
    )
    return msgspec.structs.replace(config, **changes)


def call_of(text: str = "What is two and two?", **fields: Any) -> Call:
    request = Request(model="openai/test-1", messages=(Message("user", text),), **fields)
    return Call(request=request, model="test-1")
