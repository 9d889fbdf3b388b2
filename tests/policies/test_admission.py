"""Limits in series: never more in flight than the smallest, and whatever was taken comes back."""

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agentic_synth.config import UpstreamConfig
from agentic_synth.errors import Overloaded, RateLimited
from agentic_synth.policies.admission import Admission
from agentic_synth.policies.concurrency import DelayLimit, FixedLimit
from agentic_synth.policies.guard import ProcessGuard
from agentic_synth.policies.rate import Amounts, RateLimit, Sent
from agentic_synth.policies.rate_headers import RateHeaders
from agentic_synth.types import Call, Message, Outcome, Request, Usage

ONE: Amounts = (1.0, 0.0, 0.0, 0.0)


def upstream(**caps: float) -> UpstreamConfig:
    return UpstreamConfig(reference="p/m", name="p", model="m", wire="openai", **caps)  # type: ignore[arg-type]


class Admissions(RuleBasedStateMachine):
    """Calls come and go in any way; a naive count says how many are out."""

    def __init__(self) -> None:
        super().__init__()
        self.guard = ProcessGuard(lag=0.1)
        self.admission = Admission(FixedLimit(4), RateLimit((600.0, None, None, None)), self.guard)
        self.out: list[Sent] = []
        self.now = 0.0
        self.sent = 0

    @rule(pause=st.floats(0.0, 2.0))
    def wait(self, pause: float) -> None:
        self.now += pause

    @rule()
    def admit(self) -> None:
        delay = self.admission.delay(ONE, self.now)
        sent = self.admission.admit(ONE, self.now)
        assert (sent is not None) == (delay == 0.0)
        if sent is not None:
            self.out.append(sent)
            self.sent += 1

    @precondition(lambda self: self.out)
    @rule(how=st.sampled_from(["succeed", "limited", "fail", "cancel"]), retry_after=st.floats(0.0, 3.0))
    def end(self, how: str, retry_after: float) -> None:
        sent = self.out.pop()
        if how == "succeed":
            self.admission.succeed(sent, Usage(10, 5), 0.1, 5, self.now)
        elif how == "limited":
            self.admission.fail(sent, RateLimited("429"), RateHeaders(retry_after_s=retry_after), self.now)
        elif how == "fail":
            self.admission.fail(sent, Overloaded("503"), RateHeaders(), self.now)
        else:
            self.admission.cancel(sent)

    @rule(lag=st.floats(0.0, 1.0))
    def look(self, lag: float) -> None:
        self.guard.record(lag, 0.0)
        assert 1 <= self.admission.limit <= 4

    @invariant()
    def counted(self) -> None:
        told = self.admission.statistics(self.now)
        assert told.in_flight == len(self.out) <= 4
        assert told.success + told.dropped + told.ignored == self.sent - len(self.out)
        assert self.sent <= 10.0 + 10.0 * self.now + 1e-6

    def teardown(self) -> None:
        for sent in self.out:
            self.admission.cancel(sent)
        for _ in range(50):
            self.now += min(self.admission.delay(ONE, self.now), 60.0) + 1e-6
        assert self.admission.admit(ONE, self.now) is not None


TestAdmissions = Admissions.TestCase
TestAdmissions.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_a_fixed_concurrency_is_obeyed_at_once() -> None:
    admission = Admission.of(upstream(), concurrency=100)
    assert sum(admission.admit(ONE, 0.0) is not None for _ in range(200)) == 100


def test_retry_after_shuts_the_gate_for_all() -> None:
    admission = Admission.of(upstream(), concurrency=10)
    sent = admission.admit(ONE, 0.0)
    assert sent is not None
    admission.fail(sent, RateLimited("slow down"), RateHeaders(retry_after_s=30.0), 1.0)
    assert admission.delay(ONE, 1.0) == pytest.approx(30.0)
    assert admission.admit(ONE, 30.9) is None
    assert admission.statistics(1.0).gated_seconds == pytest.approx(30.0)
    assert admission.delay(ONE, 33.1) == 0.0


def test_the_user_s_caps_hold_from_the_first_call() -> None:
    admission = Admission.of(upstream(requests_per_minute=60.0), concurrency=1_000)
    sent, now = 0, 0.0
    while now < 30.0:
        sent += admission.admit(ONE, now) is not None
        now += 0.01
    assert sent == pytest.approx(31, abs=1)


def test_tokens_are_reserved_and_settled() -> None:
    admission = Admission.of(upstream(output_tokens_per_minute=6_000.0), concurrency=1_000)
    request = Request(model="p/m", messages=(Message("user", "hi"),), parameters={"max_tokens": 50})
    amounts = admission.amounts(Call(request=request, model="m"))
    assert amounts[3] == 50.0
    sents = [sent for _ in range(10) if (sent := admission.admit(amounts, 0.0)) is not None]
    assert len(sents) == 2
    for sent in sents:
        admission.succeed(sent, Usage(2, 10), None, 10, 0.1)
    assert admission.admit(amounts, 0.1) is not None


def test_an_expected_length_is_learned_where_nothing_bounds_it() -> None:
    admission = Admission.of(upstream(output_tokens_per_minute=6e9), concurrency=10)
    request = Request(model="p/m", messages=(Message("user", "hi"),))
    for _ in range(200):
        sent = admission.admit(admission.amounts(Call(request=request, model="m")), 0.0)
        assert sent is not None
        admission.succeed(sent, Usage(2, 1_000), None, 1_000, 0.0)
    assert admission.amounts(Call(request=request, model="m"))[3] == pytest.approx(1_250, rel=0.05)


def test_outcomes_are_counted() -> None:
    admission = Admission.of(upstream(), concurrency=10)
    for error in (Overloaded("503"), RateLimited("429")):
        sent = admission.admit(ONE, 0.0)
        assert sent is not None
        admission.fail(sent, error, RateHeaders(), 0.0)
    told = admission.statistics(0.0)
    assert (told.dropped, told.rate_limited, told.ignored) == (2, 1, 0)
    assert Overloaded.outcome is Outcome.DROPPED


def test_the_guard_only_lowers() -> None:
    guard = ProcessGuard(lag=0.1, memory_bytes=1_000)
    for _ in range(100):
        guard.record(1.0, 0)
    assert guard.lower(100) == 5
    assert guard.lower(1) == 1
    for _ in range(100):
        guard.record(0.0, 2_000)
    assert guard.lower(100) == 5
    for _ in range(100):
        guard.record(0.0, 0)
    assert guard.lower(100) == 100


def test_latency_that_is_not_our_doing_does_not_shrink_the_limit() -> None:
    """Everything takes three times as long from now on, however few are in flight."""
    limit, now = DelayLimit(initial=32, most=64), 0.0
    for latency in (1.0, 3.0):
        for _ in range(6_000):
            now += latency / limit.limit
            limit.record(latency, 100, now - latency, limit.limit, now)
    assert limit.limit == 64


def test_an_idle_client_does_not_grow_its_limit() -> None:
    limit, now = DelayLimit(initial=32, most=1_000), 0.0
    for _ in range(5_000):
        now += 0.1
        limit.record(1.0, 100, now - 1.0, 10, now)
    assert limit.limit == 32


def test_a_known_rate_is_gone_to_at_once() -> None:
    limit = DelayLimit(initial=32, most=1_000)
    limit.expect(400.0)
    assert limit.limit == 400
    limit.expect(math.inf)
    assert limit.limit == 1_000
