"""What a store knows of one answer: what was asked, how the answer came to be there, and whom it served since."""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import Any

import msgspec

from agentic_synth.cache.accesses import popularities
from agentic_synth.cache.records import decode
from agentic_synth.types import Response

__all__ = ["Explained", "explained", "remembered"]

_LARGEST = b"\xff" * 16


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """One stored answer.

    *request* is the specification as it was sent, *lineage* names the run that drew it, *lookups* counts how often this
    very draw was asked for, *copies* how many other draws were given the answer, by kind of hit; *wording* is the text
    by which prompts that mean the same find it, empty where they do not.
    """

    key: str
    status: str
    reason: str
    created: float
    model: str
    served_by: str
    lineage: str
    request: dict[str, Any]
    response: Response
    lookups: int = 0
    copies: dict[str, int] = {}
    wording: str = ""


def explained(connection: sqlite3.Connection, prefix: str) -> list[Explained]:
    """The answers whose key begins with *prefix*, a hexadecimal text; two where there are several.

    Raises:
        ValueError: *prefix* is not hexadecimal.
    """
    even = prefix + "0" * (len(prefix) % 2)
    first, last = bytes.fromhex(even), bytes.fromhex(prefix + "f" * (len(prefix) % 2)) + _LARGEST
    rows = connection.execute(
        "SELECT key, status, reason, created, model, served_by, lineage, request, response FROM answers "
        "WHERE key >= ? AND key <= ? LIMIT 2",
        (first, last),
    ).fetchall()
    return [_explained(connection, row) for row in rows]


def _explained(connection: sqlite3.Connection, row: tuple[Any, ...]) -> Explained:
    key, status, reason, created, model, served_by, lineage, request, response = row
    known = popularities(connection, [key]).get(key)
    copies = connection.execute("SELECT response FROM answers WHERE source = ?", (key,))
    kinds: Counter[str] = Counter(copy.hit.kind for (blob,) in copies if (copy := decode(blob)).hit is not None)
    text = connection.execute("SELECT text FROM texts WHERE key = ?", (key,)).fetchone()
    return Explained(
        key=key.hex(),
        status=status,
        reason=reason,
        created=created,
        model=model,
        served_by=served_by,
        lineage=lineage,
        request=msgspec.json.decode(request),
        response=decode(response),
        lookups=known.lookups if known is not None else 0,
        copies=dict(kinds),
        wording=text[0] if text else "",
    )


def remembered(connection: sqlite3.Connection) -> int:
    """How many prompts can be found by what they mean."""
    (count,) = connection.execute("SELECT count(*) FROM texts").fetchone()
    return int(count)
