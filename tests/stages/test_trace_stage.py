"""The outermost stage: every request is counted once, in and out, however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from agentic_synth.errors import BadReply, Overloaded
from agentic_synth.stages.trace import Trace
from agentic_synth.testing.clock import FakeClock
from agentic_synth.types import Delta, Message, Request, Response

REQUEST = Request(model="acme/small", messages=(Message("user", "hello"),))


class Body:
    """Deltas, and perhaps an error in their midst."""

    def __init__(self, *deltas: Delta, error: Exception | None = None) -> None:
        self._deltas = self._run(deltas, error)

    def __aiter__(self) -> AsyncGenerator[Delta, None]:
        return self._deltas

    async def aclose(self) -> None:
        await self._deltas.aclose()

    async def _run(self, deltas: tuple[Delta, ...], error: Exception | None) -> AsyncGenerator[Delta, None]:
        for delta in deltas:
            yield delta
        if error is not None:
            raise error


async def test_it_counts_and_times_what_passes() -> None:
    clock = FakeClock(autojump=True)
    trace = Trace(clock)

    async def answer(_: Request) -> Response:
        await clock.sleep(0.5)
        return Response(text="hi", stored=trace.requests == 2)

    assert (await trace(REQUEST, answer)).text == "hi"
    await trace(REQUEST, answer)
    told = trace.statistics()
    assert (told["requests"], told["stored"], told["in_flight"], told["failures"]) == (2, 1, 0, {})
    assert told["latency_seconds"]["count"] == 2
    assert told["latency_seconds"]["p50"] == pytest.approx(0.5, rel=0.1)


async def test_failures_are_counted_by_their_kind_and_passed_on() -> None:
    trace = Trace(FakeClock())

    async def fail(_: Request) -> Response:
        raise Overloaded("down", upstream="acme")

    async def hang(_: Request) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    for _ in range(2):
        with pytest.raises(Overloaded):
            await trace(REQUEST, fail)
    hanging = asyncio.create_task(trace(REQUEST, hang))
    await asyncio.sleep(0)
    assert trace.in_flight == 1
    hanging.cancel()
    await asyncio.gather(hanging, return_exceptions=True)
    assert trace.statistics()["failures"] == {"Overloaded": 2, "CancelledError": 1}
    assert trace.in_flight == 0
    assert trace.statistics()["latency_seconds"]["count"] == 0


async def test_idle_waits_for_all_and_at_rest_for_nobody() -> None:
    clock = FakeClock()
    trace = Trace(clock)

    async def answer(_: Request) -> Response:
        await clock.sleep(1)
        return Response()

    await trace.idle()
    first = asyncio.create_task(trace(REQUEST, answer))
    await clock.advance(0.5)
    second = asyncio.create_task(trace(REQUEST, answer))
    waiting = asyncio.create_task(trace.idle())
    await clock.advance(0.6)
    assert first.done()
    assert not waiting.done()
    await clock.advance(1)
    await waiting
    assert second.done()


async def test_a_stream_is_in_flight_until_its_end() -> None:
    trace = Trace(FakeClock())

    async def answer(_: Request) -> Response:
        return Response(body=Body(Delta(text="a"), Delta(finish="stop")))

    response = await trace(REQUEST, answer)
    assert trace.in_flight == 1
    waiting = asyncio.create_task(trace.idle())
    assert response.body is not None
    assert [delta.text async for delta in response.body] == ["a", ""]
    await waiting
    assert trace.in_flight == 0
    await response.body.aclose()
    assert trace.in_flight == 0, "counted out once"
    assert trace.statistics()["failures"] == {}


async def test_a_stream_that_breaks_counts_as_a_failure_and_a_closed_one_does_not() -> None:
    trace = Trace(FakeClock())

    async def answer(_: Request) -> Response:
        return Response(body=Body(Delta(text="a"), error=BadReply("cut", upstream="acme")))

    response = await trace(REQUEST, answer)
    assert response.body is not None
    with pytest.raises(BadReply):
        _ = [delta async for delta in response.body]
    closed = await trace(REQUEST, answer)
    assert closed.body is not None
    await closed.body.aclose()
    assert trace.statistics()["failures"] == {"BadReply": 1}
    assert trace.in_flight == 0


async def test_a_stream_that_is_thrown_away_is_counted_out_too() -> None:
    trace = Trace(FakeClock())

    async def answer(_: Request) -> Response:
        return Response(body=Body())

    await trace(REQUEST, answer)
    await trace.idle()
    assert trace.in_flight == 0
