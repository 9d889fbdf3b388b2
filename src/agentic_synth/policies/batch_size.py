"""How large the next batch should be: a start from the items' own size, then what the calls so far have shown."""

from __future__ import annotations

import math

__all__ = ["BatchSize"]

_ROUND = 8
_STEP = 1 / 32
_MOST_CUT = 0.5
_FAILURE_CUT = 0.75
_ROOM = 0.8
_FASTER = 2.0
_FIXED_SHARE = 2.0
_HALF = 0.5
_NO_FASTER = 0.8
_SLOWER = 1.1
_NO_BETTER = 0.7
_RELAX = 0.98
_FADE = 0.95
_MARGIN = 1.25


class BatchSize:
    """Finds the largest batch that keeps to *seconds* a call and to *tolerance*, the share of items that may fail.

    Size is weight: the tokens of the items and *item_weight* for each, so that long items make short batches from the
    first and no feedback is needed when their length changes. It starts at *start*, doubles until a bound is met, then
    grows in equal steps and is cut in proportion (AIMD), judged over rounds of eight calls; steps grow where much room
    is left, so that a change of regime is followed.

    Smaller is not always better. Where half the size is hardly faster, most of a call's time is there whatever is in
    it; the bound is then twice that time, for below it batches only waste calls. And where half the size leaves as many
    failing, size is not their cause. Both times the size comes back, and what was learned fades.
    """

    __slots__ = (
        "_blamed",
        "_calls",
        "_failed",
        "_fixed",
        "_item_weight",
        "_items",
        "_most",
        "_seconds",
        "_slowed",
        "_starting",
        "_step",
        "_target",
        "_timed",
        "_tolerance",
        "_usual_failures",
        "_weight",
        "epoch",
        "goal",
        "most_items",
    )

    def __init__(
        self,
        *,
        seconds: float = 1.0,
        tolerance: float = 0.02,
        start: float = 16_384.0,
        most: float = 4_000_000.0,
        item_weight: float = 16.0,
    ) -> None:
        self.goal = start
        self.epoch = 0
        self.most_items: float = math.inf
        self._target = seconds
        self._tolerance = self._usual_failures = tolerance
        self._most = most
        self._item_weight = item_weight
        self._starting = True
        self._step = 0.0
        self._blamed: tuple[float, float] | None = None
        self._slowed: tuple[float, float] | None = None
        self._fixed = 0.0
        self._begin_round()

    def weight(self, tokens: float) -> float:
        """The size of one item of so many *tokens*."""
        return tokens + self._item_weight

    def record(
        self,
        weight: float,
        items: int,
        seconds: float | None,
        *,
        failed: int = 0,
        filled: bool = True,
        epoch: int | None = None,
    ) -> None:
        """A call of *items* took *seconds* on the wire (None: that says nothing), and *failed* have no good answer.

        *filled* and *epoch* are the batch's own: calls that were not as large as they might have been say nothing about
        size, and calls from before the last change nothing about it.
        """
        if not filled or (epoch is not None and epoch != self.epoch):
            return
        self._items += items
        self._failed += failed
        self._calls += 1
        if seconds is not None:
            self._timed += 1
            self._seconds += seconds
            self._weight += weight
        wanted = 1 if self._starting else _ROUND
        if self._calls >= wanted or self._seconds > wanted * self._bound:
            self._end_round()

    def too_large(self, items: int) -> None:
        """A call of *items* was refused, and its halves were not: it was their number."""
        self.most_items = min(self.most_items, max(1, items // 2))

    @property
    def _bound(self) -> float:
        """The seconds that a call may take: what was asked for, but no less than twice what nothing can change."""
        return max(self._target, _FIXED_SHARE * self._fixed)

    def _begin_round(self) -> None:
        self._calls = self._timed = self._items = self._failed = 0
        self._seconds = self._weight = 0.0

    def _end_round(self) -> None:
        timed, seconds, weight = self._timed, self._seconds, self._weight
        items, failed = self._items, self._failed
        self._begin_round()
        self._usual_failures = max(self._tolerance, self._usual_failures * _RELAX)
        self._fixed *= _FADE
        allowed = self._usual_failures * items
        if failed > allowed + math.sqrt(allowed):
            self._blame(failed / items)
            return
        self._blamed = None
        if not timed:
            return
        if seconds > timed * self._bound:
            self._shrink(timed, seconds / timed, weight / timed, alone=items == timed)
            return
        self._slowed = None
        if weight >= timed * self.goal * _HALF:
            self._grow(seconds / timed)

    def _shrink(self, calls: int, mean: float, weight: float, *, alone: bool) -> None:
        """Calls take too long: try smaller ones, unless that has been tried and was hardly faster."""
        weight = min(weight, self.goal)
        before, slow = self._slowed or (weight, mean)
        halved = weight <= before * _HALF and calls >= _ROUND
        if alone or (halved and mean > slow * _NO_FASTER):
            self._slowed = None
            self._fixed = mean if alone else slow - max(0.0, slow - mean) / (before - weight) * before
            self._cut(before)
            return
        # What became faster by halving, or slower of itself, is what the next half is compared with.
        self._slowed = (weight, mean) if halved or mean > slow * _SLOWER else (before, slow)
        self._cut(weight * max(_MOST_CUT, self._bound / mean))

    def _blame(self, share: float) -> None:
        """Too many failed: try fewer together, unless that has been tried and was no help."""
        goal, before = self._blamed or (self.goal, share)
        if self.goal <= goal * _HALF and share > before * _NO_BETTER:
            self._blamed = None
            self._usual_failures = share * _MARGIN
            self._cut(goal)
        else:
            self._blamed = (goal, before)
            self._cut(self.goal * _FAILURE_CUT)

    def _cut(self, goal: float) -> None:
        self._starting = False
        self.goal = min(max(goal, self._item_weight), self._most)
        self._step = self.goal * _STEP
        self.epoch += 1

    def _grow(self, mean: float) -> None:
        if self._starting:
            self.goal = min(2 * self.goal, self._most)
            self.epoch += 1
            return
        if mean < _ROOM * self._bound:
            self._step = min(self._step * _FASTER, self.goal)
        else:
            self._step = min(self._step, self.goal * _STEP)
        self.goal = min(self.goal + self._step, self._most)
