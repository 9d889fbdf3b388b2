"""A model under the test's hand: what it says is a function of the request, when it says it is up to the test."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from hashlib import blake2b
from typing import Any, TypeAlias

import msgspec

from agentic_synth.cache.key import key_of
from agentic_synth.recipes.lineage import Lineage
from agentic_synth.recipes.load import load_recipe
from agentic_synth.recipes.plan import Plan
from agentic_synth.recipes.rows import Filled, Rows
from agentic_synth.recipes.run import Flow, RowRun
from agentic_synth.telemetry.run_statistics import RunStatistics
from agentic_synth.types import Finish, Request, Response

Said: TypeAlias = str | Response | Exception
Law: TypeAlias = Callable[[Request], Said]


def lot(request: Request, kind: str = "") -> float:
    """A number in [0, 1) that is the same for the same draw of the same request, and as good as chance otherwise."""
    digest = blake2b(key_of(request, kind).draw, digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64


def echo(request: Request) -> str:
    """A text that tells draw and question apart from all others."""
    return f"{lot(request):.12f} {request.messages[-1].content}"


class Model:
    """An answerer that remembers like the response store: answers come from *law* once and are repeated after that.

    With *rng* answers wait until :meth:`release` lets them go, in the order that *rng* likes.
    """

    def __init__(self, law: Law = echo, *, rng: random.Random | None = None) -> None:
        self.law = law
        self.rng = rng
        self.stored: dict[bytes, Response] = {}
        self.rejected: dict[bytes, str] = {}
        self.asked: list[Request] = []
        self.served = 0
        self.waiting: list[asyncio.Future[None]] = []
        self.in_flight = 0
        self.peak = 0

    async def submit(self, request: Request) -> Response:
        key = key_of(request, "").draw
        if request.reuse == "replay" and key in self.stored:
            self.served += 1
            return msgspec.structs.replace(self.stored[key], stored=True)
        self.asked.append(request)
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            if self.rng is not None:
                self.waiting.append(asyncio.get_running_loop().create_future())
                await self.waiting[-1]
        finally:
            self.in_flight -= 1
        said = self.law(request)
        if isinstance(said, Exception):
            raise said
        answer = said if isinstance(said, Response) else Response(text=said, model="m", upstream="m")
        if request.reuse != "no_store":
            self.stored[key] = answer
        return answer

    def reject(self, request: Request, reason: str) -> None:
        self.rejected[key_of(request, "").draw] = reason

    def release(self) -> bool:
        """Let one waiting answer go; false if none waits."""
        self.waiting = [future for future in self.waiting if not future.done()]
        if not self.waiting:
            return False
        rng = self.rng or random.Random(0)
        self.waiting.pop(rng.randrange(len(self.waiting))).set_result(None)
        return True

    async def keep_releasing(self) -> None:
        """Let answers go one by one, each after everybody else has had a turn."""
        while True:
            await asyncio.sleep(0)
            self.release()

    def calls_since(self, before: int) -> int:
        return len(self.asked) - before


@asynccontextmanager
async def released(model: Model) -> AsyncIterator[None]:
    """While the block lasts, answers of *model* come, one a turn."""
    task = asyncio.create_task(model.keep_releasing())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def refused(text: str = "no", finish: Finish = "refusal") -> Response:
    return Response(text=text, finish=finish, model="m", upstream="m")


def planned(recipe: dict[str, Any], seed_columns: Iterable[str] = ()) -> Plan:
    return Plan(load_recipe(recipe), seed_columns=list(seed_columns), model_of=lambda model, url: model or "m")


def rows_of(recipe: dict[str, Any], model: Model, *, seeds: list[dict[str, Any]] | None = None, **options: Any) -> Rows:
    """Rows of a recipe; *options* are the lineage's ``seed`` and ``epoch``, and those of Rows."""
    lineage = Lineage(seed=options.pop("seed", 0), epoch=options.pop("epoch", 0))
    columns = dict.fromkeys(name for row in seeds or () for name in row)
    return Rows(planned(recipe, columns), lineage, model, **options)


def run_of(
    recipe: dict[str, Any], model: Model, flow: Flow, *, seeds: Iterable[dict[str, Any]] | None = None, **options: Any
) -> tuple[RowRun, RunStatistics]:
    """A run that is not begun, and its figures."""
    held = list(seeds) if seeds is not None else None
    statistics = RunStatistics(flow.wanted)
    given: Iterator[dict[str, Any]] | None = iter(held) if held is not None else None
    return RowRun(rows_of(recipe, model, seeds=held, **options), given, statistics, flow), statistics


async def taken(run: RowRun, out: list[Filled] | None = None) -> list[Filled]:
    """All that comes out of *run* to its end, put into *out* as it comes."""
    out = [] if out is None else out
    async for batch in run.batches():
        out += batch
    return out


async def made(recipe: dict[str, Any], model: Model, flow: Flow, **options: Any) -> list[dict[str, Any]]:
    """The accepted rows of a run, in the order they come out."""
    run, _ = run_of(recipe, model, flow, **options)
    async with released(model):
        return [filled.row for filled in await taken(run) if filled.row is not None]


async def filled_all(rows: Rows, seeds: Iterable[dict[str, Any]] | int) -> list[Filled]:
    """Each slot admitted and then filled, one after the other; *seeds* may be a number of rows without seeds."""
    given: Iterable[dict[str, Any] | None] = [None] * seeds if isinstance(seeds, int) else seeds
    slots = [rows.admit(index, row) for index, row in enumerate(given)]
    return [await rows.fill(slot, RunStatistics()) for slot in slots]
