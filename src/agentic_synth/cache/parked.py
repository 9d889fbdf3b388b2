"""Requests that wait on disk for a provider's batch, and how they are written down."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from agentic_synth.cache.ledger import Journal
from agentic_synth.errors import StoreError
from agentic_synth.types import Json, Request

__all__ = ["WAITING", "Parked", "Parking", "Waiting"]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Request).decode

WAITING = "batch IS NULL AND upstream = ? AND origin = ? AND tries < ?"
"""What may go into a batch of an upstream."""

_SLICE = 128  # requests in one read, about a millisecond
_SELECT = (
    "SELECT parked.id, key, upstream, origin, size_bytes, tries, batch, schema, request "
    "FROM parked JOIN parked_requests ON parked_requests.id = parked.id"
)


class Parked(NamedTuple):
    """One request that waits.

    *key* is ``Key.draw``. *upstream* and *origin* (its base URL) say where it is to be asked, *size_bytes* what it
    takes of a batch. *tries* counts the batches that ended without it, *batch* is the number of the one it is in.
    """

    key: bytes
    request: Request
    upstream: str
    origin: str
    size_bytes: int
    tries: int = 0
    batch: int | None = None

    @property
    def custom_id(self) -> str:
        """Its name within a batch: the key in hexadecimal."""
        return self.key.hex()


class Waiting(NamedTuple):
    """How much waits that is in no batch."""

    requests: int
    size_bytes: int


class Parking:
    """The requests that wait, kept beside the answers."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def park(self, requests: Sequence[Parked]) -> int:
        """Keep *requests* until they have an answer; one that waits already stays as it is. Returns how many are new.

        Raises:
            StoreError: one of them cannot be written; none was.
        """
        return await self._journal.perform(lambda connection: _insert(connection, requests))

    async def settle(self, keys: Sequence[bytes]) -> int:
        """Forget requests, now that their answers (or final failures) are in the store; returns how many still waited.

        A batch counts them as its answered ones.
        """
        return await self._journal.perform(lambda connection: _settle(connection, keys))

    def waiting(self, upstream: str, origin: str, *, most_tries: int = 1) -> Waiting:
        """How much :meth:`BatchLedger.seal` would take."""
        row = self._journal.read(
            lambda connection: connection.execute(
                f"SELECT count(*), coalesce(sum(size_bytes), 0) FROM parked WHERE {WAITING}",  # noqa: S608
                (upstream, origin, most_tries),
            ).fetchone()
        )
        return Waiting(*row)

    def stragglers(self, upstream: str, origin: str, *, tries: int = 1) -> Iterator[Parked]:
        """What waits after so many batches in vain, read from the disk in slices."""
        where = "batch IS NULL AND upstream = ? AND origin = ? AND tries >= ?"
        return self._slices(where, (upstream, origin, tries))

    def requests(self, number: int) -> Iterator[Parked]:
        """What is in a batch and has no answer yet, read from the disk in slices."""
        return self._slices("batch = ?", (number,))

    def look(self, custom_id: str) -> Parked | None:
        """The request of that name, None where it no longer waits for an answer."""
        try:
            key = bytes.fromhex(custom_id)
        except ValueError:
            return None
        select = f"{_SELECT} WHERE key = ?"
        row = self._journal.read(lambda connection: connection.execute(select, (key,)).fetchone())
        return None if row is None else _parked(row)

    def owns(self, number: int) -> Callable[[str], bool]:
        """Tells whether a request of that name waits in this batch."""

        def owned(custom_id: str) -> bool:
            parked = self.look(custom_id)
            return parked is not None and parked.batch == number

        return owned

    def _slices(self, where: str, values: tuple[Any, ...]) -> Iterator[Parked]:
        # No cursor stays open between slices: an open one would keep the log from being moved into the file.
        select = f"{_SELECT} WHERE {where} AND parked.id > ? ORDER BY parked.id LIMIT {_SLICE}"
        last = 0

        def read(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
            return connection.execute(select, (*values, last)).fetchall()

        while True:
            rows = self._journal.read(read)
            yield from map(_parked, rows)
            if len(rows) < _SLICE:
                return
            last = rows[-1][0]


def _insert(connection: sqlite3.Connection, requests: Iterable[Parked]) -> int:
    """Write *requests*, but for those that wait already; return how many were new."""
    new = 0
    for one in requests:
        parked = connection.execute(
            "INSERT OR IGNORE INTO parked (key, upstream, origin, tries, size_bytes) VALUES (?, ?, ?, 0, ?)",
            (one.key, one.upstream, one.origin, one.size_bytes),
        )
        if parked.rowcount:
            new += 1
            connection.execute(
                "INSERT INTO parked_requests VALUES (?, ?, ?)", (parked.lastrowid, *_written(one.request))
            )
    return new


def _written(request: Request) -> tuple[bytes | None, bytes]:
    # An instant of this process's clock means nothing to the next one.
    bare = msgspec.structs.replace(request, schema=None, deadline=None)
    try:
        return None if request.schema is None else _encode(request.schema), _encode(bare)
    except (UnicodeEncodeError, TypeError, OverflowError) as error:
        raise StoreError(f"a request cannot be written to the response store: {error}") from error


def _parked(row: tuple[Any, ...]) -> Parked:
    """The request in a row of :data:`_SELECT`."""
    _, key, upstream, origin, size_bytes, tries, batch, schema, written = row
    request = _decode(written)
    if schema is not None:
        request = msgspec.structs.replace(request, schema=_schema(schema))
    return Parked(key, request, upstream, origin, size_bytes, tries, batch)


@lru_cache(maxsize=128)
def _schema(written: bytes) -> dict[str, Json]:
    # Equal schemas become one object again, by which the transport remembers what it has made of it.
    return msgspec.msgpack.decode(written, type=dict[str, Any])


def _settle(connection: sqlite3.Connection, keys: Sequence[bytes]) -> int:
    settled: Counter[int | None] = Counter()
    for key in keys:
        row = connection.execute("SELECT id, batch FROM parked WHERE key = ?", (key,)).fetchone()
        if row is not None:
            settled[row[1]] += 1
            connection.execute("DELETE FROM parked WHERE id = ?", row[:1])
    for batch, count in settled.items():
        connection.execute("UPDATE batches SET answered = answered + ? WHERE number = ?", (count, batch))
    return settled.total()
