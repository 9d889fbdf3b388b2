"""The library of what was asked in words: texts with their vectors, found by nearness, durable in the store.

The store's table is the truth. What is added waits up to a second for company, and is found meanwhile; each partition
that is asked for is held as an index in memory, which learns of what other processes add; files beside the store hold
the large ones, and can be deleted at any time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from agentic_synth.cache.ledger import Journal
from agentic_synth.cache.vectors import texts
from agentic_synth.cache.vectors.fresh import Fresh
from agentic_synth.cache.vectors.index import Format
from agentic_synth.cache.vectors.partition import Partition, vectors_of
from agentic_synth.cache.vectors.shelf import Shelf
from agentic_synth.cache.vectors.texts import Text
from agentic_synth.clock import Clock, SystemClock
from agentic_synth.errors import StoreError

if TYPE_CHECKING:
    from agentic_synth.cache.vectors.index import Vector

__all__ = ["Entry", "Library", "LibraryConfig", "LibraryStatistics"]

_GROUP = 256  # texts that are not made to wait for company
_LINGER = 1.0
_MOST_WAITING = 4_096
_ABREAST = 0.5  # seconds between two looks at what other processes added
_SEARCHES = 3


class Entry(NamedTuple):
    """A text that was asked before, the key of its answer, and its cosine with the text that is asked now."""

    key: bytes
    text: str
    similarity: float


class LibraryConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How much is kept: the *max_entries* texts used last; a partition gets a file when it has *graph_from*."""

    max_entries: int = 100_000
    graph_from: int = 10_000


class LibraryStatistics(msgspec.Struct, frozen=True, gc=False):
    """What this process did with its library so far.

    *waiting* texts are not durable yet, *lost* ones could not be written, *partitions* are held in memory with *rows*
    vectors, *saves* counts the files that were written; *error* is the last failure.
    """

    added: int = 0
    waiting: int = 0
    lost: int = 0
    evicted: int = 0
    partitions: int = 0
    rows: int = 0
    saves: int = 0
    error: str = ""


