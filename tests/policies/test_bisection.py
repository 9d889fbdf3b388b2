"""What halving a refused batch shows, for any mix of items that pass, are refused, or are lost on the way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentic_synth.policies.batch_size import BatchSize
from agentic_synth.policies.bisection import Bisection


def settle(fates: str, size: BatchSize, above: Bisection | None = None, most: int = 1) -> int:
    """Send *fates* (one letter an item: good, bad, lost) and halve what is refused; how many calls that took."""
    if len(fates) > 1 and ("b" in fates or len(fates) > most):
        split, half = Bisection(len(fates), above), (len(fates) + 1) // 2
        return 1 + settle(fates[:half], size, split, most) + settle(fates[half:], size, split, most)
    if above is not None:
        above.passed += fates.count("g")
        above.refused += fates.count("b")
        above.end(size)
    return 1


def test_one_bad_item_of_many_costs_two_calls_a_halving() -> None:
    size = BatchSize()
    assert settle("g" * 700 + "b" + "g" * 323, size, most=5_000) == 1 + 2 * 10
    assert size.most_items == float("inf")


def test_where_everything_passes_in_smaller_batches_it_was_the_number() -> None:
    size = BatchSize()
    settle("g" * 800, size, most=100)
    assert size.most_items == 100


@given(st.text("gbl", min_size=2, max_size=64))
def test_a_bad_or_lost_item_never_passes_for_a_batch_too_large(fates: str) -> None:
    size = BatchSize()
    settle(fates, size, most=64)
    assert size.most_items == float("inf")


def test_bad_items_count_once_as_failures() -> None:
    size = BatchSize(tolerance=0.02)
    before = size.goal
    settle("g" * 90 + "b" * 10, size, most=100)
    assert size.goal < before
