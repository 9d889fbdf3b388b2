"""The table of texts in the store: what was asked in words, its vector, and the answer's key."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

__all__ = ["Text", "by_id", "delete_key", "identity_of", "last_id", "of_partition", "since", "write"]

_LARGEST_INSERT = 64  # rows in one statement: each gives up the interpreter's lock
_LARGEST_EVICTION = 1_024

_INSERT = "INSERT INTO texts (partition, key, created, used, vector, text) VALUES "
_ROW = "(?, ?, ?, ?, ?, ?)"


class Text(NamedTuple):
    """A row of the table ``texts`` after its id; *vector* is 16-bit floats, little end first."""

    partition: bytes
    key: bytes
    created: float
    used: float
    vector: bytes
    text: str


def identity_of(connection: sqlite3.Connection) -> bytes:
    """What no other store has, so that a file of vectors is never taken for that of another."""
    (identity,) = connection.execute("SELECT identity FROM texts_identity").fetchone()
    return bytes(identity)


def last_id(connection: sqlite3.Connection) -> int:
    """The highest id that was ever given; none is given twice."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'texts'").fetchone()
    return int(row[0]) if row else 0


def since(connection: sqlite3.Connection, last: int, most: int) -> list[tuple[int, bytes, bytes]]:
    """The next rows after the id *last*, of any partition: id, partition, vector."""
    return connection.execute(
        "SELECT id, partition, vector FROM texts WHERE id > ? ORDER BY id LIMIT ?", (last, most)
    ).fetchall()


def of_partition(connection: sqlite3.Connection, partition: bytes, last: int, most: int) -> list[tuple[int, bytes]]:
    """The next rows of one partition after the id *last*: id, vector."""
    return connection.execute(
        "SELECT id, vector FROM texts WHERE partition = ? AND id > ? ORDER BY id LIMIT ?", (partition, last, most)
    ).fetchall()


def by_id(connection: sqlite3.Connection, ids: Sequence[int]) -> list[tuple[int, bytes, str, bytes]]:
    """The rows of *ids* that are still there: id, key, text, vector."""
    marks = ", ".join("?" * len(ids))
    return connection.execute(f"SELECT id, key, text, vector FROM texts WHERE id IN ({marks})", ids).fetchall()  # noqa: S608


def delete_key(connection: sqlite3.Connection, key: bytes) -> list[int]:
    """Forget every text that *key* answers; the ids."""
    return [row[0] for row in connection.execute("DELETE FROM texts WHERE key = ? RETURNING id", (key,))]


def write(
    connection: sqlite3.Connection, texts: Sequence[Text], used: Sequence[tuple[float, bytes]], most: int
) -> list[int]:
    """Add *texts*, note when keys were *used*, and keep the *most* lately used; the ids that gave way.

    A text whose key its partition has already is left as it is.
    """
    start = 0
    while start < len(texts):
        count = min(_LARGEST_INSERT, 1 << (len(texts) - start).bit_length() - 1)
        connection.execute(_insert(count), [*chain.from_iterable(texts[start : start + count])])
        start += count
    if used:
        connection.executemany("UPDATE texts SET used = ? WHERE key = ?", used)
    (count,) = connection.execute("SELECT count(*) FROM texts").fetchone()
    if count <= most:
        return []
    evicted = connection.execute(
        "DELETE FROM texts WHERE id IN (SELECT id FROM texts ORDER BY used, id LIMIT ?) RETURNING id",
        (min(count - most, _LARGEST_EVICTION),),
    )
    return [row[0] for row in evicted]


@lru_cache(maxsize=16)
def _insert(rows: int) -> str:
    return f"{_INSERT}{', '.join([_ROW] * rows)} ON CONFLICT (key, partition) DO NOTHING"
