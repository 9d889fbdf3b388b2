"""The provider's decisions: limits, load, moods and books, without any loop."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentic_synth.testing.behaviour import Behaviour, Latency, Rate
from agentic_synth.testing.buckets import Bucket
from agentic_synth.testing.flags import parse_behaviour
from agentic_synth.testing.simulation import Fate, Simulation, chances, draw_latency


def simulation(seed: int = 0, **texts: str) -> Simulation:
    return Simulation(parse_behaviour(texts), seed=seed)


def fates(subject: Simulation, count: int, every: float = 1.0) -> list[Fate]:
    found = []
    for number in range(count):
        fate = subject.arrive(number * every, number + 1, 10)
        if fate.kind != "rate_limited":
            subject.leave(number * every, fate, 5, complete=fate.kind == "answer")
        found.append(fate)
    return found


def test_faults_come_in_their_shares_and_are_the_same_for_the_same_seed() -> None:
    text = "error=0.1,stall=0.05,cut=0.05,malformed=0.1,reset=0.2"
    first = [fate.kind for fate in fates(simulation(7, faults=text), 4000)]
    assert first == [fate.kind for fate in fates(simulation(7, faults=text), 4000)]
    assert first != [fate.kind for fate in fates(simulation(8, faults=text), 4000)]
    shares = {kind: first.count(kind) / 4000 for kind in set(first)}
    expected = {"answer": 0.5, "error": 0.1, "stall": 0.05, "cut": 0.05, "malformed": 0.1, "reset": 0.2}
    assert shares == pytest.approx(expected, abs=0.03)


@given(order=st.permutations(range(1, 9)))
def test_the_fate_of_a_request_does_not_depend_on_who_came_before(order: list[int]) -> None:
    subject = simulation(3, faults="error=0.5", latency="lognormal:50ms:0.5")
    alone = simulation(3, faults="error=0.5", latency="lognormal:50ms:0.5")
    mixed = {key: subject.arrive(0.0, key, 1) for key in order}
    assert mixed == {key: alone.arrive(0.0, key, 1) for key in range(1, 9)}


def test_asking_again_draws_the_fault_anew() -> None:
    subject = simulation(faults="error=0.5")
    kinds = {subject.arrive(0.0, 42, 1).kind for _ in range(50)}
    assert kinds == {"error", "answer"}


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**64 - 1), st.integers(-300, 300))
def test_chances_are_between_nought_and_one(seed: int, key: int, occurrence: int) -> None:
    assert all(0.0 <= chance < 1.0 for chance in chances(seed, key, occurrence)[:3])


def test_latency_follows_its_law() -> None:
    quantiles = [(number + 0.5) / 2000 for number in range(2000)]
    lognormal = [draw_latency(Latency(law="lognormal", low=0.05, sigma=0.3), q) for q in quantiles]
    assert statistics.median(lognormal) == pytest.approx(0.05, rel=0.01)
    logs = [value / 0.05 for value in lognormal]
    assert statistics.quantiles(logs, n=100)[83] == pytest.approx(2.71828**0.3, rel=0.03)
    uniform = [draw_latency(Latency(law="uniform", low=0.01, high=0.03), q) for q in quantiles]
    assert min(uniform) >= 0.01
    assert max(uniform) <= 0.03
    assert statistics.mean(uniform) == pytest.approx(0.02, rel=0.01)
    assert draw_latency(Latency(low=0.25), 0.9) == 0.25


@given(
    st.lists(st.tuples(st.floats(0, 3), st.floats(1, 30)), min_size=1, max_size=60),
    st.floats(1, 50),
    st.floats(5, 500),
)
def test_a_bucket_never_gives_more_than_burst_and_rate_allow(
    arrivals: list[tuple[float, float]], burst: float, rate: float
) -> None:
    bucket, now, given_out = Bucket(Rate(rate, 10, burst), 0.0), 0.0, 0.0
    for gap, amount in arrivals:
        now += gap
        if bucket.wait(now, amount) == 0:
            bucket.take(min(amount, burst))
            given_out += min(amount, burst)
        assert given_out <= burst + now * rate / 10 + 1e-6


@given(st.floats(0.5, 30), st.floats(1, 30))
def test_a_refused_call_is_welcome_after_the_wait_it_was_told(amount: float, burst: float) -> None:
    bucket = Bucket(Rate(600, 60, burst), 0.0)
    bucket.take(burst * 1.5)
    wait = bucket.wait(0.0, amount)
    assert wait > 0
    assert bucket.wait(wait + 1e-6, amount) == 0


def test_over_the_limit_the_client_is_told_when_to_come_back() -> None:
    subject = simulation(rate="60/min:2")
    found = [subject.arrive(0.0, key, 1) for key in (1, 2, 3)]
    assert [fate.kind for fate in found] == ["answer", "answer", "rate_limited"]
    assert found[1].headers["x-ratelimit-limit-requests"] == "60"
    assert found[1].headers["x-ratelimit-remaining-requests"] == "0"
    assert found[1].headers["x-ratelimit-reset-requests"] == "2s"
    assert found[2].status == 429
    assert found[2].retry_after == pytest.approx(1.0)
    assert (found[2].headers["retry-after"], found[2].headers["retry-after-ms"]) == ("1", "1000")
    assert subject.arrive(1.001, 3, 1).kind == "answer"
    assert subject.in_flight == 3


def test_headers_can_be_absent_or_lie() -> None:
    absent = simulation(rate="60/min:1", headers="absent", retry_after="absent")
    absent.arrive(0.0, 1, 1)
    assert absent.arrive(0.0, 2, 1).headers == {}
    lying = simulation(rate="60/min:1", headers="lying", retry_after="lying")
    lying.arrive(0.0, 1, 1)
    refused = lying.arrive(0.0, 2, 1)
    assert refused.kind == "rate_limited"
    assert refused.headers["x-ratelimit-remaining-requests"] == "600"
    assert refused.retry_after == 0


def test_tokens_are_taken_on_arrival_and_once_more_when_the_output_is_known() -> None:
    subject = simulation(tokens="100/s:100")
    fate = subject.arrive(0.0, 1, 60)
    assert fate.headers["x-ratelimit-remaining-tokens"] == "40"
    subject.leave(0.0, fate, 90, complete=True)
    refused = subject.arrive(0.0, 2, 10)
    assert refused.kind == "rate_limited"
    assert refused.retry_after == pytest.approx(0.6)
    assert subject.arrive(0.61, 2, 10).kind == "answer"


def test_refused_calls_may_count_against_the_limit() -> None:
    def admitted(rejected_count: str) -> int:
        subject = simulation(rate="60/min:1", rejected_count=rejected_count)
        return sum(fate.kind == "answer" for fate in fates(subject, 600, every=0.1))

    assert admitted("no") == 60
    assert admitted("yes") < 10


def test_limits_move_on_schedule() -> None:
    subject = simulation(rate="600/min", schedule="10s rate=6000/min; 20s rate=off faults=reset=1")
    found = fates(subject, 3000, every=0.01)
    per_phase = [sum(fate.kind == "answer" for fate in found[at : at + 1000]) for at in (0, 1000, 2000)]
    assert per_phase[0] == pytest.approx(110, abs=2)
    assert per_phase[1] == pytest.approx(1000, abs=2)
    assert {fate.kind for fate in found[2000:]} == {"reset"}
    assert found[1500].headers["x-ratelimit-limit-requests"] == "6000"
    assert found[2500].headers == {}


def test_beyond_the_knee_latency_grows_with_the_load() -> None:
    subject = simulation(latency="100ms", knee="4")
    waits = [subject.arrive(0.0, key, 1).wait for key in range(1, 9)]
    assert waits[:4] == [0.1] * 4
    assert waits[7] == pytest.approx(0.2)


def test_a_cold_server_is_slow_and_warms_up() -> None:
    subject = simulation(latency="100ms", slow_start="10s:5")
    assert [fate.wait for fate in fates(subject, 12)[::5]] == pytest.approx([0.5, 0.3, 0.1])


def test_errors_come_in_bursts() -> None:
    kinds = [fate.kind for fate in fates(simulation(bursts="10s:2s:1"), 40)]
    assert [at for at, kind in enumerate(kinds) if kind == "error"] == [8, 9, 18, 19, 28, 29, 38, 39]


def test_the_books_tell_what_was_asked_again_and_what_was_paid_twice() -> None:
    subject = Simulation(Behaviour())
    for complete in (False, True, True, True):
        subject.leave(0.0, subject.arrive(0.0, 0xABC, 10), 5 if complete else 0, complete=complete)
    subject.leave(0.0, subject.arrive(0.0, 2, 10), 5, complete=True)
    books = subject.statistics()
    assert books["received"] == 5
    assert books["distinct"] == 2
    assert books["repeated"] == 3
    assert books["answered"] == 4
    assert books["answered_again"] == 2
    assert books["abandoned"] == 1
    assert books["duplicates"] == [{"request": "0000000000000abc", "answers": 3}]
    assert (books["input_tokens"], books["output_tokens"]) == (50, 20)
    assert (books["in_flight"], books["peak_in_flight"]) == (0, 1)


def test_the_list_of_duplicates_is_bounded() -> None:
    subject = Simulation()
    for key in range(1, 301):
        for _ in range(2):
            subject.leave(0.0, subject.arrive(0.0, key, 1), 1, complete=True)
    duplicates = subject.statistics()["duplicates"]
    assert isinstance(duplicates, list)
    assert len(duplicates) == 100
    assert subject.statistics()["answered_again"] == 300
