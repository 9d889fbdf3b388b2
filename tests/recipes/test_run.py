"""The flow of a run: in order, bounded, exactly as many rows as were asked, and nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import itertools
import random
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentic_synth.errors import (
    AuthFailed,
    BudgetSpent,
    CircuitOpen,
    NotCached,
    OutputError,
    Overloaded,
    Stopped,
    StoreError,
)
from agentic_synth.recipes.rows import Filled
from agentic_synth.recipes.run import Flow, RowRun
from agentic_synth.telemetry.run_statistics import RunStatistics
from agentic_synth.types import Request, Response
from tests.recipes.row_flow import Model, Said, echo, filled_all, lot, made, refused, released, rows_of, run_of, taken

RECIPE = {
    "refills": 1,
    "columns": {
        "number": {"sequence": {"start": 0}},
        "size": {"int": {"min": 0, "max": 99}},
        "question": {"prompt": "Ask {{ size }} things of {{ number % 5 }}.", "regenerate": 1},
        "answer": {"prompt": "Answer {{ question }}", "regenerate": 0},
    },
    "accept": ["size < 80"],
}
PLAIN: dict[str, Any] = {"columns": {"number": {"sequence": {"start": 0}}, "text": {"prompt": "Of {{ number }}."}}}


def moody(request: Request) -> Said:
    return refused() if lot(request, "mood") < 0.4 else echo(request)


def numbers_of(filled: list[Filled]) -> list[int]:
    return [one.row["number"] for one in filled if one.row is not None]


def number_in(request: Request) -> int:
    return int(str(request.messages[0].content).rstrip(".").split()[-1])


async def turns(count: int = 50) -> None:
    """Let everybody else go on for a while."""
    for _ in range(count):
        await asyncio.sleep(0)


# Which rows come out -------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(
    wanted=st.integers(0, 60),
    window=st.integers(1, 40),
    keep=st.integers(1, 10),
    more=st.integers(0, 30),
    seed=st.integers(0, 10**6),
)
async def test_the_first_accepted_rows_in_slot_order_at_any_speed(
    wanted: int, window: int, keep: int, more: int, seed: int
) -> None:
    reference = [one.row for one in await filled_all(rows_of(RECIPE, Model(moody)), 2 * wanted) if one.row is not None]
    model = Model(moody, rng=random.Random(seed))
    flow = Flow(wanted=wanted, spare=wanted, window=window, keep=keep, lead=keep + more)
    rows = await made(RECIPE, model, flow)
    assert rows == reference[:wanted]
    assert model.in_flight == 0
    paid = len(model.asked)
    model.rng = random.Random(seed + 1)
    assert await made(RECIPE, model, flow) == rows
    assert len(model.asked) == paid


@settings(deadline=None, max_examples=15)
@given(window=st.integers(1, 40), seed=st.integers(0, 10**6))
async def test_unordered_gives_the_same_rows(window: int, seed: int) -> None:
    ordered = await made(RECIPE, Model(moody), Flow(wanted=40, spare=40))
    model = Model(moody, rng=random.Random(seed))
    rows = await made(RECIPE, model, Flow(wanted=40, spare=40, window=window, ordered=False))
    assert sorted(rows, key=lambda row: row["number"]) == ordered


async def test_without_spare_slots_a_slot_that_finds_no_row_is_missing() -> None:
    run, statistics = run_of(RECIPE, Model(moody), Flow(wanted=60))
    filled = await taken(run)
    assert [one.index for one in filled] == list(range(60))
    assert run.exhausted == sum(one.row is None for one in filled) > 0
    assert statistics.rejections.total > run.exhausted


async def test_spare_slots_are_bounded() -> None:
    recipe = {**PLAIN, "accept": ["number < 5"], "refills": 0}
    run, _ = run_of(recipe, Model(), Flow(wanted=10, spare=10))
    filled = await taken(run)
    assert numbers_of(filled) == [0, 1, 2, 3, 4]
    assert len(filled) == 20
    assert run.exhausted == 15


async def test_the_seeds_decide_how_many_where_nobody_says() -> None:
    recipe = {"columns": {"text": {"prompt": "Of {{ topic }}."}}}
    run, _ = run_of(recipe, Model(), Flow(wanted=None), seeds=[{"topic": str(number)} for number in range(37)])
    assert [one.row["topic"] for one in await taken(run) if one.row] == [str(number) for number in range(37)]


async def test_a_killed_run_goes_on_with_what_was_answered() -> None:
    whole = Model(moody, rng=random.Random(1))
    rows = await made(RECIPE, whole, Flow(wanted=60, spare=60, window=16))
    model = Model(moody, rng=random.Random(2))
    rng = random.Random(3)
    for _ in range(6):
        run, _ = run_of(RECIPE, model, Flow(wanted=60, spare=60, window=16))
        task = asyncio.create_task(taken(run))
        for _ in range(rng.randrange(10, 60)):
            await asyncio.sleep(0)
            model.release()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert model.in_flight == 0
        model.waiting.clear()
    assert await made(RECIPE, model, Flow(wanted=60, spare=60, window=16)) == rows
    assert len(model.stored) == len(whole.stored)
    assert len(model.asked) <= len(whole.asked) + 6 * 16


# A slow row ----------------------------------------------------------------------------------------------------------


class Slow(Model):
    """A model that answers everything at once, but the first row only when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.told = asyncio.Event()

    async def submit(self, request: Request) -> Any:
        if number_in(request) == 0:
            await self.told.wait()
        return await super().submit(request)


