"""Rows that share calls: each gets its own answer once, whatever the model leaves out, and whoever leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from agentic_synth.errors import InvalidRequest, Overloaded
from agentic_synth.policies.batch_size import BatchSize
from agentic_synth.policies.batching import BatchLimits
from agentic_synth.policies.company import Arrays
from agentic_synth.policies.packs import Packs
from agentic_synth.stages.batch import Batcher
from agentic_synth.testing.clock import FakeClock
from agentic_synth.types import Call, Message, Pack, Reply, Request, Response, Usage

LINGER = 0.05


def row(value: str, size: int, **changes: Any) -> Request:
    messages = (Message("user", f"Say {value}."),)
    request = Request(model="p/m", messages=messages, pack=Pack("Say {value}.", {"value": value}, size))
    return msgspec.structs.replace(request, **changes)


class Model:
    """Says each item's value; *leaves_out* tells whether an item of a packed prompt is forgotten."""

    def __init__(self, clock: FakeClock, leaves_out: Callable[[str, int], bool] = lambda value, company: False) -> None:
        self.clock = clock
        self.leaves_out = leaves_out
        self.calls: list[Call] = []
        self.fails: Callable[[Call], Exception | None] = lambda call: None

    async def __call__(self, call: Call, /) -> Reply:
        self.calls.append(call)
        await self.clock.sleep(0.1)
        if (error := self.fails(call)) is not None:
            raise error
        if not call.joined:
            return Reply(response=Response(text=f"alone {_value(call.request)}", usage=Usage(10, 5)))
        said = [
            {"id": name, "answer": f"packed {_value(request)}"}
            for name, request in zip(call.ids, call.joined, strict=True)
            if not self.leaves_out(_value(request), len(call.joined))
        ]
        return Reply(response=Response(text=msgspec.json.encode({"answers": said}).decode(), usage=Usage(100, 50)))


def _value(request: Request) -> str:
    assert request.pack is not None
    return request.pack.values["value"]


class Stage:
    def __init__(self, **model: Any) -> None:
        self.clock = FakeClock(autojump=True)
        self.model = Model(self.clock, **model)
        self.tasks: set[asyncio.Task[None]] = set()
        self.packs = Packs(Random(5), linger=LINGER)
        arrays = Arrays(BatchSize(), BatchLimits(), linger=LINGER)
        self.stage = Batcher(arrays, self.packs, self.clock, Random(3), self.spawn)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def ask(self, request: Request) -> asyncio.Task[Reply]:
        return asyncio.create_task(self.stage(Call(request=request, model="m"), self.model))

    @property
    def sizes(self) -> list[int]:
        return sorted(len(call.joined) or 1 for call in self.model.calls)


async def test_rows_share_calls_of_the_size_that_was_asked() -> None:
    stage = Stage()
    replies = await asyncio.gather(*(stage.ask(row(f"v{n}", 10)) for n in range(40)))
    assert [reply.response.text for reply in replies] == [f"packed v{n}" for n in range(40)]
    assert stage.sizes == [10] * 4
    assert sum((reply.response.usage for reply in replies), Usage()) == Usage(400, 200)


async def test_a_row_waits_for_company_and_not_for_ever() -> None:
    stage = Stage()
    began = stage.clock.now()
    replies = await asyncio.gather(*(stage.ask(row(f"v{n}", 10)) for n in range(13)))
    assert [reply.response.text for reply in replies] == [f"packed v{n}" for n in range(13)]
    assert stage.sizes == [3, 10]
    assert stage.clock.now() - began <= LINGER + 0.1 + 0.005


async def test_a_row_without_company_is_asked_as_it_is() -> None:
    stage = Stage()
    reply = await stage.ask(row("v", 10))
    assert reply.response.text == "alone v"
    assert stage.model.calls[0].request.messages == (Message("user", "Say v."),)


