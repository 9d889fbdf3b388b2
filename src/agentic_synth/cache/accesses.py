"""The access log: which draws were asked how often and when, in one row each, and how the lookups fared day by day.

A lookup costs one addition in a dictionary; every few seconds, and at the end, what gathered is written in one
transaction by the store's own writer. What a killed process had not written is lost: this log is about popularity, not
about money.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple, Protocol, TypeAlias

import msgspec

from agentic_synth.cache.ledger import Journal
from agentic_synth.cache.warmth import spend
from agentic_synth.policies.popularity import Popularity, expected, seen

__all__ = [
    "AccessLog",
    "Accesses",
    "AccessesInMemory",
    "Asked",
    "Day",
    "Tally",
    "asked_most",
    "days",
    "popular",
    "popularities",
    "prompt_of",
    "trim",
]

Work: TypeAlias = Callable[[sqlite3.Connection], None]

_FLUSH_SECONDS = 10.0
_MOST_KEYS = 100_000
_MOST_DAYS = 400
_DAY = 86_400
_AT_ONCE = 500
_OLDEST = 4
_CANDIDATES = 4  # read for each one wanted, by rank; the hour of the day then decides between them
_COLUMNS = "count, rank, last, hours"


class AccessLog(Protocol):
    """Counts which draws are asked for."""

    def record(self, key: bytes) -> None:
        """Somebody asked for the draw *key*; a matter of microseconds, however many were recorded before."""
        ...

    async def top(self, count: int, now: float) -> list[tuple[bytes, float]]:
        """The draws that are most likely asked for in the present hour, with how much, the likeliest first.

        The score is the number of lookups, each halved for every week since, times how busy this hour of the day was.
        """
        ...


class Tally(NamedTuple):
    """What a store did so far: its lookups, the dollars they *saved*, and *calls* that were paid with *dollars*."""

    hits: int = 0
    misses: int = 0
    saved: float = 0.0
    dollars: float = 0.0
    calls: int = 0

    def since(self, then: Tally) -> Tally:
        """What was done after *then*."""
        return Tally(
            self.hits - then.hits,
            self.misses - then.misses,
            self.saved - then.saved,
            self.dollars - then.dollars,
            self.calls - then.calls,
        )


class Day(NamedTuple):
    """The lookups of one day (UTC, counted from 1970) and the dollars they saved."""

    day: int
    hits: int
    misses: int
    saved: float


class Accesses:
    """The log of a store with a file; belongs to one store and one event loop."""

    def __init__(
        self,
        journal: Journal,
        post: Callable[[Work], object],
        tally: Callable[[], Tally],
        wall: Callable[[], float],
        *,
        batch: int = 2_048,
        most_keys: int = _MOST_KEYS,
    ) -> None:
        """*post* has a work done in the journal without waiting for it; *tally* is told of what was done since."""
        self._journal = journal
        self._post = post
        self._tally = tally
        self._wall = wall
        self._batch = batch
        self._most_keys = most_keys
        self._counts: dict[bytes, int] = {}
        self._due = 0.0
        self._told = Tally()
        self._until_trim = most_keys // 10

    def record(self, key: bytes) -> None:
        """Somebody asked for the draw *key*."""
        counts = self._counts
        if not counts:
            self._due = self._wall() + _FLUSH_SECONDS
        counts[key] = counts.get(key, 0) + 1
        # The clock is read at every lookup, for a batch that waits for company would tell a wrong hour.
        if len(counts) >= self._batch or self._wall() >= self._due:
            self.flush()

    def flush(self) -> None:
        """Have written what gathered."""
        counts, self._counts = self._counts, {}
        before, self._told = self._told, self._tally()
        since = self._told.since(before)
        if not (counts or any(since)):
            return
        now = self._wall()
        self._until_trim -= len(counts)
        trims = self._until_trim <= 0
        if trims:
            self._until_trim = self._most_keys // 10

        def write(connection: sqlite3.Connection) -> None:
            _add(connection, counts, now)
            _tell(connection, Day(int(now // _DAY), since.hits, since.misses, since.saved))
            spend(connection, now, since.dollars, since.calls)
            if trims:
                trim(connection, self._most_keys)

        self._post(write)

    async def top(self, count: int, now: float) -> list[tuple[bytes, float]]:
        """See :class:`AccessLog`."""
        self.flush()
        return await self._journal.perform(lambda connection: popular(connection, count, now))


class AccessesInMemory:
    """The log of a store without a file: held as it is read, for there is no thread to write it and none may wait.

    Where there are more keys than *most_keys*, each new one costs the least popular of those four that were asked for
    longest ago its place.
    """

    def __init__(self, wall: Callable[[], float], *, most_keys: int = 20_000) -> None:
        self._wall = wall
        self._most_keys = most_keys
        self._known: OrderedDict[bytes, Popularity] = OrderedDict()

    def record(self, key: bytes) -> None:
        """See :class:`AccessLog`."""
        known = self._known
        before = known.get(key)
        known[key] = seen(before, 1, self._wall())
        if before is not None:
            known.move_to_end(key)
        elif len(known) > self._most_keys:
            self._forget()

    def _forget(self) -> None:
        known = self._known
        oldest = [known.popitem(last=False) for _ in range(min(_OLDEST, len(known)))]
        oldest.sort(key=lambda entry: entry[1].rank)
        known.update(oldest[1:])

    async def top(self, count: int, now: float) -> list[tuple[bytes, float]]:
        """See :class:`AccessLog`."""
        ranked = heapq.nlargest(_CANDIDATES * count, self._known.items(), key=lambda entry: entry[1].rank)
        return heapq.nlargest(count, [(key, expected(known, now)) for key, known in ranked], key=lambda pair: pair[1])


def popular(connection: sqlite3.Connection, count: int, now: float) -> list[tuple[bytes, float]]:
    """As :meth:`Accesses.top`, of what is written."""
    rows = connection.execute(
        f"SELECT key, {_COLUMNS} FROM accesses ORDER BY rank DESC LIMIT ?",  # noqa: S608
        (_CANDIDATES * count,),
    ).fetchall()
    scored = [(key, expected(Popularity(*values), now)) for key, *values in rows]
    return sorted(scored, key=lambda pair: -pair[1])[:count]


class Asked(NamedTuple):
    """A request that is asked often: its draw, *model*, the *prompt*'s text, and how it was asked."""

    key: bytes
    score: float
    lookups: int
    last: float
    model: str
    prompt: str


