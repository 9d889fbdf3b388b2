"""Make one row: admit a slot in order, then fill it from candidates until one is accepted."""

from __future__ import annotations

import asyncio
import random
from typing import Any, TypeAlias

import msgspec

from agentic_synth.errors import InvalidRequest, SynthError
from agentic_synth.recipes.ask import Answered, Answerer, Unusable, ask
from agentic_synth.recipes.asked import Asked
from agentic_synth.recipes.lineage import Lineage
from agentic_synth.recipes.plan import Plan, RowRejected, Values, make
from agentic_synth.recipes.templates import RowError
from agentic_synth.telemetry.run_statistics import RunStatistics
from agentic_synth.types import Draw, Json, Request, Reuse

__all__ = ["Candidate", "Filled", "Rejection", "Rows", "Slot"]


Draws: TypeAlias = dict[str, Draw | None]

_MOST_REFUSED = 100
_FROM_OTHERS: frozenset[Reuse] = frozenset({"pool", "semantic"})


class Candidate:
    """What is known of a row before its models answer."""

    __slots__ = ("draws", "rejected", "requests", "seed", "values")

    def __init__(self, values: Values, seed: int) -> None:
        self.values = values
        self.seed = seed
        self.draws: Draws = {}
        self.requests: dict[str, Request] = {}
        self.rejected: RowRejected | None = None


class Slot:
    """A place for one row, admitted: its draws are settled, nothing is asked yet."""

    __slots__ = ("draws", "first", "identity", "index", "rejected", "seed_row")

    def __init__(self, index: int, seed_row: Values | None, identity: bytes) -> None:
        self.index = index
        self.seed_row = seed_row
        self.identity = identity
        self.first: Candidate | None = None
        self.draws: Draws = {}
        self.rejected: RowRejected | None = None

    def shed(self) -> Slot:
        """Let go what can be made again, for a slot that waits."""
        self.first = None
        return self


class Rejection:
    """A candidate that did not become a row, for the rejects file."""

    __slots__ = ("candidate", "rejected", "values")

    def __init__(self, candidate: int, rejected: RowRejected, values: Values) -> None:
        self.candidate = candidate
        self.rejected = rejected
        self.values = values

    def as_row(self, slot: int) -> dict[str, Json]:
        """The record that ``--rejects`` writes."""
        return {
            "slot": slot,
            "candidate": self.candidate,
            "reason": self.rejected.reason,
            "column": self.rejected.column or None,
            "answer": self.rejected.raw or None,
            "values": self.values,
        }


class Filled:
    """What became of a slot: a row, or None when all its candidates were rejected; *answers* tell of its cells."""

    __slots__ = ("answers", "index", "rejections", "row")

    def __init__(self, index: int) -> None:
        self.index = index
        self.row: Values | None = None
        self.answers: dict[str, Answered] = {}
        self.rejections: list[Rejection] = []


