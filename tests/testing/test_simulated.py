"""The provider in process: the transport's errors, one trace a seed, and nothing left behind by those who leave."""

from __future__ import annotations

import asyncio
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from agentic_synth.errors import (
    AttemptTimeout,
    BadReply,
    ConnectFailed,
    Overloaded,
    RateLimited,
    SynthError,
    UnknownModel,
)
from agentic_synth.stage import Handler
from agentic_synth.testing.clock import FakeClock
from agentic_synth.testing.flags import parse_behaviour
from agentic_synth.testing.simulated import SimulatedProvider
from agentic_synth.types import Call, DeltaStream, Draw, Message, Reply, Request

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["subject", "priority"],
    "additionalProperties": False,
    "properties": {"subject": {"type": "string", "minLength": 3}, "priority": {"type": "integer", "minimum": 1}},
}


def call(text: str = "hello", model: str = "m", **fields: Any) -> Call:
    return Call(request=Request(model=f"sim/{model}", messages=(Message("user", text),), **fields), model=model)


def provider(clock: FakeClock | None = None, seed: int = 1, **texts: str) -> SimulatedProvider:
    return SimulatedProvider(parse_behaviour(texts), seed=seed, clock=clock or FakeClock(autojump=True))


def nothing_is_left(subject: SimulatedProvider, clock: FakeClock) -> bool:
    return subject.simulation.in_flight == 0 and clock.sleeping == 0


async def test_an_answer_takes_its_latency_and_counts_its_tokens() -> None:
    clock = FakeClock(autojump=True)
    subject: Handler[Call, Reply] = provider(clock, latency="50ms+2ms/token")
    reply = await subject(call(parameters={"max_tokens": 11}))
    response = reply.response
    assert response.finish == "length"
    assert response.usage.output_tokens == 11
    assert clock.now() == pytest.approx(0.05 + 10 * 0.002)
    assert (response.ttft, response.seconds) == pytest.approx((0.05, clock.now()))
    assert (response.model, response.upstream) == ("m", "simulated")


async def test_the_answer_depends_on_request_draw_and_seed_only() -> None:
    asked = [call(f"question {number}", draw=Draw(sample=sample)) for number in range(5) for sample in range(3)]
    forward, backward = provider(), provider()
    texts = [(await forward(one)).response.text for one in asked]
    assert [(await backward(one)).response.text for one in reversed(asked)] == texts[::-1]
    assert len(set(texts)) == len(texts)
    other = provider(seed=2)
    assert (await other(asked[0])).response.text != texts[0]


@pytest.mark.parametrize(
    ("fault", "error", "seconds"),
    [
        ("error", Overloaded, 0.05),
        ("reset", ConnectFailed, 0.05),
        ("cut", ConnectFailed, 0.05),
        ("malformed", BadReply, 0.05),
        ("stall", AttemptTimeout, 600),
    ],
)
async def test_each_fault_is_the_error_that_the_transport_would_raise(
    fault: str, error: type[SynthError], seconds: float
) -> None:
    clock = FakeClock(autojump=True)
    subject = provider(clock, latency="50ms", faults=f"{fault}=1")
    with pytest.raises(error):
        await subject(call())
    assert clock.now() == pytest.approx(seconds)
    assert nothing_is_left(subject, clock)
    books = subject.statistics()
    assert books["answered"] == 0
    assert books["kinds"] == {fault: 1}


@pytest.mark.parametrize(
    ("fault", "error"), [("cut", ConnectFailed), ("malformed", BadReply), ("stall", AttemptTimeout)]
)
async def test_a_stream_breaks_on_the_way(fault: str, error: type[SynthError]) -> None:
    clock = FakeClock(autojump=True)
    subject = provider(clock, faults=f"{fault}=1")
    reply = await subject(call(stream=True))
    assert reply.response.body is not None
    with pytest.raises(error):
        await drain(reply.response.body)
    assert clock.now() == (60 if fault == "stall" else 0)
    assert nothing_is_left(subject, clock)


async def test_a_stream_is_the_plain_answer_piece_by_piece() -> None:
    clock = FakeClock(autojump=True)
    subject = provider(clock, latency="100ms+10ms/token")
    plain = (await subject(call("tell me"))).response
    start = clock.now()
    reply = await subject(call("tell me", stream=True))
    assert clock.now() - start == pytest.approx(0.1)
    assert reply.response.body is not None
    deltas = [delta async for delta in reply.response.body]
    assert "".join(delta.text for delta in deltas) == plain.text
    assert deltas[-1].finish == "stop"
    assert deltas[-1].usage == plain.usage
    assert clock.now() - start == pytest.approx(0.1 + 0.01 * (plain.usage.output_tokens - 1))
    assert nothing_is_left(subject, clock)


async def test_closing_a_stream_early_frees_the_place_at_once() -> None:
    clock = FakeClock(autojump=True)
    subject = provider(clock, latency="1ms+1ms/token")
    body = (await subject(call(stream=True))).response.body
    assert body is not None
    await anext(aiter(body))
    assert subject.simulation.in_flight == 1
    await body.aclose()
    await body.aclose()
    assert nothing_is_left(subject, clock)
    assert subject.statistics()["abandoned"] == 1


