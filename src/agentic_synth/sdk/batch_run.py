"""A run through providers' batches: passes over the recipe, each of which finds in the store what is answered already.

A pass asks what every row needs next. What the store cannot answer is parked on the disk, and the row is let go. When
the pass is over, what waits is handed to the providers; when they have answered, the next pass gets further: to prompts
that hold those answers, to corrections, to refills. Draws are settled at ordered admission, so every pass asks the very
same. When nothing is parked any more, an ordinary run makes the rows from the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Protocol

import msgspec

from agentic_synth.engine.engine import Engine
from agentic_synth.errors import ConfigError, Parked, Stopped, SynthError
from agentic_synth.recipes.ask import Answerer
from agentic_synth.recipes.plan import Plan
from agentic_synth.recipes.rows import Filled
from agentic_synth.recipes.run import Flow, RowRun
from agentic_synth.sdk.batch_desk import BatchDesk
from agentic_synth.sdk.batch_follower import Errand
from agentic_synth.sdk.session import Session
from agentic_synth.telemetry.early_statistics import EarlyStatistics
from agentic_synth.telemetry.run_statistics import RunStatistics
from agentic_synth.types import Request, Response

__all__ = ["BatchRun", "Start", "check_plan", "open_batch_run"]

_HEAD = 32
_FEW = 50
_FEW_OF = 100
_VAIN_ROUNDS = 10
_NEVER_FOUND = frozenset({"refresh", "never", "no_store"})
_WITH_BATCHES = frozenset({"openai", "anthropic"})


def check_plan(plan: Plan, session: Session) -> None:
    """Tell now, before anything is parked, what cannot go by batch.

    Raises:
        ConfigError: a column cannot.
    """
    online = "use --mode online"
    if not session.remembers:
        raise ConfigError("batches need a store, and :none: keeps nothing", mend=f"leave out --store, or {online}")
    for asked in plan.asked.values():
        if asked.reuse in _NEVER_FOUND:
            raise ConfigError(
                f"column {asked.name} says reuse: {asked.reuse}, so the answer of a batch would never be taken",
                mend=f"say reuse: exact (and --fresh to draw anew), or {online}",
            )
    asked_of = {one.upstream["reference"]: one.upstream["wire"] for one in session.connected(_models(plan))}
    for reference, wire in asked_of.items():
        if wire not in _WITH_BATCHES and (wire != "offline" or len(asked_of) == 1):
            raise ConfigError(f"{reference} has no batch API", mend=online)


def _models(plan: Plan) -> set[str]:
    return {asked.model for asked in plan.asked.values()}


def open_batch_run(session: Session, plan: Plan, start: Start, flow: Flow, errand: Errand, *, mixed: bool) -> BatchRun:
    """The run of a plan that :func:`check_plan` has passed."""
    # What costs nothing to ask needs no batch.
    desks = [session.desk(name) for name in sorted(_models(plan)) if name != "offline"]
    return BatchRun(session.engine, desks, start, flow, errand, mixed=mixed)


class Start(Protocol):
    """Begins one pass over the rows, with *answerer* to ask."""

    def __call__(
        self, answerer: Answerer, statistics: RunStatistics, flow: Flow, *, keep_rejections: bool = True
    ) -> RowRun: ...


class BatchRun:
    """The rows of a recipe, whose answers come by batch; with *mixed* the first rows and the last few online."""

    def __init__(
        self, engine: Engine, desks: Sequence[BatchDesk], start: Start, flow: Flow, errand: Errand, *, mixed: bool
    ) -> None:
        self._engine = engine
        self._desks = desks
        self._start = start
        self._flow = flow
        self._errand = errand
        self._mixed = mixed
        self._surveyor: _Parker | None = None

    async def batches(self) -> AsyncGenerator[list[Filled], None]:
        """Filled slots, as :meth:`RowRun.batches` gives them; those that came online early are the first.

        Raises:
            SynthError: the run could not go on; everything that is answered has come out.
        """
        for desk in self._desks:
            await desk.check(self._errand)
        for desk in self._desks:
            await desk.begin()
        shown, failure = 0, None
        try:
            if self._mixed:
                async with aclosing(self._head()) as head:
                    async for batch in head:
                        shown += len(batch)
                        yield batch
            await self._rounds()
        except SynthError as error:
            failure = error
        online = self._mixed and failure is None
        answerer = self._engine if online else _Parker(self._engine, ahead=False)
        rows = self._start(answerer, self._errand.statistics, self._flow)
        if isinstance(failure, Stopped):
            rows.stop()
        async with aclosing(rows.batches()) as batches:
            async for batch in batches:
                if rest := [filled for filled in batch if filled.index >= shown]:
                    yield rest
        for desk in self._desks:
            await desk.forget()
        if failure is not None and not isinstance(failure, Stopped):
            raise failure

    def told(self) -> str:
        """What waits where, in words."""
        waits = ", ".join(filter(None, [desk.told() for desk in self._desks]))
        parked = self._surveyor.parked if self._surveyor is not None else 0
        return waits or (f"{parked:,} parked" if parked else "")

    async def _head(self) -> AsyncGenerator[list[Filled], None]:
        """The first rows, asked online; up to the first that fails."""
        wanted = _HEAD if self._flow.wanted is None else min(_HEAD, self._flow.wanted)
        flow = msgspec.structs.replace(self._flow, wanted=wanted, spare=0, ordered=True)
        rows = self._start(self._engine, EarlyStatistics(self._errand.statistics), flow)
        async with aclosing(rows.batches()) as batches:
            async for batch in batches:
                # A gap may be filled in a later pass, and nothing comes out before it then.
                if not rows.failed and not rows.cut_short:
                    yield batch
        self._engine.stops.check(self._errand.run)

    async def _rounds(self) -> None:
        """Go on until batches have nothing more to answer."""
        vain = 0
        while vain < _VAIN_ROUNDS:
            if not self._mixed:
                for desk in self._desks:
                    await desk.give_up()
            parker = await self._survey()
            known = self._known(parker)
            waiting = sum(desk.waiting() for desk in self._desks)
            if not parker.parked or (self._mixed and not known and waiting <= self._few()):
                return
            found = known
            if not known or not any(desk.is_bounded for desk in self._desks):
                # Else what is under way is paid for first; then it shows what is left for more.
                found = [(desk, number) for desk in self._desks for number in await desk.seal()] + known
            await self._follow(found)
            if not found:
                # Another run has let go what this one parked, or has just sealed it.
                vain += 1
                with self._engine.stops.waiting(self._errand.run):
                    await self._errand.clock.sleep(self._errand.poll / _VAIN_ROUNDS)

    def _few(self) -> int:
        return max(_FEW, (self._flow.wanted or 0) // _FEW_OF)

    async def _survey(self) -> _Parker:
        """Park what the rows need next."""
        self._surveyor = parker = _Parker(self._engine, ahead=True)
        flow = msgspec.structs.replace(self._flow, ordered=False)
        rows = self._start(parker, EarlyStatistics(self._errand.statistics), flow, keep_rejections=False)
        async with aclosing(rows.batches()) as batches:
            async for _ in batches:
                pass
        self._engine.stops.check(self._errand.run)
        return parker

    def _known(self, parker: _Parker) -> list[tuple[BatchDesk, int]]:
        """The batches that hold some of what was asked, sent by this run or another."""
        desks = {desk.lot.upstream: desk for desk in self._desks}
        return [(desks[upstream], number) for upstream, number in sorted(parker.batches)]

    async def _follow(self, found: Sequence[tuple[BatchDesk, int]]) -> None:
        """Bring each batch to its end; one that fails leaves the others alone."""
        following = [asyncio.create_task(desk.follow(number, self._errand)) for desk, number in found]
        try:
            ended = await asyncio.gather(*following, return_exceptions=True)
        finally:
            for task in following:
                task.cancel()
            await asyncio.gather(*following, return_exceptions=True)
        failures = [failure for failure in ended if isinstance(failure, BaseException)]
        if failures:
            # That the run was stopped says less than what went wrong before.
            raise min(failures, key=lambda failure: isinstance(failure, Stopped))


class _Parker:
    """The engine, with leave to park whatever it is asked; *ahead* of the pass that shows what is really used."""

    def __init__(self, engine: Engine, *, ahead: bool) -> None:
        self._engine = engine
        self._ahead = ahead
        self.parked = 0
        self.batches: set[tuple[str, int]] = set()
        """Batches that hold what was asked, with their upstreams."""

    async def submit(self, request: Request) -> Response:
        try:
            return await self._engine.submit(msgspec.structs.replace(request, parked=True, ahead=self._ahead))
        except Parked as parked:
            self.parked += 1
            if parked.batch is not None:
                self.batches.add((request.model, parked.batch))
            raise

    def reject(self, request: Request, reason: str) -> None:
        self._engine.reject(request, reason)
