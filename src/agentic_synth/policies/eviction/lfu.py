"""Least frequently used, with a list of frequencies so that nothing is ever looked for."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic

from agentic_synth.policies.eviction.eviction import EvictionOrder, K

__all__ = ["LFU"]


class _Tier(Generic[K]):
    """The keys that were used *count* times, and the tiers next to it."""

    __slots__ = ("count", "higher", "keys", "lower")

    def __init__(self, count: int) -> None:
        self.count = count
        self.keys: OrderedDict[K, None] = OrderedDict()
        self.lower: _Tier[K] = self
        self.higher: _Tier[K] = self


class LFU(EvictionOrder[K]):
    """Lets the key go that was used least often; among equals the one used longest ago.

    Shah, Mitra, Matani, "An O(1) algorithm for implementing the LFU cache eviction scheme" (2010). It never forgets
    an old fame while the key is held.
    """

    def __init__(self, max_entries: int, max_weight: float | None = None) -> None:
        super().__init__(max_entries, max_weight)
        self._tiers: dict[K, _Tier[K]] = {}
        self._ground: _Tier[K] = _Tier(0)  # always empty: it closes the ring of tiers

    def _insert(self, key: K, weight: int) -> None:
        self._place(key, above=self._ground)

    def _touch(self, key: K) -> None:
        tier = self._tiers[key]
        self._place(key, above=tier)
        del tier.keys[key]
        self._close_if_empty(tier)

    def _pick(self) -> K:
        tier = self._ground.higher
        key, _ = tier.keys.popitem(last=False)
        del self._tiers[key]
        self._close_if_empty(tier)
        return key

    def _drop(self, key: K, weight: int) -> None:
        tier = self._tiers.pop(key)
        del tier.keys[key]
        self._close_if_empty(tier)

    def _place(self, key: K, above: _Tier[K]) -> None:
        tier = above.higher
        if tier.count != above.count + 1:
            tier = _Tier(above.count + 1)
            tier.lower, tier.higher = above, above.higher
            above.higher.lower = tier
            above.higher = tier
        tier.keys[key] = None
        self._tiers[key] = tier

    def _close_if_empty(self, tier: _Tier[K]) -> None:
        if not tier.keys:
            tier.lower.higher, tier.higher.lower = tier.higher, tier.lower
