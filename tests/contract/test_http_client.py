"""What every HTTP client must do; run on each implementation."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import pytest
import trustme

from agentic_synth.config import Timeouts, UpstreamConfig
from agentic_synth.errors import (
    AttemptTimeout,
    BadReply,
    ConfigError,
    ConnectFailed,
    QueueFull,
    UpstreamError,
)
from agentic_synth.transport.aiohttp_client import AiohttpClient
from agentic_synth.transport.client import MAX_ANSWER_BYTES, HttpClient, read_all
from agentic_synth.transport.pycurl_client import PycurlClient
from tests.transport.loopback import Exchange, Loopback, Script, config_of, serving

Build: TypeAlias = Callable[[UpstreamConfig], HttpClient]
QUICK = Timeouts(pool=0.2, connect=0.5, first_token=0.2, inter_token=0.2, total=0.4)


@pytest.fixture(params=[PycurlClient, AiohttpClient], ids=["pycurl", "aiohttp"])
def build(request: pytest.FixtureRequest) -> Build:
    kind = request.param
    return lambda config: kind(config, {"authorization": "Bearer k", "content-type": "application/json"})


@asynccontextmanager
async def meeting(
    build: Build, script: Script, tls: ssl.SSLContext | None = None, **changes: Any
) -> AsyncIterator[tuple[HttpClient, Loopback]]:
    """A client and the server it talks to."""
    async with serving(script, tls) as loopback:
        client = build(config_of(loopback.url, **changes))
        try:
            yield client, loopback
        finally:
            await client.aclose()


async def echo(exchange: Exchange) -> None:
    await exchange.answer(exchange.body or b"{}", x_Seen=exchange.headers.get("authorization", ""))


async def silent(exchange: Exchange) -> None:
    await exchange.silence()


async def test_sends_the_body_and_the_headers_and_returns_the_answer(build: Build) -> None:
    async with meeting(build, echo) as (client, loopback):
        answer = await client.send("POST", f"{loopback.url}/x", b'{"a":1}', {"x-extra": "yes"})
    seen = loopback.exchanges[0]
    assert (answer.status, bytes(answer.body)) == (200, b'{"a":1}')
    assert answer.headers["x-seen"] == "Bearer k"
    assert answer.headers["content-type"] == "application/json"
    assert 0 < answer.seconds < 5
    assert (seen.method, seen.path, seen.headers["x-extra"]) == ("POST", "/v1/x", "yes")
    assert "python" not in seen.headers["user-agent"].lower()


async def test_a_get_has_no_body(build: Build) -> None:
    async with meeting(build, echo) as (client, loopback):
        answer = await client.send("GET", f"{loopback.url}/models")
    assert bytes(answer.body) == b"{}"
    assert loopback.exchanges[0].body == b""


async def test_connections_are_reused(build: Build) -> None:
    async with meeting(build, echo) as (client, loopback):
        for _ in range(200):
            await client.send("POST", loopback.url, b"{}")
        statistics = client.statistics()
    assert loopback.connections == 1
    assert (statistics.requests, statistics.in_flight, statistics.shards) == (200, 0, 1)
    assert statistics.protocol == "HTTP/1"


async def test_a_stream_read_to_its_end_leaves_its_connection_for_reuse(build: Build) -> None:
    async with meeting(build, lambda exchange: exchange.stream([{"n": 1}])) as (client, loopback):
        for _ in range(300):
            body = await client.open("POST", loopback.url, b"{}")
            assert await read_all(body, 1 << 20) == b'data: {"n": 1}\n\ndata: [DONE]\n\n'
    # A native thread gives the connection back; now and then the next request is there first.
    assert loopback.connections <= 3


async def test_an_error_status_is_an_answer(build: Build) -> None:
    async with meeting(build, lambda e: e.answer({"error": "no"}, 503)) as (client, loopback):
        answer = await client.send("POST", loopback.url, b"{}")
    assert answer.status == 503


async def test_redirects_are_not_followed(build: Build) -> None:
    async with serving(echo) as elsewhere:

        async def script(exchange: Exchange) -> None:
            await exchange.answer(b"", 307, location=elsewhere.url)

        async with meeting(build, script) as (client, loopback):
            answer = await client.send("POST", loopback.url, b"{}")
        assert answer.status == 307
        assert elsewhere.exchanges == []


async def test_a_plain_answer_that_never_comes_ends_at_the_total_timeout(build: Build) -> None:
    async with meeting(build, silent, timeouts=QUICK) as (client, loopback):
        with pytest.raises(AttemptTimeout, match=r"0\.4 s"):
            await client.send("POST", loopback.url, b"{}")
        assert client.statistics().in_flight == 0
        await loopback.all_closed()


async def test_an_opened_answer_whose_head_never_comes_ends_at_the_first_token_timeout(build: Build) -> None:
    async with meeting(build, silent, timeouts=QUICK) as (client, loopback):
        with pytest.raises(AttemptTimeout, match=r"0\.2 s"):
            await client.open("POST", loopback.url, b"{}")
        assert client.statistics().in_flight == 0
        await loopback.all_closed()


async def test_a_body_that_never_ends_is_cut_at_the_total_timeout(build: Build) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await silent(exchange)

    async with meeting(build, script, timeouts=QUICK) as (client, loopback):
        body = await client.open("POST", loopback.url, b"{}")
        with pytest.raises(AttemptTimeout):
            await body.read()
        await body.aclose()
        assert client.statistics().in_flight == 0


async def test_refused(build: Build) -> None:
    async with serving(echo) as loopback:
        url = loopback.url
    client = build(config_of(url))
    with pytest.raises(ConnectFailed, match=r"127\.0\.0\.1") as failure:
        await client.send("POST", url, b"{}")
    assert "base_url" in failure.value.mend
    await client.aclose()


async def test_a_name_that_does_not_resolve(build: Build) -> None:
    client = build(config_of("http://nowhere.invalid/v1"))
    with pytest.raises(ConnectFailed, match=r"nowhere\.invalid"):
        await client.send("POST", "http://nowhere.invalid/v1", b"{}")
    await client.aclose()


async def test_reset_before_the_head(build: Build) -> None:
    async def script(exchange: Exchange) -> None:
        exchange.reset()

    async with meeting(build, script) as (client, loopback):
        with pytest.raises(ConnectFailed):
            await client.send("POST", loopback.url, b"{}")


async def test_reset_after_the_head(build: Build) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
        exchange.reset()

    async with meeting(build, script) as (client, loopback):
        with pytest.raises(ConnectFailed):
            await client.send("POST", loopback.url, b"{}")


async def test_a_truncated_body(build: Build) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{}")
        exchange.close()

    async with meeting(build, script) as (client, loopback):
        with pytest.raises(ConnectFailed):
            await client.send("POST", loopback.url, b"{}")


async def test_chunks_cut_before_the_last(build: Build) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.piece(b"data: 1\n\n")
        exchange.close()

    async with meeting(build, script) as (client, loopback):
        with pytest.raises(ConnectFailed):
            await read_all(await client.open("POST", loopback.url, b"{}"), 1 << 20)
        assert client.statistics().in_flight == 0


async def test_one_byte_at_a_time(build: Build) -> None:
    async def script(exchange: Exchange) -> None:
        answer = b'HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{"text":"hi"}'
        await exchange.raw(*(answer[i : i + 1] for i in range(len(answer))))

    async with meeting(build, script) as (client, loopback):
        answer = await client.send("POST", loopback.url, b"{}")
    assert bytes(answer.body) == b'{"text":"hi"}'


@pytest.mark.parametrize(
    "garbage",
    [b"SSH-2.0-OpenSSH_9.6\r\n\r\n", b"HTTP/1.1 200 OK\r\nx: " + b"a" * 600_000 + b"\r\ncontent-length: 0\r\n\r\n"],
    ids=["not http", "huge header"],
)
async def test_what_is_no_http_is_a_bad_reply(build: Build, garbage: bytes) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.raw(garbage)

    async with meeting(build, script) as (client, loopback):
        with pytest.raises(BadReply, match=r"127\.0\.0\.1"):
            await client.send("POST", loopback.url, b"{}")


async def test_waiting_for_a_connection_has_its_own_deadline_and_is_not_wire_time(build: Build) -> None:
    release = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await release.wait()
        await exchange.answer({})

    timeouts = Timeouts(pool=0.3, connect=2, total=10)
    async with meeting(build, script, max_connections=2, timeouts=timeouts) as (client, loopback):
        sent = [asyncio.ensure_future(client.send("POST", loopback.url, b"{}")) for _ in range(3)]
        with pytest.raises(QueueFull, match="all 2 are in use"):
            await sent[2]
        release.set()
        await asyncio.gather(*sent[:2])
        assert len(loopback.exchanges) == 2
        assert client.statistics().in_flight == 0


async def test_a_slow_reader_stops_the_sender(build: Build) -> None:
    written = 0
    piece = b"x" * 65_536

    async def script(exchange: Exchange) -> None:
        nonlocal written
        if exchange.body:
            await echo(exchange)
            return
        exchange.connection.transport.set_write_buffer_limits(0)
        await exchange.raw(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (1024 * len(piece)))
        for _ in range(1024):
            await exchange.raw(piece)
            written += len(piece)

    async with meeting(build, script) as (client, loopback):
        body = await client.open("POST", loopback.url)
        before = -1
        while before != written:
            before = written
            for _ in range(200):
                await client.send("POST", loopback.url, b"{}")
        assert 0 < written < 32 * 1024 * 1024  # what kernel buffers hold, far from the 64 MiB to send
        read = 0
        while (got := await body.read()) is not None:
            read += len(got)
        assert read == 1024 * len(piece)
        await body.aclose()


async def test_closing_early_cuts_the_connection(build: Build) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.piece(b"data: 1\n\n")
        await silent(exchange)

    async with meeting(build, script) as (client, loopback):
        body = await client.open("POST", loopback.url, b"{}")
        assert await body.read() == b"data: 1\n\n"
        await body.aclose()
        await body.aclose()
        await loopback.all_closed()
        assert client.statistics().in_flight == 0


@pytest.mark.parametrize("opened", [False, True], ids=["send", "open"])
async def test_cancelling_before_the_head_closes_the_connection_at_once(build: Build, opened: bool) -> None:
    arrived = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        arrived.set()
        await exchange.silence()

    async with meeting(build, script) as (client, loopback):
        exchange = client.open("POST", loopback.url, b"{}") if opened else client.send("POST", loopback.url, b"{}")
        task = asyncio.ensure_future(exchange)
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert client.statistics().in_flight == 0
        async with asyncio.timeout(1):
            await loopback.all_closed()


@pytest.mark.parametrize("size", [b"content-length: 9000000000", b"connection: close"], ids=["giant", "endless"])
async def test_a_plain_answer_that_is_too_long_is_cut(build: Build, size: bytes) -> None:
    written = 0

    async def script(exchange: Exchange) -> None:
        nonlocal written
        await exchange.raw(b"HTTP/1.1 200 OK\r\n" + size + b"\r\n\r\n")
        while True:
            await exchange.raw(b" " * 262_144)
            written += 262_144

    async with meeting(build, script) as (client, loopback):
        with pytest.raises(BadReply, match=f"longer than {MAX_ANSWER_BYTES:,} bytes"):
            await client.send("POST", loopback.url, b"{}")
        await loopback.all_closed()
        assert client.statistics().in_flight == 0
    assert written < 2 * MAX_ANSWER_BYTES


async def test_a_body_comes_in_pieces_no_faster_than_it_is_sent(build: Build) -> None:
    given = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal given
        for number in range(200):
            await asyncio.sleep(0)
            given += 1
            yield b"%d" % (number % 10) * 5_000

    async with meeting(build, echo) as (client, loopback):
        headers = {"content-length": "1000000", "content-type": "text/plain"}
        answer = await client.send("POST", loopback.url, pieces(), headers)
        assert bytes(answer.body) == b"".join([b"%d" % (number % 10) * 5_000 for number in range(200)])
        assert (await client.send("POST", loopback.url, b"{}")).status == 200
    assert given == 200
    seen = loopback.exchanges[0].headers
    assert (seen["content-length"], seen["content-type"]) == ("1000000", "text/plain")
    assert loopback.exchanges[1].headers["content-type"] == "application/json"


async def test_pieces_that_fail_end_the_exchange(build: Build) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"x" * 100
        raise RuntimeError("the disk is gone")

    async with meeting(build, echo) as (client, loopback):
        with pytest.raises(Exception) as failure:  # noqa: PT011 - aiohttp wraps it
            await client.send("POST", loopback.url, pieces(), {"content-length": "1000"})
        assert client.statistics().in_flight == 0
        await loopback.all_closed()
    assert "the disk is gone" in str(failure.value) + str(failure.value.__cause__) + str(failure.value.__context__)


@pytest.mark.parametrize("method", ["DELETE", "PUT", "PATCH"])
async def test_other_methods_and_back(build: Build, method: str) -> None:
    async with meeting(build, echo) as (client, loopback):
        for name, body in ((method, b"{}"), ("GET", None), (method, None), ("POST", b"{}")):
            await client.send(name, loopback.url, body)
    seen = [(exchange.method, exchange.body) for exchange in loopback.exchanges]
    assert seen == [(method, b"{}"), ("GET", b""), (method, b""), ("POST", b"{}")]


async def test_cancelling_at_any_moment_leaks_nothing(build: Build) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.stream([{"n": n} for n in range(3)])

    async with meeting(build, script, max_connections=8) as (client, loopback):

        async def use() -> None:
            body = await client.open("POST", loopback.url, b"{}")
            try:
                while await body.read() is not None:
                    pass
            finally:
                await body.aclose()

        for turns in range(60):
            coroutines = [use() if n % 2 else client.send("POST", loopback.url, b"{}") for n in range(6)]
            tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(not isinstance(r, Exception) for r in results), results
        assert client.statistics().in_flight == 0
        assert (await client.send("POST", loopback.url, b"{}")).status == 200


class Certificates:
    """An authority of the test's own, and a server certificate it issued."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.ca_file = str(folder / "ca.pem")
        authority.cert_pem.write_to_path(self.ca_file)
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", "localhost").configure_cert(self.server)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"))


