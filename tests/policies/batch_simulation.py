"""A server whose calls take a fixed time, some more an item and some more a token; and the best fixed size there.

The objective is throughput: items a second of wire time (so, of a permit), among the sizes whose calls take a second at
most on average.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from agentic_synth.policies.batch_size import BatchSize

__all__ = ["REGIMES", "Found", "Regime", "best_fixed", "play"]

TARGET_S = 1.0
_MOST_ITEMS = 5_000


class Regime(NamedTuple):
    """What the items are like, and the server's law: seconds a call, an item, a token."""

    tokens: int
    fixed: float
    per_item: float
    per_token: float

    def seconds(self, items: int) -> float:
        """What a call of so many takes on average."""
        return self.fixed + items * (self.per_item + self.tokens * self.per_token)


class Found(NamedTuple):
    """Means over the calls: items a call, items a second, seconds a call."""

    items: float
    throughput: float
    seconds: float


REGIMES = {
    "cheap": Regime(tokens=16, fixed=0.15, per_item=0.0004, per_token=0.000002),
    "medium": Regime(tokens=300, fixed=0.15, per_item=0.001, per_token=0.00002),
    "complex": Regime(tokens=4_000, fixed=0.3, per_item=0.002, per_token=0.000004),
}


def best_fixed(regime: Regime) -> Found:
    """The best that one size for ever could do."""
    sizes = [items for items in range(1, _MOST_ITEMS) if regime.seconds(items) <= TARGET_S]
    items = max(sizes, key=lambda size: size / regime.seconds(size))
    return Found(items, items / regime.seconds(items), regime.seconds(items))


def play(
    regimes: Sequence[Regime],
    seed: int,
    *,
    calls: int = 300,
    skipped: int = 100,
    sigma: float = 0.2,
    in_flight: int = 4,
    ones: int = 0,
) -> list[Found]:
    """Run *calls* in each of *regimes*, log-normal around its law, feedback coming *in_flight* calls later.

    What is found leaves out the first *skipped* calls of each; the first *ones* calls of all hold one item.
    """
    rng, size, found = Random(seed), BatchSize(seconds=TARGET_S), []
    under_way: deque[tuple[float, int, float, int]] = deque()
    for regime in regimes:
        items = seconds = 0.0
        for number in range(calls):
            count = 1 if number < ones else max(1, int(size.goal // size.weight(regime.tokens)))
            took = regime.seconds(count) * math.exp(rng.gauss(0, sigma) - sigma * sigma / 2)
            under_way.append((count * size.weight(regime.tokens), count, took, size.epoch))
            if len(under_way) > in_flight:
                weight, told, its_seconds, epoch = under_way.popleft()
                size.record(weight, told, its_seconds, epoch=epoch)
            if number >= skipped:
                items += count
                seconds += took
        measured = calls - skipped
        found.append(Found(items / measured, items / seconds, seconds / measured))
    return found
