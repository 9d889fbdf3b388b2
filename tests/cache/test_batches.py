"""The ledger of batches against a naive model, with a crash possible at every step, and against real kills."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agentic_synth.cache.batches import Batch, BatchLedger
from agentic_synth.cache.key import key_of
from agentic_synth.cache.memory import MemoryStore
from agentic_synth.cache.parked import Parked, Parking
from agentic_synth.cache.process import Process
from agentic_synth.cache.sqlite import SqliteStore
from agentic_synth.errors import StoreError
from agentic_synth.types import Draw, Message, Request
from tests.cache.cache_examples import ORIGIN

T = TypeVar("T")

UPSTREAM = "acme/small"
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
LIMITS = {"most_requests": 4, "most_bytes": 1_000}


def parked(number: int, size: int = 100, upstream: str = UPSTREAM, **fields: Any) -> Parked:
    request = Request(model=upstream, messages=(Message("user", f"question {number}"),), **fields)
    return Parked(key_of(request, ORIGIN).draw, request, upstream, ORIGIN, size)


@pytest.fixture(params=["sqlite", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqliteStore | MemoryStore]:
    made = SqliteStore(tmp_path) if request.param == "sqlite" else MemoryStore()
    yield made
    await made.aclose()


@pytest.fixture
def parking(store: SqliteStore | MemoryStore) -> Parking:
    return Parking(store)


@pytest.fixture
def ledger(store: SqliteStore | MemoryStore) -> BatchLedger:
    return BatchLedger(store, wall=lambda: 50.0)


async def seal(ledger: BatchLedger, **limits: int) -> list[Batch]:
    return await ledger.seal(UPSTREAM, ORIGIN, **{**LIMITS, **limits})


async def test_a_request_comes_back_as_it_was_parked(parking: Parking, ledger: BatchLedger) -> None:
    fields: dict[str, Any] = {"schema": SCHEMA, "parameters": {"n": 2**60}, "draw": Draw("7.0/ab", 3, 1), "run": "r"}
    first, second = parked(1, **fields), parked(2, **fields)
    late = parked(3, deadline=99.0)
    assert await parking.park([first, second, late]) == 3
    assert parking.look(first.custom_id) == first
    assert [one.request.deadline for one in [late, parking.look(late.custom_id)] if one] == [99.0, None]
    (batch,) = await seal(ledger)
    found = list(parking.requests(batch.number))
    assert [one.request for one in found[:2]] == [first.request, second.request]
    assert found[0].request.schema is found[1].request.schema
    assert key_of(found[0].request, found[0].origin).draw == first.key


async def test_only_so_many_batches_are_sealed(parking: Parking, ledger: BatchLedger) -> None:
    await parking.park([parked(number) for number in range(10)])
    assert [batch.requests for batch in await seal(ledger, most_batches=2)] == [4, 4]
    assert parking.waiting(UPSTREAM, ORIGIN).requests == 2
    assert [batch.requests for batch in await seal(ledger, most_requests=1, most_batches=1)] == [1]


async def test_what_waits_already_is_not_parked_again(parking: Parking) -> None:
    assert await parking.park([parked(1), parked(2)]) == 2
    assert await parking.park([parked(2), parked(3)]) == 1
    assert parking.waiting(UPSTREAM, ORIGIN) == (3, 300)
    assert parking.waiting(UPSTREAM, "https://elsewhere") == (0, 0)


async def test_what_cannot_be_written_parks_nothing(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    parking = Parking(store)
    with pytest.raises(StoreError):
        await parking.park([parked(1), parked(2, parameters={"n": 2**70})])
    assert parking.waiting(UPSTREAM, ORIGIN).requests == 0
    await store.aclose()


async def test_batches_are_no_larger_than_allowed(parking: Parking, ledger: BatchLedger) -> None:
    await parking.park([parked(i, size) for i, size in enumerate([400, 400, 400, 100, 2_000, 1, 1, 1, 1, 1])])
    await parking.park([parked(99, upstream="other/model")])
    batches = await seal(ledger)
    assert [(batch.requests, batch.size_bytes) for batch in batches] == [(2, 800), (2, 500), (1, 2_000), (4, 4), (1, 1)]
    assert [len(list(parking.requests(batch.number))) for batch in batches] == [2, 2, 1, 4, 1]
    assert parking.waiting(UPSTREAM, ORIGIN).requests == 0
    assert parking.waiting("other/model", ORIGIN).requests == 1
    assert await seal(ledger) == []


async def test_more_than_a_slice_is_read_whole(parking: Parking, ledger: BatchLedger) -> None:
    everything = [parked(i, 1) for i in range(300)]
    await parking.park(everything)
    (batch,) = await seal(ledger, most_requests=1_000)
    assert [one.key for one in parking.requests(batch.number)] == [one.key for one in everything]


async def test_the_life_of_a_batch(parking: Parking, ledger: BatchLedger) -> None:
    await parking.park([parked(i) for i in range(3)])
    (batch,) = await seal(ledger)
    assert (batch.state, batch.sealed, batch.origin) == ("sealed", 50.0, ORIGIN)
    sending = await ledger.submitting(batch.number, "newest")
    assert sending is not None
    assert (sending.state, sending.mark, sending.began) == ("submitting", "newest", 50.0)
    assert await ledger.submitting(batch.number) is None
    sent = await ledger.submitted(batch.number, "batch_1")
    assert (await ledger.submitted(batch.number, "batch_1")) == sent
    assert ledger.known() == {"batch_1"}
    with pytest.raises(StoreError, match="twice"):
        await ledger.submitted(batch.number, "batch_2")
    assert (await ledger.ended(batch.number)).state == "ended"
    owned = parking.owns(batch.number)
    assert owned(parked(1).custom_id)
    assert await parking.settle([parked(1).key, parked(77).key]) == 1
    assert await parking.settle([parked(1).key]) == 0
    assert not owned(parked(1).custom_id)
    assert not owned("no key")
    assert await ledger.imported(batch.number) == 2
    assert await ledger.imported(batch.number) == 0
    for name in (str(batch.number), batch.name, "batch_1"):
        found = ledger.batch(name)
        assert found is not None
        assert (found.state, found.answered, found.closed) == ("imported", 1, 50.0)
    assert ledger.batch("") is None
    assert ledger.pending() == []
    assert [one.number for one in ledger.batches()] == [batch.number]
    assert await seal(ledger) == []
    assert [one.tries for one in parking.stragglers(UPSTREAM, ORIGIN)] == [1, 1]
    (again,) = await seal(ledger, most_tries=2)
    assert again.requests == 2


async def test_a_submission_is_undone_only_where_it_is_certain(parking: Parking, ledger: BatchLedger) -> None:
    await parking.park([parked(1)])
    (batch,) = await seal(ledger)
    await ledger.submitting(batch.number, "m")
    with pytest.raises(StoreError, match="is submitting and cannot become cancelled"):
        await ledger.closed(batch.number, "cancelled")
    undone = await ledger.unsent(batch.number)
    assert (undone.state, undone.began, undone.mark) == ("sealed", None, "")
    assert await ledger.closed(batch.number, "cancelled", "by the user") == 1
    found = ledger.batch(batch.name)
    assert found is not None
    assert found.reason == "by the user"
    assert parking.waiting(UPSTREAM, ORIGIN).requests == 1
    with pytest.raises(StoreError, match="unknown"):
        await ledger.ended(4_711)


async def test_a_batch_in_the_hands_of_a_living_process_is_not_adopted(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    parking, ledger = Parking(store), BatchLedger(store)
    await parking.park([parked(1)])
    (batch,) = await seal(ledger)
    assert await ledger.adopt(batch.number) is None
    await ledger.submitting(batch.number, "m")
    assert (await ledger.adopt(batch.number)) is not None

    async def hand_to(process: Process) -> Batch | None:
        told = msgspec.json.encode(process).decode()
        await store.perform(lambda connection: connection.execute("UPDATE batches SET process = ?", (told,)) and None)
        return await ledger.adopt(batch.number)

    present = Process.present()
    assert await hand_to(present._replace(pid=1, born="")) is None
    assert await hand_to(present._replace(host="elsewhere")) is None
    adopted = await hand_to(present._replace(boot="before"))
    assert adopted is not None
    assert adopted.mark == "m"
    await store.aclose()


class LedgerMachine(RuleBasedStateMachine):
    """Any order of steps and crashes; what waits, and where, is always what a naive model says."""

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.stores: list[SqliteStore] = []
        self.where: dict[int, int | None] = {}
        self.tries: dict[int, int] = {}
        self.states: dict[int, str] = {}
        self.answered: dict[int, int] = {}
        self.settled: set[int] = set()
        self.crash()

    @rule()
    def crash(self) -> None:
        # The store before is left as a killed process leaves it: neither told nor closed.
        store = SqliteStore(self.folder.name, linger=0)
        self.stores.append(store)
        self.parking, self.ledger = Parking(store), BatchLedger(store)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @rule(numbers=st.lists(st.integers(0, 30), max_size=8, unique=True))
    def park(self, numbers: list[int]) -> None:
        new = [number for number in numbers if number not in self.where]
        assert self.run(self.parking.park([parked(number) for number in numbers])) == len(new)
        self.where |= dict.fromkeys(new)
        self.tries |= dict.fromkeys(new, 0)

    @rule()
    def seal(self) -> None:
        batches = self.run(seal(self.ledger, most_tries=2))
        waiting = [n for n, batch in self.where.items() if batch is None and self.tries[n] < 2]
        assert sum(batch.requests for batch in batches) == len(waiting)
        assert all(batch.requests == 4 for batch in batches[:-1])
        for batch in batches:
            self.states[batch.number], self.answered[batch.number] = "sealed", 0
            keys = {one.key for one in self.parking.requests(batch.number)}
            mine = [n for n in waiting if parked(n).key in keys]
            assert len(mine) == len(keys) == batch.requests
            self.where |= dict.fromkeys(mine, batch.number)

    @precondition(lambda self: self.states)
    @rule(data=st.data(), step=st.sampled_from(["submitting", "unsent", "submitted", "ended", "adopt"]))
    def step(self, data: st.DataObject, step: str) -> None:
        number = data.draw(st.sampled_from(sorted(self.states)))
        state = self.states[number]
        match step:
            case "submitting":
                assert (self.run(self.ledger.submitting(number)) is not None) == (state == "sealed")
                after = "submitting" if state == "sealed" else state
            case "adopt":
                assert (self.run(self.ledger.adopt(number)) is not None) == (state == "submitting")
                after = state
            case _:
                before, after = {
                    "unsent": ("submitting", "sealed"),
                    "submitted": ("submitting", "submitted"),
                    "ended": ("submitted", "ended"),
                }[step]
                arguments = (number, f"id-{number}") if step == "submitted" else (number,)
                work = getattr(self.ledger, step)(*arguments)
                if state in (before, after):
                    self.run(work)
                else:
                    with pytest.raises(StoreError):
                        self.run(work)
                    after = state
        self.states[number] = after

    @precondition(lambda self: self.where)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        numbers = data.draw(st.lists(st.sampled_from(sorted(self.where)), max_size=5))
        assert self.run(self.parking.settle([parked(number).key for number in numbers])) == len(set(numbers))
        for number in set(numbers):
            batch = self.where.pop(number)
            del self.tries[number]
            if batch is not None:
                self.answered[batch] += 1

    @precondition(lambda self: self.states)
    @rule(data=st.data(), end=st.sampled_from(["imported", "cancelled", "failed"]))
    def close(self, data: st.DataObject, end: Any) -> None:
        number = data.draw(st.sampled_from(sorted(self.states)))
        work = self.ledger.imported(number) if end == "imported" else self.ledger.closed(number, end)
        allowed = {"ended", end} if end == "imported" else {"sealed", "ended", end}
        if self.states[number] not in allowed:
            with pytest.raises(StoreError):
                self.run(work)
            return
        released = [n for n, batch in self.where.items() if batch == number]
        assert self.run(work) == len(released)
        self.states[number] = end
        for n in released:
            self.where[n] = None
            self.tries[n] += end != "cancelled"

    @invariant()
    def every_request_is_where_it_should_be(self) -> None:
        if not hasattr(self, "ledger"):
            return
        for number, state in self.states.items():
            batch = self.ledger.batch(str(number))
            assert batch is not None
            assert (batch.state, batch.answered) == (state, self.answered[number])
            found = {one.key for one in self.parking.requests(number)}
            assert found == {parked(n).key for n, batch_of in self.where.items() if batch_of == number}
        waiting = {one.key: one.tries for one in self.parking.stragglers(UPSTREAM, ORIGIN, tries=0)}
        assert waiting == {parked(n).key: self.tries[n] for n, batch in self.where.items() if batch is None}
        bulk = self.stores[-1].read(lambda c: c.execute("SELECT count(*) FROM parked_requests").fetchone()[0])
        assert bulk == len(self.where)

    def teardown(self) -> None:
        if not hasattr(self, "runner"):
            return

        async def close() -> None:
            for store in self.stores:
                await store.aclose()

        self.run(close())
        self.runner.close()
        self.folder.cleanup()


LedgerMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
TestLedgerMachine = LedgerMachine.TestCase
