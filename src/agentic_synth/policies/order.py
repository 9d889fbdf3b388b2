"""Put results that arrive in any order back into candidate order, in bounded memory."""

from __future__ import annotations

from typing import Generic, TypeVar

__all__ = ["Order"]

Full = TypeVar("Full")
StandIn = TypeVar("StandIn")


class Order(Generic[Full, StandIn]):
    """A reorder buffer with two bounds.

    Up to *keep* results wait in full behind a slow one; of later ones only a stand-in waits, from which the owner makes
    the result again when its turn comes. So one slow index neither stalls the work nor fills the memory. *lead* bounds
    how far indices may run ahead of the one that comes out next.
    """

    __slots__ = ("_head", "_keep", "_kept", "_lead", "_waiting")

    def __init__(self, *, keep: int, lead: int) -> None:
        if not 0 < keep <= lead:
            raise ValueError("0 < keep <= lead must hold")
        self._head = 0
        self._keep = keep
        self._lead = lead
        self._kept = 0
        self._waiting: dict[int, tuple[Full, None] | tuple[None, StandIn]] = {}

    @property
    def head(self) -> int:
        """The index that comes out next."""
        return self._head

    @property
    def ready(self) -> bool:
        """Whether something can come out."""
        return self._head in self._waiting

    def __len__(self) -> int:
        return len(self._waiting)

    def room(self, index: int) -> bool:
        """Whether work on *index* may start."""
        return index - self._head < self._lead

    def add(self, index: int, result: Full, stand_in: StandIn) -> None:
        """Take the result of *index*."""
        if index < self._head or index in self._waiting:
            raise ValueError(f"index {index} was added before")
        if index == self._head or self._kept < self._keep:
            self._waiting[index] = (result, None)
            self._kept += 1
        else:
            self._waiting[index] = (None, stand_in)

    def take(self) -> tuple[Full, None] | tuple[None, StandIn] | None:
        """The next result in order, or its stand-in, or None while it is missing."""
        item = self._waiting.pop(self._head, None)
        if item is None:
            return None
        self._head += 1
        if item[1] is None:
            self._kept -= 1
        return item
