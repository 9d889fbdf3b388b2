"""Draws are told apart by where they come from, and by nothing else."""

from __future__ import annotations

import datetime
import decimal
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentic_synth.recipes.lineage import Lineage, digest_of
from agentic_synth.types import Draw

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
rows = st.dictionaries(st.sampled_from("ab"), st.integers(0, 2), max_size=2)
digests = st.integers(0, 5).map(digest_of)


def spelled(value: Any) -> Any:
    """*value* where true is not 1, as in JSON."""
    if isinstance(value, list):
        return ["list", *map(spelled, value)]
    if isinstance(value, dict):
        return {key: spelled(inner) for key, inner in value.items()}
    return (type(value).__name__, value)


@given(json_values, json_values)
def test_only_equal_values_have_equal_digests(one: Any, other: Any) -> None:
    assert (digest_of(one) == digest_of(other)) == (spelled(one) == spelled(other))
    assert digest_of(one, other) != digest_of([one, other])


def test_the_order_of_keys_is_no_difference() -> None:
    assert digest_of({"a": 1, "b": {"c": 2, "d": 3}}) == digest_of({"b": {"d": 3, "c": 2}, "a": 1})


@pytest.mark.parametrize(
    "value",
    [
        2**70,
        decimal.Decimal("1.50"),
        datetime.datetime(2024, 5, 17, tzinfo=datetime.UTC),
        datetime.date(2024, 5, 17),
        uuid.UUID(int=7),
        b"\x00\xff",
        float("nan"),
        {3},
        "half a pair: \ud800",
        {1: "a key that is a number"},
    ],
)
def test_whatever_a_seed_row_holds_has_a_digest(value: Any) -> None:
    assert digest_of({"a": value}) == digest_of({"a": value})
    assert digest_of({"a": value}) != digest_of({"a": "else"})


@given(st.lists(digests, max_size=40), st.lists(digests, max_size=5))
def test_no_two_draws_of_one_specification_are_equal(specifications: list[bytes], inputs: list[bytes]) -> None:
    lineage = Lineage(seed=0, epoch=0)
    keys = [(spec, lineage.first(spec)) for spec in specifications]
    draws = [draw for _, draw in keys]
    dependents = [lineage.dependent("answer", [one.hex()], [draw]) for one in inputs for draw in draws]
    refills = [
        lineage.refill(column, identity, number)
        for column in ("question", "answer")
        for identity in set(specifications)
        for number in (1, 2)
    ]
    assert len(set(keys)) == len(keys)
    assert len({*dependents, *refills}) == len(dependents) + len(refills)
    assert not {*draws, lineage.shared()} & {*dependents, *refills}


@given(st.lists(rows, max_size=20), st.integers(0, 3))
def test_a_row_is_known_by_what_it_holds_and_how_often_it_came(seeds: list[dict[str, int]], value: int) -> None:
    lineage, other = Lineage(seed=0, epoch=0), Lineage(seed=0, epoch=0)
    identities = [lineage.identity(row, index) for index, row in enumerate(seeds)]
    assert len(set(identities)) == len(identities)
    new = {"new": value}
    other.identity(new, 0)
    assert [other.identity(row, index) for index, row in enumerate(seeds, 1)] == identities


def test_a_row_without_a_seed_is_known_by_its_place() -> None:
    lineage = Lineage(seed=0, epoch=0)
    places = [lineage.identity(None, index) for index in range(50)]
    assert len(set(places)) == 50
    assert lineage.identity(None, 7) == places[7]


@given(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
def test_another_seed_or_epoch_is_another_draw_of_everything(seed: int, epoch: int, seed_2: int, epoch_2: int) -> None:
    def draws(lineage: Lineage) -> list[Draw]:
        one = digest_of(1)
        return [lineage.first(one), lineage.dependent("a", [], []), lineage.refill("a", one, 1), lineage.shared()]

    first, second = draws(Lineage(seed=seed, epoch=epoch)), draws(Lineage(seed=seed_2, epoch=epoch_2))
    if (seed, epoch) == (seed_2, epoch_2):
        assert first == second
    else:
        assert not {*first} & {*second}


def test_the_seed_alone_decides_what_is_sampled() -> None:
    def sampled(seed: int, epoch: int) -> list[int]:
        lineage = Lineage(seed=seed, epoch=epoch)
        identity = lineage.identity({"a": 1}, 0)
        return [lineage.sampling_seed(identity, refill) for refill in range(5)]

    assert sampled(0, 0) == sampled(0, 3)
    assert len({*sampled(0, 0), *sampled(1, 0)}) == 10
