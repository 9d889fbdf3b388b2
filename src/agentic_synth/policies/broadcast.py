"""One streamed answer for several readers, each at its own pace, in bounded memory.

The deltas are kept from the first one on, so that whoever comes late begins at the beginning. Past the bound nobody new
is let in and what every reader has taken is dropped. The fastest reader sets the pace. One that falls behind it by more
than the bound is let go, for it would either hold up the others or hold everything in memory.
"""

from __future__ import annotations

from collections import deque

import msgspec

from agentic_synth.errors import QueueFull
from agentic_synth.types import Delta

__all__ = ["Broadcast", "Place"]

_BOUND_BYTES = 1 << 20
_DELTA_BYTES = 128


class Place:
    """How far one reader is: *taken* deltas, or cut off."""

    __slots__ = ("cut_off", "taken")

    def __init__(self) -> None:
        self.taken = 0
        self.cut_off = False


class Broadcast:
    """The deltas of one answer, and the readers of them."""

    def __init__(self, bound_bytes: int = _BOUND_BYTES) -> None:
        self._bound = bound_bytes
        self._deltas: deque[Delta] = deque()
        self._dropped = 0
        self._bytes = 0
        self._places: set[Place] = set()
        self._furthest = 0
        self.joinable = True
        """Whether a reader that comes now would get the whole answer."""

    def join(self) -> Place:
        """Let one more reader in, which begins at the beginning."""
        assert self.joinable
        place = Place()
        self._places.add(place)
        return place

    def leave(self, place: Place) -> bool:
        """Let a reader go; whether it was the last one. A second time does nothing, and is False."""
        if place not in self._places:
            return False
        self._places.remove(place)
        return not self._places

    @property
    def ahead(self) -> int:
        """Deltas that are here and that no reader has ever taken."""
        return self._dropped + len(self._deltas) - self._furthest

    def add(self, delta: Delta) -> None:
        """The next delta of the answer."""
        self._deltas.append(delta)
        self._bytes += _size_of(delta)
        if self._bytes > self._bound:
            self.joinable = False
            self._trim()

    def take(self, place: Place) -> Delta | None:
        """The next delta for this reader, None where it has not come yet.

        Raises:
            QueueFull: the reader fell too far behind and was let go.
        """
        if place.cut_off:
            raise QueueFull(
                f"a reader of a shared stream fell {self._bound:,} bytes behind the others",
                mend="read it faster, or ask with dedup=False to have a stream of its own",
            )
        index = place.taken - self._dropped
        if index >= len(self._deltas):
            return None
        place.taken += 1
        self._furthest = max(self._furthest, place.taken)
        return self._deltas[index]

    def _trim(self) -> None:
        """Drop what all have taken; where that is not enough, cut off whoever is too far behind."""
        taken = [place.taken for place in self._places] or [self._furthest]
        self._drop(min(taken))
        # What not even the fastest has taken is nobody's lag, and its reading bounds that. The fastest may have left.
        fastest = max(taken)
        while self._bytes > self._bound and self._dropped < fastest:
            self._drop(self._dropped + 1)
        for place in [place for place in self._places if place.taken < self._dropped]:
            place.cut_off = True
            self._places.remove(place)

    def _drop(self, until: int) -> None:
        while self._dropped < until:
            self._bytes -= _size_of(self._deltas.popleft())
            self._dropped += 1


def _size_of(delta: Delta) -> int:
    calls = len(msgspec.json.encode(delta.tool_calls)) if delta.tool_calls else 0
    return _DELTA_BYTES + len(delta.text) + len(delta.reasoning) + calls
