"""The response store in an SQLite file: reads on the event loop, writes by one thread beside it."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from agentic_synth.cache.accesses import Accesses, Tally
from agentic_synth.cache.key import Key
from agentic_synth.cache.leases import FileLeases
from agentic_synth.cache.pool import MOST_READ_AT_ONCE, Originals, make_index, originals_in
from agentic_synth.cache.records import as_stored, decode, row_of
from agentic_synth.cache.schema import Synchronous, explain, network_file_system, open_database, store_file
from agentic_synth.cache.store import Contents, Status, Stored, StoreStatistics, expired, overrules
from agentic_synth.cache.upkeep import clear, contents, export
from agentic_synth.cache.writer import Entry, Writer
from agentic_synth.errors import StoreError
from agentic_synth.types import Response

__all__ = ["SqliteStore"]

T = TypeVar("T")

_SELECT = "SELECT status, response, created, reason FROM answers WHERE key = ?"


class SqliteStore:
    """Answers in an SQLite file, shared by any number of processes of one machine.

    *path* is the file where its name ends in ``.sqlite`` or ``.db``, else a directory that holds ``store.sqlite``.
    With ``synchronous="normal"`` an answer survives ``kill -9``, with ``"full"`` a power loss too. May be opened
    anywhere; put and mark belong to a running loop, one at a time. Under load a put waits up to *linger* seconds for
    company in its commit: longer is less CPU, shorter less latency. An answer older than *ttl* seconds is a miss.
    *wall* tells the unix time, *mounts* is the system's table of mounted file systems.

    Raises:
        StoreError: the file cannot be opened, is damaged, foreign, or of a newer version.
    """

    def __init__(
        self,
        path: str | Path,
        synchronous: Synchronous = "normal",
        *,
        linger: float = 0.005,
        ttl: float | None = None,
        wall: Callable[[], float] = time.time,
        mounts: Path = Path("/proc/mounts"),
    ) -> None:
        self.path = store_file(path)
        self._wall = wall
        self._ttl = ttl
        self._reader = open_database(self.path, synchronous)
        self._cursor = self._reader.cursor()
        writing = open_database(self.path, synchronous)
        writing.execute("PRAGMA wal_autocheckpoint = 0")  # the writer does it when idle
        self._writer = Writer(writing, self.path, self._settle, linger=linger)
        # What the file does not show yet: the last entry of each key that is on its way to it.
        self._pending: dict[bytes, Entry] = {}
        self.leases = FileLeases(self.path.with_name(self.path.name + "-leases"))
        self._indexing = asyncio.Lock()
        self._indexed = False
        self._ended: asyncio.Task[None] | None = None
        self._waiting = 0
        self._hits = self._misses = self._written = self._failed = 0
        self._saved = self._dollars = 0.0
        self._calls = 0
        self.accesses = Accesses(self, self._post, self._tally, wall)
        self._warnings = _on_network(self.path, mounts)
        self._unseen_error = ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know: a network file system, a change of status that could not be written."""
        return (*self._warnings, self._unseen_error) if self._unseen_error else self._warnings

    def get(self, key: bytes, *, counts: bool = True) -> Stored | None:
        """The answer stored under ``Key.draw``, whatever its status.

        Raises:
            StoreError: the file cannot be read.
        """
        stored = self._look(key)
        if stored is not None and expired(stored.created, self._wall(), self._ttl):
            stored = None
        if not counts:
            return stored
        if stored is not None and stored.status is Status.COMPLETE:
            self._hits += 1
            self._saved += stored.response.cost or 0.0
        else:
            self._misses += 1
        return stored

    def _look(self, key: bytes) -> Stored | None:
        if (entry := self._pending.get(key)) is not None:
            return entry.seen
        try:
            row = self._cursor.execute(_SELECT, (key,)).fetchone()
        except sqlite3.Error as error:
            raise self._explain(error) from error
        if row is None:
            return None
        try:
            return Stored(Status(row[0]), decode(row[1]), row[2], row[3])
        except (msgspec.DecodeError, ValueError):
            # Written by another version with values this one does not know: asked anew, it is stored anew.
            return None

    async def put(
        self, key: Key, response: Response, status: Status, reason: str = "", *, created: float | None = None
    ) -> None:
        """Store an answer and return when it is durable; see :class:`ResponseStore`."""
        loop = asyncio.get_running_loop()
        stored = as_stored(response, status, self._wall() if created is None else created, reason)
        try:
            row = row_of(key, stored)
        except (UnicodeEncodeError, TypeError, OverflowError) as error:
            raise StoreError(f"an answer cannot be written to the response store: {error}") from error
        future: asyncio.Future[None] = loop.create_future()
        before = None if status is Status.COMPLETE else self._look(key.draw)
        seen = stored if before is None or overrules(status, before.status) else before
        self._submit(Entry(loop, future=future, key=key.draw, seen=seen, row=row))
        self._waiting += 1
        if row.source is None:
            self._calls += 1
            self._dollars += row.cost or 0.0
        await future

    def mark(self, key: bytes, status: Status, reason: str) -> None:
        """Change the status of a stored answer without waiting; the next ``get`` sees it.

        Where the file refuses it, ``warnings`` says so.
        """
        if (before := self._look(key)) is None:
            return

        def update(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE answers SET status = ?, reason = ? WHERE key = ?", (status.value, reason, key))

        seen = Stored(status, before.response, before.created, reason)
        self._submit(Entry(asyncio.get_running_loop(), key=key, seen=seen, work=update))

    async def originals(self, key: Key) -> Originals:
        """What a pool may take; the first time, all answers are indexed by their specification."""
        async with self._indexing:
            if not self._indexed:
                await self.perform(make_index)
                self._indexed = True
        found = self.read(lambda connection: originals_in(connection, key, MOST_READ_AT_ONCE))
        if len(found.keys) >= MOST_READ_AT_ONCE:
            found = await self.perform(lambda connection: originals_in(connection, key))
        on_their_way = [entry.row for entry in self._pending.values() if entry.row is not None]
        copied = [row.source for row in on_their_way if (row.spec, row.lineage) == (key.spec, key.lineage)]
        return found._replace(copied=found.copied.union(source for source in copied if source is not None))

    async def perform(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run *work* on the writer's thread, in a transaction of its own; return what it returned once durable."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._submit(Entry(loop, future=future, work=work))
        return await future

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What *work* reads, at once; it must be quick and change nothing."""
        try:
            return work(self._reader)
        except sqlite3.Error as error:
            raise self._explain(error) from error

    def statistics(self) -> StoreStatistics:
        """What this process did so far."""
        return StoreStatistics(
            self._hits, self._misses, self._saved, self._written, self._writer.groups, self._waiting, self._failed
        )

    async def aclose(self) -> None:
        """Commit everything queued, then close; a second time does nothing.

        Cancelling it gives up the waiting, never the writes.
        """
        if self._ended is None:
            self.accesses.flush()
            # The reader first: the last connection to close moves the log into the file, and that is the writer's work.
            self._reader.close()
            self.leases.close()
            self._ended = asyncio.create_task(self._writer.aclose())
        await asyncio.shield(self._ended)

    def contents(self) -> Contents:
        """Count all entries; reads the whole file."""
        with self._own_connection() as connection:
            return contents(connection, self.path)

    def clear(self, *, before: float | None = None, model: str | None = None) -> int:
        """Delete answers, as :class:`ResponseStore` says, and give their room back where no other process reads."""
        with self._own_connection() as connection:
            return clear(connection, before=before, model=model)

    def export(self) -> Iterator[dict[str, Any]]:
        """Every answer as a JSON-able record, oldest first."""
        with self._own_connection() as connection:
            yield from export(connection)

    @contextmanager
    def _own_connection(self) -> Iterator[sqlite3.Connection]:
        # Long reads on a connection of their own, so that those on the event loop never wait for them.
        try:
            with closing(open_database(self.path, "normal")) as connection:
                yield connection
        except sqlite3.Error as error:
            raise explain(error, self.path) from error

    def _tally(self) -> Tally:
        return Tally(self._hits, self._misses, self._saved, self._dollars, self._calls)

    def _post(self, work: Callable[[sqlite3.Connection], None]) -> None:
        self._submit(Entry(asyncio.get_running_loop(), work=work))

    def _submit(self, entry: Entry) -> None:
        if self._ended is not None:
            raise self._is_closed()
        self._writer.submit(entry)
        if entry.seen is not None:
            self._pending[entry.key] = entry

    def _settle(self, group: Sequence[Entry]) -> None:
        for entry in group:
            if entry.row is not None:
                self._waiting -= 1
                if entry.error is None:
                    self._written += 1
                else:
                    self._failed += 1
            if self._pending.get(entry.key) is entry:
                del self._pending[entry.key]
            if entry.error is not None and entry.future is None:
                self._unseen_error = str(entry.error)
            _tell(entry)

    def _explain(self, error: sqlite3.Error) -> StoreError:
        return self._is_closed() if self._ended is not None else explain(error, self.path)

    def _is_closed(self) -> StoreError:
        return StoreError(f"the response store {self.path} is closed")


def _tell(entry: Entry) -> None:
    future = entry.future
    if future is None or future.done():
        return
    if entry.error is None:
        future.set_result(entry.result)
    else:
        # Each waiter its own error: a shared one would gather the traceback of all of them.
        future.set_exception(type(entry.error)(entry.error.message, mend=entry.error.mend))


def _on_network(path: Path, mounts: Path) -> tuple[str, ...]:
    kind = network_file_system(path, mounts)
    if kind is None:
        return ()
    warning = (
        f"the response store {path} lies on a network file system ({kind}), where SQLite cannot keep it safe from "
        "several machines at once; choose a local directory with --store DIRECTORY"
    )
    return (warning,)
