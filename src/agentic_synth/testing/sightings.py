"""How often each request was seen, in a few bytes a request."""

from __future__ import annotations

import mmap

__all__ = ["Sightings"]

_SLOTS = 1 << 21
_MOST = 255


class Sightings:
    """Counts arrivals and answers of each 64-bit request key; exact for the first 1,572,864 distinct ones.

    An open-addressing table of fixed size; its pages are anonymous memory, taken from the system only as they fill.
    Once it is full, new keys are no longer remembered (:attr:`forgotten` says how many arrivals that concerned) and
    count as seen for the first time; those known stay known. Counts stop at 255.
    """

    __slots__ = ("_answers", "_arrivals", "_capacity", "_keys", "_mask", "distinct", "forgotten")

    def __init__(self, slots: int = _SLOTS) -> None:
        if slots & (slots - 1):
            raise ValueError("the number of slots must be a power of two")
        self._keys = memoryview(mmap.mmap(-1, 8 * slots)).cast("Q")
        self._arrivals = memoryview(mmap.mmap(-1, slots))
        self._answers = memoryview(mmap.mmap(-1, slots))
        self._mask = slots - 1
        self._capacity = slots * 3 // 4
        self.distinct = 0
        self.forgotten = 0

    def arrive(self, key: int) -> int:
        """Note one more arrival of *key*; returns how many came before it."""
        slot = self._slot(key)
        if slot is None:
            self.forgotten += 1
            return 0
        seen = self._arrivals[slot]
        self._arrivals[slot] = min(seen + 1, _MOST)
        return seen

    def answer(self, key: int) -> int:
        """Note one more complete answer to *key*; returns how many it was given before."""
        slot = self._slot(key)
        if slot is None:
            return 0
        answered = self._answers[slot]
        self._answers[slot] = min(answered + 1, _MOST)
        return answered

    def answered(self, key: int) -> int:
        """How many complete answers *key* was given."""
        slot = self._slot(key)
        return 0 if slot is None else self._answers[slot]

    def _slot(self, key: int) -> int | None:
        """The slot of *key*, its own or a fresh one; None if it is unknown and the table is full."""
        key = key or 1
        keys, mask = self._keys, self._mask
        slot = key & mask
        while (held := keys[slot]) != key:
            if held == 0:
                if self.distinct >= self._capacity:
                    return None
                keys[slot] = key
                self.distinct += 1
                return slot
            slot = (slot + 1) & mask
        return slot
