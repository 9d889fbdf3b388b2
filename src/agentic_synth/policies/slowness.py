"""How much slower a round of calls was than usual, answers compared with those of the same length."""

from __future__ import annotations

import math

__all__ = ["Round", "Usual"]

_BINS = 16
_MEMORY = 400.0
_SURE = 2.0
_LEAST_DEVIATION = 0.02


class Round:
    """Latencies of a round, as count, sum and sum of squares of their logarithms, by powers of two of the length."""

    __slots__ = ("bins", "count")

    def __init__(self) -> None:
        self.count = 0
        self.bins: dict[int, list[float]] = {}

    def add(self, latency: float, size: int) -> None:
        """One call took *latency* for *size* output tokens."""
        logarithm = math.log(latency)
        length = min(size.bit_length(), _BINS)
        bin_ = self.bins.get(length)
        if bin_ is None:
            bin_ = self.bins[length] = [0.0, 0.0, 0.0]
        bin_[0] += 1.0
        bin_[1] += logarithm
        bin_[2] += logarithm * logarithm
        self.count += 1


class Usual:
    """The usual latency of each length; an average over the rounds that were not surely different."""

    __slots__ = ("_bins",)

    def __init__(self) -> None:
        self._bins: dict[int, list[float]] = {}

    def compare(self, round_: Round) -> tuple[float, float]:
        """The logarithm of how many times slower *round_* was, and how far chance alone may have moved that."""
        difference = count = known = squares = 0.0
        for bin_, (number, total, square) in round_.bins.items():
            squares += square - total * total / number
            usual = self._bins.get(bin_)
            if usual is not None:
                difference += total - number * usual[1]
                count += number
                known += usual[0]
        if not count:
            return 0.0, math.inf
        deviation = math.sqrt(max(squares / max(1, round_.count - len(round_.bins)), 0.0)) + _LEAST_DEVIATION
        return difference / count, _SURE * deviation * math.sqrt(1 / count + 1 / max(known, 1.0))

    def learn(self, round_: Round, slower: float, doubt: float) -> None:
        """*round_* was as usual, or faster; one that was surely slower teaches nothing."""
        if slower > doubt:
            return
        if slower < -doubt:
            self._bins.clear()
        for bin_, (number, total, _) in round_.bins.items():
            usual = self._bins.get(bin_)
            if usual is None:
                self._bins[bin_] = [number, total / number]
            else:
                weight = min(usual[0] + number, _MEMORY)
                usual[1] += (total / number - usual[1]) * min(1.0, number / weight)
                usual[0] = weight

    def accept(self, round_: Round) -> None:
        """What *round_* took is the usual from now on."""
        self._bins = {bin_: [number, total / number] for bin_, (number, total, _) in round_.bins.items()}
