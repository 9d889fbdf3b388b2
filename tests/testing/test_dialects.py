"""Anthropic's and Gemini's formats: read by the official client and by our own wire formats, over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anthropic
import msgspec
import pytest

from agentic_synth.config import Secret, UpstreamConfig
from agentic_synth.errors import AuthFailed, BadReply, ConnectFailed, Overloaded, RateLimited, UnknownModel
from agentic_synth.testing.flags import parse_behaviour
from agentic_synth.testing.serve import simulated_server
from agentic_synth.transport.deltas import HttpDeltaStream
from agentic_synth.transport.upstream import HttpUpstream
from agentic_synth.transport.wire.format import assemble
from agentic_synth.types import Call, Json, Message, Request, Response

SCHEMA: dict[str, Json] = {
    "type": "object",
    "required": ["subject", "priority"],
    "properties": {"subject": {"type": "string"}, "priority": {"enum": ["low", "high"]}},
    "additionalProperties": False,
}
TOOL: dict[str, Json] = {
    "type": "function",
    "function": {
        "name": "escalate",
        "description": "Escalate it",
        "parameters": {"type": "object", "required": ["level"], "properties": {"level": {"enum": [1, 2, 3]}}},
    },
}


@asynccontextmanager
async def official(**texts: str) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with (
        simulated_server(parse_behaviour(texts)) as url,
        anthropic.AsyncAnthropic(base_url=url.removesuffix("/v1"), api_key="sk-test", max_retries=0) as client,
    ):
        yield client


def ask(text: str, **more: Any) -> Any:
    return {"model": "claude-test", "max_tokens": 1_000, "messages": [{"role": "user", "content": text}], **more}


async def test_the_official_client_reads_a_message() -> None:
    async with official() as client:
        answer = await client.messages.create(**ask("Describe the sea", system="Be brief."))
        again = await client.messages.create(**ask("Describe the sea", system="Be brief."))
    block = answer.content[0]
    assert block.type == "text"
    assert block.text
    assert (answer.role, answer.stop_reason, answer.model) == ("assistant", "end_turn", "claude-test")
    assert answer.usage.output_tokens > 0
    assert again.content == answer.content


async def test_the_official_client_reads_a_stream_that_is_the_plain_message() -> None:
    async with official() as client:
        plain = await client.messages.create(**ask("Tell me of rain"))
        async with client.messages.stream(**ask("Tell me of rain")) as stream:
            texts = [text async for text in stream.text_stream]
            whole = await stream.get_final_message()
    assert len(texts) > 1
    block = plain.content[0]
    assert block.type == "text"
    assert "".join(texts) == block.text
    assert (whole.content[0].type, whole.stop_reason) == ("text", "end_turn")
    assert whole.usage.output_tokens == plain.usage.output_tokens


async def test_the_official_client_is_given_a_tool_call_plain_and_streamed() -> None:
    tools = [{"name": "escalate", "input_schema": TOOL["function"]["parameters"]}]
    asked = ask("help", tools=tools, tool_choice={"type": "tool", "name": "escalate"})
    async with official() as client:
        plain = await client.messages.create(**asked)
        async with client.messages.stream(**asked) as stream:
            whole = await stream.get_final_message()
    for answer in (plain, whole):
        block: Any = answer.content[0]
        assert (block.type, block.name) == ("tool_use", "escalate")
        assert block.input["level"] in {1, 2, 3}
        assert answer.stop_reason == "tool_use"


async def test_the_official_client_knows_every_error() -> None:
    async with official(models="claude-test", api_key="sk-test") as client:
        with pytest.raises(anthropic.NotFoundError, match="no-such"):
            await client.messages.create(**ask("hello") | {"model": "no-such"})
        with pytest.raises(anthropic.BadRequestError, match="at least one message"):
            await client.messages.create(**ask("hello") | {"messages": []})
        with pytest.raises(anthropic.AuthenticationError):
            await client.with_options(api_key="sk-wrong").messages.create(**ask("hello"))
    async with official(rate="1/min:1") as client:
        await client.messages.create(**ask("hello"))
        with pytest.raises(anthropic.RateLimitError) as limited:
            await client.messages.create(**ask("hello"))
    headers = limited.value.response.headers
    assert headers["anthropic-ratelimit-requests-limit"] == "1"
    assert headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert headers["anthropic-ratelimit-requests-reset"].endswith("Z")
    assert int(headers["retry-after"]) > 0
    assert limited.value.body == {
        "type": "error",
        "error": {"type": "rate_limit_error", "message": "rate limit reached for requests or tokens"},
    }
    async with official(faults="error=1") as client:
        with pytest.raises(anthropic.InternalServerError):
            await client.messages.create(**ask("hello"))


async def test_the_official_client_sees_a_refusal_and_a_cut_at_the_limit() -> None:
    async with official(faults="refusal=1") as client:
        assert (await client.messages.create(**ask("hello"))).stop_reason == "refusal"
    async with official() as client:
        short = await client.messages.create(**ask("Tell me a story") | {"max_tokens": 3})
    assert (short.stop_reason, short.usage.output_tokens) == ("max_tokens", 3)


@pytest.fixture(params=["openai", "anthropic", "gemini"])
def wire(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@asynccontextmanager
async def facing(wire: Any, **texts: str) -> AsyncIterator[HttpUpstream]:
    async with simulated_server(parse_behaviour(texts)) as url:
        base = url.removesuffix("/v1") if wire == "gemini" else url
        config = UpstreamConfig(
            reference=f"{wire}/sim", name=f"{wire}/sim", model="sim", wire=wire, base_url=base, api_key=Secret("sk-sim")
        )
        upstream = HttpUpstream(config)
        try:
            yield upstream
        finally:
            await upstream.aclose()


def call_of(text: str = "Describe the sea", **changes: Any) -> Call:
    request = Request(model="sim", messages=(Message("system", "Be brief."), Message("user", text)))
    return Call(request=msgspec.structs.replace(request, **changes), model="sim")


async def plain_and_streamed(upstream: HttpUpstream, call: Call) -> tuple[Response, Response]:
    return (await upstream(call)).response, await streamed(upstream, call)


async def streamed(upstream: HttpUpstream, call: Call) -> Response:
    request = msgspec.structs.replace(call.request, stream=True)
    body = (await upstream(msgspec.structs.replace(call, request=request))).response.body
    assert isinstance(body, HttpDeltaStream)
    return assemble([delta async for delta in body])


async def test_our_own_reading_agrees_plain_and_streamed(wire: str) -> None:
    async with facing(wire) as upstream:
        plain, whole = await plain_and_streamed(upstream, call_of())
    assert plain.text
    assert whole.text == plain.text
    assert (plain.finish, plain.model) == (whole.finish, whole.model) == ("stop", "sim")
    assert plain.usage.input_tokens > 0
    assert plain.usage.output_tokens > 0
    assert not plain.usage.estimated


async def test_a_schema_is_answered_with_what_fits(wire: str) -> None:
    async with facing(wire) as upstream:
        plain, whole = await plain_and_streamed(upstream, call_of(schema=SCHEMA))
    value = msgspec.json.decode(plain.text)
    assert set(value) == {"subject", "priority"}
    assert value["priority"] in {"low", "high"}
    assert msgspec.json.decode(whole.text) == value


async def test_a_tool_is_called(wire: str) -> None:
    choice = {"type": "function", "function": {"name": "escalate"}}
    async with facing(wire) as upstream:
        responses = await plain_and_streamed(upstream, call_of(tools=(TOOL,), tool_choice=choice))
    for response in responses:
        assert response.finish == "tool_calls"
        function = response.tool_calls[0]["function"]
        assert function["name"] == "escalate"
        assert msgspec.json.decode(function["arguments"])["level"] in {1, 2, 3}


async def test_a_conversation_with_a_tool_is_understood(wire: str) -> None:
    asked = {"id": "call_1", "type": "function", "function": {"name": "escalate", "arguments": '{"level": 2}'}}
    messages = (
        Message("user", "help"),
        Message("assistant", None, tool_calls=[asked]),
        Message("tool", "done", name="escalate", tool_call_id="call_1"),
    )
    async with facing(wire) as upstream:
        assert (await upstream(call_of(messages=messages, tools=(TOOL,)))).response.text


async def test_a_cut_at_the_limit_and_a_refusal(wire: str) -> None:
    async with facing(wire) as upstream:
        for response in await plain_and_streamed(upstream, call_of(parameters={"max_tokens": 3})):
            assert (response.finish, response.usage.output_tokens) == ("length", 3)
    async with facing(wire, faults="refusal=1") as upstream:
        for response in await plain_and_streamed(upstream, call_of()):
            assert response.finish == "refusal"


async def test_errors_are_ours(wire: str) -> None:
    async with facing(wire, api_key="sk-other") as upstream:
        with pytest.raises(AuthFailed):
            await upstream(call_of())
    async with facing(wire, models="sim-large,sim-small") as upstream:
        with pytest.raises(UnknownModel, match="sim-large"):
            await upstream(call_of())
    async with facing(wire, faults="error=1") as upstream:
        with pytest.raises(Overloaded):
            await upstream(call_of())
    async with facing(wire, faults="cut=1") as upstream:
        with pytest.raises((ConnectFailed, BadReply)):
            await plain_and_streamed(upstream, call_of())
    async with facing(wire, faults="malformed=1") as upstream:
        with pytest.raises(BadReply):
            await upstream(call_of())


@pytest.mark.parametrize("fault", ["cut", "malformed"])
async def test_no_broken_stream_ends_cleanly(wire: str, fault: str) -> None:
    async with facing(wire, faults=f"{fault}=1", answers="brief") as upstream:
        for number in range(20):
            with pytest.raises((ConnectFailed, BadReply)):
                await streamed(upstream, call_of(f"Number {number}"))


async def test_a_limit_says_how_long_to_wait(wire: str) -> None:
    async with facing(wire, rate="1/min:1") as upstream:
        await upstream(call_of())
        with pytest.raises(RateLimited) as limited:
            await upstream(call_of())
    assert limited.value.retry_after is not None
    assert 30 < limited.value.retry_after <= 60
    assert any("ratelimit" in name for name in limited.value.headers) == (wire != "gemini")


async def test_wrong_bodies_are_told_in_the_format_of_the_path() -> None:
    wrong: list[dict[str, Any]] = [{}, {"contents": [{"parts": 3}]}, {"contents": [{"role": "user"}], "tools": [1]}]
    async with simulated_server() as url, aiohttp.ClientSession() as session:
        path = f"{url.removesuffix('/v1')}/v1beta/models/m:generateContent"
        for body in wrong:
            async with session.post(path, json=body) as reply:
                assert reply.status == 400
                assert (await reply.json())["error"]["status"] == "INVALID_ARGUMENT"
        async with session.get(path) as reply:
            assert reply.status == 405
        async with session.post(f"{url}/messages", json={"model": "m"}) as reply:
            assert (await reply.json())["error"]["type"] == "invalid_request_error"
