"""Packing is tried, grows while it does no harm, and is taken back where it does."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from agentic_synth.policies.pack_trial import PackTrial
from agentic_synth.policies.sketches import Sketches

WORDS = [f"word{number}" for number in range(500)]


def run(
    invalid: Callable[[int], float], repeats: Callable[[int], float] = lambda size: 0.0, *, rows: int, seed: int
) -> PackTrial:
    """Ask *rows*; *invalid* and *repeats* are shares by the size of the pack."""
    trial, rng = PackTrial(), Random(seed)
    common = " ".join(rng.choices(WORDS, k=30))
    for _ in range(rows):
        size = trial.admit()
        text = common if rng.random() < repeats(size) else " ".join(rng.choices(WORDS, k=30))
        trial.record(text, company=size)
        if rng.random() < invalid(size):
            trial.reject(company=size)
    return trial


def test_the_first_rows_go_alone_and_then_some() -> None:
    trial = PackTrial()
    assert [trial.admit() for _ in range(64)] == [1] * 64
    assert [trial.admit() for _ in range(64)].count(1) == 1


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3])
def test_packs_grow_to_the_most_where_size_does_no_harm(share: float) -> None:
    sizes = [run(lambda size: share, rows=4_000, seed=seed).size for seed in range(20)]
    assert sorted(sizes)[len(sizes) // 4] >= 16
    assert sizes.count(32) >= 10


def test_packs_shrink_to_where_answers_are_as_good_as_alone() -> None:
    sizes = [run(lambda size: 0.3 if size > 8 else 0.02, rows=4_000, seed=seed).size for seed in range(20)]
    assert sizes.count(8) >= 15
    assert max(sizes) <= 8


def test_packing_ends_where_every_pack_is_worse() -> None:
    assert {run(lambda size: 0.25 if size > 1 else 0.0, rows=4_000, seed=seed).size for seed in range(20)} == {1}


def test_packing_ends_where_packed_answers_repeat_each_other() -> None:
    sizes = {
        run(lambda size: 0.0, lambda size: 0.4 if size > 1 else 0.02, rows=4_000, seed=seed).size for seed in range(20)
    }
    assert sizes == {1}


def test_an_answer_that_never_came_counts_as_one_that_is_unusable() -> None:
    trial = PackTrial()
    for number in range(64):
        trial.record(f"text {number} of many {number}", company=trial.admit())
    assert trial.admit() == 4
    for _ in range(200):
        trial.reject(company=4, missing=True)
    assert trial.size == 1


def test_a_near_repetition_is_seen_and_a_new_text_is_not() -> None:
    sketches, rng = Sketches(), Random(3)
    texts = [rng.choices(WORDS, k=40) for _ in range(300)]
    assert not any(sketches.add(" ".join(words)) for words in texts)
    changed = [[*words[:-1], "other"] for words in texts]
    assert sum(sketches.add(" ".join(words)) for words in changed) > 270


def test_sketches_of_old_texts_are_forgotten() -> None:
    sketches = Sketches(capacity=10)
    sketches.add("the very first text of all of them")
    for number in range(10):
        sketches.add(f"text {number} that is about the number {number} alone")
    assert not sketches.add("the very first text of all of them")
    assert len(sketches._holders) <= 10 * 8
