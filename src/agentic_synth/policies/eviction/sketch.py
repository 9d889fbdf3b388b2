"""How often keys were seen lately, in a few bytes a key, whether they are held or not."""

from __future__ import annotations

from collections.abc import Hashable

__all__ = ["FrequencySketch"]

_ROWS = 4
_MOST = 15
_HALF = bytes(count >> 1 for count in range(256))


class FrequencySketch:
    """A count-min sketch that forgets: after ten times *entries* sightings all counts are halved.

    Einziger, Friedman, Manes, "TinyLFU: A Highly Efficient Cache Admission Policy" (2017). A doorkeeper, which is a
    Bloom filter, takes each key's first sighting since the last halving: keys seen once crowd out no others. It takes
    about 50 bytes an entry.
    """

    def __init__(self, entries: int) -> None:
        self._size = 1 << max(4, (max(1, entries) * 4 - 1).bit_length())
        self._mask = self._size - 1
        self._counts = bytearray(_ROWS * self._size)
        self._door_mask = 4 * self._size - 1
        self._door = bytearray(4 * self._size)
        self._sightings = 0
        self._period = 10 * max(1, entries)

    def see(self, key: Hashable) -> None:
        """One more sighting of *key*."""
        self._sightings += 1
        if self._sightings >= self._period:
            self._age()
        # That of a tuple, for an integer's own hash is the integer itself.
        word = hash((key,))
        door, one, other = self._door, word & self._door_mask, word >> 22 & self._door_mask
        if not (door[one] and door[other]):
            door[one] = door[other] = 1
            return
        counts, places = self._counts, self._places(word)
        least = min([counts[place] for place in places])
        if least < _MOST:
            # Only the lowest are raised: the others are too high already, through other keys.
            for place in places:
                if counts[place] == least:
                    counts[place] = least + 1

    def estimate(self, key: Hashable) -> int:
        """How often *key* was seen lately: never too low up to 16, seldom too high."""
        word, door, counts = hash((key,)), self._door, self._counts
        is_in = door[word & self._door_mask] and door[word >> 22 & self._door_mask]
        return min([counts[place] for place in self._places(word)]) + (1 if is_in else 0)

    def _places(self, word: int) -> tuple[int, int, int, int]:
        # One slice of the hash for each row.
        mask, size = self._mask, self._size
        return word & mask, (word >> 15 & mask) + size, (word >> 30 & mask) + 2 * size, (word >> 44 & mask) + 3 * size

    def _age(self) -> None:
        self._counts = self._counts.translate(_HALF)
        self._door = bytearray(len(self._door))
        self._sightings = 0
