"""Text flags say what they mean, and wrong ones say how to write them."""

from __future__ import annotations

import msgspec
import pytest

from agentic_synth.errors import ConfigError
from agentic_synth.testing.behaviour import Behaviour, Bursts, Change, Faults, Latency, Rate, SlowStart
from agentic_synth.testing.flags import parse_behaviour, parse_faults, parse_latency, parse_rate, parse_schedule


@pytest.mark.parametrize(
    ("text", "latency"),
    [
        ("50ms", Latency(low=0.05)),
        ("constant:1.5s", Latency(low=1.5)),
        ("uniform:10ms:30ms", Latency(law="uniform", low=0.01, high=0.03)),
        ("lognormal:50ms:0.3", Latency(law="lognormal", low=0.05, sigma=0.3)),
        ("lognormal:50ms:0.3+2ms/token", Latency(law="lognormal", low=0.05, sigma=0.3, per_token=0.002)),
        ("0+500us/token", Latency(per_token=0.0005)),
    ],
)
def test_latency(text: str, latency: Latency) -> None:
    assert parse_latency(text) == latency


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("9000/min", Rate(9000, 60, 150)),
        ("150/s", Rate(150, 1, 150)),
        ("1M/min", Rate(1e6, 60, 1e6 / 60)),
        ("9000/min:300", Rate(9000, 60, 300)),
        ("30/min", Rate(30, 60, 1)),
        ("2k/h:10", Rate(2000, 3600, 10)),
    ],
)
def test_rate(text: str, rate: Rate) -> None:
    assert parse_rate(text) == rate


def test_everything_together_survives_json() -> None:
    behaviour = parse_behaviour(
        {
            "latency": "lognormal:50ms:0.3", "faults": "error=0.05, stall=0.01,invalid=0.1", "rate": "9000/min",
            "tokens": "1M/min", "knee": "64", "headers": "lying", "retry-after": "absent", "rejected_count": "yes",
            "bursts": "30s:2s:0.9", "slow-start": "5s:4", "stall_seconds": "30s", "answers": "brief",
            "resample": "on", "api_key": "secret", "models": "a, b", "schedule": None,
        }
    )  # fmt: skip
    assert behaviour == Behaviour(
        latency=Latency(law="lognormal", low=0.05, sigma=0.3),
        faults=Faults(error=0.05, stall=0.01, invalid=0.1),
        rate=Rate(9000, 60, 150),
        tokens=Rate(1e6, 60, 1e6 / 60),
        knee=64,
        headers="lying",
        retry_after="absent",
        rejected_count=True,
        bursts=Bursts(30, 2, 0.9),
        slow_start=SlowStart(5, 4),
        stall_seconds=30,
        answers="brief",
        resample=True,
        api_key="secret",
        models=("a", "b"),
    )
    assert msgspec.json.decode(msgspec.json.encode(behaviour), type=Behaviour) == behaviour


def test_a_schedule_says_what_changes_and_leaves_the_rest() -> None:
    text = "20s faults=error=0.5,stall=0.1 knee=off; 10s rate=6000/min latency=uniform:1ms:2ms;"
    first, second = parse_schedule(text)
    assert first == Change(at=10, rate=Rate(6000, 60, 100), latency=Latency(law="uniform", low=0.001, high=0.002))
    assert second == Change(at=20, faults=Faults(error=0.5, stall=0.1), knee=None)
    behaviour = parse_behaviour({"schedule": text})
    assert msgspec.json.decode(msgspec.json.encode(behaviour), type=Behaviour) == behaviour


def test_a_limit_can_be_switched_off_on_top_of_a_behaviour() -> None:
    base = parse_behaviour({"rate": "10/s", "latency": "5ms"})
    changed = parse_behaviour({"rate": "off"}, base)
    assert changed.rate is None
    assert changed.latency == base.latency
    assert parse_faults("none") == Faults()


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("latency", "fast", "lognormal:50ms:0.3"),
        ("latency", "uniform:30ms:10ms", "uniform:10ms:30ms"),
        ("latency", "lognormal:50ms", "lognormal:50ms:0.3"),
        ("latency", "lognormal:50ms:nan", "lognormal:50ms:0.3"),
        ("latency", "50ms+2ms", "/token"),
        ("latency", "50ms+", "/token"),
        ("latency", "-5ms", "write --latency"),
        ("faults", "eror=0.1", "did you mean 'error'"),
        ("faults", "error=2", "between 0 and 1"),
        ("faults", "error", "between 0 and 1"),
        ("faults", "error=0.6,stall=0.6", "sum to at most 1"),
        ("rate", "9000", "AMOUNT/PERIOD"),
        ("rate", "0/min", "AMOUNT/PERIOD"),
        ("rate", "9000/fortnight", "AMOUNT/PERIOD"),
        ("tokens", "1G/min", "AMOUNT/PERIOD"),
        ("tokens", "10/s:0.5", "AMOUNT/PERIOD"),
        ("knee", "-4", "in flight"),
        ("headers", "honest", "truthful, absent, lying"),
        ("bursts", "2s:30s:0.9", "30s:2s:0.9"),
        ("bursts", "30s", "30s:2s:0.9"),
        ("slow_start", "5s", "5s:4"),
        ("stall_seconds", "long", "30s"),
        ("resample", "perhaps", "yes or no"),
        ("answers", "long", "full, brief"),
        ("schedule", "soon rate=5/s", "10s rate=6000/min"),
        ("schedule", "10s models=a", "can change"),
        ("schedule", "10s rte=5/s", "did you mean 'rate'"),
        ("latncy", "5ms", "did you mean 'latency'"),
    ],
)
def test_wrong_text_is_answered_with_the_right_spelling(name: str, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_behaviour({name: text})
    assert says in str(caught.value) + caught.value.mend
