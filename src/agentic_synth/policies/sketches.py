"""Which texts nearly repeat an earlier one: sketches of their words, compared without keeping the texts.

A sketch is the smallest hashes of a text's runs of three words (bottom-k, Broder 1997): the share of hashes that two
sketches have in common estimates the share of runs that the texts have in common.
"""

from __future__ import annotations

import re
import zlib
from collections import deque

__all__ = ["Sketches"]

_SIZE = 8
_ALIKE = 6
_RUN = 3
_words = re.compile(r"\w+").findall


class Sketches:
    """Remembers the last *capacity* texts, and tells whether a new one nearly repeats one of them."""

    __slots__ = ("_capacity", "_holders", "_kept", "_next")

    def __init__(self, capacity: int = 512) -> None:
        self._capacity = capacity
        self._kept: deque[tuple[int, frozenset[int]]] = deque()
        self._holders: dict[int, set[int]] = {}
        self._next = 0

    def add(self, text: str) -> bool:
        """Remember *text*; true if at least three quarters of its sketch are that of an earlier text."""
        sketch = _sketch(text)
        common: dict[int, int] = {}
        for value in sketch:
            for holder in self._holders.get(value, ()):
                common[holder] = common.get(holder, 0) + 1
        repeats = max(common.values(), default=0) >= min(_ALIKE, len(sketch))
        self._remember(sketch)
        return repeats

    def _remember(self, sketch: frozenset[int]) -> None:
        number, self._next = self._next, self._next + 1
        self._kept.append((number, sketch))
        for value in sketch:
            self._holders.setdefault(value, set()).add(number)
        if len(self._kept) > self._capacity:
            oldest, values = self._kept.popleft()
            for value in values:
                holders = self._holders[value]
                holders.discard(oldest)
                if not holders:
                    del self._holders[value]


def _sketch(text: str) -> frozenset[int]:
    words = _words(text.lower())
    runs = [" ".join(words[start : start + _RUN]) for start in range(max(1, len(words) - _RUN + 1))]
    return frozenset(sorted({zlib.crc32(run.encode()) for run in runs})[:_SIZE])
