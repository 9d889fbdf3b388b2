"""The ledger of provider batches: what waits, what was handed over, and how far each batch has come.

::

    park -> (waiting) -seal-> sealed -submitting-> submitting -submitted-> submitted -ended-> ended -imported-> imported
                                 ^                     |
                                 +------- unsent ------+             sealed or ended -closed-> cancelled, failed

Every step is one transaction, durable before it returns, and says the same again when it is repeated, so that a process
may die between any two. A batch is ``submitting`` from before its first byte is sent until its id at the provider is
known: what a process that died then leaves behind is *adopted* and looked for at the provider, never just sent again.
What a batch ends without is parked once more, and waits for the next one or for whoever asks online.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from agentic_synth.cache.ledger import Journal
from agentic_synth.cache.parked import WAITING
from agentic_synth.cache.process import Process
from agentic_synth.errors import StoreError

__all__ = ["Batch", "BatchLedger", "BatchStep"]

BatchStep: TypeAlias = Literal["sealed", "submitting", "submitted", "ended", "imported", "cancelled", "failed"]

_OPEN: tuple[BatchStep, ...] = ("sealed", "submitting", "submitted", "ended")


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch of ours.

    *name* is what it is called at the provider, *identity* the provider's id of it. *requests* and *size_bytes* are
    what was sealed, *answered* what has its answer. The instants are unix seconds; *began* and *mark* were noted before
    it was sent, for finding it again. *reason* says why it failed or was cancelled.
    """

    number: int
    name: str
    upstream: str
    origin: str
    state: BatchStep
    requests: int
    size_bytes: int
    answered: int = 0
    sealed: float = 0.0
    began: float | None = None
    submitted: float | None = None
    ended: float | None = None
    closed: float | None = None
    mark: str = ""
    identity: str = ""
    reason: str = ""


_FIELDS = ", ".join(Batch.__struct_fields__)


class BatchLedger:
    """Every batch of ours, kept beside the answers; *wall* tells the unix time."""

    def __init__(self, journal: Journal, *, wall: Callable[[], float] = time.time) -> None:
        self._journal = journal
        self._wall = wall

    async def seal(
        self,
        upstream: str,
        origin: str,
        *,
        most_requests: int,
        most_bytes: int,
        most_tries: int = 1,
        most_batches: int | None = None,
    ) -> list[Batch]:
        """Close what waits for this upstream into batches no larger than that, in the order it was parked.

        What was in *most_tries* batches in vain is left waiting (see :meth:`Parking.stragglers`), and so is what does
        not go into *most_batches*.
        """
        limits = (most_requests, most_bytes, most_batches)
        return await self._journal.perform(
            lambda connection: _seal(connection, (upstream, origin, most_tries), limits, self._wall())
        )

    async def submitting(self, number: int, mark: str = "") -> Batch | None:
        """Say that this process is about to send the sealed batch; None where another one was faster.

        *mark* is what the provider's list began with just before.
        """
        change = "state = 'submitting', began = ?, mark = ?, process = ?"
        values = (self._wall(), mark, _encode(Process.present()))
        return await self._step(number, ("sealed",), change, values)

    async def adopt(self, number: int) -> Batch | None:
        """Take over a batch that was left ``submitting``; None while the process that sends it may be alive.

        It may be at the provider: look for it there before anything is sent.
        """

        def work(connection: sqlite3.Connection) -> Batch | None:
            found = connection.execute(
                "SELECT process FROM batches WHERE number = ? AND state = 'submitting'", (number,)
            ).fetchone()
            present = Process.present()
            if found is None:
                return None
            process = msgspec.json.decode(found[0], type=Process)
            if process != present and process.alive() is not False:
                return None
            connection.execute("UPDATE batches SET process = ? WHERE number = ?", (_encode(present), number))
            return _find(connection, number)

        return await self._journal.perform(work)

    async def unsent(self, number: int) -> Batch:
        """Say that it is certain: the submission did not become a batch at the provider."""
        return await self._must(number, ("submitting",), "sealed", ", began = NULL, mark = '', process = ''")

    async def submitted(self, number: int, identity: str) -> Batch:
        """Record the provider's id of the batch."""
        values = (self._wall(), identity)
        batch = await self._must(number, ("submitting",), "submitted", ", submitted = ?, identity = ?", values)
        if batch.identity != identity:
            raise StoreError(f"batch {number} is at its provider twice, as {batch.identity} and as {identity}")
        return batch

    async def ended(self, number: int) -> Batch:
        """Say that nothing more will happen to it at the provider; its results can be had."""
        return await self._must(number, ("submitted",), "ended", ", ended = ?", (self._wall(),))

    async def imported(self, number: int) -> int:
        """Say that every result is settled; returns how many requests came back without one, and wait again."""
        return await self._close(number, ("ended",), "imported", "")

    async def closed(self, number: int, state: Literal["cancelled", "failed"], reason: str = "") -> int:
        """Give the batch up, or record that the provider refused it as a whole; returns how many wait again.

        One that was sent has to be found and brought to its end first, and what is finished of it settled.
        """
        return await self._close(number, ("sealed", "ended"), state, reason)

    def pending(self) -> list[Batch]:
        """The batches that are not closed, in the order they were sealed."""
        marks = ", ".join("?" * len(_OPEN))
        return self._select(f"WHERE state IN ({marks}) ORDER BY number", _OPEN)

    def batches(self, limit: int = 20) -> list[Batch]:
        """The last batches, newest first."""
        return self._select("ORDER BY number DESC LIMIT ?", (limit,))

    def batch(self, name: str) -> Batch | None:
        """The batch of this number, name or provider's id."""
        number = int(name) if name.isdecimal() else None
        found = self._select("WHERE number = ? OR name = ? OR (identity = ? AND identity <> '')", (number, name, name))
        return found[0] if found else None

    def known(self) -> frozenset[str]:
        """The provider's ids of every batch that has one."""
        rows = self._journal.read(
            lambda connection: connection.execute("SELECT identity FROM batches WHERE identity <> ''").fetchall()
        )
        return frozenset(identity for (identity,) in rows)

    def _select(self, where: str, values: Iterable[Any]) -> list[Batch]:
        statement = f"SELECT {_FIELDS} FROM batches {where}"  # noqa: S608
        given = tuple(values)
        return [
            _batch(row)
            for row in self._journal.read(lambda connection: connection.execute(statement, given).fetchall())
        ]

    async def _step(
        self, number: int, before: Sequence[BatchStep], change: str, values: tuple[Any, ...]
    ) -> Batch | None:
        return await self._journal.perform(lambda connection: _update(connection, number, before, change, values))

    async def _must(
        self, number: int, before: Sequence[BatchStep], state: BatchStep, change: str, values: tuple[Any, ...] = ()
    ) -> Batch:
        def work(connection: sqlite3.Connection) -> Batch:
            changed = _update(connection, number, before, f"state = '{state}'{change}", values)
            return changed or _already(connection, number, state)

        return await self._journal.perform(work)

    async def _close(self, number: int, before: Sequence[BatchStep], state: BatchStep, reason: str) -> int:
        now = self._wall()

        def work(connection: sqlite3.Connection) -> int:
            if _update(connection, number, before, f"state = '{state}', closed = ?, reason = ?", (now, reason)) is None:
                _already(connection, number, state)
            tries = int(state != "cancelled")
            released = connection.execute(
                "UPDATE parked SET batch = NULL, tries = tries + ? WHERE batch = ?", (tries, number)
            )
            return released.rowcount

        return await self._journal.perform(work)


