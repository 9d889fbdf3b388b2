"""When the items that wait to travel together set off: enough of them, or waited long enough, or nobody is under way.

It knows nothing of what an item is: texts to embed, rows to pack into one prompt. Each has a handle, a number of tokens
and a number of bytes. How large a batch should be is :class:`~agentic_synth.policies.batch_size.BatchSize`'s.
"""

from __future__ import annotations

import math
from typing import Generic, TypeVar

import msgspec

from agentic_synth.policies.batch_size import BatchSize

__all__ = ["Batch", "BatchLimits", "Batching"]

Item = TypeVar("Item")


class BatchLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one call may hold at most; an item of more than *item_tokens* is likely to be refused and goes alone."""

    items: int = 2_048
    tokens: float = math.inf
    size_bytes: float = 16 * 1024 * 1024
    item_tokens: float = math.inf


class Batch(Generic[Item]):
    """Items that travel in one call, in the order in which they came.

    *weight* is their size as :class:`BatchSize` counts it, *epoch* when it gave the goal; *filled* says that the batch
    is as large as it might be, and was not closed by the clock or because nobody else was under way.
    """

    __slots__ = ("_sizes", "epoch", "filled", "opened_at", "size_bytes", "tokens", "weight")

    def __init__(self, opened_at: float) -> None:
        self._sizes: dict[Item, tuple[float, float, float]] = {}
        self.opened_at = opened_at
        self.tokens = 0.0
        self.size_bytes = 0.0
        self.weight = 0.0
        self.epoch = 0
        self.filled = False

    @property
    def items(self) -> list[Item]:
        """The handles, in order."""
        return list(self._sizes)

    def __len__(self) -> int:
        return len(self._sizes)

    def add(self, item: Item, tokens: float, size_bytes: float, weight: float) -> None:
        """Take *item*, a handle that is not here yet."""
        self._sizes[item] = (tokens, size_bytes, weight)
        self.tokens += tokens
        self.size_bytes += size_bytes
        self.weight += weight

    def discard(self, item: Item) -> bool:
        """Let *item* go, if it is here."""
        sizes = self._sizes.pop(item, None)
        if sizes is None:
            return False
        self.tokens -= sizes[0]
        self.size_bytes -= sizes[1]
        self.weight -= sizes[2]
        return True

    def halves(self) -> tuple[Batch[Item], Batch[Item]]:
        """Two batches of the same items, for one that was refused as a whole."""
        first, second = Batch[Item](self.opened_at), Batch[Item](self.opened_at)
        for place, (item, sizes) in enumerate(self._sizes.items()):
            (first if 2 * place < len(self._sizes) else second).add(item, *sizes)
        first.epoch = second.epoch = self.epoch
        return first, second


class Batching(Generic[Item]):
    """Collects items that may travel together, one open batch at a time.

    A batch is closed when the next item would exceed a limit or the goal of *size*, when it has reached one, *linger*
    seconds after its first item came, or when nothing else is under way. Whoever is given a closed batch sends it and
    calls :meth:`end` once it is over; items that were added are in exactly one closed batch unless they were discarded.
    *share* scales goal and limit, for company that shall stay small; not *eager*, an item waits for company even where
    nothing is under way.
    """

    def __init__(
        self, size: BatchSize, limits: BatchLimits, *, linger: float, share: float = 1.0, eager: bool = True
    ) -> None:
        self._size = size
        self._limits = limits
        self._linger = linger
        self._share = share
        self._eager = eager
        self._open: Batch[Item] | None = None
        self.in_flight = 0

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        return self._open is None and not self.in_flight

    @property
    def waiting(self) -> int:
        """Items in the open batch."""
        return 0 if self._open is None else len(self._open)

    @property
    def due(self) -> float:
        """The instant at which the open batch must be closed; infinite where none is open."""
        return math.inf if self._open is None else self._open.opened_at + self._linger

    def add(self, item: Item, tokens: float, size_bytes: float, now: float) -> list[Batch[Item]]:
        """Take *item*; returns the batches that are closed by it, in the order in which they should be sent."""
        weight = self._size.weight(tokens)
        if tokens > self._limits.item_tokens:
            return [self.alone(item, tokens, size_bytes, now)]
        closed: list[Batch[Item]] = []
        open_ = self._open
        if open_ is not None and not self._fits(open_, tokens, size_bytes, weight):
            open_.filled = True
            closed.append(self._close(open_))
            open_ = None
        if open_ is None:
            open_ = self._open = Batch[Item](now)
        open_.add(item, tokens, size_bytes, weight)
        open_.filled = open_.weight >= self._size.goal * self._share or len(open_) >= self._most_items
        if open_.filled or (self._eager and not self.in_flight):
            closed.append(self._close(open_))
        return closed

    def alone(self, item: Item, tokens: float, size_bytes: float, now: float) -> Batch[Item]:
        """A closed batch of *item* and nothing else."""
        batch = Batch[Item](now)
        batch.add(item, tokens, size_bytes, self._size.weight(tokens))
        return self._closed(batch)

    def discard(self, item: Item) -> bool:
        """Let *item* go, if it still waits."""
        open_ = self._open
        if open_ is None or not open_.discard(item):
            return False
        if not len(open_):
            self._open = None
        return True

    def close_due(self, now: float) -> Batch[Item] | None:
        """The open batch, if its time has come."""
        return self._close(self._open) if self._open is not None and now >= self.due else None

    def split(self, batch: Batch[Item]) -> tuple[Batch[Item], Batch[Item]]:
        """The halves of a batch that was refused (bisection); both are under way now, and the batch until its end."""
        self.in_flight += 2
        return batch.halves()

    def end(self) -> Batch[Item] | None:
        """One batch is over; returns the open one if nothing else is under way: there is nothing to wait for."""
        self.in_flight -= 1
        idle = self._eager and not self.in_flight
        return self._close(self._open) if self._open is not None and idle else None

    def drain(self) -> list[Item]:
        """Give the waiting items back: nobody will send them."""
        open_, self._open = self._open, None
        return [] if open_ is None else open_.items

    @property
    def _most_items(self) -> int:
        return max(1, int(min(self._limits.items, self._size.most_items) * self._share))

    def _fits(self, batch: Batch[Item], tokens: float, size_bytes: float, weight: float) -> bool:
        limits = self._limits
        return (
            batch.weight + weight <= self._size.goal * self._share
            and batch.tokens + tokens <= limits.tokens
            and batch.size_bytes + size_bytes <= limits.size_bytes
        )

    def _close(self, batch: Batch[Item]) -> Batch[Item]:
        self._open = None
        return self._closed(batch)

    def _closed(self, batch: Batch[Item]) -> Batch[Item]:
        self.in_flight += 1
        batch.epoch = self._size.epoch
        return batch
