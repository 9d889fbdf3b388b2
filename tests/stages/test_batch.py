"""The batch stage: every request answered once and with its own answer, whatever fails, leaves or comes late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from hashlib import blake2b
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentic_synth.errors import AttemptTimeout, AuthFailed, BudgetSpent, InvalidRequest, Overloaded, SynthError
from agentic_synth.policies.attempt import Attempt
from agentic_synth.policies.batch_size import BatchSize
from agentic_synth.policies.batching import BatchLimits
from agentic_synth.policies.company import Arrays
from agentic_synth.stages.batch import Batcher
from agentic_synth.testing.clock import FakeClock
from agentic_synth.types import Call, Message, Reply, Request, Response, Usage
from tests.stages.scripted import cancelled_at_every_await

LINGER = 0.01


def hash_of(text: object) -> bytes:
    return blake2b(str(text).encode(), digest_size=8).digest()


def asking(text: str, **fields: Any) -> Call:
    request = Request(**{"model": "p/e", "messages": (Message("user", text),), "kind": "embedding", **fields})
    return Call(request=request, model="e")


def text_of(request: Request) -> str:
    return str(request.messages[0].content)


class Embedding:
    """The stage around an upstream that answers each text with its hash; texts with ``bad`` in them it refuses."""

    def __init__(
        self,
        *,
        seconds: float = 0.1,
        limits: BatchLimits | None = None,
        size: BatchSize | None = None,
        fails: Callable[[Call], Exception | None] = lambda call: None,
        autojump: bool = True,
    ) -> None:
        self.clock = FakeClock(autojump=autojump)
        self.seconds = seconds
        self.fails = fails
        self.calls: list[list[str]] = []
        self.instants: list[float] = []
        self.whole: list[Call] = []
        self.running = 0
        self.cancelled = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self.size = size or BatchSize()
        arrays = Arrays(self.size, limits or BatchLimits(), linger=LINGER)
        self.stage = Batcher(arrays, None, self.clock, Random(3), self.spawn)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def upstream(self, call: Call, /) -> Reply:
        requests = call.joined or (call.request,)
        self.whole.append(call)
        self.calls.append([text_of(request) for request in requests])
        self.instants.append(self.clock.now())
        self.running += 1
        try:
            await self.clock.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        if (error := self.fails(call)) is not None:
            raise error
        if any("bad" in text_of(request) for request in requests):
            raise InvalidRequest("a text is bad", status=400)
        parts = tuple(Response(vector=hash_of(text_of(one)), usage=Usage(len(text_of(one)))) for one in requests)
        if not call.joined:
            return Reply(response=parts[0])
        usage = Usage(sum(part.usage.input_tokens for part in parts))
        return Reply(response=Response(usage=usage, cost=usage.input_tokens * 2.0), parts=parts)

    def start(self, text: str, **fields: Any) -> asyncio.Task[Reply]:
        return asyncio.ensure_future(self.stage(asking(text, **fields), self.upstream))

    async def first(self) -> asyncio.Task[Reply]:
        """A request that is under way, so that the others wait for company."""
        task = self.start("first")
        await asyncio.sleep(0)
        return task

    async def at_rest(self) -> bool:
        for _ in range(4):
            await asyncio.sleep(0)
        held = sum(lane.batching.in_flight for lane in self.stage._lanes.values())
        return not (self.running or self.tasks or held or self.stage._lanes)


async def test_chat_and_streams_pass_by() -> None:
    embedding = Embedding()
    call = Call(request=Request(model="p/m", messages=(Message("user", "hi"),)), model="m")
    await embedding.stage(call, embedding.upstream)
    assert embedding.whole == [call]
    assert embedding.stage.statistics().calls == 0


async def test_one_alone_goes_at_once_and_the_others_together() -> None:
    embedding = Embedding()
    first = await embedding.first()
    others = [embedding.start(f"text {number}") for number in range(20)]
    replies = await asyncio.gather(first, *others)
    assert [len(call) for call in embedding.calls] == [1, 20]
    assert embedding.instants == [0.0, LINGER]
    assert [reply.response.vector for reply in replies[1:]] == [hash_of(f"text {number}") for number in range(20)]
    assert await embedding.at_rest()


async def test_nobody_waits_for_company_when_nobody_is_under_way() -> None:
    embedding = Embedding(seconds=LINGER / 2)
    await asyncio.gather(await embedding.first(), embedding.start("second"))
    assert embedding.instants == [0.0, LINGER / 2]


async def test_a_full_batch_never_blocks_and_never_loses_its_closer() -> None:
    """The classic bug: whoever fills the batch must send it, and whoever comes next must not wait for ever."""
    embedding = Embedding(seconds=1.0, limits=BatchLimits(items=4))
    first = await embedding.first()
    others = [embedding.start(f"text {number}") for number in range(9)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [len(call) for call in embedding.calls] == [1, 4, 4]
    assert embedding.clock.now() == 0.0
    replies = await asyncio.gather(first, *others)
    assert [len(call) for call in embedding.calls] == [1, 4, 4, 1]
    assert embedding.instants[-1] == LINGER
    assert len({reply.response.vector for reply in replies}) == 10
    assert await embedding.at_rest()


async def test_a_batch_that_fills_at_the_instant_it_is_due_goes_once() -> None:
    embedding = Embedding(seconds=1.0, limits=BatchLimits(items=2), autojump=False)
    waiting = [await embedding.first(), embedding.start("one")]
    await embedding.clock.advance(LINGER)
    waiting += [embedding.start("two"), embedding.start("three"), embedding.start("four")]
    await embedding.clock.advance(5.0)
    await asyncio.gather(*waiting)
    assert embedding.calls == [["first"], ["one"], ["two", "three"], ["four"]]


async def test_different_parameters_priorities_and_runs_do_not_travel_together() -> None:
    embedding = Embedding()
    first = await embedding.first()
    asked: list[dict[str, Any]] = [
        {"parameters": {"dimensions": 8}},
        {"parameters": {"dimensions": 9}},
        {"priority": 1},
        {"run": "r"},
        {},
    ]
    pairs = [embedding.start(f"{turn}{place}", **fields) for turn in "ab" for place, fields in enumerate(asked)]
    await asyncio.gather(first, *pairs)
    assert ["a4", "b4"] in embedding.calls
    assert all(len({text[1] for text in call}) == 1 for call in embedding.calls[1:])
    assert await embedding.at_rest()


async def test_only_the_bad_text_fails() -> None:
    embedding = Embedding()
    first = await embedding.first()
    texts = [f"text {number}" for number in range(64)]
    texts[17] = "bad"
    outcomes = await asyncio.gather(first, *(embedding.start(text) for text in texts), return_exceptions=True)
    wrong = [place for place, outcome in enumerate(outcomes[1:]) if isinstance(outcome, BaseException)]
    assert wrong == [17]
    assert len(embedding.calls) == 1 + 1 + 2 * 6
    assert embedding.stage.statistics().splits == 6
    assert embedding.size.most_items == float("inf")
    assert await embedding.at_rest()


async def test_what_is_refused_for_its_number_is_split_once_and_remembered() -> None:
    def fails(call: Call) -> Exception | None:
        return InvalidRequest("at most 10 inputs", status=400) if len(call.joined) > 10 else None

    embedding = Embedding(fails=fails)
    outcomes = await asyncio.gather(*(embedding.start(f"{number}") for number in range(41)))
    assert [reply.response.vector for reply in outcomes] == [hash_of(number) for number in range(41)]
    assert embedding.size.most_items == 10
    calls = len(embedding.calls)
    await asyncio.gather(*(embedding.start(f"{number}") for number in range(41)))
    assert len(embedding.calls) - calls == 1 + 4
    assert await embedding.at_rest()


async def test_a_budget_that_covers_a_part_pays_for_that_part() -> None:
    left = [10]

    def fails(call: Call) -> Exception | None:
        wanted = len(call.joined) or 1
        if wanted > left[0]:
            return BudgetSpent("no")
        left[0] -= wanted
        return None

    embedding = Embedding(fails=fails)
    outcomes = await asyncio.gather(
        await embedding.first(), *(embedding.start(f"{number}") for number in range(16)), return_exceptions=True
    )
    assert sum(isinstance(outcome, Reply) for outcome in outcomes) == 10
    assert embedding.size.most_items == float("inf")


async def test_a_failure_is_everybodys_own_and_comes_back_as_one() -> None:
    embedding = Embedding(fails=lambda call: Overloaded("503", status=503) if call.joined else None)
    tasks = [await embedding.first(), *(embedding.start(f"{number}") for number in range(8))]
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    errors = [outcome for outcome in outcomes if isinstance(outcome, Overloaded)]
    assert len({id(error) for error in errors}) == len(errors) == 8
    assert {error.sharers for error in errors} == {8}
    assert len({error.chance for error in errors}) == 1
    assert errors[0].chance is not None
    assert await embedding.at_rest()


async def test_what_failed_before_travels_in_smaller_company() -> None:
    embedding = Embedding(limits=BatchLimits(items=64))

    def again(text: str, failures: int) -> asyncio.Task[Reply]:
        attempt = Attempt.of(asking(text).request, failures, (), None, failures)
        return asyncio.ensure_future(embedding.stage(Call(request=attempt, model="e"), embedding.upstream))

    await asyncio.gather(*(again(f"{failures} {number}", failures) for failures in (1, 2, 3) for number in range(17)))
    largest = [max(len(call) for call in embedding.calls if call[0][0] == f"{failures}") for failures in (1, 2, 3)]
    assert largest == [16, 8, 1]


async def test_what_no_retry_mends_is_told_to_all() -> None:
    embedding = Embedding(fails=lambda call: AuthFailed("401", status=401))
    tasks = [await embedding.first(), *(embedding.start(f"{number}") for number in range(5))]
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [AuthFailed] * 6
    assert len(embedding.calls) == 2


async def test_each_pays_its_part() -> None:
    embedding = Embedding()
    replies = await asyncio.gather(await embedding.first(), *(embedding.start("x" * number) for number in (1, 2, 5)))
    assert [reply.response.cost for reply in replies[1:]] == [2.0, 4.0, 10.0]


async def test_the_deadline_of_one_is_not_that_of_the_call() -> None:
    embedding = Embedding()
    await asyncio.gather(await embedding.first(), embedding.start("a", deadline=5.0), embedding.start("b"))
    assert embedding.whole[1].request.deadline is None
    assert embedding.whole[1].joined[0].deadline == 5.0


async def test_cancelled_callers_leave_and_harm_nobody() -> None:
    embedding = Embedding(autojump=False)
    waiting = [await embedding.first(), *(embedding.start(f"{number}") for number in range(6))]
    await embedding.clock.settle()
    waiting[1].cancel()  # while it waits for company
    await embedding.clock.advance(LINGER)
    assert embedding.calls[1] == ["1", "2", "3", "4", "5"]
    waiting[2].cancel()  # while it is under way, and the first of its call
    await embedding.clock.advance(1.0)
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [isinstance(outcome, Reply) for outcome in outcomes] == [True, False, False, True, True, True, True]
    assert embedding.cancelled == 0
    assert await embedding.at_rest()


async def test_the_last_caller_who_leaves_ends_the_call() -> None:
    embedding = Embedding(autojump=False)
    waiting = [await embedding.first(), *(embedding.start(f"{number}") for number in range(3))]
    await embedding.clock.advance(LINGER)
    for task in waiting[1:]:
        task.cancel()
    await asyncio.gather(*waiting[1:], return_exceptions=True)
    await embedding.clock.settle()
    assert (embedding.cancelled, embedding.running) == (1, 1)
    await embedding.clock.advance(1.0)
    assert await embedding.at_rest()


async def test_nothing_is_left_wherever_a_caller_is_cancelled() -> None:
    embedding = Embedding(autojump=False)

    async def three() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(embedding.stage(asking(f"{number}"), embedding.upstream))

    await cancelled_at_every_await(lambda: asyncio.ensure_future(three()), embedding.clock)
    await embedding.clock.advance(1.0)
    assert await embedding.at_rest()


async def test_a_call_that_is_cancelled_before_its_first_step_is_over_all_the_same() -> None:
    embedding = Embedding()
    task = embedding.start("gone")
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        task = embedding.start("gone")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await embedding.at_rest()
    await embedding.start("next")
    assert embedding.instants[-1] == embedding.clock.now() - embedding.seconds


async def test_calls_that_time_out_make_the_next_ones_smaller() -> None:
    embedding = Embedding(
        seconds=60.0,
        size=BatchSize(start=500.0),
        fails=lambda call: AttemptTimeout("silent") if len(call.joined) > 4 else None,
    )
    texts = [embedding.start(f"{number}") for number in range(100)]
    outcomes = await asyncio.gather(*texts, return_exceptions=True)
    assert any(isinstance(outcome, AttemptTimeout) for outcome in outcomes)
    assert embedding.size.goal < 500.0


async def test_when_the_engine_closes_nobody_is_left_waiting() -> None:
    embedding = Embedding(autojump=False)
    waiting = [await embedding.first(), *(embedding.start(f"{number}") for number in range(3))]
    await embedding.clock.settle()
    embedding.stage.close()
    for task in list(embedding.tasks):
        task.cancel()
    outcomes = await asyncio.gather(*waiting, embedding.start("late"), return_exceptions=True)
    assert [type(outcome).__name__ for outcome in outcomes] == ["Rejected"] * 5
    assert await embedding.at_rest()


steps = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "ask", "ask", "bad", "cancel", "wait", "turn"]),
        st.integers(0, 30),
        st.sampled_from([0.0, 0.004, 0.02, 0.2]),
    ),
    min_size=1,
    max_size=60,
)


@settings(deadline=None, max_examples=150)
@given(steps, st.integers(1, 7), st.integers(0, 2**32))
def test_everyone_is_answered_once_with_its_own_answer(
    plan: list[tuple[str, int, float]], most: int, seed: int
) -> None:
    rng = Random(seed)

    def fails(call: Call) -> Exception | None:
        return Overloaded("503", status=503) if rng.random() < 0.15 else None

    async def play() -> None:
        embedding = Embedding(limits=BatchLimits(items=most), fails=fails, autojump=False)
        asked: list[tuple[str, asyncio.Task[Reply]]] = []
        for number, (step, place, seconds) in enumerate(plan):
            if step in {"ask", "bad"}:
                text = f"{step} {number}"
                asked.append((text, embedding.start(text, priority=place % 2)))
            elif step == "cancel" and asked:
                asked[place % len(asked)][1].cancel()
            elif step == "wait":
                await embedding.clock.advance(seconds)
            else:
                await asyncio.sleep(0)
        await embedding.clock.run_until_idle(60.0)
        assert all(task.done() for _, task in asked)
        for text, task in asked:
            _check(text, task)
        assert await embedding.at_rest()

    asyncio.run(play())


def _check(text: str, task: asyncio.Task[Reply]) -> None:
    if task.cancelled():
        return
    error = task.exception()
    if error is None:
        assert not text.startswith("bad")
        assert task.result().response.vector == hash_of(text)
    else:
        assert isinstance(error, Overloaded) or (isinstance(error, InvalidRequest) and text.startswith("bad"))


async def test_no_answer_of_many_is_anothers() -> None:
    """The seeded simulation of `benchmarks/batching.py` in small: shuffled arrivals, failures, bad texts."""
    rng = Random(5)
    embedding = Embedding(
        fails=lambda call: Overloaded("503", status=503) if rng.random() < 0.05 else None,
        limits=BatchLimits(items=50),
    )

    async def until_answered(text: str) -> None:
        for _ in range(200):
            try:
                reply = await embedding.stage(asking(text), embedding.upstream)
            except SynthError:
                await embedding.clock.sleep(rng.random())
            else:
                assert reply.response.vector == hash_of(text)
                return
        pytest.fail(f"{text} was never answered")

    await asyncio.gather(*(until_answered(f"text {number}") for number in range(3_000)))
    assert await embedding.at_rest()
