"""What is libcurl's own: when a request is sent again, where streams travel, loops that watch no sockets."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from agentic_synth.errors import ConfigError, ConnectFailed
from agentic_synth.transport.client import read_all
from agentic_synth.transport.pycurl_client import PycurlClient
from tests.transport import loopback_http2
from tests.transport.loopback import ANSWER, CHUNKS, Connection, Exchange, Loopback, config_of, serving
from tests.transport.loopback_http2 import Http2Loopback, Stream, serving_http2

BODY = json.dumps(ANSWER).encode()


class TwoFaces(asyncio.Protocol):
    """Speaks what the handshake chose."""

    def __init__(self, one: Loopback, two: Http2Loopback) -> None:
        self._one = one
        self._two = two

    def connection_made(self, transport: Any) -> None:
        chosen = transport.get_extra_info("ssl_object").selected_alpn_protocol()
        real = loopback_http2.Connection(self._two) if chosen == "h2" else Connection(self._one)
        transport.set_protocol(real)
        real.connection_made(transport)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_tls(authority: trustme.CA, *protocols: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    context.set_alpn_protocols(list(protocols))
    return context


@asynccontextmanager
async def both(authority: trustme.CA, folder: Path, script: Any) -> AsyncIterator[tuple[PycurlClient, Any, Any]]:
    """A client, and what a server of both protocols sees on each; streams are answered by *script*."""
    async with serving(script) as one, serving_http2(lambda stream: stream.answer(BODY), None) as two:
        tls = server_tls(authority, "h2", "http/1.1")
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: TwoFaces(one, two), "127.0.0.1", 0, ssl=tls)
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        one.url = two.url = url
        client = PycurlClient(config_of(url, ca_file=str(folder / "ca.pem")))
        try:
            yield client, one, two
        finally:
            await client.aclose()
            server.close()


async def test_where_the_peer_speaks_both_plain_exchanges_share_and_streams_stand_alone(
    authority: trustme.CA, tmp_path: Path
) -> None:
    async with both(authority, tmp_path, lambda exchange: exchange.stream(CHUNKS)) as (client, one, two):
        await asyncio.gather(*(client.send("POST", one.url, b"{}") for _ in range(20)))
        bodies = [await client.open("POST", one.url, b"{}") for _ in range(3)]
        statistics = client.statistics()
        for body in bodies:
            assert b"[DONE]" in await read_all(body, 1 << 20)
        assert (statistics.protocol, statistics.in_flight, statistics.requests) == ("HTTP/2", 3, 23)
        assert (len(two.used_connections), two.requests, len(one.exchanges)) == (1, 20, 3)
        assert client.statistics().in_flight == 0


async def test_a_stalled_stream_holds_little_where_the_peer_speaks_both(authority: trustme.CA, tmp_path: Path) -> None:
    written = 0

    async def flood(exchange: Exchange) -> None:
        nonlocal written
        exchange.connection.transport.set_write_buffer_limits(0)
        await exchange.begin_stream()
        while True:
            await exchange.piece(b"x" * 65_536)
            written += 65_536

    async with both(authority, tmp_path, flood) as (client, one, _):
        body = await client.open("POST", one.url, b"{}")
        before = -1
        while before != written:
            before = written
            for _ in range(100):
                await client.send("POST", one.url, b"{}")
        assert body._held <= 64 * 1024
        assert written < 32 * 1024 * 1024  # in kernel buffers, far from all that the server would send
        await body.aclose()


async def test_a_request_that_may_have_been_seen_is_never_sent_again() -> None:
    """A kept-alive connection that breaks without an answer: libcurl alone would send the request once more."""

    async def script(exchange: Exchange) -> None:
        if exchange.body == b"second":
            exchange.reset()
        else:
            await exchange.answer({})

    async with serving(script) as loopback:
        client = PycurlClient(config_of(loopback.url))
        await client.send("POST", loopback.url, b"first")
        for ask in (client.send, client.open):
            with pytest.raises(ConnectFailed, match="broke"):
                await ask("POST", loopback.url, b"second")
            await client.send("POST", loopback.url, b"first")
        await client.aclose()
    assert [exchange.body for exchange in loopback.exchanges] == [b"first", b"second", b"first", b"second", b"first"]


@pytest.mark.parametrize("end", ["close", "abort"])
async def test_over_http2_a_request_that_may_have_been_seen_is_never_sent_again(end: str) -> None:
    async def script(stream: Stream) -> None:
        if loopback.requests % 2 == 0:
            getattr(stream.connection.transport, end)()
        else:
            await stream.answer(BODY)

    async with serving_http2(script, None) as loopback:
        client = PycurlClient(config_of(loopback.url, http="2"))
        for _ in range(3):
            await client.send("POST", loopback.url, b"{}")
            with pytest.raises(ConnectFailed, match="broke"):
                await client.send("POST", loopback.url, b"{}")
        await client.aclose()
    assert loopback.requests == 6


@pytest.mark.parametrize("say_no", [Stream.refuse, Stream.go_away], ids=["refused", "go away"])
async def test_a_stream_whose_head_never_came_is_opened_again_where_the_peer_says_it_saw_nothing(
    say_no: Callable[[Stream], None],
) -> None:
    async def script(stream: Stream) -> None:
        if loopback.requests % 3 == 2:
            say_no(stream)
        else:
            await stream.answer(BODY)

    async with serving_http2(script, None) as loopback:
        client = PycurlClient(config_of(loopback.url, http="2"))
        for _ in range(8):
            assert await read_all(await client.open("POST", loopback.url, b"{}"), 1 << 20) == BODY
        await client.aclose()
    assert loopback.requests > 8


async def test_a_peer_that_refuses_for_ever_is_a_failure() -> None:
    async def script(stream: Stream) -> None:
        stream.refuse()

    async with serving_http2(script, None) as loopback:
        client = PycurlClient(config_of(loopback.url, http="2"))
        for ask in (client.send, client.open):
            with pytest.raises(ConnectFailed):
                await ask("POST", loopback.url, b"{}")
        await client.aclose()
    assert loopback.requests <= 16


async def test_closing_ends_what_is_under_way() -> None:
    async with serving(lambda exchange: exchange.silence()) as loopback:
        client = PycurlClient(config_of(loopback.url))
        task = asyncio.ensure_future(client.send("POST", loopback.url, b"{}"))
        while not loopback.exchanges:
            await asyncio.sleep(0)
        await client.aclose()
        with pytest.raises(ConnectFailed, match="closed"):
            await task
        await loopback.all_closed()


async def test_a_header_cannot_smuggle_another() -> None:
    client = PycurlClient(config_of("http://127.0.0.1:9/v1"), {"x-name": "a\r\nx-other: b"})
    with pytest.raises(ConfigError, match="x-name"):
        await client.send("POST", "http://127.0.0.1:9/v1", b"{}")
    assert client.statistics().in_flight == 0
    await client.aclose()


@pytest.mark.parametrize("proxy", ["127.0.0.1:1", "gopher://host", "http://"])
def test_a_proxy_that_is_none_is_a_config_error(proxy: str) -> None:
    with pytest.raises(ConfigError, match="proxy"):
        PycurlClient(config_of("http://127.0.0.1:9/v1", proxy=proxy))


class Unwatching(asyncio.SelectorEventLoop):
    """A loop that watches no descriptors for others, as Windows' proactor."""

    add_reader = asyncio.AbstractEventLoop.add_reader
    add_writer = asyncio.AbstractEventLoop.add_writer
    remove_reader = asyncio.AbstractEventLoop.remove_reader
    remove_writer = asyncio.AbstractEventLoop.remove_writer


def test_a_loop_that_watches_no_sockets_serves_too() -> None:
    async def main() -> None:
        async with serving(lambda exchange: exchange.stream(CHUNKS)) as loopback:
            client = PycurlClient(config_of(loopback.url))
            for _ in range(3):
                assert b"[DONE]" in (await client.send("POST", loopback.url, b"{}")).body
                assert b"[DONE]" in await read_all(await client.open("POST", loopback.url, b"{}"), 1 << 20)
            await client.aclose()
            await loopback.all_closed()

    with asyncio.Runner(loop_factory=Unwatching) as runner:
        runner.run(main())
