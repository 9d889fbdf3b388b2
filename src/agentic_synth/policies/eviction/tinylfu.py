"""W-TinyLFU: a window for what is new, a main part for what is asked often, and a border that finds its place."""

from __future__ import annotations

from collections import OrderedDict

from agentic_synth.policies.eviction.eviction import EvictionOrder, K, Room
from agentic_synth.policies.eviction.sketch import FrequencySketch

__all__ = ["WTinyLFU"]

_PROTECTED_SHARE = 0.8


class WTinyLFU(EvictionOrder[K]):
    """What leaves the window joins the main part only if it was asked more often lately than what it would push out.

    Einziger, Friedman, Manes, "TinyLFU" (2017), and Einziger, Eytan, Friedman, Manes, "Adaptive Software Cache
    Management" (2018).
    """

    def __init__(self, max_entries: int, max_weight: float | None = None, *, window: float = 0.01) -> None:
        """*window* is the share of the room that belongs to what is new."""
        super().__init__(max_entries, max_weight)
        self._sketch = FrequencySketch(max_entries)
        self._window: OrderedDict[K, None] = OrderedDict()
        self._probation: OrderedDict[K, None] = OrderedDict()
        self._protected: OrderedDict[K, None] = OrderedDict()
        self._window_room = Room(0)
        self._protected_room = Room(0)
        self._candidate: K | None = None  # what left the window for the key that was admitted last
        self.window = window

    @property
    def window(self) -> float:
        """The share of the room that belongs to what is new; a change moves no key before its turn comes."""
        return self._share

    @window.setter
    def window(self, share: float) -> None:
        self._share = share
        whole = self._room
        self._window_room.max_entries = max(1, round(whole.max_entries * share))
        self._window_room.max_weight = whole.max_weight * share
        protected = (1 - share) * _PROTECTED_SHARE
        self._protected_room.max_entries = round(whole.max_entries * protected)
        self._protected_room.max_weight = whole.max_weight * protected

    def record(self, key: K) -> bool:
        """Note that *key* was looked up; what is missing counts too."""
        self._sketch.see(key)
        return super().record(key)

    def _take_in(self, key: K, weight: int) -> list[K]:
        # The key comes in first: what it pushes out of the window is weighed against the rest.
        self._weights[key] = weight
        self._room.take(weight)
        self._insert(key, weight)
        return self._make_room()

    def _insert(self, key: K, weight: int) -> None:
        self._window[key] = None
        self._window_room.take(weight)
        self._candidate = None
        while self._window_room.is_over:
            self._candidate = self._leave_window()

    def _touch(self, key: K) -> None:
        if key in self._window:
            self._window.move_to_end(key)
        elif key in self._protected:
            self._protected.move_to_end(key)
        else:
            del self._probation[key]
            self._protected[key] = None
            self._protected_room.take(self._weights[key])
            while self._protected_room.is_over:
                self._demote()

    def _pick(self) -> K:
        if not self._probation and self._protected:
            self._demote()
        if not self._probation:
            self._leave_window()
        victim = next(iter(self._probation))
        challenger, self._candidate = self._candidate, None
        if challenger is not None and challenger in self._probation and not self._beats(challenger, victim):
            victim = challenger
        del self._probation[victim]
        return victim

    def _beats(self, challenger: K, victim: K) -> bool:
        return self._sketch.estimate(challenger) > self._sketch.estimate(victim)

    def _leave_window(self) -> K:
        key, _ = self._window.popitem(last=False)
        self._window_room.give(self._weights[key])
        self._probation[key] = None
        return key

    def _demote(self) -> None:
        key, _ = self._protected.popitem(last=False)
        self._protected_room.give(self._weights[key])
        self._probation[key] = None

    def _drop(self, key: K, weight: int) -> None:
        if key in self._window:
            del self._window[key]
            self._window_room.give(weight)
        elif key in self._protected:
            del self._protected[key]
            self._protected_room.give(weight)
        else:
            del self._probation[key]

    def _resize(self, key: K, change: int) -> None:
        if key in self._window:
            self._window_room.weight += change
        elif key in self._protected:
            self._protected_room.weight += change