class Rows:
    """Makes the rows of one run; :meth:`admit` in slot order, :meth:`fill` in any order."""

    def __init__(
        self, plan: Plan, lineage: Lineage, engine: Answerer, *, passes: int = 0, keep_rejections: bool = True
    ) -> None:
        """*passes* earlier runs ended short of rows; each allows every slot as many refills again.

        Without *keep_rejections* rejected candidates are counted and forgotten.
        """
        self._plan = plan
        self._lineage = lineage
        self._engine = engine
        self._refills = plan.recipe.refills * (1 + passes)
        self._keep_rejections = keep_rejections
        self._refused = dict.fromkeys(plan.asked, 0)
        self.rng = random.Random()

    def admit(self, index: int, seed_row: Values | None) -> Slot:
        """Settle which draws slot *index* takes; slots must be admitted in order, exactly once each."""
        slot = Slot(index, seed_row, self._lineage.identity(seed_row, index))
        candidate = slot.first = self._candidate(slot, 0)
        for wave_number, wave in enumerate(self._plan.waves):
            for asked in wave.asked:
                if wave_number:
                    candidate.draws[asked.name] = self._dependent(asked, candidate)
                elif candidate.rejected is None:
                    self._ready(asked, candidate)
        slot.draws, slot.rejected = candidate.draws, candidate.rejected
        return slot

    def _candidate(self, slot: Slot, refill: int) -> Candidate:
        seed = self._lineage.sampling_seed(slot.identity, refill)
        candidate = Candidate(dict(slot.seed_row or ()), seed)
        try:
            make(self._plan.first, candidate.values, self.rng, seed, slot.index)
        except RowRejected as rejected:
            candidate.rejected = rejected.bare()
        return candidate

    def _ready(self, asked: Asked, candidate: Candidate) -> None:
        """Render a prompt that needs no other answer, and count its occurrence."""
        try:
            if asked.when is not None and not asked.when.evaluate(candidate.values):
                candidate.draws[asked.name] = None
                return
            request = self._request(asked, candidate.values, self._lineage.shared())
            if not asked.shared:
                request = msgspec.structs.replace(request, draw=self._lineage.first(asked.specification(request)))
        except (RowError, InvalidRequest) as error:
            candidate.rejected = _rejection(asked, error)
            return
        candidate.draws[asked.name] = request.draw
        candidate.requests[asked.name] = request

    def _dependent(self, asked: Asked, candidate: Candidate) -> Draw:
        if asked.shared:
            return self._lineage.shared()
        values, parents = self._plan.inputs[asked.name]
        inputs = [candidate.values.get(name) for name in values]
        return self._lineage.dependent(asked.name, inputs, [candidate.draws.get(name) for name in parents])

    async def fill(self, slot: Slot, statistics: RunStatistics | None) -> Filled:
        """Make candidates until one is accepted, or the refills are spent.

        *statistics* None makes a row again that was made before: nothing is counted.

        Raises:
            SynthError: an upstream failed for good; the slot can be filled again later.
        """
        filled = Filled(slot.index)
        for number in range(self._refills + 1):
            candidate = self._refill(slot, number) if number else slot.first or self._again(slot)
            filled.answers = {}
            values = dict(candidate.values)
            try:
                filled.row = await self._make(slot, candidate, values, filled.answers, statistics)
                if statistics is not None:
                    statistics.record_made()
                return filled
            except RowRejected as rejected:
                if self._keep_rejections:
                    filled.rejections.append(Rejection(number, rejected.bare(), values))
                if statistics is not None:
                    statistics.record_rejected(rejected.reason)
        return filled

    def _again(self, slot: Slot) -> Candidate:
        """The first candidate of a slot that was shed, with the draws it was admitted with."""
        candidate = self._candidate(slot, 0)
        candidate.draws, candidate.rejected = slot.draws, slot.rejected
        return candidate

    def _refill(self, slot: Slot, number: int) -> Candidate:
        candidate = self._candidate(slot, number)
        for name, asked in self._plan.asked.items():
            refilled = self._lineage.refill(name, slot.identity, number)
            candidate.draws[name] = self._lineage.shared() if asked.shared else refilled
        return candidate

    async def _make(
        self,
        slot: Slot,
        candidate: Candidate,
        values: Values,
        answers: dict[str, Answered],
        statistics: RunStatistics | None,
    ) -> Values:
        if candidate.rejected is not None:
            raise candidate.rejected.bare()
        for wave in self._plan.waves:
            if len(wave.asked) == 1:
                outcomes: list[Answered | Exception | None]
                outcomes = [await self._cell(wave.asked[0], candidate, values, statistics)]
            else:
                outcomes = await self._outcomes(wave.asked, candidate, values, statistics)
            for asked, outcome in zip(wave.asked, outcomes, strict=True):
                if isinstance(outcome, Answered):
                    answers[asked.name] = outcome
                if not isinstance(outcome, Exception):
                    values[asked.name] = outcome.value if outcome is not None else None
            if failures := [outcome for outcome in outcomes if isinstance(outcome, Exception)]:
                # An upstream may recover, a bad answer stays bad: so the row fails alike at any speed.
                raise min(failures, key=lambda failure: isinstance(failure, SynthError))
            make(wave.then, values, self.rng, candidate.seed, slot.index)
        # A seed row may lack a column that the others have.
        return {name: values.get(name) for name in self._plan.outputs}

    async def _outcomes(self, wave: tuple[Asked, ...], *rest: Any) -> list[Answered | Exception | None]:
        """Ask several columns at once; a cell that fails lets the others finish, whose answers are paid."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._outcome(asked, *rest)) for asked in wave]
        return [task.result() for task in tasks]

    async def _outcome(self, asked: Asked, *rest: Any) -> Answered | Exception | None:
        try:
            return await self._cell(asked, *rest)
        except Exception as error:  # noqa: BLE001 - a task boundary: whoever waits for all cells raises it
            return error

    async def _cell(
        self, asked: Asked, candidate: Candidate, values: Values, statistics: RunStatistics | None
    ) -> Answered | None:
        """One answer, or None where the column is not wanted in this row."""
        request = candidate.requests.get(asked.name)
        try:
            if request is None:
                if asked.when is not None and not asked.when.evaluate(values):
                    return None
                draw = candidate.draws[asked.name]
                assert draw is not None
                request = self._request(asked, values, draw)
            if statistics is None:
                request = asked.recalled(request)
            answered = await ask(self._engine, asked, request, statistics)
        except Unusable as unusable:
            reason = f"{asked.name}: {unusable.reason}"
            raise RowRejected(reason, column=asked.name, raw=unusable.raw) from None
        except RowError as error:
            raise _rejection(asked, error) from None
        except InvalidRequest as error:
            self._refuse(asked, error)
            raise _rejection(asked, error) from error
        self._refused[asked.name] = -1
        return answered

    def _request(self, asked: Asked, values: Values, draw: Draw) -> Request:
        request = asked.request(values, draw)
        if self._lineage.fresh and request.reuse in _FROM_OTHERS:
            return msgspec.structs.replace(request, reuse="replay")
        return request

    def _refuse(self, asked: Asked, error: InvalidRequest) -> None:
        """Count a request that the upstream calls wrong; raise *error* where it never took any other of this column."""
        refused = self._refused[asked.name]
        if refused >= 0:
            self._refused[asked.name] = refused + 1
            if refused + 1 >= _MOST_REFUSED:
                raise error


def _rejection(asked: Asked, error: RowError | InvalidRequest) -> RowRejected:
    """Why there can be no request for this cell."""
    reason = error.message if isinstance(error, RowError) else f"{asked.name}: {error.message}"
    return RowRejected(reason, column=asked.name)
