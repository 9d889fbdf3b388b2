"""The dedup stage: one call for many, and nobody pays for another's impatience."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentic_synth.errors import DeadlinePassed, Overloaded, Stopped
from agentic_synth.stages.dedup import Dedup
from agentic_synth.types import Hit, Message, Request, Response, Reuse


def ask(text: str = "hi", **fields: Any) -> Request:
    return Request(**{"model": "p/m", "messages": (Message("user", text),), **fields})


class Bench:
    """The stage on an upstream that answers when it is told to."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        self.stage = Dedup(lambda request: "http://p", self._spawn)
        self.calls = 0
        self.cancelled = 0
        self.failure: Exception | None = None
        self.failures: dict[int, Exception] = {}
        self.hit: Hit | None = None
        self.answering = asyncio.Event()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def upstream(self, request: Request, /) -> Response:
        self.calls += 1
        number = self.calls
        try:
            await self.answering.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        failure = self.failures.get(number, self.failure)
        if failure is not None:
            raise failure
        return Response(text=f"answer {number}", hit=self.hit, stored=self.hit is not None)

    def begin(self, request: Request) -> asyncio.Task[Response]:
        return asyncio.create_task(self._run(request))

    async def _run(self, request: Request) -> Response:
        return await self.stage(request, self.upstream)

    def at_rest(self) -> bool:
        return not self.tasks and self.stage.statistics()["in_flight"] == 0


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_ten_thousand_equal_requests_make_one_call() -> None:
    bench = Bench()
    waiting = [bench.begin(ask()) for _ in range(10_000)]
    await turns()
    bench.answering.set()
    answers = await asyncio.gather(*waiting)
    assert bench.calls == 1
    assert {answer.text for answer in answers} == {"answer 1"}
    assert [answer.stored for answer in answers] == [False] + [True] * 9_999
    assert [answer.hit for answer in answers] == [None] + [Hit(kind="dedup")] * 9_999
    await turns()
    assert bench.at_rest()


async def test_cancelled_waiters_harm_nobody_even_the_first() -> None:
    bench = Bench()
    waiting = [bench.begin(ask()) for _ in range(10)]
    await turns()
    for task in waiting[:7]:
        task.cancel()
    await turns()
    assert bench.cancelled == 0
    bench.answering.set()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert [isinstance(answer, Response) for answer in answers] == [False] * 7 + [True] * 3
    assert bench.calls == 1


async def test_the_last_waiter_that_leaves_cancels_the_call() -> None:
    bench = Bench()
    waiting = [bench.begin(ask()) for _ in range(3)]
    await turns()
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await turns()
    assert (bench.calls, bench.cancelled) == (1, 1)
    assert bench.at_rest()


async def test_a_failure_is_everybodys_own_and_is_not_remembered() -> None:
    bench = Bench()
    bench.failure = Overloaded("503", upstream="p", status=503)
    waiting = [bench.begin(ask()) for _ in range(3)]
    await turns()
    bench.answering.set()
    errors = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(error, Overloaded) and error.status == 503 for error in errors)
    assert len({id(error) for error in errors}) == 3
    bench.failure = None
    assert (await bench.begin(ask())).text == "answer 2"


@pytest.mark.parametrize("reuse", ["never", "refresh", "no_store"])
async def test_who_wants_an_answer_of_its_own_gets_one(reuse: Reuse) -> None:
    bench = Bench()
    bench.answering.set()
    answers = await asyncio.gather(*(bench.begin(ask(reuse=reuse)) for _ in range(3)))
    assert (bench.calls, [answer.stored for answer in answers]) == (3, [False] * 3)


async def test_different_requests_and_those_that_opted_out_go_alone() -> None:
    bench = Bench()
    bench.answering.set()
    requests = [ask("a"), ask("b"), ask(dedup=False), ask(dedup=False), ask(namespace="n")]
    await asyncio.gather(*(bench.begin(request) for request in requests))
    assert bench.calls == 5


async def test_where_asking_costs_nothing_nothing_is_shared() -> None:
    bench = Bench()
    bench.answering.set()
    free = Dedup(lambda request: None, asyncio.create_task)
    answers = await asyncio.gather(*(free(ask(), bench.upstream) for _ in range(3)))
    assert (bench.calls, [answer.stored for answer in answers]) == (3, [False] * 3)


async def test_when_the_engine_ends_the_call_its_waiters_are_told() -> None:
    bench = Bench()
    waiting = [bench.begin(ask()) for _ in range(2)]
    await turns()
    for task in list(bench.tasks):
        task.cancel()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(outcome).__name__ for outcome in outcomes] == ["Rejected"] * 2


@given(st.sets(st.integers(0, 7)), st.integers(0, 6))
async def test_any_waiters_may_be_cancelled_at_any_moment(leaving: set[int], moment: int) -> None:
    bench = Bench()
    waiting = [bench.begin(ask()) for _ in range(8)]
    await turns(moment)
    for number in leaving:
        waiting[number].cancel()
    await turns()
    bench.answering.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [isinstance(outcome, Response) for outcome in outcomes] == [number not in leaving for number in range(8)]
    assert bench.calls <= 1
    await turns()
    assert bench.at_rest()


@pytest.mark.parametrize("own", [DeadlinePassed("too late"), Stopped("another run was stopped")])
async def test_the_terms_of_whoever_asked_first_are_no_concern_of_the_others(own: Exception) -> None:
    bench = Bench()
    bench.failures[1] = own
    waiting = [bench.begin(ask(deadline=None if number else 1.0)) for number in range(5)]
    await turns()
    bench.answering.set()
    first, *others = await asyncio.gather(*waiting, return_exceptions=True)
    assert type(first) is type(own)
    assert [other.text for other in others if isinstance(other, Response)] == ["answer 2"] * 4
    assert bench.calls == 2


async def test_followers_of_a_stored_answer_are_told_that_it_was_stored() -> None:
    bench = Bench()
    bench.hit = Hit(kind="exact", key="ab")
    bench.answering.set()
    answers = await asyncio.gather(*(bench.begin(ask()) for _ in range(3)))
    assert {(answer.stored, answer.hit) for answer in answers} == {(True, bench.hit)}


async def test_an_engine_that_ends_before_the_call_began_leaves_nobody_waiting() -> None:
    bench = Bench()

    def closed(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.cancel()
        return task

    stage = Dedup(lambda request: "http://p", closed)
    with pytest.raises(Exception, match="engine was closed"):
        await stage(ask(), bench.upstream)
    assert stage.statistics()["in_flight"] == 0
