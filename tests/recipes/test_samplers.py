"""Draws: within their bounds, by their laws, from the generator alone, and valid under their own schema."""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import statistics
import subprocess
import sys
from collections import Counter
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentic_synth.errors import RecipeError
from agentic_synth.recipes.model import Recipe, SamplerColumn
from agentic_synth.recipes.samplers import Sampler, compile_sampler
from agentic_synth.recipes.samplers_fake import PROVIDERS, SHORT_NAMES, fields_of

SAMPLERS: dict[str, dict[str, Any]] = {
    "choice": {"choice": ["a", "b", 3, None]},
    "weighted": {"choice": ["a", "b"], "weights": [1, 3]},
    "int": {"int": [-3, 4]},
    "float": {"float": [0.05, 0.19], "decimals": 1},
    "uniform": {"uniform": [-1, 1]},
    "normal": {"normal": {"mean": 5, "std": 2, "min": 0, "max": 10, "decimals": 1}},
    "lognormal": {"lognormal": {"median": 50, "sigma": 0.5, "min": 10, "max": 500, "decimals": 0}},
    "bernoulli": {"bernoulli": 0.3},
    "poisson": {"poisson": 4},
    "poisson_big": {"poisson": 400},
    "date": {"date": ["2024-02-28", "2024-03-01"]},
    "datetime": {"datetime": ["2024-02-28T00:00:00Z", "2024-03-01T00:00:00Z"]},
    "local": {"datetime": ["2024-02-28", "2024-03-01"]},
    "uuid": {"uuid": 4},
    "sequence": {"sequence": {"start": 5, "step": 2}},
    "numbered": {"sequence": {"format": "INV-{:05d}"}},
    "cycle": {"cycle": ["x", "y", "z"]},
    "constant": {"constant": {"a": [1]}},
    "fake": {"fake": "name"},
    "fake_de": {"fake": "person.full_name", "locale": "de", "arguments": {"gender": "female"}},
    "fake_list": {"fake": "text.words", "arguments": {"quantity": 3}},
    "person": {"person": True, "locale": "fr"},
    "person_email": {"person": "email"},
    "series": {"timeseries": {"trend": 0.1, "season": {"period": 24, "amplitude": 3}, "walk": 1, "noise": 1}},
    "ticks": {"ticks": {"start": "2025-01-01T00:00:00Z", "step": "5m"}},
    "arrivals": {"arrivals": {"start": "2025-01-01T00:00:00Z", "per_hour": 60}},
}


def column(spec: dict[str, Any]) -> SamplerColumn:
    found = Recipe.model_validate({"columns": {"a": spec}}).columns["a"]
    assert isinstance(found, SamplerColumn)
    return found


def sampler(spec: dict[str, Any], stream: str = "0/a") -> Sampler:
    return compile_sampler(column(spec), stream=stream)


def draws(spec: dict[str, Any], count: int = 400) -> list[Any]:
    draw = sampler(spec)
    return [draw(random.Random(row), row) for row in range(count)]


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_value_depends_on_its_generator_and_its_index_alone(name: str) -> None:
    first, second = sampler(SAMPLERS[name]), sampler(SAMPLERS[name])
    rng = random.Random()
    forward = []
    for row in range(50):
        rng.seed(row)
        forward.append(first(rng, row))
    backward = [second(random.Random(row), row) for row in reversed(range(50))]
    assert forward == backward[::-1]


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_value_is_valid_under_the_schema(name: str) -> None:
    draw = sampler(SAMPLERS[name])
    validator = jsonschema_rs.validator_for(draw.schema, validate_formats=True)
    for row in range(200):
        value = draw(random.Random(row), row)
        assert validator.is_valid(value), (value, draw.schema)


def test_another_process_draws_the_same() -> None:
    program = (
        "import json, random, sys\n"
        "from tests.recipes.test_samplers import SAMPLERS, sampler\n"
        "print(json.dumps({name: sampler(spec)(random.Random(7), 7) for name, spec in SAMPLERS.items()}))\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(["src", "."])}
    printed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, env=environment)
    here = {name: sampler(spec)(random.Random(7), 7) for name, spec in SAMPLERS.items()}
    assert json.loads(printed.stdout) == here


def test_weights_are_shares() -> None:
    counts = Counter(draws({"choice": ["a", "b", "never"], "weights": [1, 3, 0]}, 4_000))
    assert counts["never"] == 0
    assert counts["b"] / 4_000 == pytest.approx(0.75, abs=0.03)


def test_both_ends_of_a_range_are_drawn() -> None:
    assert set(draws({"int": [1, 3]})) == {1, 2, 3}
    assert set(draws({"date": ["2024-02-28", "2024-03-01"]})) == {"2024-02-28", "2024-02-29", "2024-03-01"}
    assert set(draws({"float": [0.05, 0.29], "decimals": 1})) == {0.1, 0.2}


def test_normal_values_follow_their_law() -> None:
    values = draws({"normal": {"mean": 5, "std": 2}}, 4_000)
    assert statistics.fmean(values) == pytest.approx(5, abs=0.15)
    assert statistics.stdev(values) == pytest.approx(2, abs=0.1)


def test_a_cut_normal_keeps_its_shape_and_its_bounds() -> None:
    values = draws({"normal": {"mean": 0, "std": 1, "min": 0}}, 4_000)
    assert min(values) >= 0
    assert statistics.fmean(values) == pytest.approx(math.sqrt(2 / math.pi), abs=0.04)


