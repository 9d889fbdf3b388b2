"""The dedup stage: one call for many, and nobody pays for another's impatience."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from agentic_synth.errors import Overloaded
from agentic_synth.stages.dedup import Dedup
from agentic_synth.types import Message, Request, Response, Reuse


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
        if self.failure is not None:
            raise self.failure
        return Response(text=f"answer {number}")

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
    assert sum(not answer.stored for answer in answers) == 1
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
    requests = [ask("a"), ask("b"), ask(dedup=False), ask(dedup=False), ask(stream=True)]
    await asyncio.gather(*(bench.begin(request) for request in requests))
    assert bench.calls == 5


async def test_when_the_engine_ends_the_call_its_waiters_are_told() -> None:
    bench = Bench()
    waiting = [bench.begin(ask()) for _ in range(2)]
    await turns()
    for task in list(bench.tasks):
        task.cancel()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(outcome).__name__ for outcome in outcomes] == ["Rejected"] * 2
