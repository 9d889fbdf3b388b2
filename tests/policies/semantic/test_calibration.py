"""The proof is a fair bet, and the probability is one."""

import math
import random

from hypothesis import given
from hypothesis import strategies as st

from agentic_synth.policies.semantic.calibration import FEATURES, GRADES, KNOTS, features, grade, probability, proves
from agentic_synth.policies.semantic.coefficients import EVIDENCE, HINGES, HINGES_ANY, WEIGHTS, WEIGHTS_ANY
from agentic_synth.policies.semantic.gate import compare
from agentic_synth.policies.semantic.reading import read

counts = st.integers(0, 5_000)
bounds = st.floats(0.001, 0.5)


@given(counts, st.integers(0, 50), bounds)
def test_a_wrong_pair_never_helps_a_proof_and_a_right_one_never_harms(right: int, wrong: int, bound: float) -> None:
    if proves(right, wrong + 1, bound):
        assert proves(right, wrong, bound)
    if proves(right, wrong, bound):
        assert proves(right + 1, wrong, bound)


@given(counts, st.integers(0, 50), bounds)
def test_a_proof_of_a_bound_proves_any_wider_one(right: int, wrong: int, bound: float) -> None:
    if proves(right, wrong, bound):
        assert proves(right, wrong, min(0.9, bound * 1.5))


def test_how_much_it_takes() -> None:
    assert not proves(0, 0, 0.01)
    enough = next(n for n in range(2_000) if proves(n, 0, 0.01))
    assert 367 <= enough <= 500, "no proof at 97.5 % takes fewer than 367 pairs; ours takes a little more"
    once_wrong = next(n for n in range(5_000) if proves(n, 1, 0.01))
    assert enough < once_wrong < 1_200
    assert not proves(10_000, 150, 0.01)


def test_no_rate_above_the_bound_is_ever_proven_in_more_than_one_history_of_forty() -> None:
    bound, histories = 0.05, 400
    fooled = 0
    for seed in range(histories):
        rng = random.Random(seed)
        right = wrong = 0
        for _ in range(1_500):
            if rng.random() < bound:
                wrong += 1
            else:
                right += 1
                if proves(right, wrong, bound):
                    fooled += 1
                    break
    assert fooled / histories <= 0.025 + 2 * math.sqrt(0.025 * 0.975 / histories)


def test_the_shipped_weights_fit_the_features() -> None:
    assert len(WEIGHTS) == len(WEIGHTS_ANY) == len(FEATURES) + 1
    assert {index for index, _, _ in (*HINGES, *HINGES_ANY)} <= {FEATURES.index(name) for name in KNOTS}
    seen = [index for index, name in enumerate(FEATURES) if "similarity" in name]
    assert all(WEIGHTS_ANY[index + 1] == 0.0 for index in seen)
    assert all(index not in seen for index, _, _ in HINGES_ANY)
    assert {len(grades) for grades in EVIDENCE.values()} == {len(GRADES)}


@given(st.text(max_size=60), st.text(max_size=60), st.floats(-1.0, 1.0))
def test_a_probability_is_between_none_and_one_and_the_same_both_ways(first: str, second: str, near: float) -> None:
    pair, turned = compare(read(first), read(second)), compare(read(second), read(first))
    found, other = features(pair, near), features(turned, near)
    assert len(found) == len(FEATURES)
    for by_similarity in (True, False):
        likely = probability(found, by_similarity=by_similarity)
        assert 0.0 <= likely <= 1.0
        assert math.isclose(likely, probability(other, by_similarity=by_similarity), rel_tol=1e-6)
    assert probability(found, by_similarity=False) == probability(features(pair, 0.0), by_similarity=False)


def test_near_wordings_are_likelier_than_far_ones() -> None:
    asked = read("How do I cook rice for ten people?")

    def likely(other: str, near: float) -> float:
        return probability(features(compare(asked, read(other)), near), by_similarity=True)

    same = likely("What is the best way to cook rice for 10 people?", 0.97)
    close = likely("How do I cook pasta for ten people?", 0.9)
    far = likely("Who painted the ceiling of the chapel?", 0.2)
    assert same > 0.8 > close > far
    assert far < 0.1


def test_the_grades() -> None:
    def found(first: str, second: str) -> str:
        return GRADES[grade(compare(read(first), read(second)))]

    assert found("Write a poem about rain.", "please, write a poem about rain") == "same text"
    assert found("Write a poem about rain.", "write the poem about rain") == "same words"
    assert found("Write a poem about rain.", "compose a poem about rain") == "other opening"
    assert found("Write a short poem about rain.", "compose a brief poem about rain") == "other wording"