def _encode(process: Process) -> str:
    return msgspec.json.encode(process).decode()


def _batch(row: tuple[Any, ...]) -> Batch:
    return msgspec.convert(dict(zip(Batch.__struct_fields__, row, strict=True)), Batch)


def _find(connection: sqlite3.Connection, number: int) -> Batch | None:
    row = connection.execute(f"SELECT {_FIELDS} FROM batches WHERE number = ?", (number,)).fetchone()  # noqa: S608
    return None if row is None else _batch(row)


def _update(
    connection: sqlite3.Connection, number: int, before: Sequence[BatchStep], change: str, values: tuple[Any, ...]
) -> Batch | None:
    """Change the batch if it stands at one of *before*; as it is then, or None."""
    marks = ", ".join("?" * len(before))
    statement = f"UPDATE batches SET {change} WHERE number = ? AND state IN ({marks})"  # noqa: S608
    changed = connection.execute(statement, (*values, number, *before)).rowcount
    return _find(connection, number) if changed else None


def _already(connection: sqlite3.Connection, number: int, state: BatchStep) -> Batch:
    """The batch if it stands where it is to be already."""
    found = _find(connection, number)
    if found is None or found.state != state:
        said = "unknown" if found is None else found.state
        raise StoreError(f"batch {number} is {said} and cannot become {state}", mend="see `synth batches list`")
    return found


def _seal(
    connection: sqlite3.Connection, waiting: tuple[str, str, int], limits: tuple[int, int, int | None], now: float
) -> list[Batch]:
    most_requests, most_bytes, most_batches = limits
    sizes = connection.execute(f"SELECT id, size_bytes FROM parked WHERE {WAITING} ORDER BY id", waiting).fetchall()  # noqa: S608
    groups: list[tuple[int, int, int]] = []  # last id, requests, bytes
    for identity, size in sizes:
        _, count, total = groups[-1] if groups else (0, most_requests, 0)
        if count < most_requests and total + size <= most_bytes:
            groups[-1] = (identity, count + 1, total + size)
        elif len(groups) == most_batches:
            break
        else:
            groups.append((identity, 1, size))
    sealed = []
    for last, count, total in groups:
        row = connection.execute(
            "INSERT INTO batches (name, upstream, origin, state, requests, size_bytes, answered, sealed, mark, "
            "identity, reason, process) VALUES (?, ?, ?, 'sealed', ?, ?, 0, ?, '', '', '', '')",
            (f"synth-{secrets.token_hex(12)}", *waiting[:2], count, total, now),
        )
        connection.execute(f"UPDATE parked SET batch = ? WHERE {WAITING} AND id <= ?", (row.lastrowid, *waiting, last))  # noqa: S608
        sealed.append(row.lastrowid)
    return [found for number in sealed if number is not None and (found := _find(connection, number)) is not None]
