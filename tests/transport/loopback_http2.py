"""An HTTP/2 server on loopback whose settings, refusals and GOAWAY a test decides."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias, cast

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

Script: TypeAlias = Callable[["Stream"], Awaitable[None]]


class Stream:
    """One request, and the means to answer it."""

    def __init__(self, connection: Connection, number: int) -> None:
        self.connection = connection
        self.number = number
        self.cancelled = asyncio.Event()
        self.window = asyncio.Event()

    def begin(self, content_type: str = "application/json") -> None:
        headers = [(":status", "200"), ("content-type", content_type)]
        self.connection.h2.send_headers(self.number, headers)
        self.connection.flush()

    async def send(self, data: bytes, *, end: bool = False) -> None:
        """Send all of *data*, waiting for flow control."""
        core = self.connection.h2
        while True:
            room = min(core.local_flow_control_window(self.number), core.max_outbound_frame_size)
            if room >= len(data):
                break
            if room > 0:
                core.send_data(self.number, data[:room])
                self.connection.flush()
                data = data[room:]
                continue
            self.window.clear()
            await self.window.wait()
        core.send_data(self.number, data, end_stream=end)
        self.connection.flush()

    async def answer(self, body: bytes) -> None:
        self.begin()
        await self.send(body, end=True)

    def refuse(self) -> None:
        """REFUSED_STREAM: not a byte of it was looked at, so it may be sent again."""
        self.connection.h2.reset_stream(self.number, h2.errors.ErrorCodes.REFUSED_STREAM)
        self.connection.flush()

    def go_away(self) -> None:
        """GOAWAY after the stream before this one; this one was not looked at."""
        self.connection.h2.close_connection(last_stream_id=max(0, self.number - 2))
        self.connection.flush()
        self.connection.transport.close()


class Connection(asyncio.Protocol):
    def __init__(self, server: Http2Loopback) -> None:
        self._server = server
        self._streams: dict[int, Stream] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self.most_streams = 0
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._server.connections.append(self)
        limit: dict[h2.settings.SettingCodes, int] = {
            h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: self._server.max_streams
        }
        self.h2.local_settings = h2.settings.Settings(client=False, initial_values=limit)
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        self.transport.write(self.h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        try:
            events = self.h2.receive_data(data)
        except h2.exceptions.ProtocolError:
            self.transport.abort()
            return
        for event in events:
            self._handle(event)
        self.flush()

    def _handle(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self._streams[event.stream_id] = Stream(self, event.stream_id)
            self.most_streams = max(self.most_streams, len(self._streams))
        elif isinstance(event, h2.events.DataReceived):
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self._server.requests += 1
            self._tasks[event.stream_id] = asyncio.ensure_future(self._run(self._streams[event.stream_id]))
        elif isinstance(event, h2.events.StreamReset):
            if (stream := self._streams.get(event.stream_id)) is not None:
                stream.cancelled.set()
                self._tasks[event.stream_id].cancel()
        elif isinstance(event, h2.events.WindowUpdated | h2.events.RemoteSettingsChanged):
            for stream in self._streams.values():
                stream.window.set()

    async def _run(self, stream: Stream) -> None:
        try:
            await self._server.script(stream)
        finally:
            del self._streams[stream.number], self._tasks[stream.number]

    def connection_lost(self, error: Exception | None) -> None:
        for task in self._tasks.values():
            task.cancel()


class Http2Loopback:
    """What the server saw; the first connection is the client's look at the settings."""

    def __init__(self, script: Script, max_streams: int) -> None:
        self.script = script
        self.max_streams = max_streams
        self.url = ""
        self.requests = 0
        self.connections: list[Connection] = []

    @property
    def used_connections(self) -> list[Connection]:
        return [connection for connection in self.connections if connection.most_streams]


@asynccontextmanager
async def serving_http2(
    script: Script, tls: ssl.SSLContext | None, *, max_streams: int = 100
) -> AsyncIterator[Http2Loopback]:
    """A server that speaks HTTP/2 and nothing else; *tls* gets the protocol's name (ALPN)."""
    loopback = Http2Loopback(script, max_streams)
    if tls is not None:
        tls.set_alpn_protocols(["h2"])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(loopback), "127.0.0.1", 0, ssl=tls, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    loopback.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/v1"
    try:
        yield loopback
    finally:
        server.close()
        for connection in loopback.connections:
            connection.transport.abort()
        await asyncio.sleep(0)
