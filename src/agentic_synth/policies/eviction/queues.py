"""Policies of one queue: first in first out, least recently used, and SIEVE between the two."""

from __future__ import annotations

from collections import OrderedDict

from agentic_synth.policies.eviction.eviction import EvictionOrder, K

__all__ = ["FIFO", "LRU", "SIEVE"]


class FIFO(EvictionOrder[K]):
    """Lets the oldest go, whether it is used or not."""

    def __init__(self, max_entries: int, max_weight: float | None = None) -> None:
        super().__init__(max_entries, max_weight)
        self._queue: OrderedDict[K, None] = OrderedDict()

    def _insert(self, key: K, weight: int) -> None:
        self._queue[key] = None

    def _touch(self, key: K) -> None:
        return

    def _pick(self) -> K:
        return self._queue.popitem(last=False)[0]

    def _drop(self, key: K, weight: int) -> None:
        del self._queue[key]


class LRU(FIFO[K]):
    """Lets the key go that was used longest ago."""

    def _touch(self, key: K) -> None:
        self._queue.move_to_end(key)


class SIEVE(EvictionOrder[K]):
    """A hand sweeps from old to new, spares once what was used since it last came by, and lets the next one go.

    Zhang et al., "SIEVE is Simpler than LRU" (NSDI 2024). The keys that the hand has passed and those before it are
    two queues, so nothing is ever looked for.
    """

    def __init__(self, max_entries: int, max_weight: float | None = None) -> None:
        super().__init__(max_entries, max_weight)
        self._ahead: OrderedDict[K, bool] = OrderedDict()
        self._passed: OrderedDict[K, bool] = OrderedDict()

    def _insert(self, key: K, weight: int) -> None:
        self._turn()
        self._ahead[key] = False

    def _touch(self, key: K) -> None:
        (self._ahead if key in self._ahead else self._passed)[key] = True

    def _pick(self) -> K:
        while True:
            self._turn()
            key, was_used = self._ahead.popitem(last=False)
            if not was_used:
                return key
            self._passed[key] = False

    def _drop(self, key: K, weight: int) -> None:
        del (self._ahead if key in self._ahead else self._passed)[key]

    def _turn(self) -> None:
        # The hand has come to the newest: it goes on with the oldest, and what comes in now is ahead of it.
        if not self._ahead:
            self._ahead, self._passed = self._passed, self._ahead
