"""What every eviction policy shares: the keys it holds, what they weigh, and the room there is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator
from math import inf
from typing import Generic, Protocol, TypeVar

__all__ = ["Eviction", "EvictionOrder", "Room"]

K = TypeVar("K", bound=Hashable)


class Room:
    """How much there is room for, in entries and in weight, and how much of it is taken."""

    __slots__ = ("entries", "max_entries", "max_weight", "weight")

    def __init__(self, max_entries: int, max_weight: float | None = None) -> None:
        """Without *max_weight* only the entries count."""
        self.max_entries = max_entries
        self.max_weight = inf if max_weight is None else max_weight
        self.entries = 0
        self.weight = 0

    @property
    def is_over(self) -> bool:
        """Whether more is taken than there is room for."""
        return self.entries > self.max_entries or self.weight > self.max_weight

    def has_room(self, weight: int | None = None) -> bool:
        """Whether all that is taken has room, with one entry of *weight* more where it is given."""
        if weight is None:
            return not self.is_over
        return self.entries < self.max_entries and self.weight + weight <= self.max_weight

    def fits(self, weight: int) -> bool:
        """Whether an entry of this weight would fit if it were the only one."""
        return self.max_entries > 0 and weight <= self.max_weight

    def take(self, weight: int) -> None:
        """One entry more."""
        self.entries += 1
        self.weight += weight

    def give(self, weight: int) -> None:
        """One entry less."""
        self.entries -= 1
        self.weight -= weight


class Eviction(Protocol[K]):
    """The keys that are held, never more than there is room for; what they stand for is kept by the owner.

    The owner says of every lookup ``record(key)`` and of every new entry ``admit(key, weight)``, and forgets the keys
    that ``admit`` gives back. Each operation is O(1), amortised over the operations before it. Iterating gives the keys
    in the order of their admission.
    """

    def __contains__(self, key: object) -> bool: ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[K]: ...

    @property
    def weight(self) -> int:
        """What is held weighs so much."""
        ...

    def weight_of(self, key: K) -> int:
        """What the held *key* weighs."""
        ...

    def record(self, key: K) -> bool:
        """Note that *key* was looked up; whether it is held."""
        ...

    def admit(self, key: K, weight: int = 1) -> list[K]:
        """Hold *key*, or give a held one another weight; return the keys that had to go.

        *key* itself is among them where it is heavier than all the room.
        """
        ...

    def evict(self) -> K | None:
        """Let the key go that is worth least; None where nothing is held."""
        ...

    def remove(self, key: K) -> bool:
        """Forget *key*, for a reason of the owner's; whether it was held."""
        ...


class EvictionOrder(ABC, Generic[K]):
    """A policy that needs to say only in which order keys go; their weights and the room are seen to here."""

    def __init__(self, max_entries: int, max_weight: float | None = None) -> None:
        """*max_entries* and *max_weight* bound what is held together; a weight is mostly a number of bytes."""
        self._room = Room(max_entries, max_weight)
        self._weights: dict[K, int] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._weights

    def __len__(self) -> int:
        return len(self._weights)

    def __iter__(self) -> Iterator[K]:
        return iter(self._weights)

    @property
    def weight(self) -> int:
        """What is held weighs so much."""
        return self._room.weight

    def weight_of(self, key: K) -> int:
        """What the held *key* weighs."""
        return self._weights[key]

    def record(self, key: K) -> bool:
        """Note that *key* was looked up; whether it is held."""
        if key not in self._weights:
            return False
        self._touch(key)
        return True

    def admit(self, key: K, weight: int = 1) -> list[K]:
        """Hold *key*, or give a held one another weight; return the keys that had to go."""
        if not self._room.fits(weight):
            self.remove(key)
            return [key]
        before = self._weights.get(key)
        if before is None:
            return self._take_in(key, weight)
        self._weights[key] = weight
        self._room.weight += weight - before
        self._resize(key, weight - before)
        return self._make_room()

    def evict(self) -> K | None:
        """Let the key go that is worth least."""
        return self._evict() if self._weights else None

    def remove(self, key: K) -> bool:
        """Forget *key*; whether it was held."""
        weight = self._weights.pop(key, None)
        if weight is None:
            return False
        self._room.give(weight)
        self._drop(key, weight)
        return True

    def _take_in(self, key: K, weight: int) -> list[K]:
        # Room is made before the key has its place: else it would itself be the one that was used least.
        gone = self._make_room(weight)
        self._weights[key] = weight
        self._room.take(weight)
        self._insert(key, weight)
        return gone

    def _make_room(self, weight: int | None = None) -> list[K]:
        gone: list[K] = []
        while not self._room.has_room(weight):
            gone.append(self._evict())
        return gone

    def _evict(self) -> K:
        key = self._pick()
        self._room.give(self._weights.pop(key))
        return key

    @abstractmethod
    def _insert(self, key: K, weight: int) -> None:
        """Give a new key its place."""

    @abstractmethod
    def _touch(self, key: K) -> None:
        """A held key was looked up."""

    @abstractmethod
    def _pick(self) -> K:
        """Take the key that is worth least out of its place."""

    @abstractmethod
    def _drop(self, key: K, weight: int) -> None:
        """Take a key out of its place, wherever that is."""

    def _resize(self, key: K, change: int) -> None:
        """A held key weighs *change* more; only a policy with several parts has to know."""
        return
