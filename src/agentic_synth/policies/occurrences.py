"""How often has this been seen before? In bounded memory, and never the same number twice for the same thing."""

from __future__ import annotations

from array import array
from struct import Struct

__all__ = ["Occurrences"]

_WORDS = Struct("<4I")


class Occurrences:
    """Number the occurrences of digests: 0 for the first, then strictly rising for the same digest.

    A count-min sketch with conservative update (Estan and Varghese, 2002) of fixed size: two different digests may
    collide, which skips a number now and then but never gives one digest the same number twice, and the numbers depend
    on the order of the calls alone. One more digest in the sequence moves the numbers of a handful of others at most.
    """

    __slots__ = ("_counts", "_mask")

    def __init__(self, *, bits: int = 18) -> None:
        self._mask = (1 << bits) - 1
        self._counts = tuple(array("I", bytes(4 << bits)) for _ in range(4))

    def next(self, digest: bytes) -> int:
        """The occurrence number of *digest* (16 uniformly distributed bytes)."""
        mask = self._mask
        one, two, three, four = self._counts
        a, b, c, d = _WORDS.unpack(digest)
        a, b, c, d = a & mask, b & mask, c & mask, d & mask
        number: int = min(one[a], two[b], three[c], four[d])
        risen = number + 1
        if one[a] < risen:
            one[a] = risen
        if two[b] < risen:
            two[b] = risen
        if three[c] < risen:
            three[c] = risen
        if four[d] < risen:
            four[d] = risen
        return number