@pytest.mark.parametrize(("keep", "lead", "answered"), [(3, 200, 199), (3, 3, 2), (200, 10_000, 999)])
async def test_a_slow_row_stalls_the_others_only_when_they_are_far_ahead(keep: int, lead: int, answered: int) -> None:
    model = Slow()
    run, _ = run_of(PLAIN, model, Flow(wanted=1000, window=8, keep=keep, lead=lead))
    out: list[Filled] = []
    task = asyncio.create_task(taken(run, out))
    await turns(3_000)
    assert (len(out), len(model.asked)) == (0, answered)
    model.told.set()
    await task
    assert numbers_of(out) == list(range(1000))
    assert len(model.asked) == 1000
    assert (model.served > 0) == (answered > keep)


async def test_rows_that_wait_behind_a_slow_one_are_small() -> None:
    def long(request: Request) -> str:
        return f"{number_in(request)} " + "x" * 20_000

    model = Slow()
    model.law = long
    recipe = {"columns": {**PLAIN["columns"], "text": {"prompt": "Of {{ number }}." + " " * 10_000 + "{{ number }}"}}}
    run, _ = run_of(recipe, model, Flow(wanted=2_001, window=8, keep=10, lead=4_000))
    task = asyncio.create_task(taken(run))
    tracemalloc.start()
    try:
        while len(model.asked) < 2_000:
            await asyncio.sleep(0)
        await turns()
        # What the model of this test remembers, a store has on its disk.
        answers = sum(len(response.text) for response in model.stored.values())
        model.asked.clear()
        gc.collect()
        waiting = tracemalloc.get_traced_memory()[0] - answers
    finally:
        tracemalloc.stop()
    assert len(model.stored) == 2_000
    assert waiting < 2_000 * 2_000
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_row_that_failed_while_it_waited_is_not_asked_again() -> None:
    model = Slow()
    model.law = lambda request: Overloaded("busy") if number_in(request) % 10 == 3 else echo(request)
    run, statistics = run_of(PLAIN, model, Flow(wanted=100, window=8, keep=2, lead=200))
    task = asyncio.create_task(taken(run))
    await turns(500)
    model.told.set()
    filled = await task
    assert len(model.asked) == 100
    assert numbers_of(filled) == [number for number in range(100) if number % 10 != 3]
    assert run.failed == statistics.failures.total == 10
    assert statistics.attempts == 90


