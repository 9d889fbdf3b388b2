"""What the store knows for warming: popular requests without a fresh answer, what was spent, and what was done.

A pruned answer may leave its request behind, so that it can be asked again. All of it is bounded: the log of accesses
by its own limit, what is remembered by number and size, the rest by age.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from agentic_synth.policies.popularity import Popularity
from agentic_synth.policies.warming import Spent, allowance

__all__ = [
    "Reason",
    "Wanted",
    "forget",
    "log_age",
    "release",
    "remember",
    "reserve",
    "settle",
    "spend",
    "spent",
    "wanted",
]

Reason: TypeAlias = Literal["expired", "pruned"]

_HOUR = 3_600
_DAY = 86_400
_WINDOW_HOURS = 24
_KEPT_HOURS = 48
_DONE_KEPT_S = 30.0 * _DAY
_REMEMBERED = 1_000
_LARGEST_REMEMBERED = 64 << 10


class Wanted(NamedTuple):
    """A popular request without a fresh answer.

    *canonical* and *lineage* say what to ask, *dollars* what its answer did cost (None where no price was known), and
    *reason* where that answer is: stored, but too old, or deleted.
    """

    popularity: Popularity
    key: bytes
    dollars: float | None
    reason: Reason
    lineage: str
    canonical: bytes

    @property
    def model(self) -> str:
        """The upstream that the request names."""
        return str(msgspec.json.decode(self.canonical)["model"])


def wanted(
    connection: sqlite3.Connection, count: int, now: float, *, ttl: float | None = None, model: str | None = None
) -> list[Wanted]:
    """Of the *count* most popular requests (of *model*) those whose answers expired or were pruned, in that order.

    What was asked ahead since anybody last asked for it is left out, and so is what was answered badly before: it would
    be answered badly again.
    """
    rows = connection.execute(
        """WITH popular AS (SELECT * FROM accesses ORDER BY rank DESC LIMIT ?)
        SELECT popular.count, popular.rank, popular.last, popular.hours, popular.key,
            coalesce(answers.cost, remembered.cost), CASE WHEN answers.key IS NULL THEN 'pruned' ELSE 'expired' END,
            coalesce(answers.lineage, remembered.lineage), coalesce(answers.request, remembered.request) AS asked
        FROM popular LEFT JOIN answers ON answers.key = popular.key LEFT JOIN remembered ON remembered.key = popular.key
            LEFT JOIN warmed ON warmed.key = popular.key
        WHERE (warmed.at IS NULL OR warmed.at < popular.last)
            AND CASE WHEN answers.key IS NULL THEN remembered.key IS NOT NULL
                ELSE answers.status = 'complete' AND answers.created < ? END
            AND (? IS NULL OR json_extract(CAST(asked AS TEXT), '$.model') = ?)
        ORDER BY popular.rank DESC""",
        (count, -1.0 if ttl is None else now - ttl, model, model),
    )
    return [Wanted(Popularity(*row[:4]), *row[4:]) for row in rows]


def log_age(connection: sqlite3.Connection, now: float) -> float:
    """For how many seconds there has been a log of accesses."""
    (first,) = connection.execute("SELECT min(day) FROM lookups").fetchone()
    return 0.0 if first is None else max(0.0, now - first * _DAY)


def remember(connection: sqlite3.Connection, numbers: Sequence[int]) -> None:
    """The answers with these *numbers* are about to be pruned: keep the requests that are asked again and again."""
    connection.execute(
        "CREATE TEMP TABLE IF NOT EXISTS popular AS SELECT key FROM main.accesses WHERE count > 1 "
        "ORDER BY rank DESC LIMIT ?",
        (_REMEMBERED,),
    )
    connection.execute("CREATE INDEX IF NOT EXISTS temp.popular_key ON popular (key)")
    connection.executemany(
        "INSERT OR REPLACE INTO remembered (key, lineage, cost, request) "
        "SELECT key, lineage, cost, request FROM answers WHERE id = ? AND status = 'complete' AND length(request) <= ? "
        "AND key IN temp.popular",
        [(number, _LARGEST_REMEMBERED) for number in numbers],
    )
    connection.execute(
        "DELETE FROM remembered WHERE (SELECT count(*) FROM remembered) > ? AND key NOT IN temp.popular", (_REMEMBERED,)
    )


def forget(connection: sqlite3.Connection) -> None:
    """Remember no request: answers were deleted because somebody wanted them gone."""
    connection.execute("DELETE FROM remembered")


def spend(connection: sqlite3.Connection, now: float, dollars: float, calls: int) -> None:
    """Note that *calls* were paid with *dollars*."""
    if calls:
        _add(connection, now, dollars=dollars, calls=calls)
        connection.execute("DELETE FROM spending WHERE hour < ?", (_hour(now) - _KEPT_HOURS,))


def spent(connection: sqlite3.Connection, now: float) -> Spent:
    """What was paid in the last 24 hours, the present one included."""
    sums = ", ".join(f"coalesce(sum({name}), 0)" for name in Spent._fields)
    since = _hour(now) - _WINDOW_HOURS
    return Spent(*connection.execute(f"SELECT {sums} FROM spending WHERE hour > ?", (since,)).fetchone())  # noqa: S608


def reserve(connection: sqlite3.Connection, one: Wanted, now: float, share: float | None) -> bool:
    """Claim the asking of *one*, and what it will about cost, before it is asked.

    False where another process has claimed it since it was chosen, or *share* (None: no bound) is used up.
    """
    done = connection.execute("SELECT at FROM warmed WHERE key = ?", (one.key,)).fetchone()
    if done is not None and done[0] >= one.popularity.last:
        return False
    dollars = one.dollars or 0.0
    if share is not None and not allowance(spent(connection, now), share).covers(dollars):
        return False
    connection.execute("INSERT OR REPLACE INTO warmed (key, at) VALUES (?, ?)", (one.key, now))
    connection.execute("DELETE FROM warmed WHERE at < ?", (now - _DONE_KEPT_S,))
    _add(connection, now, ahead_dollars=dollars, ahead_calls=1)
    return True


def settle(connection: sqlite3.Connection, one: Wanted, reserved_at: float, dollars: float | None) -> None:
    """*one* was answered and did cost *dollars*; None where somebody else has paid for that answer meanwhile."""
    if dollars is None:
        _add(connection, reserved_at, ahead_dollars=-(one.dollars or 0.0), ahead_calls=-1)
    else:
        # The store tells of it as of any call.
        _add(connection, reserved_at, dollars=-dollars, calls=-1, ahead_dollars=dollars - (one.dollars or 0.0))
    connection.execute("DELETE FROM remembered WHERE key = ?", (one.key,))


def release(connection: sqlite3.Connection, one: Wanted, reserved_at: float, *, sent: bool) -> None:
    """*one* was given up and may be claimed again; if it was *sent*, it is taken to have cost what it did before.

    Does nothing where the claim was not made.
    """
    claimed = connection.execute("DELETE FROM warmed WHERE key = ? AND at = ?", (one.key, reserved_at)).rowcount
    if claimed and not sent:
        _add(connection, reserved_at, ahead_dollars=-(one.dollars or 0.0), ahead_calls=-1)


def _add(connection: sqlite3.Connection, at: float, **amounts: float) -> None:
    names, marks = ", ".join(amounts), ", ".join("?" * len(amounts))
    changes = ", ".join(f"{name} = {name} + excluded.{name}" for name in amounts)
    connection.execute(
        f"INSERT INTO spending (hour, {names}) VALUES (?, {marks}) ON CONFLICT (hour) DO UPDATE SET {changes}",  # noqa: S608
        (_hour(at), *amounts.values()),
    )


def _hour(at: float) -> int:
    return int(at // _HOUR)
