"""What every eviction policy keeps to, and which key each lets go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agentic_synth.policies.eviction.choice import POLICIES, PolicyName
from agentic_synth.policies.eviction.duel import Duel
from agentic_synth.policies.eviction.eviction import Eviction
from agentic_synth.policies.eviction.lfu import LFU
from agentic_synth.policies.eviction.queues import FIFO, LRU, SIEVE
from agentic_synth.policies.eviction.s3fifo import S3FIFO
from agentic_synth.policies.eviction.sketch import FrequencySketch
from agentic_synth.policies.eviction.tinylfu import WTinyLFU

MAX_ENTRIES, MAX_WEIGHT = 6, 20
KEYS = st.integers(0, 14)


class EvictionMachine(RuleBasedStateMachine):
    """Any order of lookups, admissions and removals, against a dict of weights."""

    name: PolicyName

    def __init__(self) -> None:
        super().__init__()
        self.policy: Eviction[int] = POLICIES[type(self).name](MAX_ENTRIES, MAX_WEIGHT)
        self.held: dict[int, int] = {}

    @rule(key=KEYS, weight=st.integers(0, 8))
    def admit(self, key: int, weight: int) -> None:
        gone = self.policy.admit(key, weight)
        self.held[key] = weight
        assert len(gone) == len(set(gone)), "a key goes once"
        for one in gone:
            del self.held[one]

    @rule(key=KEYS)
    def refuse(self, key: int) -> None:
        assert self.policy.admit(key, MAX_WEIGHT + 1) == [key]
        self.held.pop(key, None)

    @rule(key=KEYS)
    def look_up(self, key: int) -> None:
        assert self.policy.record(key) == (key in self.held)

    @rule(key=KEYS)
    def remove(self, key: int) -> None:
        assert self.policy.remove(key) == (self.held.pop(key, None) is not None)

    @precondition(lambda self: self.held)
    @rule()
    def evict(self) -> None:
        gone = self.policy.evict()
        assert gone is not None
        del self.held[gone]

    @precondition(lambda self: not self.held)
    @rule()
    def evict_nothing(self) -> None:
        assert self.policy.evict() is None

    @invariant()
    def holds_what_it_says(self) -> None:
        assert sorted(self.policy) == sorted(self.held)
        assert len(self.policy) == len(self.held) <= MAX_ENTRIES
        assert self.policy.weight == sum(self.held.values()) <= MAX_WEIGHT
        assert {key: self.policy.weight_of(key) for key in self.held} == self.held
        assert [key for key in range(15) if key in self.policy] == sorted(self.held)


@pytest.mark.parametrize("name", POLICIES)
def test_no_key_is_lost_and_none_too_many_is_held(name: PolicyName) -> None:
    machine = type(f"Machine_{name}", (EvictionMachine,), {"name": name})
    case = machine.TestCase  # type: ignore[attr-defined]
    case.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
    case("runTest").runTest()


class Counted:
    """A key that counts how often anything looks for it: a step of every table and queue."""

    steps = 0

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        Counted.steps += 1
        return hash((self.number, "spread"))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Counted) and other.number == self.number


def steps_an_operation(name: PolicyName, room: int) -> float:
    policy: Eviction[Counted] = POLICIES[name](room, None)
    rng = Random(1)
    operations = 20 * room
    Counted.steps = 0
    for _ in range(operations):
        key = Counted(int(rng.paretovariate(0.5)) % (10 * room))
        if not policy.record(key):
            policy.admit(key)
        if rng.random() < 0.05:
            policy.remove(Counted(rng.randrange(10 * room)))
    return Counted.steps / operations


@pytest.mark.parametrize("name", POLICIES)
def test_an_operation_takes_as_many_steps_whatever_the_room(name: PolicyName) -> None:
    few, many = steps_an_operation(name, 100), steps_an_operation(name, 4_000)
    assert many < 60
    assert many < 1.25 * few


def naive(room: int, choose: Callable[[list[int], Counter[int]], int], *, renew: bool) -> Callable[[int], list[int]]:
    """A policy that looks through everything it holds, oldest first, with the uses of each key."""
    order: list[int] = []
    uses: Counter[int] = Counter()

    def ask(key: int) -> list[int]:
        gone: list[int] = []
        if key in order:
            if renew:
                order.remove(key)
                order.append(key)
        else:
            if len(order) == room:
                gone = [choose(order, uses)]
                order.remove(gone[0])
                del uses[gone[0]]
            order.append(key)
        uses[key] += 1
        return gone

    return ask


def naive_sieve(room: int) -> Callable[[int], list[int]]:
    """As the paper has it: one list, newest first, and a hand that moves from its end to its front."""
    order: list[int] = []
    used: set[int] = set()
    hand: list[int] = []

    def ask(key: int) -> list[int]:
        if key in order:
            used.add(key)
            return []
        gone: list[int] = []
        if len(order) == room:
            place = order.index(hand[0]) if hand else len(order) - 1
            while order[place] in used:
                used.discard(order[place])
                place = place - 1 if place else len(order) - 1
            gone = [order[place]]
            hand[:] = [order[place - 1]] if place else []
            del order[place]
        order.insert(0, key)
        return gone

    return ask


@pytest.mark.parametrize(
    ("policy", "model"),
    [
        (FIFO, lambda room: naive(room, lambda order, uses: order[0], renew=False)),
        (LRU, lambda room: naive(room, lambda order, uses: order[0], renew=True)),
        (LFU, lambda room: naive(room, lambda order, uses: min(order, key=uses.__getitem__), renew=True)),
        (SIEVE, naive_sieve),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_the_plain_policies_let_go_what_their_definitions_say(
    policy: type[Eviction[int]], model: Callable[[int], Callable[[int], list[int]]], seed: int
) -> None:
    subject, ask, rng = policy(8), model(8), Random(seed)  # type: ignore[call-arg]
    for _ in range(2_000):
        key = int(rng.paretovariate(0.7)) % 40
        assert (subject.admit(key) if not subject.record(key) else []) == ask(key)


def hits(policy: Eviction[int], trace: list[int]) -> float:
    found = 0
    for key in trace:
        if policy.record(key):
            found += 1
        else:
            policy.admit(key)
    return found / len(trace)


def popular(count: int, seed: int = 1) -> list[int]:
    return Random(seed).choices(range(2_000), weights=[1 / rank for rank in range(1, 2_001)], k=count)


@pytest.mark.parametrize("policy", [S3FIFO, WTinyLFU, Duel])
def test_a_scan_pushes_out_little_of_what_is_popular(policy: type[Duel[int]]) -> None:
    subject: Eviction[int] = policy(200)
    hits(subject, popular(20_000))
    before = set(subject)
    hits(subject, list(range(10_000, 20_000)))
    kept = sum(key in before for key in subject)
    assert kept > 150
    lru: Eviction[int] = LRU(200)
    hits(lru, popular(20_000))
    hits(lru, list(range(10_000, 20_000)))
    assert not any(key < 10_000 for key in lru)


def test_what_is_asked_again_soon_after_it_went_is_held_longer() -> None:
    subject: S3FIFO[int] = S3FIFO(10)
    for key in range(11):
        subject.admit(key)
    assert 0 not in subject
    subject.admit(0)
    for key in range(100, 109):
        subject.admit(key)
    assert 0 in subject


def test_a_sketch_never_counts_too_low_and_forgets() -> None:
    sketch = FrequencySketch(100)
    for _ in range(9):
        sketch.see("often")
    sketch.see("once")
    assert sketch.estimate("often") >= 9
    assert 1 <= sketch.estimate("once") < 9
    assert sketch.estimate("never") == 0
    for number in range(1_000):
        sketch.see(number)
    assert sketch.estimate("often") <= 6


def test_a_sketch_is_seldom_too_high() -> None:
    sketch = FrequencySketch(1_000)
    for number in range(3_000):
        sketch.see(number)
    assert sum(sketch.estimate(number) > 1 for number in range(3_000)) < 60


def loops(count: int) -> list[int]:
    return [number % 300 for number in range(count)]


def visits(count: int) -> list[int]:
    """Each key is asked several times in a short while and never again."""
    rng = Random(3)
    return [number // 8 + int(rng.random() ** 2 * 90) for number in range(count)]


@pytest.mark.parametrize("trace", [popular(40_000), loops(40_000), visits(40_000)])
def test_a_duel_fares_nearly_as_well_as_the_best_of_its_rivals(trace: list[int]) -> None:
    rivals: list[Eviction[int]] = [WTinyLFU(100), S3FIFO(100), LRU(100)]
    subject: Eviction[int] = Duel(100)
    for policy in (*rivals, subject):
        hits(policy, trace[:10_000])  # time to learn
    best = max(hits(policy, trace[10_000:]) for policy in rivals)
    assert hits(subject, trace[10_000:]) >= 0.95 * best


def test_a_duel_changes_its_mind_with_the_times() -> None:
    subject: Duel[int] = Duel(100)
    hits(subject, loops(20_000))
    trace = [key + 1_000 for key in visits(60_000)]
    assert hits(subject, trace) >= 0.95 * hits(LRU(100), trace)
    assert len(subject) == 100


def test_a_duel_keeps_what_it_holds_when_it_changes_its_mind() -> None:
    subject: Duel[int] = Duel(100, 1_000.0, rivals=(FIFO, LRU))
    rng = Random(5)
    held: set[int] = set()
    for number in range(30_000):
        # Ten keys are asked all the time, which a queue lets go and LRU does not.
        key = rng.randrange(10) if number % 2 else number
        if not subject.record(key):
            held.add(key)
            held.difference_update(subject.admit(key, 10))
        assert len(subject) == len(held)
    assert set(subject) == held
    assert subject.weight == 10 * len(held) <= 1_000
    assert set(range(10)) <= held