class Library:
    """Texts with vectors of one *embedder*, in any number of partitions, in a store.

    *directory* is where the files of large partitions lie, beside the store. *spawn* starts a task that ends with its
    owner at the latest; *wall* tells the unix time. Belongs to one event loop.
    """

    def __init__(
        self,
        journal: Journal,
        embedder: str,
        directory: Path,
        format: Format,  # noqa: A002 - what it is
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        config: LibraryConfig | None = None,
        *,
        clock: Clock | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._journal = journal
        self._embedder = embedder
        self._spawn = spawn
        self._config = config or LibraryConfig()
        self._shelf = Shelf(journal, directory, format, self._config.graph_from)
        self._clock = clock or SystemClock()
        self._wall = wall
        self._looked = self._clock.now()
        self._fresh = Fresh()
        self._used: dict[bytes, float] = {}
        self._flushing = asyncio.Lock()
        self._timer: asyncio.Task[None] | None = None
        self._lingers = False
        self._added = self._lost = self._evicted = self._saves = 0
        self._error = ""

    async def add(self, partition: bytes, key: bytes, text: str, vector: Vector) -> None:
        """Let *text* be found by what is asked in *partition* from now on; durable within about a second.

        Waits only where the store is slower than what comes. A zero vector is near to nothing and is not kept.
        """
        if not vector.any():
            return
        now, readable = self._wall(), text.encode(errors="replace").decode()
        row = Text(self._digest(partition, vector), key, now, now, vector.astype("<f2").tobytes(), readable)
        self._fresh.add(row, vector)
        if len(self._fresh) >= _MOST_WAITING:
            await self.flush()
        else:
            self._flush_soon()

    async def nearest(self, partition: bytes, vector: Vector, k: int = 8) -> list[Entry]:
        """The *k* texts of *partition* nearest to *vector*, the nearest first."""
        if not vector.any():
            return []
        digest = self._digest(partition, vector)
        held = await self._shelf.get(digest, len(vector))
        if self._clock.now() - self._looked >= _ABREAST and self._shelf.catch_up():
            self._looked = self._clock.now()
        found = await self._durable(held, vector, k)
        for row, similarity in self._fresh.search(digest, vector, k):
            found[row.key] = Entry(row.key, row.text, similarity)
        return sorted(found.values(), key=lambda entry: -entry.similarity)[:k]

    def mark_used(self, key: bytes) -> None:
        """Say that the entry of *key* served, so that others give way before it."""
        if key in self._used or len(self._used) < _MOST_WAITING:
            self._used[key] = self._wall()
            self._flush_soon()

    async def forget(self, key: bytes) -> None:
        """Never find the texts that *key* answers again; durable when it returns."""
        async with self._flushing:  # else one that is on its way to the store would come there after its deletion
            self._fresh.forget(key)
            self._shelf.drop(await self._journal.perform(lambda connection: texts.delete_key(connection, key)))

    async def flush(self) -> None:
        """Make durable what was added so far; where the store refuses, it is lost and the statistics say so."""
        await self._write_waiting()
        self._shelf.shed()
        for held in self._shelf:
            if held.outgrown and not held.saving:
                self._spawn(self._save(held))

    async def aclose(self) -> None:
        """Make durable what was added; the files stay as they are, the store knows the rest."""
        if self._timer is not None:
            self._timer.cancel()
        await self._write_waiting()
        self._shelf.close()

    def statistics(self) -> LibraryStatistics:
        """What this process did so far."""
        return LibraryStatistics(
            added=self._added,
            waiting=len(self._fresh),
            lost=self._lost,
            evicted=self._evicted,
            partitions=len(self._shelf),
            rows=sum(len(held.index) for held in self._shelf),
            saves=self._saves,
            error=self._error,
        )

    def _digest(self, partition: bytes, vector: Vector) -> bytes:
        named = f"{self._embedder}\0{len(vector)}\0".encode()
        return blake2b(named + partition, digest_size=16, person=b"synth.texts.1").digest()

    async def _durable(self, held: Partition, vector: Vector, k: int) -> dict[bytes, Entry]:
        """What the store has of the nearest; what others deleted there is dropped, and the next nearest looked for."""
        for search in range(_SEARCHES):
            ids = [identity for identity, _ in await held.search(vector, k)]
            if not ids:
                break
            rows = self._journal.read(lambda connection, ids=ids: texts.by_id(connection, ids))  # type: ignore[misc]
            gone = set(ids).difference(row[0] for row in rows)
            for identity in gone:
                held.index.remove(identity)
            if not gone or search == _SEARCHES - 1:
                # An index may be a hundredth off; these cosines are not.
                exact = vectors_of([row[3] for row in rows], len(vector)) @ vector
                pairs = zip(rows, exact.tolist(), strict=True)
                return {key: Entry(key, text, similarity) for (_, key, text, _), similarity in pairs}
        return {}

    async def _write_waiting(self) -> None:
        async with self._flushing:
            group = self._fresh.waiting()
            used, self._used = [(at, key) for key, at in self._used.items()], {}
            if group or used:
                await self._write(group, used)

    async def _write(self, group: dict[int, Text], used: Sequence[tuple[float, bytes]]) -> None:
        rows, most = list(group.values()), self._config.max_entries
        try:
            evicted = await self._journal.perform(lambda connection: texts.write(connection, rows, used, most))
            while True:
                if self._shelf.catch_up():
                    break
                await asyncio.sleep(0)
        except StoreError as error:
            self._lost += len(group)
            self._error = str(error)
        else:
            self._added += len(group)
            self._evicted += len(evicted)
            self._shelf.drop(evicted)
        self._fresh.settle(group)

    def _flush_soon(self) -> None:
        full = len(self._fresh) >= _GROUP
        if self._timer is not None and not self._timer.done():
            if not (full and self._lingers):
                return
            self._timer.cancel()
        self._lingers = not full
        self._timer = self._spawn(self._flush_later())

    async def _flush_later(self) -> None:
        if self._lingers:
            await self._clock.sleep(_LINGER)
            self._lingers = False
        await self.flush()

    async def _save(self, held: Partition) -> None:
        try:
            self._saves += await held.save()
        except Exception as error:  # noqa: BLE001 - a task's boundary; the file is a convenience, the store has it all
            self._error = f"a file of vectors cannot be written: {error}"