async def test_tls_with_an_authority_of_ones_own(build: Build, certificates: Certificates) -> None:
    async with meeting(build, echo, certificates.server, ca_file=certificates.ca_file) as (client, loopback):
        assert (await client.send("POST", loopback.url, b"{}")).status == 200


async def test_tls_is_verified(build: Build, certificates: Certificates) -> None:
    async with meeting(build, echo, certificates.server) as (client, loopback):
        with pytest.raises(ConnectFailed, match="certificate"):
            await client.send("POST", loopback.url, b"{}")
    assert loopback.exchanges == []


async def test_tls_to_a_server_that_speaks_none(build: Build) -> None:
    async with meeting(build, echo) as (_, loopback):
        url = loopback.url.replace("http:", "https:")
        client = build(config_of(url, timeouts=Timeouts(connect=0.2)))
        with pytest.raises(ConnectFailed):
            await client.send("POST", url, b"{}")
        await client.aclose()


def test_a_ca_file_that_is_missing_or_no_certificate_is_a_config_error(build: Build, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="CA file"):
        build(config_of("https://127.0.0.1:1/v1", ca_file=str(tmp_path / "none.pem")))


async def test_a_proxy_carries_the_request(build: Build) -> None:
    async with meeting(build, echo) as (_, loopback):
        config = config_of("http://upstream.invalid/v1")
        client = build(msgspec.structs.replace(config, proxy=loopback.url.removesuffix("/v1")))
        answer = await client.send("POST", "http://upstream.invalid/v1/x", b"{}")
        await client.aclose()
    assert answer.status == 200
    assert loopback.exchanges[0].path == "http://upstream.invalid/v1/x"


async def test_errors_name_no_credentials(build: Build) -> None:
    url = "http://user:hunter2@127.0.0.1:9/v1?key=hunter2"
    client = build(config_of(url))
    with pytest.raises((UpstreamError, ConfigError)) as failure:
        await client.send("POST", url, b"{}")
    assert "hunter2" not in str(failure.value) + repr(failure.value)
    await client.aclose()


async def test_closing_twice_and_before_use_is_allowed(build: Build) -> None:
    client = build(config_of("http://127.0.0.1:9/v1"))
    await client.aclose()
    await client.aclose()
    assert client.statistics().requests == 0