async def test_a_row_whose_stored_answer_is_gone_is_left_out() -> None:
    model = Slow()
    run, _ = run_of(PLAIN, model, Flow(wanted=20, window=8, keep=2, lead=200))
    task = asyncio.create_task(taken(run))
    await turns(200)
    model.stored.clear()
    model.law = lambda request: Overloaded("busy") if number_in(request) else echo(request)
    model.told.set()
    filled = await task
    assert [one.index for one in filled] == list(range(20))
    assert len(numbers_of(filled)) == 3, "the slow one, and the two that waited in full"
    assert run.failed == 17


# A slow taker --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ordered", [True, False])
async def test_a_slow_taker_stops_the_asking(ordered: bool) -> None:
    model = Model()
    run, _ = run_of(PLAIN, model, Flow(wanted=10_000, window=32, ordered=ordered))
    batches = run.batches()
    got = [*await anext(batches)]
    await turns(3_000)
    first = len(model.asked)
    assert first <= 512 + 2 * 32 + len(got)
    await turns(3_000)
    assert len(model.asked) == first
    async for batch in batches:
        got += batch
        assert len(batch) <= 512 + 32
    assert sorted(numbers_of(got)) == list(range(10_000))


# The end of a run ----------------------------------------------------------------------------------------------------


HOPELESS = [AuthFailed("wrong key"), BudgetSpent("spent"), StoreError("full"), CircuitOpen("gone"), ValueError("ours")]


@pytest.mark.parametrize("error", HOPELESS)
async def test_a_hopeless_error_ends_the_run_after_what_was_made(error: Exception) -> None:
    def law(request: Request) -> Said:
        return error if number_in(request) >= 30 else echo(request)

    run, statistics = run_of(PLAIN, Model(law), Flow(wanted=1000, window=8))
    out: list[Filled] = []
    with pytest.raises(type(error), match=str(error)):
        await taken(run, out)
    assert numbers_of(out) == list(range(30))
    assert run.stopped is error
    assert run.failed <= 8
    assert statistics.in_flight == 0


async def test_rows_in_flight_when_the_run_ends_still_come_out() -> None:
    def law(request: Request) -> Said:
        return BudgetSpent("spent") if number_in(request) == 3 else echo(request)

    model = Model(law, rng=random.Random(0))
    run, _ = run_of(PLAIN, model, Flow(wanted=100, window=8))
    out: list[Filled] = []
    async with released(model):
        with pytest.raises(BudgetSpent):
            await taken(run, out)
    opened = len(model.asked)
    assert numbers_of(out) == [number for number in range(opened) if number != 3]
    assert opened < 100


async def test_a_worse_error_is_told_rather_than_the_spent_budget() -> None:
    def law(request: Request) -> Said:
        return {2: BudgetSpent("spent"), 4: AuthFailed("wrong key")}.get(number_in(request), echo(request))

    run, _ = run_of(PLAIN, Model(law), Flow(wanted=8, window=8))
    with pytest.raises(AuthFailed):
        await taken(run)


async def test_a_row_that_an_upstream_failed_is_left_out_and_counted() -> None:
    model = Model(lambda request: Overloaded("busy") if number_in(request) % 3 == 0 else echo(request))
    run, statistics = run_of(PLAIN, model, Flow(wanted=90, spare=90, window=1))
    filled = await taken(run)
    assert numbers_of(filled) == [number for number in range(90) if number % 3]
    assert run.failed == 30
    assert statistics.failures.as_dict() == {"Overloaded": 30}
    model.law = echo
    again, _ = run_of(PLAIN, model, Flow(wanted=90, spare=90))
    assert numbers_of(await taken(again)) == list(range(90))
    assert len(model.asked) == 90 + 30


async def test_twenty_failures_in_a_row_end_the_run() -> None:
    model = Model(lambda request: Overloaded("busy") if number_in(request) >= 50 else echo(request))
    run, _ = run_of(PLAIN, model, Flow(wanted=1000, window=1))
    with pytest.raises(Overloaded):
        await taken(run)
    assert run.failed == 20
    assert len(model.asked) == 70


async def test_what_is_not_stored_is_left_out_where_only_that_may_be_used() -> None:
    model = Model(lambda request: NotCached("not here") if number_in(request) % 2 else echo(request))
    run, _ = run_of(PLAIN, model, Flow(wanted=100, window=1))
    assert numbers_of(await taken(run)) == list(range(0, 100, 2))
    model.law = lambda request: NotCached("not here")
    run, _ = run_of(PLAIN, model, Flow(wanted=100, window=1), epoch=1)
    assert numbers_of(await taken(run)) == []
    assert run.failed == 100


