"""A response store that keeps its answers in memory: for ``:none:`` and for tests."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from agentic_synth.cache.accesses import AccessesInMemory
from agentic_synth.cache.key import AUDIT, Key
from agentic_synth.cache.leases import NoLeases
from agentic_synth.cache.pool import Originals
from agentic_synth.cache.records import Row, as_stored, record_of, row_of
from agentic_synth.cache.schema import migrate
from agentic_synth.cache.store import Contents, Status, Stored, StoreStatistics, expired, overrules
from agentic_synth.errors import StoreError
from agentic_synth.policies.eviction.choice import DEFAULT, POLICIES, PolicyName
from agentic_synth.policies.eviction.eviction import Eviction
from agentic_synth.types import Response

__all__ = ["MemoryStore"]

T = TypeVar("T")

_ENTRY_BYTES = 3_000  # what the objects of an answer take beside its texts


class MemoryStore:
    """Answers that end with the process; where there is no room for all, an eviction policy says which give way.

    *capacity* bounds the answers, *max_bytes* about what they take. An answer older than *ttl* seconds is a miss;
    *wall* tells the unix time.
    """

    def __init__(
        self,
        capacity: int = 10_000,
        *,
        max_bytes: int = 64 << 20,
        ttl: float | None = None,
        policy: PolicyName = DEFAULT,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._kept: Eviction[bytes] = POLICIES[policy](capacity, max_bytes)
        self._ttl = ttl
        self._wall = wall
        self._rows: dict[bytes, tuple[Row, Stored]] = {}
        self._ledger: sqlite3.Connection | None = None
        self._ended = False
        self._hits = self._misses = self._written = 0
        self._saved = 0.0
        self.accesses = AccessesInMemory(wall, most_keys=2 * capacity)

    warnings: tuple[str, ...] = ()
    leases = NoLeases()

    def get(self, key: bytes, *, counts: bool = True) -> Stored | None:
        """The answer stored under ``Key.draw``, whatever its status."""
        self._check_open()
        found = self._rows.get(key)
        stored = None if found is None or expired(found[1].created, self._wall(), self._ttl) else found[1]
        if not counts:
            return stored
        self._kept.record(key)
        if stored is not None and stored.status is Status.COMPLETE:
            self._hits += 1
            self._saved += stored.response.cost or 0.0
        else:
            self._misses += 1
        return stored

    async def put(
        self, key: Key, response: Response, status: Status, reason: str = "", *, created: float | None = None
    ) -> None:
        """Keep an answer; there is nothing to wait for."""
        self._check_open()
        self._written += 1
        before = self._rows.pop(key.draw, None)
        if before is not None and not overrules(status, before[1].status):
            self._rows[key.draw] = before
            return
        stored = as_stored(response, status, self._wall() if created is None else created, reason)
        row = row_of(key, stored)
        self._rows[key.draw] = (row, stored)
        for gone in self._kept.admit(key.draw, _weight(row)):
            del self._rows[gone]

    async def originals(self, key: Key) -> Originals:
        """What a pool may take, found by looking at every answer."""
        rows = [row for row, _ in self._rows.values() if row.spec == key.spec]
        others = [row for row in rows if row.source is None and row.lineage not in (key.lineage, AUDIT)]
        others = sorted((row for row in others if row.status == Status.COMPLETE), key=lambda row: row.created)
        copied = frozenset(row.source for row in rows if row.source is not None and row.lineage == key.lineage)
        return Originals([row.key for row in others], copied)

    def mark(self, key: bytes, status: Status, reason: str) -> None:
        """Change the status of a kept answer."""
        self._check_open()
        if (found := self._rows.get(key)) is not None:
            row, stored = found
            marked = Stored(status, stored.response, stored.created, reason)
            self._rows[key] = (row._replace(status=status.value, reason=reason), marked)

    async def perform(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run *work* on the tables of the ledger, which end with the process too."""
        return self.read(work)

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What *work* reads from the tables of the ledger."""
        self._check_open()
        if self._ledger is None:
            self._ledger = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            migrate(self._ledger, Path(":memory:"))
        return work(self._ledger)

    def statistics(self) -> StoreStatistics:
        """What this process did so far."""
        return StoreStatistics(self._hits, self._misses, self._saved, self._written, self._written)

    def contents(self) -> Contents:
        """Count all entries."""
        rows = [row for row, _ in self._rows.values()]
        return Contents(
            entries=dict(Counter(row.status for row in rows)),
            models=dict(Counter(row.model for row in rows)),
            input_tokens=sum(row.input_tokens for row in rows),
            output_tokens=sum(row.output_tokens for row in rows),
            cost=sum(row.cost or 0.0 for row in rows),
            oldest=min((row.created for row in rows), default=None),
            newest=max((row.created for row in rows), default=None),
        )

    def clear(self, *, before: float | None = None, model: str | None = None) -> int:
        """Forget the answers created before a unix time and asked of *model*, or all; return how many."""
        chosen = [
            key
            for key, (row, _) in self._rows.items()
            if (before is None or row.created < before) and (model is None or row.model == model)
        ]
        for key in chosen:
            del self._rows[key]
            self._kept.remove(key)
        return len(chosen)

    def export(self) -> Iterator[dict[str, Any]]:
        """Every answer as a JSON-able record, oldest first."""
        for row, _ in list(self._rows.values()):
            yield record_of(row)

    async def aclose(self) -> None:
        """Forget everything; a second time does nothing."""
        self._ended = True
        self._rows.clear()
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    def _check_open(self) -> None:
        if self._ended:
            raise StoreError("the response store is closed")


def _weight(row: Row) -> int:
    # The answer is kept twice: as it was and as it would be written.
    return len(row.request) + 2 * len(row.response) + _ENTRY_BYTES