@pytest.mark.parametrize("ends", [(6, 7), (-7, -6)])
def test_a_far_tail_is_drawn_exactly(ends: tuple[float, float]) -> None:
    low, high = ends
    values = draws({"normal": {"mean": 0, "std": 1, "min": low, "max": high}})
    assert all(low <= value <= high for value in values)
    assert len(set(values)) > 390
    assert abs(statistics.fmean(values)) == pytest.approx(6.158, abs=0.03)


def test_zero_decimals_give_whole_numbers() -> None:
    assert all(isinstance(value, int) for value in draws({"normal": {"mean": 5, "std": 2, "decimals": 0}}))


def test_lognormal_values_have_their_median() -> None:
    values = draws({"lognormal": {"median": 50, "sigma": 0.5}}, 4_000)
    assert statistics.median(values) == pytest.approx(50, rel=0.05)
    assert statistics.stdev(map(math.log, values)) == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("mean", [0, 0.5, 4, 29.9, 31, 400, 1e6])
def test_poisson_counts_have_their_mean_and_variance(mean: float) -> None:
    values = draws({"poisson": mean}, 4_000)
    assert min(values) >= 0
    assert statistics.fmean(values) == pytest.approx(mean, abs=4 * math.sqrt(mean / 4_000) + 1e-9)
    assert statistics.variance(values) == pytest.approx(mean, rel=0.1)


@settings(max_examples=60, deadline=None)
@given(
    low=st.floats(-1e6, 1e6),
    width=st.floats(0, 1e6),
    decimals=st.none() | st.integers(0, 6),
    seed=st.integers(0, 99),
)
def test_rounding_never_leaves_the_range(low: float, width: float, decimals: int | None, seed: int) -> None:
    if decimals is not None:  # a range that holds no number with so few decimals is refused (below)
        width += 2 * 10.0**-decimals
    draw = sampler({"float": [low, low + width], "decimals": decimals})
    assert low <= draw(random.Random(seed), 0) <= low + width


def test_a_sequence_counts_by_row() -> None:
    assert draws({"sequence": {"start": 5, "step": -2}}, 3) == [5, 3, 1]
    assert draws({"sequence": {"format": "INV-{:05d}"}}, 2) == ["INV-00001", "INV-00002"]
    assert draws({"cycle": ["x", "y"]}, 3) == ["x", "y", "x"]


def test_uuids_are_version_4_and_distinct() -> None:
    values = draws({"uuid": True})
    assert len(set(values)) == len(values)
    assert all(value[14] == "4" and value[19] in "89ab" for value in values)


@pytest.mark.parametrize("short", SHORT_NAMES)
def test_every_short_name_gives_varied_values(short: str) -> None:
    assert len(set(map(str, draws({"fake": short}, 30)))) > 3


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_field_is_the_same_again_or_is_refused(provider: str) -> None:
    given = 0
    for field in fields_of(provider):
        with contextlib.suppress(RecipeError):  # some take nothing without arguments
            draw = sampler({"fake": f"{provider}.{field}"})
            given += 1
            assert draw(random.Random(3), 0) == draw(random.Random(3), 9)
    assert given > 0


def test_a_locale_speaks_its_language() -> None:
    cities = draws({"fake": "city", "locale": "ja"}, 20)
    assert not any(city.isascii() for city in cities)
    assert draws({"fake": "city", "locale": "de-DE"}, 5) == draws({"fake": "city", "locale": "de"}, 5)


@pytest.mark.parametrize("locale", ["en", "de", "cs", "ja", "ru", "pt-br"])
def test_a_persons_fields_agree(locale: str) -> None:
    for person in draws({"person": True, "locale": locale}, 40):
        assert person["first_name"] in person["full_name"]
        assert person["last_name"] in person["full_name"]
        assert person["email"].split("@")[0] == person["username"]
        assert person["email"].isascii()
        if person["first_name"].isascii():
            letters = "".join(filter(str.isalpha, person["first_name"].lower()))
            assert person["username"].startswith(letters)


def test_one_field_of_a_person_is_that_of_the_whole() -> None:
    assert draws({"person": "email"}, 9) == [person["email"] for person in draws({"person": True}, 9)]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"fake": "nam"}, "did you mean `name`"),
        ({"fake": "person.fullname"}, "did you mean `person.full_name`"),
        ({"fake": "person.__class__"}, "nothing to fake"),
        ({"fake": "person.random"}, "nothing to fake"),
        ({"fake": "person.reseed"}, "nothing to fake"),
        ({"fake": "os.system"}, "nothing to fake"),
        ({"fake": "datetime.future_date"}, "`date` or `datetime` column"),
        ({"fake": "numeric.increment"}, "`sequence` column"),
        ({"fake": "person.email", "arguments": {"unique": True}}, "person.email"),
        ({"fake": "name", "arguments": {"gendr": "male"}}, "did you mean `gender`"),
        ({"fake": "name", "arguments": {"gender": "robot"}}, "Write one of male, female"),
        ({"fake": "name", "locale": "xx"}, "no locale 'xx'"),
        ({"person": "emial"}, "did you mean `email`"),
        ({"normal": {"mean": 0, "std": 1, "min": 50, "max": 60}}, "never falls between"),
        ({"normal": {"mean": 0, "std": 0, "min": 2, "max": 1}}, "is above max"),
        ({"lognormal": {"median": 5, "sigma": 1, "max": -1}}, "above 0"),
        ({"float": [0.12, 0.13], "decimals": 1}, "no number with 1 decimals"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_a_mend(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        sampler(spec)
    assert words in str(caught.value)
    assert caught.value.mend
