"""S3-FIFO: a small queue on trial, a main queue, and the names of what was let go lately."""

from __future__ import annotations

from collections import OrderedDict

from agentic_synth.policies.eviction.eviction import EvictionOrder, K, Room

__all__ = ["S3FIFO"]

_TRIAL_SHARE = 0.1
_MOST_USES = 3


class S3FIFO(EvictionOrder[K]):
    """New keys are on trial in a tenth of the room; those used twice there, or asked again soon after, join the rest.

    Yang et al., "FIFO queues are all you need for cache eviction" (SOSP 2023). Most keys are asked only once, and here
    they never push out the others.
    """

    def __init__(self, max_entries: int, max_weight: float | None = None) -> None:
        super().__init__(max_entries, max_weight)
        self._trial: OrderedDict[K, int] = OrderedDict()  # key -> uses since it got its place
        self._main: OrderedDict[K, int] = OrderedDict()
        self._gone: OrderedDict[K, None] = OrderedDict()
        whole = self._room
        self._trial_room = Room(max(1, int(whole.max_entries * _TRIAL_SHARE)), whole.max_weight * _TRIAL_SHARE)

    def _insert(self, key: K, weight: int) -> None:
        if key in self._gone:
            del self._gone[key]
            self._main[key] = 0
        else:
            self._trial[key] = 0
            self._trial_room.take(weight)

    def _touch(self, key: K) -> None:
        queue = self._trial if key in self._trial else self._main
        queue[key] = min(queue[key] + 1, _MOST_USES)

    def _pick(self) -> K:
        while True:
            if self._trial and (self._trial_room.is_over or not self._main):
                key, uses = self._trial.popitem(last=False)
                self._trial_room.give(self._weights[key])
                if uses < 2:
                    self._remember(key)
                    return key
                self._main[key] = 0
                continue
            key, uses = self._main.popitem(last=False)
            if not uses:
                return key
            self._main[key] = uses - 1

    def _remember(self, key: K) -> None:
        self._gone[key] = None
        if len(self._gone) > self._room.max_entries:
            self._gone.popitem(last=False)

    def _drop(self, key: K, weight: int) -> None:
        if key in self._trial:
            del self._trial[key]
            self._trial_room.give(weight)
        else:
            del self._main[key]

    def _resize(self, key: K, change: int) -> None:
        if key in self._trial:
            self._trial_room.weight += change