async def test_what_was_left_out_joins_another_call_and_then_goes_alone() -> None:
    stage = Stage(leaves_out=lambda value, company: value == "v3")
    replies = await asyncio.gather(*(stage.ask(row(f"v{n}", 5)) for n in range(10)))
    texts = [reply.response.text for reply in replies]
    assert texts == [f"packed v{n}" if n != 3 else "alone v3" for n in range(10)]
    assert stage.stage.statistics().left_out >= 1
    assert sum(len(call.joined) or 1 for call in stage.model.calls) <= 12


async def test_a_refused_pack_is_halved_until_the_bad_row_stands_alone() -> None:
    stage = Stage()
    stage.model.fails = lambda call: (
        InvalidRequest("too long") if "bad" in str(call.request.messages[-1].content) else None
    )
    values = ["a", "b", "bad", "c", "d", "e", "f", "g"]
    outcomes = await asyncio.gather(*(stage.ask(row(value, 8)) for value in values), return_exceptions=True)
    failed = [value for value, outcome in zip(values, outcomes, strict=True) if isinstance(outcome, Exception)]
    assert failed == ["bad"]


async def test_a_failed_pack_is_every_rows_own_failure() -> None:
    stage = Stage()
    stage.model.fails = lambda call: Overloaded("busy")
    outcomes = await asyncio.gather(*(stage.ask(row(f"v{n}", 4)) for n in range(4)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Overloaded] * 4
    assert len({id(outcome) for outcome in outcomes}) == 4


async def test_rows_of_other_columns_runs_and_tenants_do_not_mix() -> None:
    stage = Stage()
    others = [row("a", 5, run="one"), row("b", 5, run="two"), row("c", 5, namespace="t"), row("d", 5, priority=1)]
    await asyncio.gather(*map(stage.ask, others))
    assert stage.sizes == [1, 1, 1, 1]


async def test_auto_asks_alone_first_and_packs_when_that_does_no_harm() -> None:
    stage = Stage()
    for start in range(0, 600, 50):
        await asyncio.gather(
            *(stage.ask(row(f"some quite different text of number {n}", 0)) for n in range(start, start + 50))
        )
    assert stage.sizes.count(1) >= 64
    assert max(stage.sizes) >= 8
    assert stage.stage.statistics().pack_size >= 8


async def test_auto_ends_where_packed_answers_are_rejected() -> None:
    stage = Stage()
    for start in range(0, 600, 50):
        rows = [row(f"text {n} of many", 0) for n in range(start, start + 50)]
        for request, reply in zip(rows, await asyncio.gather(*map(stage.ask, rows)), strict=True):
            if reply.response.text.startswith("packed"):
                stage.stage.reject(request)
    assert stage.stage.statistics().pack_size == 1
    assert stage.sizes[-1] <= 4


@settings(max_examples=40)
@given(st.integers(1, 60), st.integers(2, 12), st.integers(0, 1_000), st.data())
def test_every_row_is_answered_once_with_its_own(count: int, size: int, seed: int, data: st.DataObject) -> None:
    cancelled = data.draw(st.sets(st.integers(0, count - 1), max_size=5))
    rng = Random(seed)

    async def run() -> None:
        stage = Stage(leaves_out=lambda value, company: rng.random() < 0.2)
        tasks = []
        for number in range(count):
            tasks.append(stage.ask(row(f"v{number}", size)))
            if rng.random() < 0.2:
                await stage.clock.sleep(rng.random() * 0.1)
            if number in cancelled and rng.random() < 0.5:
                tasks[number].cancel()
        for number in cancelled:
            tasks[number].cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for number, outcome in enumerate(outcomes):
            if isinstance(outcome, BaseException):
                assert number in cancelled
            else:
                assert outcome.response.text in {f"packed v{number}", f"alone v{number}"}
        for _ in range(4):
            await asyncio.sleep(0)
        while stage.tasks:
            await asyncio.gather(*stage.tasks, return_exceptions=True)
        assert not stage.stage._lanes

    asyncio.run(run())