async def test_stop_opens_no_further_slot_and_lets_what_is_in_flight_finish() -> None:
    model = Model(rng=random.Random(0))
    run, _ = run_of(PLAIN, model, Flow(wanted=1000, window=16))
    async with released(model):
        out: list[Filled] = []
        async for batch in run.batches():
            out += batch
            if len(out) >= 20:
                run.stop()
    assert numbers_of(out) == list(range(len(model.asked)))
    assert 20 <= len(out) <= 20 + 2 * 16
    assert run.stopped is None


class Stoppable(Model):
    """A model that lets at most *permits* answers be under way, and lets nobody in after the stop."""

    def __init__(self, permits: int) -> None:
        super().__init__(rng=random.Random(0))
        self.permits = asyncio.Semaphore(permits)
        self.stopped = False
        self.halts = 0

    def halt(self) -> None:
        self.stopped = True
        self.halts += 1

    async def submit(self, request: Request) -> Response:
        async with self.permits:
            if self.stopped:
                raise Stopped("stopped")
            return await super().submit(request)


async def test_at_the_stop_rows_that_were_not_sent_are_not_made_and_did_not_fail() -> None:
    model, statistics = Stoppable(3), RunStatistics(1000)
    run = RowRun(rows_of(PLAIN, model), None, statistics, Flow(wanted=1000, window=64), model.halt)
    out: list[Filled] = []
    async with released(model):
        async for batch in run.batches():
            out += batch
            if len(out) >= 10 and not model.stopped:
                sent = len(model.asked)
                run.stop()
    assert len(model.asked) == sent
    assert numbers_of(out) == list(range(sent)), "what was under way came out"
    assert (run.failed, run.stopped, run.cut_short, model.halts) == (0, None, True, 1)
    assert (statistics.failures.total, statistics.in_flight, statistics.attempts) == (0, 0, sent)


@pytest.mark.parametrize("seeds", [None, 12])
async def test_stopped_when_every_row_is_on_its_way_it_is_not_cut_short(seeds: int | None) -> None:
    model = Stoppable(64)
    given = [{"topic": str(number)} for number in range(seeds)] if seeds else None
    rows = rows_of(PLAIN, model, seeds=given)
    wanted = None if seeds else 12
    run = RowRun(rows, iter(given) if given else None, RunStatistics(), Flow(wanted=wanted, window=12), model.halt)
    task = asyncio.create_task(taken(run))
    await turns()
    assert len(model.asked) == 12
    run.stop()
    async with released(model):
        assert len(await task) == 12
    assert not run.cut_short


@pytest.mark.parametrize("more", [1, 5])
async def test_stopped_before_the_last_seed_it_is_cut_short(more: int) -> None:
    model = Stoppable(64)
    given = [{"topic": str(number)} for number in range(12 + more)]
    rows = rows_of(PLAIN, model, seeds=given)
    run = RowRun(rows, iter(given), RunStatistics(), Flow(wanted=None, window=12), model.halt)
    task = asyncio.create_task(taken(run))
    await turns()
    run.stop()
    async with released(model):
        assert len(await task) == 12
    assert run.cut_short


async def test_an_error_that_nothing_gets_past_lets_go_what_waits() -> None:
    model = Stoppable(4)
    model.law = lambda request: AuthFailed("wrong key")
    run = RowRun(rows_of(PLAIN, model), None, RunStatistics(), Flow(wanted=1000, window=64), model.halt)
    async with released(model):
        with pytest.raises(AuthFailed):
            await taken(run)
    assert len(model.asked) <= 4 + 4, "of 64 that were opened"


