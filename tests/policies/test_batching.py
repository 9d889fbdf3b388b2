"""When batches close: against a naive model, every item exactly once, no limit passed, nobody past the linger."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agentic_synth.config import UpstreamConfig
from agentic_synth.policies.batch_size import BatchSize
from agentic_synth.policies.batching import Batch, Batching, BatchLimits
from agentic_synth.policies.input_limits import input_limits

LIMITS = BatchLimits(items=5, tokens=100, size_bytes=1_000, item_tokens=60)
LINGER = 2.0


class Collecting(RuleBasedStateMachine):
    """The collector beside three plain lists: who waits, who was closed, who left."""

    def __init__(self) -> None:
        super().__init__()
        self.size = BatchSize(start=120.0, item_weight=10.0)
        self.batching: Batching[int] = Batching(self.size, LIMITS, linger=LINGER)
        self.now = 0.0
        self.added = 0
        self.waiting: list[int] = []
        self.closed: list[int] = []
        self.under_way: list[Batch[int]] = []
        self.measures: dict[int, tuple[int, int]] = {}

    def _take(self, batch: Batch[int] | None) -> None:
        if batch is None:
            return
        items = batch.items
        assert items
        assert sorted(items) == items
        assert not set(items) & set(self.closed)
        if len(items) > 1:
            assert len(items) <= LIMITS.items
            assert sum(self.measures[item][0] for item in items) <= LIMITS.tokens
            assert sum(self.measures[item][1] for item in items) <= LIMITS.size_bytes
            assert sum(self.size.weight(self.measures[item][0]) for item in items) <= self.size.goal
        self.closed += items
        self.waiting = [item for item in self.waiting if item not in items]
        self.under_way.append(batch)

    @rule(tokens=st.integers(1, 80), size_bytes=st.integers(1, 1_200))
    def add(self, tokens: int, size_bytes: int) -> None:
        self.added += 1
        self.measures[self.added] = (tokens, size_bytes)
        idle = not self.under_way and not self.waiting
        self.waiting.append(self.added)
        closed = self.batching.add(self.added, tokens, size_bytes, self.now)
        assert len(closed) <= 2
        for batch in closed:
            self._take(batch)
        if idle or tokens > LIMITS.item_tokens:
            assert self.added in self.closed

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from(self.waiting))
        assert self.batching.discard(item)
        assert not self.batching.discard(item)
        self.waiting.remove(item)

    @rule(seconds=st.floats(0.0, 3.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        was_due = self.now >= self.batching.due
        batch = self.batching.close_due(self.now)
        assert (batch is not None) == was_due
        self._take(batch)

    @precondition(lambda self: self.under_way)
    @rule()
    def end(self) -> None:
        self.under_way.pop(0)
        self._take(self.batching.end())

    @precondition(lambda self: any(len(batch) > 1 for batch in self.under_way))
    @rule()
    def refuse(self) -> None:
        batch = next(batch for batch in self.under_way if len(batch) > 1)
        first, second = self.batching.split(batch)
        assert first.items + second.items == batch.items
        assert 0 <= len(first) - len(second) <= 1
        assert first.tokens + second.tokens == batch.tokens
        self.under_way.remove(batch)
        self.under_way += [first, second]
        assert self.batching.end() is None

    @invariant()
    def everyone_is_somewhere(self) -> None:
        assert self.batching.waiting == len(self.waiting)
        assert self.batching.in_flight == len(self.under_way)
        assert self.batching.idle == (not self.waiting and not self.under_way)
        assert math.isinf(self.batching.due) == (not self.waiting)
        if self.waiting:
            assert self.batching.due <= self.now + LINGER
            assert self.under_way, "somebody waits for company, and nobody who ends would close the batch"


TestCollecting = Collecting.TestCase
TestCollecting.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_the_clock_runs_from_the_first_item_also_when_it_leaves() -> None:
    batching: Batching[str] = Batching(BatchSize(), BatchLimits(), linger=LINGER)
    batching.add("under way", 1, 1, 0.0)
    batching.add("a", 1, 1, 1.0)
    batching.add("b", 1, 1, 2.0)
    assert batching.due == 3.0
    batching.discard("a")
    assert batching.due == 3.0
    batching.discard("b")
    assert math.isinf(batching.due)


def test_what_waits_is_given_back_when_nobody_will_send_it() -> None:
    batching: Batching[str] = Batching(BatchSize(), BatchLimits(), linger=LINGER)
    for name in ("under way", "a", "b"):
        batching.add(name, 1, 1, 0.0)
    assert batching.drain() == ["a", "b"]
    assert batching.drain() == []


def test_long_items_make_short_batches_from_the_first() -> None:
    def first_batch(tokens: int) -> int:
        batching: Batching[int] = Batching(BatchSize(), BatchLimits(), linger=LINGER)
        batching.add(-1, tokens, 1, 0.0)
        return next(len(closed[0]) for number in range(9_999) if (closed := batching.add(number, tokens, 1, 0.0)))

    assert [first_batch(tokens) for tokens in (16, 300, 4_000)] == [512, 51, 4]


def limits_of(reference: str, **fields: Any) -> BatchLimits:
    name, _, model = reference.partition("/")
    return input_limits(UpstreamConfig(reference=reference, name=name, model=model, wire="openai", **fields))


def test_what_is_known_of_a_provider_and_what_the_user_says() -> None:
    openai = limits_of("openai/text-embedding-3-small")
    assert (openai.items, openai.tokens) == (2_048, 240_000)
    assert limits_of("gemini/gemini-embedding-001").items == 100
    assert math.isinf(limits_of("ollama/nomic-embed-text").tokens)
    own = limits_of("openai/x", max_batch_size=7, max_batch_tokens=500)
    assert (own.items, own.tokens, own.item_tokens) == (7, 500, 500)
