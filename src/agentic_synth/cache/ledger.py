"""The ledger: every run, and for every output the epoch of draws it stands in."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, TypeVar

import msgspec

from agentic_synth.cache.process import Process
from agentic_synth.errors import ConfigError

__all__ = ["Journal", "Ledger", "Output", "Run", "RunState", "new_run_id"]

T = TypeVar("T")

RunState: TypeAlias = Literal["running", "complete", "short", "interrupted", "failed"]
"""``short`` ran out of candidates before every asked row was there; ``interrupted`` was stopped, or died."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's: sorts like numbers, no letter looks like a digit


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a recipe.

    *rows* is how many were asked (None: one a seed), *out* the absolute name of its output, *fresh* whether it was
    asked to draw anew, *delivered* whether its rows, all or some, got the output's name, *started* and
    *finished* unix seconds.
    """

    id: str
    recipe: str
    out: str
    started: float
    state: RunState = "running"
    finished: float | None = None
    rows: int | None = None
    accepted: int = 0
    seed: int = 0
    epoch: int = 0
    passes: int = 0
    fresh: bool = False
    delivered: bool = False
    recipe_json: str = "{}"
    settings_json: str = "{}"
    statistics_json: str = "{}"


class Output(NamedTuple):
    """How a run of this output is to draw.

    *passes* counts the runs of this epoch that ended short, each of which gives the refills another pass.
    *delivered_incomplete* says that the last run which delivered this output left it short of rows, *delivered_rows* is
    how many it has.
    """

    epoch: int
    passes: int
    delivered_incomplete: bool
    delivered_rows: int = 0


class Journal(Protocol):
    """Where the ledger is written: a response store's own tables, through its own writer."""

    async def perform(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run *work* in a transaction of its own; return what it returned once durable."""
        ...

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What *work* reads, at once."""
        ...


def new_run_id(now: float | None = None) -> str:
    """A short name that sorts by time: seven characters of seconds, four of chance."""
    number = (int(time.time() if now is None else now) << 20) | secrets.randbits(20)
    digits = [_ALPHABET[number >> shift & 31] for shift in range(50, -1, -5)]
    return "".join(digits)


class Ledger:
    """Runs and outputs, kept beside the answers."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def open_output(self, out: str, *, fresh: bool = False) -> Output:
        """Say how the run about to begin is to draw.

        The epoch of an output is remembered. *fresh* opens a new one, which no other output has either, unless the
        last run of this output was asked to be fresh too and did not finish: then that one goes on, so a killed run
        resumes with the same command line.
        """
        return await self._journal.perform(lambda connection: _open_output(connection, out, fresh))

    async def begin(self, run: Run) -> None:
        """Record that this process begins *run*."""
        values = (*_row(run), _encode(Process.present()))
        marks = ", ".join("?" * len(values))
        statement = f"INSERT INTO runs ({_COLUMNS}, process) VALUES ({marks})"  # noqa: S608
        await self._journal.perform(lambda connection: connection.execute(statement, values) and None)

    async def finish(
        self,
        identity: str,
        state: RunState,
        accepted: int,
        statistics_json: str = "{}",
        *,
        delivered: bool,
        at: float | None = None,
    ) -> None:
        """Record how the run ended."""
        values = (state, accepted, statistics_json, delivered, time.time() if at is None else at, identity)
        statement = (
            "UPDATE runs SET state = ?, accepted = ?, statistics_json = ?, delivered = ?, finished = ? WHERE id = ?"
        )
        await self._journal.perform(lambda connection: connection.execute(statement, values) and None)

    def runs(self, limit: int = 20) -> list[Run]:
        """The last runs, newest first; one whose process died is shown as interrupted."""
        return self._select("ORDER BY number DESC LIMIT ?", limit)

    def run(self, name: str) -> Run | None:
        """The run with this id, or the only one whose id begins so; ``last`` is the newest.

        Raises:
            ConfigError: several ids begin so.
        """
        if name == "last":
            return next(iter(self.runs(1)), None)
        found = self._select("WHERE substr(id, 1, ?) = ? ORDER BY number DESC LIMIT 5", len(name), name)
        if len(found) > 1 and name not in {run.id for run in found}:
            raise ConfigError(
                f"several runs begin with {name!r}: {', '.join(run.id for run in found)}", mend="write more of the id"
            )
        return next((run for run in found if run.id == name), found[0] if found else None)

    def _select(self, where: str, *values: Any) -> list[Run]:
        statement = f"SELECT {_COLUMNS}, process FROM runs {where}"  # noqa: S608
        return [
            _run(row) for row in self._journal.read(lambda connection: connection.execute(statement, values).fetchall())
        ]


_COLUMNS = ", ".join(Run.__struct_fields__)
_row = msgspec.structs.astuple


def _encode(process: Process) -> str:
    return msgspec.json.encode(process).decode()


def _run(row: tuple[Any, ...]) -> Run:
    *values, process = row
    run: Run = msgspec.convert(dict(zip(Run.__struct_fields__, values, strict=True)), Run, strict=False)
    if run.state == "running" and msgspec.json.decode(process, type=Process).alive() is False:
        return msgspec.structs.replace(run, state="interrupted")
    return run


def _open_output(connection: sqlite3.Connection, out: str, fresh: bool) -> Output:
    known = connection.execute("SELECT epoch FROM outputs WHERE out = ?", (out,)).fetchone()
    last = connection.execute(
        "SELECT fresh, state FROM runs WHERE out = ? ORDER BY number DESC LIMIT 1", (out,)
    ).fetchone()
    epoch = known[0] if known else 0
    resumes = last is not None and last[0] and last[1] in {"running", "interrupted", "failed"}
    if fresh and not resumes:
        # Outputs of one recipe share their draws, so an epoch that another output has used would not be new.
        (epoch,) = connection.execute("SELECT coalesce(max(epoch), 0) + 1 FROM outputs").fetchone()
    connection.execute(
        "INSERT INTO outputs (out, epoch) VALUES (?, ?) ON CONFLICT (out) DO UPDATE SET epoch = excluded.epoch",
        (out, epoch),
    )
    (passes,) = connection.execute(
        "SELECT count(*) FROM runs WHERE out = ? AND epoch = ? AND state = 'short'", (out, epoch)
    ).fetchone()
    delivered = connection.execute(
        "SELECT state, accepted FROM runs WHERE out = ? AND delivered ORDER BY number DESC LIMIT 1", (out,)
    ).fetchone()
    if delivered is None:
        return Output(epoch, passes, delivered_incomplete=False)
    return Output(epoch, passes, delivered[0] != "complete", delivered[1])
