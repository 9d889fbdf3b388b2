"""What every response store keeps to, whatever it is made of."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from agentic_synth.cache.memory import MemoryStore
from agentic_synth.cache.sqlite import SqliteStore
from agentic_synth.cache.store import ResponseStore, Status, overrules
from agentic_synth.errors import StoreError
from tests.cache.cache_examples import answer, ask

Clock = Callable[[], float]


def _sqlite(directory: str, wall: Clock) -> ResponseStore:
    return SqliteStore(directory, wall=wall)


def _memory(directory: str, wall: Clock) -> ResponseStore:
    return MemoryStore(wall=wall)


@pytest.fixture(params=[_sqlite, _memory])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ResponseStore]:
    times = iter(range(1_000, 1_000_000))
    made: ResponseStore = request.param(str(tmp_path), lambda: float(next(times)))
    yield made
    await made.aclose()


async def test_an_answer_comes_back_as_it_was_and_marked_as_stored(store: ResponseStore) -> None:
    await store.put(ask(), answer("héllo \x00"), Status.COMPLETE)
    stored = store.get(ask().draw)
    assert stored is not None
    assert (stored.status, stored.created, stored.reason) == (Status.COMPLETE, 1_000.0, "")
    assert stored.response.stored
    assert stored.response.text == "héllo \x00"
    fields = ["usage", "model", "upstream", "cost", "tool_calls", "finish", "seconds", "attempts", "body"]
    assert [getattr(stored.response, name) for name in fields] == [getattr(answer(), name) for name in fields]


async def test_an_unknown_key_and_another_draw_of_the_same_specification_are_misses(store: ResponseStore) -> None:
    await store.put(ask(sample=0), answer(), Status.COMPLETE)
    assert store.get(ask(sample=1).draw) is None
    assert store.get(b"?" * 16) is None


async def test_every_status_is_kept_with_its_reason(store: ResponseStore) -> None:
    for status in Status:
        await store.put(ask(status), answer(), status, f"because {status}")
    for status in Status:
        stored = store.get(ask(status).draw)
        assert stored is not None
        assert (stored.status, stored.reason) == (status, f"because {status}")


@pytest.mark.parametrize("old", Status)
@pytest.mark.parametrize("new", Status)
async def test_only_a_complete_answer_replaces_a_complete_one(store: ResponseStore, old: Status, new: Status) -> None:
    await asyncio.gather(store.put(ask(), answer("old"), old), store.put(ask(), answer("new"), new))
    stored = store.get(ask().draw)
    assert stored is not None
    expected = ("new", new) if overrules(new, old) else ("old", old)
    assert (stored.response.text, stored.status) == expected


async def test_a_mark_is_seen_at_once_and_opens_the_way_for_any_other_answer(store: ResponseStore) -> None:
    await store.put(ask(), answer("old"), Status.COMPLETE)
    store.mark(ask().draw, Status.INVALID, "no title")
    stored = store.get(ask().draw)
    assert stored is not None
    assert (stored.status, stored.reason, stored.response.text) == (Status.INVALID, "no title", "old")
    await store.put(ask(), answer("new"), Status.TRUNCATED)
    stored = store.get(ask().draw)
    assert stored is not None
    assert (stored.status, stored.response.text) == (Status.TRUNCATED, "new")


async def test_marking_what_is_not_there_makes_nothing(store: ResponseStore) -> None:
    store.mark(ask().draw, Status.INVALID, "never seen")
    assert store.get(ask().draw) is None
    assert store.contents().entries == {}


async def test_statistics_count_hits_misses_and_the_dollars_they_saved(store: ResponseStore) -> None:
    await store.put(ask("free"), answer(cost=None), Status.COMPLETE)
    await store.put(ask("paid"), answer(cost=0.25), Status.COMPLETE)
    await store.put(ask("cut"), answer(cost=0.25), Status.TRUNCATED)
    for text in ("free", "paid", "paid", "cut", "unknown"):
        store.get(ask(text).draw)
    statistics = store.statistics()
    assert (statistics.hits, statistics.misses, statistics.saved) == (3, 2, 0.5)
    assert (statistics.written, statistics.waiting, statistics.failed) == (3, 0, 0)
    assert statistics.groups >= 1
    assert store.warnings == ()


async def test_contents_count_everything(store: ResponseStore) -> None:
    empty = store.contents()
    assert (empty.entries, empty.cost, empty.oldest) == ({}, 0.0, None)
    await store.put(ask("a"), answer(), Status.COMPLETE)
    await store.put(ask("b", model="acme/large"), answer(cost=None), Status.REFUSED)
    contents = store.contents()
    assert contents.entries == {"complete": 1, "refused": 1}
    assert contents.models == {"acme/small": 1, "acme/large": 1}
    assert (contents.input_tokens, contents.output_tokens, contents.cost) == (20, 40, 0.25)
    assert (contents.oldest, contents.newest) == (1_000.0, 1_001.0)


@pytest.mark.parametrize(
    ("before", "model", "kept"),
    [
        (None, None, []),
        (1_002.0, None, [2, 3]),
        (None, "acme/large", [0, 2]),
        (1_002.0, "acme/large", [0, 2, 3]),
        (0.0, None, [0, 1, 2, 3]),
    ],
)
async def test_clear_by_age_and_model(
    store: ResponseStore, before: float | None, model: str | None, kept: list[int]
) -> None:
    keys = [ask(str(number), model="acme/large" if number % 2 else "acme/small") for number in range(4)]
    for key in keys:
        await store.put(key, answer(), Status.COMPLETE)
    assert store.clear(before=before, model=model) == 4 - len(kept)
    assert [number for number, key in enumerate(keys) if store.get(key.draw)] == kept


async def test_an_export_is_json_with_request_answer_and_status(store: ResponseStore) -> None:
    for number in range(250):
        await store.put(ask(str(number)), answer(f"to {number}"), Status.COMPLETE)
    records = json.loads(json.dumps(list(store.export())))
    assert [record["response"]["text"] for record in records] == [f"to {number}" for number in range(250)]
    first = records[0]
    assert first["key"] == ask("0").draw.hex()
    assert first["spec"] == ask("0").spec.hex()
    assert (first["status"], first["reason"], first["created"]) == ("complete", "", 1_000.0)
    assert first["served_by"] == "acme/small-1"
    assert first["request"]["messages"] == [{"role": "user", "content": "0"}]


async def test_a_closed_store_refuses_and_may_be_closed_again(store: ResponseStore) -> None:
    await store.put(ask(), answer(), Status.COMPLETE)
    await asyncio.gather(store.aclose(), store.aclose())
    await store.aclose()
    with pytest.raises(StoreError, match="closed"):
        store.get(ask().draw)
    with pytest.raises(StoreError, match="closed"):
        await store.put(ask(), answer(), Status.COMPLETE)
    with pytest.raises(StoreError, match="closed"):
        store.mark(ask().draw, Status.INVALID, "")


async def test_a_memory_store_forgets_what_was_used_longest_ago() -> None:
    store = MemoryStore(capacity=2)
    for text in ("a", "b"):
        await store.put(ask(text), answer(), Status.COMPLETE)
    store.get(ask("a").draw)
    await store.put(ask("c"), answer(), Status.COMPLETE)
    assert [text for text in "abc" if store.get(ask(text).draw)] == ["a", "c"]


class _StoreMachine(RuleBasedStateMachine):
    """Any order of writes, marks and clearings, against a dict."""

    make: Callable[[str, Clock], ResponseStore]

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.store = type(self).make(self.directory.name, lambda: 5.0)
        self.model: dict[str, tuple[Status, str]] = {}

    keys = st.sampled_from("abc")
    statuses = st.sampled_from([Status.COMPLETE, Status.TRUNCATED])

    @rule(key=keys, status=statuses, text=st.text(st.characters(exclude_categories=["Cs"]), max_size=3))
    def put(self, key: str, status: Status, text: str) -> None:
        self.runner.run(self.store.put(ask(key), answer(text), status))
        if key not in self.model or overrules(status, self.model[key][0]):
            self.model[key] = (status, text)

    @rule(key=keys, status=st.sampled_from([Status.INVALID, Status.COMPLETE]))
    def mark(self, key: str, status: Status) -> None:
        self.runner.run(self._mark(key, status))
        if key in self.model:
            self.model[key] = (status, self.model[key][1])

    async def _mark(self, key: str, status: Status) -> None:
        self.store.mark(ask(key).draw, status, "")

    @rule(key=keys, status=statuses, first=statuses, mark=st.booleans())
    def hurry(self, key: str, status: Status, first: Status, mark: bool) -> None:
        async def all_at_once() -> None:
            tasks = [asyncio.create_task(self.store.put(ask(key), answer("first"), first))]
            await asyncio.sleep(0)
            if mark:
                self.store.mark(ask(key).draw, Status.INVALID, "")
            tasks.append(asyncio.create_task(self.store.put(ask(key), answer("second"), status)))
            await asyncio.sleep(0)
            self.step(key, "first", first)
            if mark:
                self.model[key] = (Status.INVALID, self.model[key][1])
            self.step(key, "second", status)
            self.compare()
            await asyncio.gather(*tasks)

        self.runner.run(all_at_once())

    def step(self, key: str, text: str, status: Status) -> None:
        if key not in self.model or overrules(status, self.model[key][0]):
            self.model[key] = (status, text)

    @rule()
    def clear(self) -> None:
        # What is still on its way is not cleared; the last run of the loop may have left a mark there.
        if isinstance(self.store, SqliteStore):
            self.runner.run(self.store.perform(lambda connection: None))
        assert self.store.clear() == len(self.model)
        self.model.clear()

    @rule()
    def compare(self) -> None:
        found: dict[str, Any] = {key: self.store.get(ask(key).draw) for key in "abc"}
        assert {k: (s.status, s.response.text) for k, s in found.items() if s is not None} == self.model

    def teardown(self) -> None:
        self.runner.run(self.store.aclose())
        self.runner.close()
        self.directory.cleanup()


class _SqliteMachine(_StoreMachine):
    make = staticmethod(_sqlite)


class _MemoryMachine(_StoreMachine):
    make = staticmethod(_memory)


TestSqliteMachine = _SqliteMachine.TestCase
TestSqliteMachine.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestMemoryMachine = _MemoryMachine.TestCase
TestMemoryMachine.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
