"""Counts by name that cannot grow with the run."""

from __future__ import annotations

__all__ = ["Counts"]


class Counts:
    """How often each name came, for the first *room* names; all later new names count together as ``other``."""

    __slots__ = ("_counts", "_room")

    def __init__(self, room: int = 50) -> None:
        self._counts: dict[str, int] = {}
        self._room = room

    def add(self, name: str, times: int = 1) -> None:
        """Count *name* once, or *times* times."""
        counts = self._counts
        if name in counts:
            counts[name] += times
        elif len(counts) < self._room:
            counts[name] = times
        else:
            counts["other"] = counts.get("other", 0) + times

    def merge(self, other: Counts) -> None:
        """Count all of *other* too."""
        for name, times in other._counts.items():
            self.add(name, times)

    @property
    def total(self) -> int:
        """How often anything came."""
        return sum(self._counts.values())

    def as_dict(self) -> dict[str, int]:
        """Name -> count, the most frequent first."""
        return dict(sorted(self._counts.items(), key=lambda pair: (-pair[1], pair[0])))