async def test_a_spent_budget_lets_smaller_calls_that_wait_have_the_rest() -> None:
    model = Stoppable(1)
    model.law = lambda request: BudgetSpent("spent") if number_in(request) == 1 else echo(request)
    run = RowRun(rows_of(PLAIN, model), None, RunStatistics(), Flow(wanted=1000, window=8), model.halt)
    out: list[Filled] = []
    async with released(model):
        with pytest.raises(BudgetSpent):
            await taken(run, out)
    assert model.halts == 0
    assert 6 <= len(numbers_of(out)) <= 9


async def test_stopped_before_it_begins() -> None:
    run, _ = run_of(PLAIN, Model(), Flow(wanted=10))
    run.stop()
    assert await taken(run) == []


# Seeds that go wrong on the way --------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [1, 4, 64])
@pytest.mark.parametrize("error", [OutputError("line 31 is no JSON"), RuntimeError("a defect")])
async def test_seeds_that_cannot_be_read_on_end_the_run_after_what_was_made(window: int, error: Exception) -> None:
    def seeds() -> Iterator[dict[str, Any]]:
        yield from ({"topic": str(number)} for number in range(30))
        raise error

    recipe = {"columns": {"text": {"prompt": "Of {{ topic }}."}}}
    model = Model(rng=random.Random(window))
    rows = rows_of(recipe, model, seeds=[{"topic": ""}])
    run = RowRun(rows, seeds(), RunStatistics(), Flow(wanted=None, window=window))
    out: list[Filled] = []
    async with released(model):
        with pytest.raises(type(error), match=str(error)):
            await taken(run, out)
    assert [one.row["topic"] for one in out if one.row] == [str(number) for number in range(30)]


# Nothing is left behind ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ordered", [True, False])
async def test_cancelled_at_any_point_it_leaves_no_task_and_nothing_in_flight(ordered: bool) -> None:
    pair = {"columns": {**PLAIN["columns"], "other": {"prompt": "Of {{ number }}."}, "third": {"prompt": "{{ text }}"}}}
    for moment in itertools.count():
        model = Model(rng=random.Random(0))
        run, statistics = run_of(pair, model, Flow(wanted=6, window=3, keep=1, lead=4, ordered=ordered))
        before = asyncio.all_tasks()
        task = asyncio.create_task(taken(run))
        for _ in range(moment):
            await asyncio.sleep(0)
            model.release()
        done = task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert asyncio.all_tasks() == before
        assert model.in_flight == statistics.in_flight == 0
        if done:
            break
    assert moment > 10


async def test_leaving_the_iterator_early_leaves_no_task() -> None:
    model = Model()
    run, statistics = run_of(PLAIN, model, Flow(wanted=1000, window=8))
    before = asyncio.all_tasks()
    batches = run.batches()
    await anext(batches)
    await batches.aclose()
    assert asyncio.all_tasks() == before
    assert statistics.in_flight == 0


async def test_a_worker_that_does_not_hear_of_its_cancellation_opens_no_further_row() -> None:
    class Deaf(Model):
        async def submit(self, request: Request) -> Response:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
            return await super().submit(request)

    model = Deaf()
    run, _ = run_of(PLAIN, model, Flow(wanted=1_000, window=8))
    batches = run.batches()
    await anext(batches)
    asked = len(model.asked)
    await batches.aclose()
    assert len(model.asked) <= asked + 8


async def test_an_answer_that_comes_with_the_cancellation_does_not_keep_the_run_alive() -> None:
    class Late(Model):
        async def submit(self, request: Request) -> Response:
            try:
                return await super().submit(request)
            except asyncio.CancelledError:
                return Response(text="just in time", model="m", upstream="m")

    model = Late(rng=random.Random(0))
    run, _ = run_of(PLAIN, model, Flow(wanted=1000, window=8))
    before = asyncio.all_tasks()
    task = asyncio.create_task(taken(run))
    await turns(10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == before
    assert len(model.asked) == 8


async def test_an_error_of_the_last_row_is_raised_once_and_no_task_dies_unheard(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def law(request: Request) -> Said:
        return ValueError("ours") if number_in(request) == 9 else echo(request)

    run, _ = run_of(PLAIN, Model(law), Flow(wanted=10, window=4))
    with pytest.raises(ValueError, match="ours"):
        await taken(run)
    gc.collect()
    assert not caplog.records
