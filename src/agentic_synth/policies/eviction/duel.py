"""An eviction policy that is whichever of several would have had most hits lately."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import sqrt
from typing import Generic

from agentic_synth.policies.eviction.eviction import Eviction, K
from agentic_synth.policies.eviction.queues import LRU
from agentic_synth.policies.eviction.s3fifo import S3FIFO
from agentic_synth.policies.eviction.tinylfu import WTinyLFU

__all__ = ["Duel"]

_MINIATURE_ENTRIES = 256
_EPOCH = 4
_SHORTEST_EPOCH = 4_000
_MARGIN = 0.02
_DEVIATIONS = 3.0
_SAMPLES = 1 << 16

Make = Callable[[int, float | None], Eviction[K]]


class Duel(Generic[K]):
    """Rehearses several policies on a sample of the keys and lives by the best of them.

    Each is rehearsed by a miniature with room for at most 256 entries that sees only its share of the keys, so it fares
    as a whole cache of its kind would (Waldspurger et al., "Cache Modeling and Optimization using Miniature
    Simulations", ATC 2017). A change of mind moves every key once; it comes at most once in as many lookups as there is
    room for keys, and only for a lead that is no chance.
    """

    def __init__(
        self, max_entries: int, max_weight: float | None = None, *, rivals: Sequence[Make[K]] = (WTinyLFU, S3FIFO, LRU)
    ) -> None:
        """The first of *rivals* is in force until another one leads."""
        self._max_entries, self._max_weight = max_entries, max_weight
        self._rivals = rivals
        share = min(1.0, _MINIATURE_ENTRIES / max(1, max_entries))
        small = (max(1, round(max_entries * share)), None if max_weight is None else max_weight * share)
        self._miniatures = [make(*small) for make in rivals]
        self._sampled = round(share * _SAMPLES)
        # Against the policy in force: where it missed and a rival hit, and the other way round.
        self._hits = 0.0
        self._gains = [0.0] * len(rivals)
        self._losses = [0.0] * len(rivals)
        self._lookups = 0
        self._epoch = max(_EPOCH * max_entries, _SHORTEST_EPOCH)
        self._chosen = 0
        self._live = rivals[0](max_entries, max_weight)

    def __contains__(self, key: object) -> bool:
        return key in self._live

    def __len__(self) -> int:
        return len(self._live)

    def __iter__(self) -> Iterator[K]:
        return iter(self._live)

    @property
    def weight(self) -> int:
        """What is held weighs so much."""
        return self._live.weight

    def weight_of(self, key: K) -> int:
        """What the held *key* weighs."""
        return self._live.weight_of(key)

    def record(self, key: K) -> bool:
        """Note that *key* was looked up; the miniatures learn from it."""
        self._lookups += 1
        if self._lookups >= self._epoch:
            self._choose()
        is_held = self._live.record(key)
        if self._is_sampled(key):
            self._rehearse(key, is_held)
        return is_held

    def _rehearse(self, key: K, is_held: bool) -> None:
        hits = [miniature.record(key) for miniature in self._miniatures]
        as_chosen = hits[self._chosen]
        for place, hit in enumerate(hits):
            if hit is not as_chosen:
                (self._gains if hit else self._losses)[place] += 1
            if is_held and not hit:
                self._miniatures[place].admit(key, self._live.weight_of(key))
        self._hits += as_chosen

    def admit(self, key: K, weight: int = 1) -> list[K]:
        """Hold *key*, or give a held one another weight; return the keys that had to go."""
        if self._is_sampled(key):
            for miniature in self._miniatures:
                miniature.admit(key, weight)
        return self._live.admit(key, weight)

    def evict(self) -> K | None:
        """Let the key go that is worth least."""
        return self._live.evict()

    def remove(self, key: K) -> bool:
        """Forget *key*; whether it was held."""
        for miniature in self._miniatures:
            miniature.remove(key)
        return self._live.remove(key)

    def _is_sampled(self, key: K) -> bool:
        # The hash of a pair, so that whether a key is sampled has nothing to do with its place in a sketch.
        return hash((1, key)) & _SAMPLES - 1 < self._sampled

    def _choose(self) -> None:
        self._lookups = 0
        leads = [gain - loss for gain, loss in zip(self._gains, self._losses, strict=True)]
        best = max(range(len(leads)), key=leads.__getitem__)
        chance = _DEVIATIONS * sqrt(self._gains[best] + self._losses[best])
        if leads[best] > max(chance, _MARGIN * self._hits):
            self._change_to(best)
            self._hits, self._gains, self._losses = 0.0, [0.0] * len(leads), [0.0] * len(leads)
        else:
            self._hits /= 2
            self._gains = [gain / 2 for gain in self._gains]
            self._losses = [loss / 2 for loss in self._losses]

    def _change_to(self, rival: int) -> None:
        self._chosen, before = rival, self._live
        self._live = self._rivals[rival](self._max_entries, self._max_weight)
        for key in before:
            self._live.admit(key, before.weight_of(key))
