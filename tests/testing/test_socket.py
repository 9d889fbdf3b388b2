"""What goes wrong goes wrong on the wire: resets, cuts, silence, and clients that leave or crawl."""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from agentic_synth.errors import ConfigError
from agentic_synth.testing.flags import parse_behaviour
from agentic_synth.testing.http import MAX_BODY_BYTES
from agentic_synth.testing.serve import simulated_server
from agentic_synth.types import Request


def post(text: str = "hello", path: str = "/v1/chat/completions", extra: str = "", **fields: Any) -> bytes:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}], **fields}).encode()
    return f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n{extra}\r\n".encode() + body


class Raw:
    """A client that sees the bytes."""

    def __init__(self, url: str) -> None:
        host, port = url.removesuffix("/v1").rpartition("/")[2].split(":")
        self.address = (host, int(port))

    async def __aenter__(self) -> Raw:
        self.reader, self.writer = await asyncio.open_connection(*self.address)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()
        await asyncio.sleep(0)

    async def reply(self) -> tuple[bytes, bytes]:
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        return head, await self.reader.readexactly(length)

    async def ask(self, data: bytes) -> tuple[bytes, bytes]:
        self.writer.write(data)
        return await self.reply()

    async def books(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((await self.ask(b"GET /stats HTTP/1.1\r\nhost: x\r\n\r\n"))[1])
        return found


async def books_when(url: str, **wanted: int) -> dict[str, Any]:
    """The books as soon as they say what is *wanted*; the test's own timeout ends the wait."""
    async with Raw(url) as watcher:
        while True:
            books = await watcher.books()
            if all(books[name] == value for name, value in wanted.items()):
                return books


@pytest.mark.parametrize("stream", [False, True])
async def test_a_reset_is_a_reset(stream: bool) -> None:
    async with simulated_server(parse_behaviour({"faults": "reset=1"})) as url, Raw(url) as raw:
        raw.writer.write(post(stream=stream))
        with pytest.raises(ConnectionResetError):
            await raw.reader.read()
        assert (await books_when(url, in_flight=0))["kinds"] == {"reset": 1}


async def test_a_cut_body_is_shorter_than_promised() -> None:
    async with simulated_server(parse_behaviour({"faults": "cut=1"})) as url, Raw(url) as raw:
        with pytest.raises(asyncio.IncompleteReadError):
            await raw.ask(post())
        assert (await books_when(url, in_flight=0))["answered"] == 0


async def test_a_cut_stream_ends_without_its_last_chunk() -> None:
    async with simulated_server(parse_behaviour({"faults": "cut=1"})) as url, Raw(url) as raw:
        raw.writer.write(post(stream=True))
        data = await raw.reader.read()
        assert data.startswith(b"HTTP/1.1 200")
        assert b"data: {" in data
        assert b"[DONE]" not in data
        assert not data.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("stream", [False, True])
async def test_malformed_is_200_and_no_json(stream: bool) -> None:
    async with simulated_server(parse_behaviour({"faults": "malformed=1"})) as url, Raw(url) as raw:
        if stream:
            raw.writer.write(post(stream=True))
            data = await raw.reader.readuntil(b"0\r\n\r\n")
            last = data.split(b"data: ")[-1].split(b"\n")[0]
        else:
            head, last = await raw.ask(post())
            assert head.startswith(b"HTTP/1.1 200")
        with pytest.raises(json.JSONDecodeError):
            json.loads(last)
        assert (await raw.books())["kinds"] == {"malformed": 1}


async def test_a_stall_is_silence_until_the_client_leaves() -> None:
    async with simulated_server(parse_behaviour({"faults": "stall=1"})) as url:
        async with Raw(url) as raw:
            raw.writer.write(post())
            await books_when(url, in_flight=1)
            assert raw.reader._buffer == b""  # type: ignore[attr-defined]
        await books_when(url, in_flight=0, received=1, answered=0)


async def test_a_stalled_stream_is_silent_in_the_middle_and_is_ended_at_last() -> None:
    async with (
        simulated_server(parse_behaviour({"faults": "stall=1", "stall_seconds": "50ms"})) as url,
        Raw(url) as raw,
    ):
        raw.writer.write(post(stream=True))
        data = await raw.reader.read()
        assert b"data: {" in data
        assert b"[DONE]" not in data
        assert (await books_when(url, in_flight=0))["kinds"] == {"stall": 1}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_is_taken_off_the_books(stream: bool) -> None:
    async with simulated_server(parse_behaviour({"latency": "1h" if not stream else "0+1h/token"})) as url:
        async with Raw(url) as raw:
            raw.writer.write(post(stream=stream))
            await books_when(url, in_flight=1)
        await books_when(url, in_flight=0, abandoned=1, answered=0)


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with simulated_server(parse_behaviour({"latency": "1ms", "answers": "brief"})) as url, Raw(url) as raw:
        raw.writer.write(b"".join(post(f"n {number}") for number in range(40)))
        replies = [json.loads((await raw.reply())[1])["id"] for _ in range(40)]
        raw.writer.write(b"".join(post(f"n {number}") for number in range(40)))
        again = [json.loads((await raw.reply())[1])["id"] for _ in range(40)]
    assert [name.removesuffix("-0") for name in replies] == [name.removesuffix("-1") for name in again]
    assert len(set(replies)) == 40


async def test_a_request_may_come_byte_by_byte() -> None:
    async with simulated_server() as url, Raw(url) as raw:
        for byte in post():
            raw.writer.write(bytes([byte]))
            await raw.writer.drain()
        assert (await raw.reply())[0].startswith(b"HTTP/1.1 200")


async def test_a_client_may_ask_leave_to_continue_and_ask_to_close() -> None:
    async with simulated_server() as url, Raw(url) as raw:
        data = post(extra="Expect: 100-continue\r\nconnection: close\r\n")
        head, _, body = data.partition(b"\r\n\r\n")
        raw.writer.write(head + b"\r\n\r\n")
        assert await raw.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert b"connection: close" in (await raw.ask(body))[0]
        assert await raw.reader.read() == b""


@pytest.mark.parametrize("data", [b"\x16\x03\x01 this is no HTTP\r\n\r\n", b"GET / HTTP/1.1\r\nbroken header\r\n\r\n"])
async def test_what_is_no_http_is_refused(data: bytes) -> None:
    async with simulated_server() as url, Raw(url) as raw:
        assert (await raw.ask(data))[0].startswith(b"HTTP/1.1 400")
        assert await raw.reader.read() == b""


async def test_a_body_that_is_too_large_is_refused() -> None:
    async with simulated_server() as url, Raw(url) as raw:
        raw.writer.write(f"POST /v1/embeddings HTTP/1.1\r\ncontent-length: {MAX_BODY_BYTES + 9}\r\n\r\n".encode())
        raw.writer.write(bytes(MAX_BODY_BYTES + 1))
        assert (await raw.reply())[0].startswith(b"HTTP/1.1 413")


async def test_a_slow_reader_pauses_the_stream_and_misses_nothing() -> None:
    text = "word " * 40_000

    def long_answer(request: Request, seed: int) -> str:
        return text

    async with (
        simulated_server(parse_behaviour({"latency": "0+1us/token"}), answer=long_answer) as url,
        Raw(url) as raw,
        Raw(url) as watcher,
    ):
        raw.writer.write(post(stream=True))
        await raw.reader.readuntil(b"\r\n\r\n")
        for _ in range(200):
            assert (await watcher.books())["answered"] == 0
        raw.reader._limit = 1 << 30  # type: ignore[attr-defined]
        data = await raw.reader.readuntil(b"\r\n0\r\n\r\n")
        assert b"[DONE]" in data
        assert data.count(b'"content":"') == len(text) // 4 + 1
        assert (await watcher.books())["answered"] == 1


async def test_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    certificate.private_key_pem.write_to_path(key)
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(chain, append=True)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    behaviour = parse_behaviour({"schedule": "0s faults=none"})
    async with simulated_server(behaviour, certificate=(str(chain), str(key))) as url:
        assert url.startswith("https://")
        host, port = url.removesuffix("/v1").rpartition("/")[2].split(":")
        reader, writer = await asyncio.open_connection(host, int(port), ssl=trust)
        writer.write(post())
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()
        await writer.wait_closed()


async def test_a_certificate_that_is_not_there_and_a_port_that_is_taken(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.pem")
    with pytest.raises(ConfigError, match="certificate"):
        async with simulated_server(certificate=(missing, missing)):
            pass
    async with simulated_server() as url:
        with pytest.raises(ConfigError, match="cannot listen"):
            async with simulated_server(port=int(url.removesuffix("/v1").rpartition(":")[2])):
                pass
