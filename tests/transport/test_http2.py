"""HTTP/2 against a real server: discovery, sharding, GOAWAY, refused streams, flow control."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from agentic_synth.errors import ConnectFailed
from agentic_synth.transport.peer import HTTP1, Peer, discover, speaks_http1
from agentic_synth.transport.upstream import HttpUpstream
from tests.transport.loopback import ANSWER, CHUNKS, call_of, config_of, serving
from tests.transport.loopback_http2 import Http2Loopback, Script, Stream, serving_http2

BODY = json.dumps(ANSWER).encode()


class Tls:
    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self.ca_file = str(folder / "ca.pem")
        self._authority.cert_pem.write_to_path(self.ca_file)

    def server(self, *protocols: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert("127.0.0.1").configure_cert(context)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return Tls(tmp_path_factory.mktemp("tls"))


@asynccontextmanager
async def facing(
    script: Script, tls: Tls, *, max_streams: int = 100, **changes: Any
) -> AsyncIterator[tuple[HttpUpstream, Http2Loopback]]:
    async with serving_http2(script, tls.server(), max_streams=max_streams) as loopback:
        upstream = HttpUpstream(config_of(loopback.url, ca_file=tls.ca_file, **changes))
        try:
            yield upstream, loopback
        finally:
            await upstream.aclose()


async def answering(stream: Stream) -> None:
    await stream.answer(BODY)


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


async def test_the_protocol_is_found_and_one_connection_carries_all(tls: Tls) -> None:
    async with facing(answering, tls) as (upstream, loopback):
        replies = await asyncio.gather(*(upstream(call_of()) for _ in range(80)))
        assert {reply.response.text for reply in replies} == {"four"}
        assert upstream.statistics().protocol == "HTTP/2"
        assert len(loopback.used_connections) == 1
        assert len(loopback.connections) == 2  # and the look at the settings


async def test_connections_are_sharded_by_the_streams_the_peer_takes(tls: Tls) -> None:
    arrived = 0
    all_there = asyncio.Event()

    async def script(stream: Stream) -> None:
        nonlocal arrived
        arrived += 1
        if arrived == 300:
            all_there.set()
        await all_there.wait()
        await stream.answer(BODY)

    async with facing(script, tls, max_streams=50) as (upstream, loopback):
        await asyncio.gather(*(upstream(call_of()) for _ in range(300)))
        assert [connection.most_streams for connection in loopback.used_connections] == [50] * 6
        assert upstream.statistics().shards == 6
        assert upstream.statistics().in_flight == 0


async def test_nothing_is_lost_when_the_server_goes_away(tls: Tls) -> None:
    count = 0

    async def script(stream: Stream) -> None:
        nonlocal count
        count += 1
        if count % 10 == 0:
            stream.go_away()
        else:
            await stream.answer(BODY)

    async with facing(script, tls) as (upstream, loopback):
        for _ in range(60):
            assert (await upstream(call_of())).response.text == "four"
        assert len(loopback.used_connections) > 5


async def test_a_refused_stream_is_sent_again(tls: Tls) -> None:
    count = 0

    async def script(stream: Stream) -> None:
        nonlocal count
        count += 1
        if count % 3 == 0:
            stream.refuse()
        else:
            await stream.answer(BODY)

    async with facing(script, tls) as (upstream, loopback):
        for _ in range(30):
            assert (await upstream(call_of())).response.text == "four"
        assert loopback.requests > 30


async def test_a_connection_that_breaks_is_a_failed_connection_and_the_next_call_opens_another(tls: Tls) -> None:
    broken = False

    async def script(stream: Stream) -> None:
        nonlocal broken
        if not broken:
            broken = True
            stream.begin()
            await stream.send(BODY[:10])
            stream.connection.transport.abort()
        else:
            await stream.answer(BODY)

    async with facing(script, tls) as (upstream, _):
        with pytest.raises(ConnectFailed):
            await upstream(call_of())
        assert (await upstream(call_of())).response.text == "four"


async def test_a_stalled_stream_stalls_nobody_beside_it(tls: Tls) -> None:
    async def script(stream: Stream) -> None:
        if stream.number > 20:
            await stream.answer(BODY)
            return
        stream.begin("text/event-stream")
        for _ in range(8_000):
            await stream.send(event({"choices": [{"delta": {"content": "x" * 4_096}}]}))
        await stream.send(event(CHUNKS[3]), end=True)

    async with facing(script, tls) as (upstream, loopback):
        bodies = [(await upstream(call_of(stream=True))).response.body for _ in range(10)]
        for _ in range(50):
            assert (await upstream(call_of())).response.text == "four"
        assert len(loopback.used_connections) == 1
        first, *others = bodies
        assert first is not None
        assert sum([len(delta.text) async for delta in first]) == 8_000 * 4_096
        for body in others:
            assert body is not None
            await body.aclose()
        assert upstream.statistics().in_flight == 0


async def test_streams_take_one_where_the_peer_speaks_both(tls: Tls) -> None:
    """A server with two faces, told apart by the protocol that the handshake chose."""
    async with serving(lambda exchange: exchange.stream(CHUNKS), tls.server("http/1.1")) as loopback:
        assert await speaks_http1(loopback.url, 5)
    async with serving_http2(answering, tls.server()) as only_two:
        assert not await speaks_http1(only_two.url, 5)
    assert not await speaks_http1(only_two.url, 5)


async def test_closing_a_stream_resets_it_and_keeps_the_connection(tls: Tls) -> None:
    streams: list[Stream] = []

    async def script(stream: Stream) -> None:
        streams.append(stream)
        if len(streams) == 1:
            stream.begin("text/event-stream")
            await stream.send(event(CHUNKS[1]))
            await asyncio.Event().wait()
        await stream.answer(BODY)

    async with facing(script, tls) as (upstream, loopback):
        body = (await upstream(call_of(stream=True))).response.body
        assert body is not None
        await body.aclose()
        await streams[0].cancelled.wait()
        await upstream(call_of())
        assert len(loopback.used_connections) == 1


async def test_a_cancelled_call_is_reset_at_once_and_keeps_the_connection(tls: Tls) -> None:
    streams: list[Stream] = []
    arrived = asyncio.Event()

    async def script(stream: Stream) -> None:
        streams.append(stream)
        arrived.set()
        if len(streams) == 1:
            await asyncio.Event().wait()
        await stream.answer(BODY)

    async with facing(script, tls) as (upstream, loopback):
        task = asyncio.ensure_future(upstream(call_of()))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert upstream.statistics().in_flight == 0
        async with asyncio.timeout(1):
            await streams[0].cancelled.wait()
        await upstream(call_of())
        assert len(loopback.used_connections) == 1


async def test_prior_knowledge_without_tls() -> None:
    async with serving_http2(answering, None) as loopback:
        upstream = HttpUpstream(config_of(loopback.url, http="2"))
        assert (await upstream(call_of())).response.text == "four"
        assert upstream.statistics().protocol == "HTTP/2"
        await upstream.aclose()


async def test_two_where_the_peer_speaks_one_is_refused_with_the_mend(tls: Tls) -> None:
    async with serving(lambda exchange: exchange.answer(ANSWER), tls.server("http/1.1")) as loopback:
        upstream = HttpUpstream(config_of(loopback.url, ca_file=tls.ca_file, http="2"))
        with pytest.raises(ConnectFailed, match="does not speak HTTP/2") as failure:
            await upstream(call_of())
        assert "http = auto" in failure.value.mend
        await upstream.aclose()


@pytest.mark.parametrize("protocols", [(), ("http/1.1",)])
async def test_auto_falls_back_to_one(tls: Tls, protocols: tuple[str, ...]) -> None:
    async with serving(lambda exchange: exchange.answer(ANSWER), tls.server(*protocols)) as loopback:
        upstream = HttpUpstream(config_of(loopback.url, ca_file=tls.ca_file))
        assert (await upstream(call_of())).response.text == "four"
        assert upstream.statistics().protocol == "HTTP/1"
        await upstream.aclose()


async def test_the_certificate_is_verified_by_the_connection_that_carries_the_key(tls: Tls) -> None:
    async with serving_http2(answering, tls.server()) as loopback:
        upstream = HttpUpstream(config_of(loopback.url))
        with pytest.raises(ConnectFailed, match="certificate"):
            await upstream(call_of())
        await upstream.aclose()
        assert loopback.requests == 0


async def test_discovery_of_a_peer_that_is_silent_or_absent_means_one() -> None:
    async with serving(lambda exchange: exchange.silence()) as loopback:
        secure = loopback.url.replace("http:", "https:")
        assert await discover(secure, "auto", 0.1) == HTTP1
        assert await discover(loopback.url, "auto", 0.1) == HTTP1
    assert await discover(secure, "auto", 0.1) == HTTP1


async def test_discovery_reads_the_settings(tls: Tls) -> None:
    async with serving_http2(answering, tls.server(), max_streams=7) as loopback:
        assert await discover(loopback.url, "auto", 5) == Peer("2", 7)
        assert await discover(loopback.url, "1", 5) == HTTP1