def asked_most(connection: sqlite3.Connection, count: int, now: float) -> list[Asked]:
    """The requests behind :func:`popular`, as far as their answers are still stored."""
    scores = dict(popular(connection, min(count, _AT_ONCE), now))
    known = popularities(connection, list(scores))
    marks = ", ".join("?" * len(scores))
    found = connection.execute(f"SELECT key, model, request FROM answers WHERE key IN ({marks})", list(scores))  # noqa: S608
    asked = [
        Asked(key, scores[key], known[key].lookups, known[key].last, model, prompt_of(request))
        for key, model, request in found
    ]
    return sorted(asked, key=lambda one: -one.score)


def prompt_of(canonical: bytes) -> str:
    """The text of the last message of a request, as ``Key.canonical`` has it."""
    messages = msgspec.json.decode(canonical)["messages"]
    texts = [message["content"] for message in messages if isinstance(message.get("content"), str)]
    return texts[-1] if texts else ""


def popularities(connection: sqlite3.Connection, keys: list[bytes]) -> dict[bytes, Popularity]:
    """What is known of these *keys*, at most 500."""
    marks = ", ".join("?" * len(keys))
    select = f"SELECT key, {_COLUMNS} FROM accesses WHERE key IN ({marks})"  # noqa: S608
    return {key: Popularity(*values) for key, *values in connection.execute(select, keys)}


def days(connection: sqlite3.Connection, since: int) -> list[Day]:
    """The lookups of each day from *since* on."""
    return [
        Day(*row) for row in connection.execute("SELECT day, hits, misses, saved FROM lookups WHERE day >= ?", (since,))
    ]


def trim(connection: sqlite3.Connection, most: int) -> None:
    """Forget the least popular keys, so that *most* are left."""
    (held,) = connection.execute("SELECT count(*) FROM accesses").fetchone()
    if held > most:
        connection.execute(
            "DELETE FROM accesses WHERE key IN (SELECT key FROM accesses ORDER BY rank LIMIT ?)", (held - most,)
        )


def _add(connection: sqlite3.Connection, counts: Mapping[bytes, int], now: float) -> None:
    for keys in _slices(counts):
        before = popularities(connection, keys)
        connection.executemany(
            f"INSERT OR REPLACE INTO accesses (key, {_COLUMNS}) VALUES (?, ?, ?, ?, ?)",  # noqa: S608
            [(key, *seen(before.get(key), counts[key], now)) for key in keys],
        )


def _slices(counts: Mapping[bytes, int]) -> Iterator[list[bytes]]:
    # Sorted, so that neighbours in the table are written together.
    keys = iter(sorted(counts))
    while chosen := list(islice(keys, _AT_ONCE)):
        yield chosen


def _tell(connection: sqlite3.Connection, day: Day) -> None:
    connection.execute(
        "INSERT INTO lookups (day, hits, misses, saved) VALUES (?, ?, ?, ?) ON CONFLICT (day) DO UPDATE SET "
        "hits = hits + excluded.hits, misses = misses + excluded.misses, saved = saved + excluded.saved",
        day,
    )
    connection.execute("DELETE FROM lookups WHERE day < ?", (day.day - _MOST_DAYS,))
