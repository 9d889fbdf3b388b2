"""What a semantic lookup needs: the words that may differ, their vector, what was asked before, and a verifier."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from agentic_synth.cache.asking import Asking, Flight
from agentic_synth.cache.ledger import Journal
from agentic_synth.cache.vectors.library import Entry, Library
from agentic_synth.cache.wording import Wording
from agentic_synth.policies.semantic.verifier import Verdict, Verifier

if TYPE_CHECKING:
    from agentic_synth.cache.embedders.embedder import Embedder, Vectors

__all__ = ["Looked", "Match", "Semantics"]

_NEAREST = 16
_LEAST_SIMILAR = 0.4
_LONG = 400
_MOST_JUDGEMENTS = 4_000
_READ_AT_ONCE = 16  # a millisecond


class Match(NamedTuple):
    """A text that was asked before, and what the verifier says of it."""

    entry: Entry
    verdict: Verdict


class Looked(NamedTuple):
    """A lookup: the *vector* of the text, and the judged *matches*, the nearest first.

    *hit* is the one that may serve; *gone* are the keys of those that might, if they still had an answer.
    """

    vector: Any
    matches: list[Match]
    hit: Match | None
    gone: list[bytes]

    @property
    def unproven(self) -> Match | None:
        """The one that would have served, were it proven that such do."""
        return next((match for match in self.matches if match.verdict.unproven), None)


class Judgement(msgspec.Struct, frozen=True):
    """A pair of texts of which it is known whether one answer serves both."""

    partition: bytes
    asked: str
    stored: str
    similarity: float
    right: bool


class Semantics:
    """Finds stored answers to prompts that mean the same, and refuses where it cannot tell.

    What is learned of pairs (a user's feedback, shadow checks) is kept in the store and read again at the next start.
    """

    def __init__(
        self,
        embedder: Embedder,
        library: Library,
        verifier: Verifier,
        journal: Journal,
        *,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.library = library
        self.verifier = verifier
        self.asking = Asking()
        self._embedder = embedder
        self._journal = journal
        self._wall = wall
        self._unwritten: list[tuple[Any, ...]] = []

    async def recall(self) -> None:
        """Read again what was learned before, a little at a time."""
        last = 0
        while rows := self._journal.read(lambda connection, last=last: _judgements(connection, last)):  # type: ignore[misc]
            for _, one in rows:
                self._note(one)
            last = rows[-1][0]
            await asyncio.sleep(0)

    async def look(self, wording: Wording, is_there: Callable[[bytes], bool], *, whole: bool = False) -> Looked:
        """Judge what was asked before, the nearest first, until one may serve; *whole* judges all that is near.

        *is_there* tells whether a key still has a valid answer.
        """
        vector = (await self._embedder.embed([wording.text]))[0]
        return await self.search(wording, vector, is_there, whole=whole)

    async def search(
        self, wording: Wording, vector: Any, is_there: Callable[[bytes], bool], *, whole: bool = False
    ) -> Looked:
        """:meth:`look` where the vector is known."""
        matches: list[Match] = []
        hit, gone = None, []
        for entry in await self.library.nearest(wording.partition, vector, _NEAREST):
            if entry.similarity < _LEAST_SIMILAR and not whole:
                break
            if len(wording.text) > _LONG:
                await asyncio.sleep(0)  # others get their turn: a pair of long texts may take most of a millisecond
            verdict = self.verifier.judge(wording.text, entry.text, entry.similarity, partition=wording.partition)
            if verdict.hit and not is_there(entry.key):
                gone.append(entry.key)
                continue
            matches.append(Match(entry, verdict))
            if verdict.hit and hit is None:
                hit = matches[-1]
                if not whole:
                    break
        return Looked(vector, matches, hit, gone)

    def awaited(self, wording: Wording, vector: Any) -> Flight | None:
        """The flight whose answer will serve *wording*, if there is one."""
        for flight, near in self.asking.nearest(wording, vector, _NEAREST):
            if near < _LEAST_SIMILAR:
                break
            if self.verifier.judge(wording.text, flight.wording.text, near, partition=wording.partition).hit:
                return flight
        return None

    async def add(self, wording: Wording, key: bytes, vector: Vectors) -> None:
        """Let *wording* be found; *key* is where its answer will be."""
        await self.library.add(wording.partition, key, wording.text, vector)

    def learn(self, wording: Wording, stored: str, similarity: float, *, right: bool) -> None:
        """Take note at once whether the answer to the text *stored* serves *wording*; :meth:`flush` keeps it."""
        one = Judgement(wording.partition, wording.text, stored, similarity, right)
        self._note(one)
        self._unwritten.append((*msgspec.structs.astuple(one), self._wall()))

    async def flush(self) -> None:
        """Make durable what was learned."""
        rows, self._unwritten = self._unwritten, []
        if rows:
            await self._journal.perform(lambda connection: _write(connection, rows))

    def _note(self, one: Judgement) -> None:
        self.verifier.learn(one.asked, one.stored, one.similarity, partition=one.partition, right=one.right)

    async def aclose(self) -> None:
        """Make durable what was added, and let go of the model."""
        await self.flush()
        await self.library.aclose()
        await self._embedder.aclose()


def _judgements(connection: sqlite3.Connection, last: int) -> list[tuple[int, Judgement]]:
    rows = connection.execute(
        "SELECT id, partition, asked, stored, similarity, right FROM judgements WHERE id > ? ORDER BY id LIMIT ?",
        (last, _READ_AT_ONCE),
    )
    return [
        (number, Judgement(partition, asked, stored, similarity, bool(right)))
        for number, partition, asked, stored, similarity, right in rows
    ]


def _write(connection: sqlite3.Connection, rows: Sequence[Sequence[Any]]) -> None:
    connection.executemany(
        "INSERT INTO judgements (partition, asked, stored, similarity, right, at) VALUES (?, ?, ?, ?, ?, ?)", rows
    )
    connection.execute("DELETE FROM judgements WHERE id <= (SELECT max(id) FROM judgements) - ?", (_MOST_JUDGEMENTS,))
