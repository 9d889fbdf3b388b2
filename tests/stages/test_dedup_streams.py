"""Streams that share one call: everyone gets the whole answer, and nobody pays for another's pace or impatience."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentic_synth.errors import BadReply, Overloaded, QueueFull
from agentic_synth.policies.broadcast import Broadcast, Place
from agentic_synth.stages.dedup import Dedup
from agentic_synth.types import Delta, Hit, Message, Request, Response, Usage

END = Delta(finish="stop", usage=Usage(3, 2))


def ask(text: str = "hi", **fields: Any) -> Request:
    return Request(**{"model": "p/m", "messages": (Message("user", text),), "stream": True, **fields})


class Body:
    """A stream under the test's hand: one delta for each :meth:`push`."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Delta | Exception | None] = asyncio.Queue()
        self.taken = self.closed = 0

    def push(self, *deltas: Delta | Exception | None) -> None:
        for delta in deltas:
            self.queue.put_nowait(delta)

    async def __aiter__(self) -> AsyncIterator[Delta]:
        while (delta := await self.queue.get()) is not None:
            self.taken += 1
            if isinstance(delta, Exception):
                raise delta
            yield delta

    async def aclose(self) -> None:
        self.closed += 1


class Bench:
    """The stage on an upstream that streams what the test pushes."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        self.stage = Dedup(lambda request: "http://p", self._spawn)
        self.bodies: list[Body] = []
        self.plain = asyncio.Event()
        self.calls = 0
        self.failure: Exception | None = None
        self.answering = asyncio.Event()
        self.answering.set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def upstream(self, request: Request, /) -> Response:
        self.calls += 1
        if not request.stream:
            await self.plain.wait()
            return Response(text="plain")
        await self.answering.wait()
        if self.failure is not None:
            raise self.failure
        self.bodies.append(Body())
        return Response(upstream="p", body=self.bodies[-1])

    async def open(self, request: Request | None = None) -> Response:
        return await self.stage(request or ask(), self.upstream)

    def at_rest(self) -> bool:
        return not self.tasks and self.stage.statistics()["in_flight"] == 0


async def turns(count: int = 8) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def whole(response: Response) -> str:
    assert response.body is not None
    return "".join([delta.text async for delta in response.body])


async def test_equal_streams_share_one_call_and_each_gets_all_of_it() -> None:
    bench = Bench()
    responses = await asyncio.gather(*(bench.open() for _ in range(50)))
    reading = [asyncio.create_task(whole(response)) for response in responses]
    bench.bodies[0].push(Delta(text="Good "), Delta(text="day"), END, None)
    assert set(await asyncio.gather(*reading)) == {"Good day"}
    assert (bench.calls, bench.bodies[0].closed) == (1, 1)
    assert [response.stored for response in responses] == [False] + [True] * 49
    assert responses[0].hit is None
    assert {response.hit for response in responses[1:]} == {Hit(kind="dedup")}
    await turns()
    assert bench.at_rest()


async def test_who_comes_late_begins_at_the_beginning_and_then_follows_live() -> None:
    bench = Bench()
    first = aiter((await bench.open()).body or Body())
    bench.bodies[0].push(Delta(text="a"), Delta(text="b"))
    assert [(await anext(first)).text, (await anext(first)).text] == ["a", "b"]
    late = aiter((await bench.open()).body or Body())
    assert [(await anext(late)).text, (await anext(late)).text] == ["a", "b"]
    waiting = asyncio.ensure_future(anext(late))
    await turns()
    assert not waiting.done()
    bench.bodies[0].push(Delta(text="c"), None)
    assert (await waiting).text == "c"
    assert (await anext(first)).text == "c"
    with pytest.raises(StopAsyncIteration):
        await anext(late)
    assert bench.calls == 1


async def test_a_stream_that_is_over_is_not_joined() -> None:
    bench = Bench()
    for expected in (1, 2):
        response = await bench.open()
        bench.bodies[-1].push(Delta(text="x"), None)
        assert await whole(response) == "x"
        assert bench.calls == expected


async def test_past_the_bound_who_comes_goes_alone_and_who_is_there_gets_everything() -> None:
    bench = Bench()
    responses = [await bench.open(), await bench.open()]
    reading = [asyncio.create_task(whole(response)) for response in responses]
    long = "x" * 400_000
    bench.bodies[0].push(*[Delta(text=long)] * 3)
    await turns(30)
    alone = await bench.open()
    assert (bench.calls, alone.stored, alone.body) == (2, False, bench.bodies[1])
    bench.bodies[0].push(END, None)
    assert [len(text) for text in await asyncio.gather(*reading)] == [1_200_000] * 2


async def test_the_fastest_reader_sets_the_pace() -> None:
    bench = Bench()
    response = await bench.open()
    bench.bodies[0].push(*[Delta(text=".")] * 200)
    await turns(300)
    assert bench.bodies[0].taken <= 17, "nobody reads, so little is asked for ahead"
    deltas = aiter(response.body or Body())
    for _ in range(100):
        await anext(deltas)
    await turns(300)
    assert 100 < bench.bodies[0].taken <= 120
    assert response.body is not None
    await response.body.aclose()


async def test_a_reader_that_stands_still_is_let_go_and_holds_up_nobody() -> None:
    bench = Bench()
    fast, slow = await bench.open(), await bench.open()
    reading = asyncio.create_task(whole(fast))
    standing = aiter(slow.body or Body())
    bench.bodies[0].push(Delta(text="first"))
    assert (await anext(standing)).text == "first"
    for _ in range(30):
        bench.bodies[0].push(Delta(text="x" * 100_000))
        await turns()
    bench.bodies[0].push(None)
    assert len(await reading) == 3_000_005
    with pytest.raises(QueueFull, match="behind the others") as caught:
        await anext(standing)
    assert "dedup=False" in caught.value.mend
    await turns()
    assert bench.at_rest()


async def test_the_last_reader_that_leaves_closes_the_upstreams_stream() -> None:
    bench = Bench()
    bodies = [(await bench.open()).body for _ in range(3)]
    bench.bodies[0].push(Delta(text="a"))
    for body in bodies:
        assert body is not None
        assert bench.bodies[0].closed == 0
        assert (await anext(aiter(body))).text == "a"
        await body.aclose()
        await body.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(aiter(body))
    assert bench.bodies[0].closed == 1
    assert bench.at_rest()


async def test_a_reader_that_is_thrown_away_leaves() -> None:
    bench = Bench()
    response = await bench.open()
    del response
    gc.collect()
    await turns()
    assert bench.bodies[0].closed == 1
    assert bench.at_rest()


async def test_a_stream_that_breaks_breaks_for_each_with_an_error_of_its_own() -> None:
    bench = Bench()
    responses = [await bench.open() for _ in range(3)]
    bench.bodies[0].push(Delta(text="a"), BadReply("cut", upstream="p"))
    errors = []
    for response in responses:
        deltas = aiter(response.body or Body())
        assert (await anext(deltas)).text == "a"
        with pytest.raises(BadReply, match="cut") as caught:
            await anext(deltas)
        errors.append(caught.value)
    assert len({id(error) for error in errors}) == 3
    await turns()
    assert bench.at_rest()
    assert (await bench.open()).stored is False


async def test_a_call_that_fails_before_its_stream_fails_for_all() -> None:
    bench = Bench()
    bench.failure = Overloaded("503", upstream="p")
    outcomes = await asyncio.gather(*(bench.open() for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Overloaded] * 3
    assert len({id(outcome) for outcome in outcomes}) == 3
    await turns()
    assert bench.at_rest()


async def test_a_stream_waits_for_an_equal_plain_request_and_is_then_asked_itself_of_the_store() -> None:
    bench = Bench()
    plain = asyncio.create_task(bench.open(ask(stream=False)))
    await turns()
    stream = asyncio.create_task(bench.open())
    await turns()
    assert bench.calls == 1
    bench.plain.set()
    assert (await plain).text == "plain"
    assert (await stream).body is not None
    assert bench.calls == 2, "the next stage has the answer in its store"


@given(st.data())
async def test_whoever_leaves_at_whatever_point_harms_nobody(data: st.DataObject) -> None:
    bench = Bench()
    bench.answering.clear()
    count = data.draw(st.integers(2, 6))
    leaving = data.draw(st.sets(st.integers(0, count - 1), max_size=count))
    pieces = [Delta(text=letter) for letter in "abcd"]

    async def read(leaves_after: int | None) -> str:
        response = await bench.open()
        assert response.body is not None
        text = ""
        try:
            async for delta in response.body:
                text += delta.text
                if leaves_after is not None and len(text) > leaves_after:
                    break
        finally:
            await response.body.aclose()
        return text

    readers = [
        asyncio.create_task(read(data.draw(st.integers(0, 4)) if number in leaving else None))
        for number in range(count)
    ]
    cancelled = {number for number in leaving if data.draw(st.booleans())}
    moments = {number: data.draw(st.integers(0, 12)) for number in cancelled}
    for moment in range(13):
        for number, when in moments.items():
            if when == moment:
                readers[number].cancel()
        if moment == 3:
            bench.answering.set()
        if moment > 4 and pieces and bench.bodies:
            bench.bodies[0].push(pieces.pop(0))
        await asyncio.sleep(0)
    for body in bench.bodies:
        body.push(*pieces, END, None)
    outcomes = await asyncio.gather(*readers, return_exceptions=True)
    for number, outcome in enumerate(outcomes):
        if number not in leaving:
            assert outcome == "abcd"
    await turns()
    assert bench.at_rest()
    assert bench.calls <= 1 or len(leaving) == count
    assert all(body.closed for body in bench.bodies)


def test_who_is_the_last_is_never_let_go_however_far_ahead_those_were_who_left() -> None:
    subject = Broadcast(bound_bytes=2_000)
    fast, slow = subject.join(), subject.join()
    for _ in range(10):
        subject.add(Delta(text="x"))
        subject.take(fast)
    subject.leave(fast)
    for _ in range(16):
        subject.add(Delta(text="y"))
    text = ""
    while (delta := subject.take(slow)) is not None:
        text += delta.text
    assert text == "x" * 10 + "y" * 16


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40)), max_size=60))
def test_what_is_kept_is_bounded_and_every_reader_has_a_gapless_answer(steps: list[tuple[int, int]]) -> None:
    """Against a plain model: every reader that was not let go has taken exactly a beginning of the answer."""
    subject = Broadcast(bound_bytes=1_000)
    said: list[str] = []
    places = [subject.join() for _ in range(3)]
    heard: list[list[str]] = [[] for _ in places]

    def read(place: Place) -> str:
        delta = subject.take(place)
        assert delta is not None
        return delta.text

    for who, size in steps:
        if who == 3:
            fastest = max(range(3), key=lambda number: places[number].taken)
            while subject.ahead >= 4:  # as the stage does: the fastest reader sets the pace
                heard[fastest].append(read(places[fastest]))
            said.append(str(len(said)) * size)
            subject.add(Delta(text=said[-1]))
            continue
        try:
            delta = subject.take(places[who])
        except QueueFull:
            assert places[who].cut_off
            continue
        if delta is not None:
            heard[who].append(delta.text)
        else:
            assert heard[who] == said
    for own in heard:
        assert own == said[: len(own)]
    lag = sum(128 + len(text) for text in said[min(len(own) for own in heard) :])
    if lag <= 1_000:
        assert not any(place.cut_off for place in places)
    assert subject.joinable == (sum(128 + len(text) for text in said) <= 1_000)
