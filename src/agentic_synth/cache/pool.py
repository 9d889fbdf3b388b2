"""Answers that other runs have drawn of the same specification, each given to one run at most once."""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from typing import NamedTuple, Protocol

from agentic_synth.cache.key import AUDIT, Key

__all__ = ["MOST_READ_AT_ONCE", "Originals", "Pools", "make_index", "originals_in"]

_MOST_KEPT = 250_000
MOST_READ_AT_ONCE = 1_000
"""Candidates of one specification that may be read on the event loop: about a millisecond."""


class Originals(NamedTuple):
    """What a run may take: *keys* of complete answers that other runs paid for, oldest first.

    *copied* are those that this run has taken already. They stay among the keys, so that a resumed run counts alike.
    """

    keys: list[bytes]
    copied: frozenset[bytes]


class Source(Protocol):
    """Where the originals lie: a response store."""

    async def originals(self, key: Key) -> Originals:
        """The originals of ``key.spec`` that the run of ``key.lineage`` may take."""
        ...


class Pools:
    """The pools of the specifications that are being asked; the one used longest ago is let go when they are many."""

    def __init__(self, source: Source, most_kept: int = _MOST_KEPT) -> None:
        """*most_kept* bounds the candidates of all pools together; one that was let go is read anew."""
        self._source = source
        self._most_kept = most_kept
        self._pools: OrderedDict[tuple[bytes, str], _Pool] = OrderedDict()
        self._kept = 0

    async def take(self, key: Key, ordinal: int) -> bytes | None:
        """The key of an original that this run has not used yet, None where there is none.

        The one with this *ordinal* where it is free, so that it does not matter who asks first; else the next free one.
        Whoever takes a key must give its copy to the store before it waits for anything else.
        """
        name = (key.spec, key.lineage)
        pool = self._pools.get(name)
        if pool is None:
            originals = await self._source.originals(key)
            # Another request may have read the same meanwhile, and taken from it.
            pool = self._pools.get(name) or self._keep(name, _Pool(originals))
        self._pools.move_to_end(name)
        return pool.take(ordinal)

    def _keep(self, name: tuple[bytes, str], pool: _Pool) -> _Pool:
        self._pools[name] = pool
        self._kept += len(pool)
        while self._kept > self._most_kept and len(self._pools) > 1:
            _, oldest = self._pools.popitem(last=False)
            self._kept -= len(oldest)
        return pool


class _Pool:
    """Originals in order, each taken once; finding the next free one takes about constant time (path compression)."""

    __slots__ = ("_keys", "_next")

    def __init__(self, originals: Originals) -> None:
        self._keys = originals.keys
        # Where to look from each place on; a place that points to itself is free, and the one past the end always is.
        self._next = [place + (key in originals.copied) for place, key in enumerate(originals.keys)]
        self._next.append(len(originals.keys))

    def __len__(self) -> int:
        return len(self._next)

    def take(self, ordinal: int) -> bytes | None:
        end = len(self._keys)
        place = self._free(ordinal) if ordinal < end else end
        if place == end and (place := self._free(0)) == end:
            return None
        self._next[place] = place + 1
        return self._keys[place]

    def _free(self, place: int) -> int:
        following = self._next
        while following[place] != place:
            following[place] = following[following[place]]
            place = following[place]
        return place


def make_index(connection: sqlite3.Connection) -> None:
    """Let specifications be found; made by the first run that asks a pool, so that others never pay for it."""
    connection.execute("CREATE INDEX IF NOT EXISTS answers_spec ON answers (spec, source, lineage, status, key)")


def originals_in(connection: sqlite3.Connection, key: Key, limit: int = _MOST_KEPT) -> Originals:
    """What the file has for ``key``: the first *limit* originals."""
    keys = connection.execute(
        "SELECT key FROM answers WHERE spec = ? AND source IS NULL AND status = 'complete' "
        "AND lineage NOT IN (?, ?) ORDER BY id LIMIT ?",
        (key.spec, key.lineage, AUDIT, limit),
    ).fetchall()
    if not keys:
        return Originals([], frozenset())
    copied = connection.execute(
        "SELECT source FROM answers WHERE spec = ? AND source IS NOT NULL AND lineage = ?", (key.spec, key.lineage)
    ).fetchall()
    return Originals([key for (key,) in keys], frozenset([source for (source,) in copied]))
