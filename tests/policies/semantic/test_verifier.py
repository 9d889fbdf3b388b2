"""The decision: identical texts hit, changed values never do, and hits keep the bound or are refused."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentic_synth.policies.semantic.verifier import Verdict, Verifier

ASKED, STORED = "Write a poem about rain.", "Could you please compose a poem about rain?"
QUESTION, OTHER_QUESTION = "How do I cook rice?", "What is the best way to cook rice?"
HERE, THERE = b"here", b"there"

words = st.lists(
    st.sampled_from(["rain", "bees", "order", "table", "window", "engine", "paper"]), min_size=1, max_size=8
)
texts = st.text(max_size=80)
nearness = st.floats(-1.0, 1.0)


def judge(verifier: Verifier, asked: str = ASKED, stored: str = STORED, partition: bytes = HERE) -> Verdict:
    return verifier.judge(asked, stored, 0.95, partition=partition)


@given(texts, nearness)
def test_identical_text_is_a_hit(text: str, near: float) -> None:
    verdict = Verifier().judge(text, text, near, partition=HERE)
    assert verdict.hit
    assert verdict.probability == 1.0
    assert verdict.reason.startswith("identical")


@given(texts, texts, nearness)
def test_it_does_not_matter_which_was_first(asked: str, stored: str, near: float) -> None:
    one = Verifier().judge(asked, stored, near, partition=HERE)
    other = Verifier().judge(stored, asked, near, partition=HERE)
    assert (one.hit, one.grade) == (other.hit, other.grade)
    assert one.probability == pytest.approx(other.probability)


@given(words, words, st.integers(0, 10**9), st.integers(0, 10**9), st.sampled_from(["", "-", "$"]))
def test_another_number_is_never_a_hit(before: list[str], after: list[str], one: int, other: int, sign: str) -> None:
    if one == other:
        return
    first, second = (f"Write {' '.join(before)} {sign}{number} {' '.join(after)}" for number in (one, other))
    verdict = Verifier(max_false_hit=0.99).judge(first, second, 1.0, partition=HERE)
    assert not verdict.hit


@given(words, st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_another_quoted_string_is_never_a_hit(around: list[str], one: str, other: str) -> None:
    if " ".join(one.split()) == " ".join(other.split()) or any(mark in one + other for mark in "\"'`“”„«»‘’‚,"):
        return
    first, second = (f'Write "{quoted}" {" ".join(around)}' for quoted in (one, other))
    assert not Verifier(max_false_hit=0.99).judge(first, second, 1.0, partition=HERE).hit


NAMES = [
    "Ann",
    "Bo",
    "Will",
    "May",
    "Rapid",
    "Quick",
    "Paris",
    "An",
    "So",
    "Peru",
    "Mark",
    "Kid",
    "Child",
    "Do",
    "Ones",
]


@given(words, words, st.sampled_from(NAMES), st.sampled_from(NAMES))
def test_another_name_is_never_a_hit(before: list[str], after: list[str], one: str, other: str) -> None:
    if one == other:
        return
    first, second = (f"Write {' '.join(before)} {name} {' '.join(after)}" for name in (one, other))
    assert not Verifier(max_false_hit=0.99).judge(first, second, 1.0, partition=HERE).hit


def test_what_is_proven_hits_and_says_so() -> None:
    verdict = judge(Verifier())
    assert verdict.hit
    assert verdict.reason.startswith("bound: other opening of an order keeps 0.01 (0 wrong of ")


def test_what_is_not_proven_is_refused_until_it_was_learned() -> None:
    verifier = Verifier()
    verdict = judge(verifier, QUESTION, OTHER_QUESTION)
    assert not verdict.hit
    assert "is not proven to keep 0.01" in verdict.reason
    for _ in range(1_500):
        verifier.learn(QUESTION, OTHER_QUESTION, 0.95, partition=HERE, right=True)
    assert judge(verifier, QUESTION, OTHER_QUESTION).hit
    assert judge(verifier, QUESTION, OTHER_QUESTION, THERE).hit, "what was learned here serves there too"


def test_the_rule_that_refused_is_named() -> None:
    verdict = judge(Verifier(), "Write 3 poems", "Write 4 poems")
    assert verdict.reason.startswith("number: 3 has no counterpart")
    assert verdict.grade is None


def test_a_text_too_long_to_compare_is_a_miss() -> None:
    verdict = judge(Verifier(), "a " * 6_000, "b " * 6_000)
    assert verdict.reason.startswith("length")
    assert judge(Verifier(), "a " * 6_000, "a " * 6_000).hit


def test_one_wrong_hit_makes_the_partition_careful_at_once() -> None:
    verifier = Verifier()
    before = judge(verifier)
    verifier.learn(ASKED, STORED, 0.95, partition=HERE, right=False)
    after = judge(verifier)
    assert before.hit
    assert not after.hit
    assert after.probability < 0.6 * before.probability
    assert judge(verifier, partition=THERE).hit, "one report does not close the others"
    assert judge(verifier, ASKED, "write a poem about rain").hit, "nearer wordings are not suspect yet"
    verifier.learn(ASKED, STORED, 0.95, partition=HERE, right=False)
    assert not judge(verifier, ASKED, "write a poem about rain").hit


def test_a_careful_partition_can_prove_itself() -> None:
    verifier = Verifier()
    verifier.learn(ASKED, STORED, 0.95, partition=HERE, right=False)
    for _ in range(1_000):
        verifier.learn(ASKED, STORED, 0.95, partition=HERE, right=True)
    assert judge(verifier).hit


lessons = st.lists(
    st.tuples(st.sampled_from([(ASKED, STORED), (QUESTION, OTHER_QUESTION)]), st.booleans()), max_size=60
)


@given(lessons, st.sampled_from([HERE, THERE]))
def test_a_wrong_pair_never_raises_a_probability_nor_makes_a_hit(
    history: list[tuple[tuple[str, str], bool]], partition: bytes
) -> None:
    verifier = Verifier(max_false_hit=0.05)
    for pair, right in history:
        verifier.learn(*pair, 0.95, partition=HERE, right=right)
    before = judge(verifier, partition=partition)
    verifier.learn(ASKED, STORED, 0.95, partition=partition, right=False)
    after = judge(verifier, partition=partition)
    assert after.probability < before.probability
    assert before.hit or not after.hit


@given(lessons)
def test_it_goes_on_from_its_state(history: list[tuple[tuple[str, str], bool]]) -> None:
    verifier = Verifier()
    for pair, right in history:
        verifier.learn(*pair, 0.95, partition=HERE, right=right)
    state = json.loads(json.dumps(verifier.state()))
    restored = Verifier.restored(state)
    assert restored.state() == verifier.state()
    assert judge(restored) == judge(verifier)


def test_a_state_of_another_shape_is_left_aside() -> None:
    assert Verifier.restored({}).state() == Verifier().state()
    assert Verifier.restored({"checks": [[1, 2]], "clean": {}, "wronged": {}}).state() == Verifier().state()


def test_its_state_is_bounded_and_keeps_those_that_were_wronged() -> None:
    verifier = Verifier()
    verifier.learn(ASKED, STORED, 0.95, partition=b"wronged", right=False)
    for index in range(3_000):
        verifier.learn(ASKED, STORED, 0.95, partition=index.to_bytes(4, "big"), right=True)
    for _ in range(9_000):
        verifier.learn(ASKED, STORED, 0.95, partition=HERE, right=True)
    state = verifier.state()
    assert len(state["clean"]) <= 1_024
    assert len(json.dumps(state)) < 200_000
    assert max(sum(counts) for counts in state["checks"]) <= 4_000
    assert not judge(verifier, partition=b"wronged").hit


def test_right_is_not_learned_from_what_a_rule_refuses() -> None:
    verifier = Verifier()
    verifier.learn("Write 3 poems", "Write 4 poems", 0.9, partition=HERE, right=True)
    verifier.learn("Write 3 poems", "Write 3 poems", 1.0, partition=HERE, right=True)
    assert verifier.state() == Verifier().state()


def test_hits_are_checked_seldom_and_what_lacks_proof_always() -> None:
    verifier, rng = Verifier(check_share=0.02), random.Random(1)
    shares = {
        name: sum(verifier.wants_check(verdict, rng) for _ in range(5_000)) / 5_000
        for name, verdict in {
            "hit": judge(verifier),
            "unproven": judge(verifier, QUESTION, OTHER_QUESTION),
            "refused": judge(verifier, "Write 3 poems", "Write 4 poems"),
            "identical": judge(verifier, ASKED, ASKED),
        }.items()
    }
    assert shares["hit"] == pytest.approx(0.02, abs=0.01)
    assert shares["unproven"] == 1.0
    assert shares["refused"] == shares["identical"] == 0.0
    assert not Verifier(check_share=0.0).wants_check(judge(verifier, QUESTION, OTHER_QUESTION), rng)


STREAM = [(f"Write a poem about {thing}.", f"Compose a poem about {thing}") for thing in ("rain", "bees", "ink", "tar")]


def realised(rate: float, bound: float, seed: int) -> tuple[int, int]:
    """Hits and wrong hits of a stream whose pairs are wrong at *rate*; every lookup that is not a hit is checked."""
    rng = random.Random(seed)
    verifier = Verifier(max_false_hit=bound, check_share=0.1, shipped=False)
    hits = wrong = 0
    for _ in range(1_200):
        asked, stored = rng.choice(STREAM)
        is_wrong = rng.random() < rate
        verdict = verifier.judge(asked, stored, 0.9, partition=HERE)
        if verdict.hit:
            hits += 1
            wrong += is_wrong
        if verifier.wants_check(verdict, rng):
            verifier.learn(asked, stored, 0.9, partition=HERE, right=not is_wrong)
    return hits, wrong


def test_a_stream_that_keeps_the_bound_is_served() -> None:
    outcomes = [realised(0.002, 0.05, seed) for seed in range(40)]
    hits, wrong = (sum(column) for column in zip(*outcomes, strict=True))
    assert hits > 0.6 * 40 * 1_200
    assert wrong / hits <= 0.05


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.3])
def test_a_stream_that_breaks_the_bound_is_refused(rate: float) -> None:
    outcomes = [realised(rate, 0.05, seed) for seed in range(60)]
    served = sum(wrong > 0.05 * hits and hits > 0 for hits, wrong in outcomes)
    assert served / len(outcomes) <= 0.05, "the bound is broken in at most one history of twenty"
