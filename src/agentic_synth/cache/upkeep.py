"""What the command line does with a whole store: count it, clear it, export it; in slices, so that others can write."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from agentic_synth.cache.records import Row, record_of
from agentic_synth.cache.store import Contents
from agentic_synth.cache.warmth import forget

__all__ = ["clear", "contents", "export", "forget_texts", "give_back"]

_CLEAR_SLICE = 2_000
_EXPORT_SLICE = 100


def contents(connection: sqlite3.Connection, path: Path) -> Contents:
    """Count everything in the store at *path*."""
    sums = connection.execute(
        "SELECT coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0), coalesce(sum(cost), 0.0), "
        "min(created), max(created) FROM answers"
    ).fetchone()
    files = [path, path.with_name(path.name + "-wal")]
    return Contents(
        entries=dict(connection.execute("SELECT status, count(*) FROM answers GROUP BY status")),
        models=dict(connection.execute("SELECT model, count(*) FROM answers GROUP BY model")),
        input_tokens=sums[0],
        output_tokens=sums[1],
        cost=sums[2],
        oldest=sums[3],
        newest=sums[4],
        file_bytes=sum(file.stat().st_size for file in files if file.exists()),
    )


def clear(connection: sqlite3.Connection, *, before: float | None, model: str | None) -> int:
    """Delete answers older than *before* and asked of *model*, where given; return how many.

    What was remembered of their prompts for semantic reuse goes with them, and where all go, what was learned of it.
    """
    (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM answers").fetchone()
    deleted = 0
    for start in range(0, last, _CLEAR_SLICE):
        deleted += connection.execute(
            "DELETE FROM answers WHERE id > ? AND id <= ? AND (? IS NULL OR created < ?) AND (? IS NULL OR model = ?)",
            (start, min(start + _CLEAR_SLICE, last), before, before, model, model),
        ).rowcount
    forgotten = forget_texts(connection)
    if before is None and model is None:
        forgotten += connection.execute("DELETE FROM judgements").rowcount
    if deleted:
        forget(connection)
    if deleted or forgotten:
        give_back(connection)
    return deleted


def forget_texts(connection: sqlite3.Connection) -> int:
    """Forget the prompts whose answers are gone, in slices; return how many.

    An answer is always on its way to the file before its prompt is, so none is taken for gone that only comes late.
    """
    (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM texts").fetchone()
    forgotten = 0
    for start in range(0, last, _CLEAR_SLICE):
        forgotten += connection.execute(
            "DELETE FROM texts WHERE id > ? AND id <= ? AND NOT EXISTS (SELECT 1 FROM answers WHERE key = texts.key)",
            (start, min(start + _CLEAR_SLICE, last)),
        ).rowcount
    return forgotten


def give_back(connection: sqlite3.Connection) -> None:
    """Give the room of what was deleted back to the disk; where another process is at work, later answers use it."""
    connection.execute("PRAGMA busy_timeout = 0")
    with suppress(sqlite3.OperationalError):
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def export(connection: sqlite3.Connection) -> Iterator[dict[str, Any]]:
    """Yield every answer as a record, oldest first."""
    # No cursor stays open between slices: an open one would keep the log from being moved into the file.
    last = 0
    columns = ", ".join(Row._fields)
    select = f"SELECT id, {columns} FROM answers WHERE id > ? ORDER BY id LIMIT {_EXPORT_SLICE}"  # noqa: S608
    while rows := connection.execute(select, (last,)).fetchall():
        for number, *row in rows:
            last = number
            yield record_of(Row(*row))
