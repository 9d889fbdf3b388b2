"""The one thread that writes to the store's file, so that the event loop never waits for a disk.

It commits as soon as it is idle: while one group is on its way to the disk the next one gathers by itself. A commit
costs far more than one answer more in it, so where answers come close together it lingers a little for company: only
after a group that held several, so that a caller who writes one answer after the other never waits for it. The queue
holds an entry for each caller that waits (and for those that gave up waiting), so callers that wait for their writes
bound it.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from agentic_synth.cache.records import Row
from agentic_synth.cache.schema import explain
from agentic_synth.cache.store import Status, Stored
from agentic_synth.errors import StoreError, SynthError

__all__ = ["Entry", "Writer"]

_GROUP = 256
_LARGEST_INSERT = 64  # rows in one statement
_ROW_OVERHEAD_BYTES = 8_192  # an answer dirties a page of the table and one of the index
_IDLE_SECONDS = 0.2
_CHECKPOINT_IDLE_BYTES = 1 << 20
_CHECKPOINT_BUSY_BYTES = 8 << 20  # the same pages are written again and again: the later, the fewer copies


class Entry:
    """One thing to write: an answer's *row*, or *work* on the connection in a transaction of its own.

    *future* is told the end, where anybody waits for it; *seen* is what reads of *key* are shown before that.
    """

    __slots__ = ("error", "future", "key", "loop", "result", "row", "seen", "work")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        future: asyncio.Future[Any] | None = None,
        key: bytes = b"",
        row: Row | None = None,
        seen: Stored | None = None,
        work: Callable[[sqlite3.Connection], Any] | None = None,
    ) -> None:
        self.loop = loop
        self.future = future
        self.key = key
        self.row = row
        self.seen = seen
        self.work = work
        self.result: Any = None
        self.error: SynthError | None = None


class Writer:
    """Writes entries in the order they were submitted and reports each group, once, to *settled*.

    *settled* runs on the loop of the entries, or on the writer's thread when that loop is closed already.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        settled: Callable[[Sequence[Entry]], None],
        *,
        linger: float,
    ) -> None:
        self._connection = connection
        self._path = path
        self._settled = settled
        self._linger = linger
        self._entries: deque[Entry] = deque()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._in_company = False
        self._thread: threading.Thread | None = None
        self._unchecked_bytes = 0
        self.groups = 0

    def submit(self, entry: Entry) -> None:
        """Queue *entry*; never waits."""
        if self._thread is None:
            # A daemon: a process that ends without closing the store loses only what nobody was told is durable.
            self._thread = threading.Thread(target=self._run, name="synth-store", daemon=True)
            self._thread.start()
        self._entries.append(entry)
        if not self._wake.is_set():
            self._wake.set()

    async def aclose(self) -> None:
        """Write everything submitted so far, then close the connection."""
        self._closing.set()
        if self._thread is None:
            self._connection.close()
            return
        self._wake.set()
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)

    def _run(self) -> None:
        try:
            while self._entries or self._rest():
                if self._entries:
                    self._write()
        finally:
            self._connection.close()

    def _rest(self) -> bool:
        """Wait for entries, checkpointing when that does not come soon; False when the writer is to end."""
        if self._closing.is_set():
            return False
        worthwhile = self._unchecked_bytes >= _CHECKPOINT_IDLE_BYTES
        if not self._wake.wait(_IDLE_SECONDS if worthwhile else None):
            self._checkpoint()
        # Cleared before the queue is looked at again, so an entry that comes in between is seen.
        self._wake.clear()
        return True

    def _write(self) -> None:
        entries = self._entries
        if self._in_company and len(entries) < _LARGEST_INSERT:
            self._closing.wait(self._linger)
        group = [entries.popleft()]
        if group[0].row is not None:
            while entries and entries[0].row is not None and len(group) < _GROUP:
                group.append(entries.popleft())
        self._in_company = len(group) > 1
        error = self._commit(group)
        if error is not None and len(group) > 1 and not isinstance(error, sqlite3.OperationalError):
            # One of them cannot be written at all (a text that is not Unicode, a number too large): the others can.
            for entry in group:
                self._report([entry], self._commit([entry]))
        else:
            self._report(group, error)
        if self._unchecked_bytes >= _CHECKPOINT_BUSY_BYTES:
            self._checkpoint()

    def _commit(self, group: Sequence[Entry]) -> Exception | None:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            work = group[0].work
            if work is not None:
                before = connection.total_changes
                group[0].result = work(connection)
                self._unchecked_bytes += (connection.total_changes - before) * _ROW_OVERHEAD_BYTES
            else:
                self._insert([entry.row for entry in group if entry.row is not None])
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - the thread's boundary: it tells whoever waits, and lives on
            with suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            return error
        self.groups += 1
        return None

    def _insert(self, rows: Sequence[Row]) -> None:
        # Each statement gives up the interpreter's lock and may wait long to get it back from a busy loop: hence few
        # statements of many rows, in sizes of powers of two so that few are ever prepared.
        start = 0
        while start < len(rows):
            count = min(_LARGEST_INSERT, 1 << (len(rows) - start).bit_length() - 1)
            chosen = rows[start : start + count]
            self._connection.execute(_insert_statement(count), [*chain.from_iterable(chosen)])
            start += count
        self._unchecked_bytes += sum(len(row.request) + len(row.response) + _ROW_OVERHEAD_BYTES for row in rows)

    def _report(self, group: Sequence[Entry], error: Exception | None) -> None:
        if error is not None:
            for entry in group:
                entry.error = self._explain(error)
        for loop in {entry.loop for entry in group}:
            mine = [entry for entry in group if entry.loop is loop]
            try:
                loop.call_soon_threadsafe(self._settled, mine)
            except RuntimeError:  # the loop was closed, and with it whoever waited
                for entry in mine:
                    entry.future = None
                self._settled(mine)

    def _explain(self, error: Exception) -> SynthError:
        if isinstance(error, SynthError):
            return error
        if isinstance(error, sqlite3.Error):
            return explain(error, self._path)
        return StoreError(f"an answer cannot be written to the response store {self._path}: {error}")

    def _checkpoint(self) -> None:
        # Passive: it moves what it can without waiting for anybody. A full disk shows at the next write.
        with suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        self._unchecked_bytes = 0


@lru_cache(maxsize=16)
def _insert_statement(rows: int) -> str:
    columns = ", ".join(Row._fields)
    values = ", ".join([f"({', '.join('?' * len(Row._fields))})"] * rows)
    changes = ", ".join(f"{column} = excluded.{column}" for column in Row._fields[1:])
    # The rule of `overrules`: nothing but a complete answer takes the place of a complete one.
    return (
        f"INSERT INTO answers ({columns}) VALUES {values} ON CONFLICT (key) DO UPDATE SET {changes} "  # noqa: S608
        f"WHERE excluded.status = '{Status.COMPLETE}' OR answers.status <> '{Status.COMPLETE}'"
    )