async def test_over_the_limit_is_rate_limited_with_the_time_to_come_back() -> None:
    clock = FakeClock(autojump=True)
    subject = provider(clock, rate="60/min")
    await subject(call("one"))
    with pytest.raises(RateLimited) as caught:
        await subject(call("two"))
    assert caught.value.retry_after == pytest.approx(1.0)
    assert caught.value.headers["x-ratelimit-limit-requests"] == "60"
    assert caught.value.retry_after is not None
    await clock.sleep(caught.value.retry_after)
    assert (await subject(call("two"))).response.text


async def test_structured_answers_fit_their_schema_until_spoilt() -> None:
    validator = jsonschema_rs.validator_for(SCHEMA)

    def fits(text: str) -> bool:
        try:
            return validator.is_valid(msgspec.json.decode(text))
        except msgspec.DecodeError:
            return False

    async def texts(faults: str = "none") -> list[str]:
        subject = provider(faults=faults)
        return [(await subject(call(f"n {number}", schema=SCHEMA))).response.text for number in range(200)]

    assert all(fits(text) for text in await texts())
    spoilt = await texts(faults="invalid=1")
    assert not any(fits(text) for text in spoilt)
    ways = {
        "prose" if text.startswith("Here") else "fence" if text.startswith("```") else "json" for text in spoilt
    }  # fmt: skip
    assert ways == {"prose", "fence", "json"}
    parsed = [msgspec.json.decode(text) for text in spoilt if text.startswith("{") and text.endswith("}")]
    assert any(set(value) == {"subject"} for value in parsed)
    assert any(len(value) == 2 for value in parsed)
    some = await texts(faults="invalid=0.2")
    assert 20 <= sum(not fits(text) for text in some) <= 60


async def test_what_is_invalid_stays_so_unless_the_model_resamples() -> None:
    asked = call(schema=SCHEMA)
    steady, fickle = provider(faults="invalid=0.5"), provider(faults="invalid=0.5", resample="yes")
    assert len({(await steady(asked)).response.text for _ in range(10)}) == 1
    assert len({(await fickle(asked)).response.text for _ in range(10)}) > 5


async def test_refusals_and_tool_calls() -> None:
    assert (await provider(faults="refusal=1")(call())).response.finish == "refusal"
    tools = tuple(
        {"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in ("log", "escalate")
    )
    wanted = {"type": "function", "function": {"name": "escalate"}}
    response = (await provider()(call(tools=tools, tool_choice=wanted))).response
    assert response.finish == "tool_calls"
    assert response.tool_calls[0]["function"]["name"] == "escalate"
    jsonschema_rs.validate(SCHEMA, msgspec.json.decode(response.tool_calls[0]["function"]["arguments"]))
    assert (await provider()(call(tools=tools, tool_choice="required"))).response.tool_calls[0]["function"][
        "name"
    ] == "log"
    body = (await provider()(call(tools=tools, tool_choice="required", stream=True))).response.body
    assert body is not None
    assert [delta.finish async for delta in body] == [None, "tool_calls"]


async def test_models_that_it_does_not_know() -> None:
    subject = provider(models="a,b")
    assert await subject.models() == ["a", "b"]
    with pytest.raises(UnknownModel):
        await subject(call(model="c"))
    assert (await subject(call(model="b"))).response.model == "b"


async def test_a_run_with_faults_and_a_limit_has_one_trace() -> None:
    async def trace() -> tuple[float, list[str], dict[str, object]]:
        clock = FakeClock(autojump=True)
        subject = provider(
            clock, answers="brief", latency="lognormal:50ms:0.3", rate="6000/min:20", faults="error=0.05,reset=0.01"
        )
        gate, order = asyncio.Semaphore(20), list[str]()

        async def row(number: int) -> None:
            async with gate:
                while True:
                    try:
                        order.append((await subject(call(f"row {number}"))).response.text)
                        return
                    except SynthError as error:
                        await clock.sleep(getattr(error, "retry_after", None) or 0.5)

        await asyncio.gather(*(row(number) for number in range(600)))
        return clock.now(), order, subject.statistics()

    first, second = await trace(), await trace()
    assert first == second
    seconds, order, books = first
    assert len(set(order)) == 600
    assert books["answered"] == 600
    assert books["answered_again"] == 0
    ideal = (600 / 0.94 - 20) / 100
    assert 0.98 * ideal < seconds < 1.1 * ideal


async def test_a_cancelled_call_leaves_nothing_wherever_it_waits() -> None:
    for stream in (False, True):
        for moment in range(12):
            clock = FakeClock()
            subject = provider(clock, latency="3ms+1ms/token")
            task = asyncio.create_task(read(subject, call(stream=stream, parameters={"max_tokens": 9})))
            await clock.settle()
            await clock.advance(0.001 * moment - 0.0005)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert nothing_is_left(subject, clock)


async def drain(body: DeltaStream) -> None:
    async for delta in body:
        assert delta.finish is None


async def read(subject: SimulatedProvider, asked: Call) -> None:
    body = (await subject(asked)).response.body
    if body is not None:
        async for _ in body:
            pass
