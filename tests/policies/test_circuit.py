"""The circuit breaker: when it opens, how it heals, and that it can never be stuck."""

import math
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agentic_synth.policies.breaker import Circuit, CircuitRules, Pass
from agentic_synth.types import Outcome

RULES = CircuitRules(window=10.0, min_volume=10, failure_rate=0.5, consecutive=5, slow_after=2.0, probes=3)


def call(circuit: Circuit, outcome: Outcome, now: float, latency: float | None = None) -> None:
    given = circuit.admit(now)
    assert given is not None
    circuit.record(given, outcome, latency, now, Random(1))


def opened(now: float = 0.0) -> Circuit:
    circuit = Circuit(RULES)
    for _ in range(RULES.consecutive):
        call(circuit, Outcome.DROPPED, now)
    assert circuit.state(now) == "open"
    return circuit


def test_failures_in_a_row_open_it() -> None:
    assert opened().admit(0.1) is None


def test_half_of_the_calls_of_a_window_open_it() -> None:
    circuit = Circuit(RULES)
    for number in range(9):
        call(circuit, Outcome.DROPPED if number % 2 else Outcome.SUCCESS, 0.1 * number)
    assert circuit.state(1.0) == "closed"
    call(circuit, Outcome.DROPPED, 1.0)
    assert circuit.state(1.0) == "open"


def test_what_is_older_than_the_window_is_forgotten() -> None:
    circuit = Circuit(RULES)
    for number in range(4):
        call(circuit, Outcome.DROPPED, 0.1 * number)
    call(circuit, Outcome.SUCCESS, 20.0)
    for number in range(4):
        call(circuit, Outcome.DROPPED, 20.0 + 0.1 * number)
    call(circuit, Outcome.SUCCESS, 21.0)
    assert circuit.state(21.0) == "closed"


def test_slow_calls_open_it_too() -> None:
    circuit = Circuit(RULES)
    for number in range(10):
        call(circuit, Outcome.SUCCESS, 0.1 * number, latency=3.0)
    assert circuit.state(1.0) == "open"


def test_ignored_calls_count_for_nothing() -> None:
    circuit = Circuit(RULES)
    for number in range(100):
        call(circuit, Outcome.IGNORED, 0.01 * number)
    assert circuit.state(1.0) == "closed"


def test_successful_probes_close_it_and_there_are_never_more_than_allowed() -> None:
    circuit = opened()
    passes = [given for _ in range(10) if (given := circuit.admit(5.0)) is not None]
    assert len(passes) == RULES.probes
    for given in passes:
        circuit.record(given, Outcome.SUCCESS, 0.1, 5.1, Random(1))
    assert circuit.state(5.1) == "closed"


def test_a_failed_probe_opens_it_for_longer() -> None:
    circuit = opened()
    waits = [circuit.due(0.0)]
    now = 0.0
    for _ in range(8):
        now += circuit.due(now)
        call(circuit, Outcome.DROPPED, now)
        waits.append(circuit.due(now))
    assert waits[0] <= 1.25
    assert waits[3] > 2 * waits[0]
    assert max(waits) <= 1.25 * RULES.open_cap


def test_a_late_failure_of_before_does_not_open_it_again() -> None:
    circuit = Circuit(RULES)
    late = circuit.admit(0.0)
    assert late is not None
    for _ in range(RULES.consecutive):
        call(circuit, Outcome.DROPPED, 0.0)
    for _ in range(RULES.probes):
        call(circuit, Outcome.SUCCESS, 5.0)
    for _ in range(10):
        circuit.record(late, Outcome.DROPPED, None, 5.0, Random(1))
    assert circuit.state(5.0) == "closed"


def test_forced_states_hold() -> None:
    circuit = opened()
    circuit.force("closed")
    assert circuit.admit(0.0) is not None
    circuit.force("open")
    assert circuit.admit(1_000.0) is None
    assert circuit.due(1_000.0) == math.inf
    circuit.force(None)
    assert circuit.admit(1_000.0) is not None


@pytest.mark.parametrize("trips", [1, 3])
def test_it_says_how_often_it_opened(trips: int) -> None:
    circuit = opened()
    now = 0.0
    for _ in range(trips - 1):
        now += circuit.due(now)
        call(circuit, Outcome.DROPPED, now)
    assert circuit.trips == trips


class Circuits(RuleBasedStateMachine):
    """Calls in any order, outcomes in any order, cancelled or not: it always heals, and never lets more probes out."""

    def __init__(self) -> None:
        super().__init__()
        self.circuit = Circuit(RULES)
        self.out: list[Pass] = []
        self.now = 0.0
        self.rng = Random(7)

    @rule(pause=st.floats(0.0, 40.0))
    def wait(self, pause: float) -> None:
        self.now += pause

    @rule()
    def admit(self) -> None:
        available = self.circuit.available(self.now)
        given = self.circuit.admit(self.now)
        assert (given is not None) == available
        if given is not None:
            self.out.append(given)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), outcome=st.sampled_from(list(Outcome)))
    def record(self, data: st.DataObject, outcome: Outcome) -> None:
        given = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        self.circuit.record(given, outcome, 0.1, self.now, self.rng)

    @invariant()
    def probes_are_bounded(self) -> None:
        if self.circuit.state(self.now) == "half_open":
            probing = sum(given.probe and given.epoch == self.circuit.epoch for given in self.out)
            assert probing <= RULES.probes

    def teardown(self) -> None:
        for given in self.out:
            self.circuit.ignore(given)
        for _ in range(RULES.probes):
            self.now += self.circuit.due(self.now)
            probe = self.circuit.admit(self.now)
            assert probe is not None, "wedged"
            self.circuit.record(probe, Outcome.SUCCESS, 0.1, self.now, self.rng)
        assert self.circuit.available(self.now)


TestCircuits = Circuits.TestCase
TestCircuits.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)
