"""Let go of stored answers that are worth least, until the store is as small as it was asked to be.

First go those that are too old, then those that can never be served (invalid, truncated, refused, audit copies), then
the others by what they are worth. What a running run draws from stays, and nothing else waits: the deletions come in
slices.
"""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from math import log2
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from agentic_synth.cache.key import AUDIT, lineage_of
from agentic_synth.cache.process import Process
from agentic_synth.cache.schema import explain, open_database
from agentic_synth.cache.store import Status
from agentic_synth.cache.upkeep import forget_texts, give_back
from agentic_synth.cache.warmth import remember
from agentic_synth.policies.popularity import rank_of

__all__ = ["Bounds", "Pruned", "Worth", "prune", "prune_file"]

Worth: TypeAlias = Literal["value", "lru", "lfu", "fifo"]
"""Which answers go first: those that save least a byte, or were used longest ago, least often, or made first."""

_ROW_BYTES = 300  # a row beside its request and response, with its place in the index
_EMPTY_BYTES = 125_000  # a file without answers
_DOLLARS_A_TOKEN = 1e-7  # what an answer without a price is taken to have cost: some of a machine's time
_SLICE = 500
_ORDERS: Mapping[Worth, str] = {
    "value": "value(coalesce(rank, -1e300), created, cost, output_tokens, bytes)",
    "lru": "max(coalesce(last, created), created)",
    "lfu": "coalesce(count, 0), max(coalesce(last, created), created)",
    "fifo": "created",
}


class Bounds(NamedTuple):
    """How small the store is to become; what is None does not bound it. *before* is a unix time."""

    max_bytes: int | None = None
    max_entries: int | None = None
    before: float | None = None


class Pruned(msgspec.Struct):
    """What went, or would go: *reasons* counts it; *dollars* is what it once cost, *spared* how many a run needs."""

    entries: int = 0
    bytes: int = 0
    dollars: float = 0.0
    reasons: dict[str, int] = {}
    spared: int = 0
    left: int = 0


class _Chosen(NamedTuple):
    numbers: array[int]
    instants: array[float]


class _Answer(NamedTuple):
    number: int
    created: float
    grade: int
    spared: bool
    bytes: int
    cost: float


def prune(
    connection: sqlite3.Connection, bounds: Bounds, now: float, *, worth: Worth = "value", dry_run: bool = False
) -> Pruned:
    """Make the store fit *bounds*, or with *dry_run* only tell what that would take.

    Answers that are stored while it works are left alone.
    """
    chosen, told = _choose(connection, bounds, now, worth)
    if chosen.numbers and not dry_run:
        for start in range(0, len(chosen.numbers), _SLICE):
            end = start + _SLICE
            connection.execute("BEGIN IMMEDIATE")
            remember(connection, chosen.numbers[start:end])
            # What was stored anew meanwhile has the same number and another instant.
            connection.executemany(
                "DELETE FROM answers WHERE id = ? AND created = ?",
                zip(chosen.numbers[start:end], chosen.instants[start:end], strict=True),
            )
            connection.execute("COMMIT")
        forget_texts(connection)
        give_back(connection)
    return told


def prune_file(file: Path, bounds: Bounds, now: float, *, worth: Worth = "value", dry_run: bool = False) -> Pruned:
    """:func:`prune` the store in *file*.

    Raises:
        StoreError: it cannot be opened, read or written.
    """
    try:
        with closing(open_database(file, "normal")) as connection:
            return prune(connection, bounds, now, worth=worth, dry_run=dry_run)
    except sqlite3.Error as error:
        raise explain(error, file) from error


def _choose(connection: sqlite3.Connection, bounds: Bounds, now: float, worth: Worth) -> tuple[_Chosen, Pruned]:
    entries, size = connection.execute(f"SELECT count(*), coalesce(sum({_BYTES}), 0) FROM answers").fetchone()  # noqa: S608
    room = None if bounds.max_bytes is None else (bounds.max_bytes - _EMPTY_BYTES) / _growth(connection, size)
    chosen, told = _Chosen(array("q"), array("d")), Pruned(left=entries)
    for answer in _worst_first(connection, bounds.before, now, worth):
        too_many = bounds.max_entries is not None and told.left > bounds.max_entries
        too_large = room is not None and size - told.bytes > room
        if answer.grade and not (too_many or too_large):
            break
        if answer.spared:
            told.spared += 1
            continue
        chosen.numbers.append(answer.number)
        chosen.instants.append(answer.created)
        told.entries += 1
        told.left -= 1
        told.bytes += answer.bytes
        told.dollars += answer.cost
        reason = _REASONS[answer.grade]
        told.reasons[reason] = told.reasons.get(reason, 0) + 1
    return chosen, told


_REASONS = ("too old", "never served", "worth least")
_BYTES = f"length(request) + length(response) + {_ROW_BYTES}"


def _growth(connection: sqlite3.Connection, size: int) -> float:
    """How many bytes of the file stand for each counted byte of an answer."""
    (pages,), (free,), (page_bytes,) = (
        connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "freelist_count", "page_size")
    )
    return max(1.0, float((pages - free) * page_bytes - _EMPTY_BYTES) / max(1, size))


def _worst_first(connection: sqlite3.Connection, before: float | None, now: float, worth: Worth) -> Iterator[_Answer]:
    """The answers, those that go first first."""
    connection.create_function("value", 5, _valuer(now), deterministic=True)
    connection.execute("PRAGMA temp_store = FILE")  # the order of a large store is sorted on the disk
    runs = _running(connection)
    marks = ", ".join("?" * len(runs))
    select = f"""
        SELECT id, created, CASE WHEN created < ? THEN 0 WHEN status <> ? OR lineage = ? THEN 1 ELSE 2 END AS grade,
            lineage IN ({marks}), {_BYTES} AS bytes, coalesce(cost, 0.0)
        FROM answers LEFT JOIN accesses ON accesses.key = answers.key ORDER BY grade, {_ORDERS[worth]}, id"""  # noqa: S608
    values = (-1.0 if before is None else before, Status.COMPLETE, AUDIT, *runs)
    # SQLite sorts all of it before it tells the first, so what is deleted meanwhile changes nothing.
    yield from map(_Answer._make, connection.execute(select, values))


def _valuer(now: float) -> Callable[[float, float, float | None, int, int], float]:
    def value(rank: float, created: float, cost: float | None, tokens: int, size: int) -> float:
        """How many dollars a byte of it is expected to save (its binary logarithm): popularity times price by size."""
        popularity: float = max(rank, rank_of(1, min(created, now)))
        dollars = max(cost or 0.0, tokens * _DOLLARS_A_TOKEN, 1e-9)
        return popularity + log2(dollars / size)

    return value


def _running(connection: sqlite3.Connection) -> list[str]:
    """The lineages that living runs draw in."""
    rows = connection.execute("SELECT seed, epoch, process FROM runs WHERE state = 'running'").fetchall()
    return [
        lineage_of(seed, epoch)
        for seed, epoch, process in rows
        if msgspec.json.decode(process, type=Process).alive() is not False
    ]
