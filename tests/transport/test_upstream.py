"""The upstream against a real server: answers, streams, and every fault as its own error within its deadline."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agentic_synth.config import Secret, Timeouts
from agentic_synth.errors import (
    AttemptTimeout,
    AuthFailed,
    BadReply,
    ConfigError,
    ConnectFailed,
    InvalidRequest,
    Overloaded,
    QuotaSpent,
    RateLimited,
    SynthError,
    UnknownModel,
    UpstreamError,
)
from agentic_synth.transport.aiohttp_client import AiohttpClient
from agentic_synth.transport.upstream import HttpUpstream
from agentic_synth.types import Call, Delta, DeltaStream, Usage
from tests.transport.loopback import ANSWER, CHUNKS, KEY, Exchange, Loopback, Script, call_of, config_of, serving

QUICK = Timeouts(pool=1, connect=1, first_token=0.3, inter_token=0.2, total=0.8)


@asynccontextmanager
async def facing(
    script: Script, *, stream_inside: bool = False, **changes: Any
) -> AsyncIterator[tuple[HttpUpstream, Loopback]]:
    """An upstream and the server behind it."""
    async with serving(script) as loopback:
        upstream = HttpUpstream(config_of(loopback.url, **changes), stream_inside=stream_inside)
        try:
            yield upstream, loopback
        finally:
            await upstream.aclose()


async def answering(exchange: Exchange) -> None:
    if exchange.asked.get("stream"):
        await exchange.stream(CHUNKS)
    else:
        await exchange.answer(ANSWER, x_ratelimit_remaining_requests="41")


async def body_of(upstream: HttpUpstream, call: Call) -> DeltaStream:
    body = (await upstream(call)).response.body
    assert body is not None
    return body


async def deltas_of(upstream: HttpUpstream) -> list[Delta]:
    return [delta async for delta in await body_of(upstream, call_of(stream=True))]


async def test_a_plain_call_brings_the_answer_and_the_headers() -> None:
    async with facing(answering) as (upstream, loopback):
        reply = await upstream(call_of(parameters={"temperature": 0.5, "top_k": 3}))
    response = reply.response
    assert (response.text, response.finish, response.model) == ("four", "stop", "test-1-0613")
    assert response.usage == Usage(9, 1)
    assert response.upstream == "openai/test-1"
    assert response.ttft is None
    assert response.seconds > 0
    assert reply.headers["x-ratelimit-remaining-requests"] == "41"
    exchange = loopback.exchanges[0]
    assert exchange.path == "/v1/chat/completions"
    assert exchange.headers["authorization"] == f"Bearer {KEY}"
    assert exchange.asked == {
        "model": "test-1",
        "messages": [{"role": "user", "content": "What is two and two?"}],
        "temperature": 0.5,
        "top_k": 3,
    }


async def test_a_stream_returns_with_its_first_delta_before_the_second_is_sent() -> None:
    go_on = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.begin_stream()
        for chunk in CHUNKS[:2]:
            await exchange.event(chunk)
        await go_on.wait()
        for chunk in CHUNKS[2:]:
            await exchange.event(chunk)
        await exchange.piece(b"data: [DONE]\n\n")
        await exchange.raw(b"0\r\n\r\n")

    async with facing(script) as (upstream, _):
        reply = await upstream(call_of(stream=True))
        assert reply.response.ttft is not None
        body = reply.response.body
        assert body is not None
        assert await anext(aiter(body)) == Delta("fo")
        go_on.set()
        rest = [delta async for delta in body]
    assert rest == [Delta("ur"), Delta(finish="stop", usage=Usage(9, 1), model="test-1-0613")]


async def test_a_finished_stream_leaves_its_connection_for_the_next() -> None:
    async with facing(answering) as (upstream, loopback):
        for _ in range(300):
            assert (await deltas_of(upstream))[-1].finish == "stop"
        assert upstream.statistics().in_flight == 0
    assert loopback.connections <= 3


async def test_streamed_inside_a_plain_call() -> None:
    async with facing(answering, stream_inside=True) as (upstream, loopback):
        response = (await upstream(call_of())).response
    assert loopback.exchanges[0].asked["stream"] is True
    assert (response.text, response.finish, response.usage) == ("four", "stop", Usage(9, 1))
    assert response.body is None
    assert response.ttft is not None
    assert response.ttft <= response.seconds


async def test_a_server_that_does_not_stream_is_still_an_answer() -> None:
    async with facing(lambda exchange: exchange.answer(ANSWER)) as (upstream, _):
        assert await deltas_of(upstream) == [
            Delta("four", finish="stop", usage=Usage(9, 1), model="test-1-0613"),
        ]
        assert upstream.statistics().in_flight == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_without_end_is_cut_and_told_apart_from_a_malformed_one(stream: bool) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n")
        while True:
            await exchange.raw(b" " * 1_048_576)

    async with facing(script) as (upstream, loopback):
        with pytest.raises(BadReply, match="longer than"):
            await upstream(call_of(stream=stream))
        await loopback.all_closed()
        assert upstream.statistics().in_flight == 0


async def test_usage_is_estimated_and_says_so_where_the_upstream_does_not_count() -> None:
    async def script(exchange: Exchange) -> None:
        if exchange.asked.get("stream"):
            await exchange.stream(CHUNKS[:-1])
        else:
            await exchange.answer({**ANSWER, "usage": None})

    async with facing(script) as (upstream, _):
        plain = (await upstream(call_of())).response
        streamed = (await deltas_of(upstream))[-1]
    assert plain.usage == streamed.usage == Usage(5, 1, estimated=True)


async def test_closing_a_stream_cancels_it_upstream_at_once() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.event(CHUNKS[1])
        await exchange.silence()

    async with facing(script) as (upstream, loopback):
        body = await body_of(upstream, call_of(stream=True))
        await body.aclose()
        await body.aclose()
        await loopback.all_closed()
        assert [delta async for delta in body] == [Delta("fo")]
        assert upstream.statistics().in_flight == 0


async def test_cancelling_a_plain_call_leaves_at_once_and_ends_upstream_with_the_total_at_the_latest() -> None:
    arrived = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        arrived.set()
        await exchange.silence()

    async with facing(script, timeouts=QUICK) as (upstream, loopback):
        task = asyncio.ensure_future(upstream(call_of()))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert upstream.statistics().in_flight == 0
        await loopback.all_closed()


async def test_a_silent_upstream_before_the_head_is_a_timeout_of_the_first_token() -> None:
    async with facing(lambda exchange: exchange.silence(), timeouts=QUICK) as (upstream, loopback):
        with pytest.raises(AttemptTimeout, match=r"0\.3 s") as failure:
            await upstream(call_of(stream=True))
        assert failure.value.upstream == "openai/test-1"
        await loopback.all_closed()


async def test_a_head_without_a_token_is_a_timeout_of_the_first_token() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.piece(b": still thinking\n\n")
        await exchange.silence()

    async with facing(script, timeouts=QUICK) as (upstream, loopback):
        with pytest.raises(AttemptTimeout, match=r"no token within 0\.3 s"):
            await upstream(call_of(stream=True))
        await loopback.all_closed()
        assert upstream.statistics().in_flight == 0


async def test_a_stream_gone_silent_is_a_timeout_between_tokens() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.event(CHUNKS[1])
        await exchange.silence()

    async with facing(script, timeouts=QUICK) as (upstream, loopback):
        with pytest.raises(AttemptTimeout, match=r"silent for 0\.2 s"):
            await deltas_of(upstream)
        await loopback.all_closed()
        assert upstream.statistics().in_flight == 0


async def test_a_slow_consumer_is_no_timeout() -> None:
    timeouts = Timeouts(inter_token=0.05)
    loop = asyncio.get_running_loop()
    async with facing(answering, timeouts=timeouts) as (upstream, _):
        body = await body_of(upstream, call_of(stream=True))
        got = []
        async for delta in body:
            got.append(delta)
            busy_until = loop.time() + 2 * timeouts.inter_token
            while loop.time() < busy_until:
                await upstream(call_of())
    assert got[-1].finish == "stop"


async def test_a_slow_consumer_stops_the_upstream() -> None:
    sent = 0

    async def script(exchange: Exchange) -> None:
        nonlocal sent
        if "stream" not in exchange.asked:
            await exchange.answer(ANSWER)
            return
        exchange.connection.transport.set_write_buffer_limits(0)
        chunk = {"choices": [{"delta": {"content": "x" * 16_384}}]}
        await exchange.begin_stream()
        for _ in range(4_096):
            await exchange.event(chunk)
            sent += 1
        await exchange.event(CHUNKS[3])
        await exchange.raw(b"0\r\n\r\n")

    async with facing(script) as (upstream, _):
        body = await body_of(upstream, call_of(stream=True))
        before = -1
        while before != sent:
            before = sent
            for _ in range(200):
                await upstream(call_of())
        assert sent < 2_048  # the kernel's buffers; 4,096 chunks are 64 MiB
        assert sum([len(delta.text) async for delta in body]) == 4_096 * 16_384


async def cut_cleanly(exchange: Exchange) -> None:
    await exchange.stream(CHUNKS[:2], end=b"")


async def cut_in_the_middle(exchange: Exchange) -> None:
    await exchange.begin_stream()
    await exchange.event(CHUNKS[1])
    exchange.close()


async def reset_in_the_middle(exchange: Exchange) -> None:
    await exchange.begin_stream()
    await exchange.event(CHUNKS[1])
    exchange.reset()


async def malformed_event(exchange: Exchange) -> None:
    await exchange.begin_stream()
    await exchange.event(CHUNKS[1])
    await exchange.piece(b'data: {"choices": [}\n\n')
    await exchange.silence()


async def not_an_event_stream(exchange: Exchange) -> None:
    await exchange.begin_stream()
    await exchange.piece(b"hello\nworld\n\n")
    await exchange.raw(b"0\r\n\r\n")


async def web_page(exchange: Exchange) -> None:
    await exchange.answer(b"<html><body>Welcome</body></html>", content_type="text/html")


async def error_in_the_stream(exchange: Exchange) -> None:
    await exchange.begin_stream()
    await exchange.event(CHUNKS[1])
    await exchange.event({"error": {"message": "The server is busy", "type": "server_error", "code": 503}})
    await exchange.silence()


async def empty(exchange: Exchange) -> None:
    await exchange.answer(b"")


async def malformed(exchange: Exchange) -> None:
    await exchange.answer(b'{"choices": [')


async def truncated(exchange: Exchange) -> None:
    await exchange.raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{")
    exchange.close()


async def reset(exchange: Exchange) -> None:
    exchange.reset()


async def no_choices(exchange: Exchange) -> None:
    await exchange.answer({"choices": []})


async def error_with_status_200(exchange: Exchange) -> None:
    await exchange.answer({"error": {"message": "Provider returned error", "code": 429}})


@pytest.mark.parametrize(
    ("script", "kind", "says"),
    [
        (cut_cleanly, BadReply, "cut before the answer was complete"),
        (cut_in_the_middle, ConnectFailed, "broke"),
        (reset_in_the_middle, ConnectFailed, "broke"),
        (malformed_event, BadReply, "event of the stream cannot be read"),
        (not_an_event_stream, BadReply, "cut before the answer was complete"),
        (web_page, BadReply, "text/html"),
        (error_in_the_stream, Overloaded, "The server is busy"),
        (malformed, BadReply, "cannot be read"),
        (reset, ConnectFailed, "127.0.0.1"),
        (truncated, ConnectFailed, "broke"),
    ],
)
async def test_faults_of_a_stream(script: Script, kind: type[UpstreamError], says: str) -> None:
    async with facing(script) as (upstream, _):
        with pytest.raises(kind, match=says) as failure:
            await deltas_of(upstream)
        assert upstream.statistics().in_flight == 0
    assert failure.value.upstream == "openai/test-1"
    assert failure.value.retryable


@pytest.mark.parametrize(
    ("script", "kind", "says"),
    [
        (empty, BadReply, "cannot be read"),
        (malformed, BadReply, "cannot be read"),
        (web_page, BadReply, "text/html"),
        (truncated, ConnectFailed, "broke"),
        (reset, ConnectFailed, "127.0.0.1"),
        (no_choices, BadReply, "no choices"),
        (error_with_status_200, RateLimited, "Provider returned error"),
    ],
)
async def test_faults_of_a_plain_call(script: Script, kind: type[UpstreamError], says: str) -> None:
    async with facing(script) as (upstream, _):
        with pytest.raises(kind, match=says) as failure:
            await upstream(call_of())
    assert failure.value.upstream == "openai/test-1"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_status_keeps_the_message_and_the_headers(stream: bool) -> None:
    async def script(exchange: Exchange) -> None:
        error = {"message": "Rate limit reached for requests", "type": "requests", "code": "rate_limit_exceeded"}
        await exchange.answer({"error": error}, 429, retry_after="7", x_ratelimit_remaining_requests="0")

    async with facing(script) as (upstream, _):
        with pytest.raises(RateLimited, match="Rate limit reached for requests") as failure:
            await upstream(call_of(stream=stream))
        assert upstream.statistics().in_flight == 0
    assert failure.value.retry_after == 7
    assert failure.value.headers["x-ratelimit-remaining-requests"] == "0"
    assert failure.value.status == 429


async def test_an_unknown_model_names_the_nearest_and_asks_for_the_list_once() -> None:
    async def script(exchange: Exchange) -> None:
        if exchange.path.endswith("/models"):
            await exchange.answer({"data": [{"id": "test-12"}, {"id": "whisper"}, {"id": "test-1o"}]})
        else:
            await exchange.answer({"error": {"message": "The model `test-1` does not exist"}}, 404)

    async with facing(script) as (upstream, loopback):
        for failure in await asyncio.gather(*(upstream(call_of()) for _ in range(5)), return_exceptions=True):
            assert isinstance(failure, UnknownModel)
            assert "test-1o" in failure.mend
            assert "whisper" not in failure.mend
    assert sum(exchange.path.endswith("/models") for exchange in loopback.exchanges) == 1


async def test_an_unknown_model_where_the_list_fails_too() -> None:
    async with facing(lambda exchange: exchange.answer(b"not found", 404, content_type="text/plain")) as (upstream, _):
        with pytest.raises(UnknownModel, match="not found") as failure:
            await upstream(call_of())
    assert "base_url" in failure.value.mend


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"message": "Invalid value for temperature", "type": "invalid_request_error"}, InvalidRequest),
        (400, {"message": "maximum context length is 8192 tokens", "code": "context_length_exceeded"}, InvalidRequest),
        (413, {"message": "too large"}, InvalidRequest),
        (422, {"message": "bad"}, InvalidRequest),
        (401, {"message": "Incorrect API key provided"}, AuthFailed),
        (403, {"message": "Country not supported"}, AuthFailed),
        (402, {"message": "Insufficient Balance"}, QuotaSpent),
        (429, {"message": "You exceeded your current quota", "code": "insufficient_quota"}, QuotaSpent),
        (429, {"message": "slow down"}, RateLimited),
        (408, {"message": "timeout"}, Overloaded),
        (409, {"message": "conflict"}, Overloaded),
        (500, {"message": "oops"}, Overloaded),
        (503, {"message": "busy"}, Overloaded),
        (529, {"message": "overloaded"}, Overloaded),
    ],
)
async def test_every_status_has_its_class(status: int, error: dict[str, str], kind: type[SynthError]) -> None:
    async with facing(lambda exchange: exchange.answer({"error": error}, status)) as (upstream, _):
        with pytest.raises(kind, match=error["message"]):
            await upstream(call_of())


async def test_a_redirect_says_where_to() -> None:
    async with facing(lambda e: e.answer(b"", 308, location="https://api.example.com/v1")) as (upstream, _):
        with pytest.raises(UnknownModel) as failure:
            await upstream(call_of())
    assert "https://api.example.com/v1" in failure.value.mend


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


async def test_a_schema_is_asked_for_natively_or_in_words() -> None:
    async with facing(answering) as (upstream, loopback):
        await upstream(call_of(schema=SCHEMA))
        await upstream(call_of(schema=SCHEMA))
    native = [exchange.asked["response_format"] for exchange in loopback.exchanges]
    assert native[0] == native[1]
    assert native[0]["json_schema"]["schema"] == SCHEMA
    async with facing(answering, structured=False) as (upstream, loopback):
        await upstream(call_of(schema=SCHEMA))
    asked = loopback.exchanges[0].asked
    assert "response_format" not in asked
    assert json.dumps(SCHEMA, separators=(",", ":")) in asked["messages"][0]["content"]
    assert asked["messages"][0]["role"] == "system"
    assert asked["messages"][1]["content"] == "What is two and two?"


async def test_models() -> None:
    async with facing(lambda e: e.answer({"data": [{"id": "a"}, {"id": "b"}]})) as (upstream, loopback):
        assert await upstream.models() == ["a", "b"]
    assert (loopback.exchanges[0].method, loopback.exchanges[0].path) == ("GET", "/v1/models")


async def test_models_of_a_wrong_key() -> None:
    async with facing(lambda e: e.answer({"error": {"message": "no"}}, 401)) as (upstream, _):
        with pytest.raises(AuthFailed) as failure:
            await upstream.models()
    assert "OPENAI_API_KEY" in failure.value.mend


def test_a_wire_that_is_none_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="offline"):
        HttpUpstream(config_of("", wire="offline"))


async def test_on_aiohttp_too() -> None:
    async with serving(answering) as loopback:
        upstream = HttpUpstream(config_of(loopback.url), AiohttpClient)
        assert (await upstream(call_of())).response.text == "four"
        assert "".join([delta.text for delta in await deltas_of(upstream)]) == "four"
        await upstream.aclose()
    assert loopback.exchanges[0].headers["authorization"] == f"Bearer {KEY}"


def leaky(status: int) -> Script:
    async def script(exchange: Exchange) -> None:
        said = f"key {exchange.headers['authorization']} is wrong"
        await exchange.answer({"error": {"message": said}}, status, location=f"https://x.test/?k={KEY}")

    return script


@pytest.mark.parametrize("status", [302, 400, 401, 404, 429, 500])
async def test_the_key_is_nowhere_but_in_its_header(status: int) -> None:
    async with facing(leaky(status)) as (upstream, _):
        with pytest.raises(SynthError) as failure:
            await upstream(call_of())
        shown = [repr(upstream), repr(upstream.statistics()), str(failure.value), repr(failure.value)]
        shown += [repr(vars(failure.value)), repr(failure.value.__cause__), repr(failure.value.__context__)]
    assert KEY not in " ".join(shown)


async def test_a_short_key_does_not_blot_out_the_message() -> None:
    async with facing(lambda e: e.answer({"error": {"message": "a bad day"}}, 500), api_key=Secret("a")) as (up, _):
        with pytest.raises(Overloaded, match="a bad day"):
            await up(call_of())


async def test_a_cancellation_that_meets_the_answer_is_not_lost() -> None:
    lost = 0
    async with facing(answering) as (upstream, _):
        for delay in range(60):
            task = asyncio.create_task(upstream(call_of()))
            for _ in range(delay):
                await asyncio.sleep(0)
            if task.cancel():
                await asyncio.wait([task])
                lost += not task.cancelled() and task.cancelling() > 0
    assert lost == 0
