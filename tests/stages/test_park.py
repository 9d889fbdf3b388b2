"""Requests that wait for a provider's batch: written down together, each once, and never kept in memory."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

import msgspec
import pytest

from agentic_synth.cache.batches import BatchLedger
from agentic_synth.cache.key import key_of
from agentic_synth.cache.memory import MemoryStore
from agentic_synth.cache.parked import Parking
from agentic_synth.errors import InvalidRequest, Overloaded, Parked, StoreError
from agentic_synth.stages.park import Lot, Park
from agentic_synth.testing.clock import FakeClock
from agentic_synth.types import Message, Request, Response
from tests.stages.scripted import Scripted

T = TypeVar("T")

ORIGIN = "http://there/v1"


def asked(number: int = 0, **fields: Any) -> Request:
    return Request(model="there/m", messages=(Message("user", f"question {number}"),), **{"parked": True, **fields})


class Counted:
    """A journal that counts its transactions, and refuses them when it is full."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.transactions = 0
        self.full = False

    async def perform(self, work: Callable[[sqlite3.Connection], T]) -> T:
        await asyncio.sleep(0)
        if self.full:
            raise StoreError("the disk is full")
        self.transactions += 1
        return await self._store.perform(work)

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return self._store.read(work)


class Place:
    """A stage with one lot, and what stands behind it."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.journal = Counted(self.store)
        self.parking, self.ledger = Parking(self.journal), BatchLedger(self.journal)
        self.tasks: set[asyncio.Task[None]] = set()
        self.lot = Lot("there/m", ORIGIN, self.parking, lambda name, request: len(name) + 100, self.spawn)
        self.stage = Park()
        self.stage.open(self.lot)
        self.behind: Scripted[Request, Response] = Scripted([Response(text="asked")], FakeClock())

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def park(self, request: Request) -> int | None:
        with pytest.raises(Parked) as parked:
            await self.stage(request, self.behind)
        return parked.value.batch

    def waiting(self) -> list[Request]:
        return [one.request for one in self.parking.stragglers("there/m", ORIGIN, tries=0)]


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    place = Place()
    yield place
    await place.store.aclose()


async def test_it_is_durable_before_the_caller_hears_of_it_and_nobody_is_asked(place: Place) -> None:
    request = asked(schema={"type": "object"}, parameters={"temperature": 1})
    assert await place.park(request) is None
    assert place.waiting() == [msgspec.structs.replace(request, parked=False)]
    assert not place.behind.asked


@pytest.mark.parametrize("change", [{"parked": False}, {"stream": True}, {"model": "elsewhere/m"}])
async def test_others_pass_by(place: Place, change: dict[str, Any]) -> None:
    assert (await place.stage(msgspec.structs.replace(asked(), **change), place.behind)).text == "asked"
    assert place.waiting() == []


async def test_those_that_come_meanwhile_are_written_together(place: Place) -> None:
    await asyncio.gather(*(place.park(asked(number)) for number in range(1_000)))
    assert len(place.waiting()) == 1_000
    assert place.journal.transactions <= 2


async def test_twice_is_once_and_says_in_which_batch_it_is(place: Place) -> None:
    await place.park(asked(1))
    (batch,) = await place.ledger.seal("there/m", ORIGIN, most_requests=10, most_bytes=10**6)
    assert [*await asyncio.gather(place.park(asked(1)), place.park(asked(2)))] == [batch.number, None]
    assert [request.messages[0].content for request in place.waiting()] == ["question 2"]


async def test_what_batches_failed_ends_with_that_error_until_it_is_forgiven(place: Place) -> None:
    key = key_of(asked(), ORIGIN).draw
    place.lot.refuse(key, Overloaded("no answer"))
    for _ in range(2):
        with pytest.raises(Overloaded, match="no answer"):
            await place.stage(asked(), place.behind)
    assert place.waiting() == []
    place.lot.forgive()
    assert await place.park(asked()) is None


async def test_so_many_failures_end_the_run(place: Place) -> None:
    def refuse() -> None:
        for number in range(20_000):
            place.lot.refuse(number.to_bytes(4, "big"), Overloaded("no answer"))

    with pytest.raises(Overloaded):
        refuse()


async def test_what_cannot_be_written_is_told_to_each(place: Place) -> None:
    place.journal.full = True
    outcomes = await asyncio.gather(
        *(place.stage(asked(number), place.behind) for number in range(3)), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [StoreError] * 3
    place.journal.full = False
    assert await place.park(asked()) is None


async def test_what_no_batch_takes_is_an_invalid_request(place: Place) -> None:
    def size(name: str, request: Request) -> int:
        raise InvalidRequest("only chat requests go by batch")

    place.stage.open(Lot("there/m", ORIGIN, place.parking, size, place.spawn))
    with pytest.raises(InvalidRequest):
        await place.stage(asked(), place.behind)


async def test_who_gives_up_harms_nobody(place: Place) -> None:
    tasks = [asyncio.create_task(place.park(asked(number))) for number in range(3)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [task.cancelled() for task in tasks] == [True, False, False]
    assert len(place.waiting()) == 3
    assert await place.park(asked(3)) is None
