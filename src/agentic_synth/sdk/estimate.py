"""What a run would ask and cost, found out by making a few of its rows without asking anybody."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice, repeat

import msgspec

from agentic_synth.engine.engine import Engine
from agentic_synth.offline.upstream import OfflineUpstream
from agentic_synth.policies.pricing import Price
from agentic_synth.policies.tokens import output_bound, prompt_tokens
from agentic_synth.recipes.answers import Invalid
from agentic_synth.recipes.asked import Asked
from agentic_synth.recipes.lineage import Lineage
from agentic_synth.recipes.plan import RowRejected, make
from agentic_synth.recipes.rows import Rows, Slot
from agentic_synth.recipes.templates import RowError
from agentic_synth.sdk.recipe_run import RecipeRun
from agentic_synth.types import Call, Message, Request, Response, Usage

__all__ = ["ColumnEstimate", "Estimate", "RenderedPrompt", "estimate_run"]

_SAMPLE = 200


class RenderedPrompt(msgspec.Struct, frozen=True, kw_only=True):
    """What would be asked for one cell; *invented* says that it holds stand-ins for answers nobody gave yet."""

    row: int
    column: str
    model: str
    messages: tuple[Message, ...]
    invented: bool


class ColumnEstimate(msgspec.Struct, kw_only=True):
    """One model column over the whole run: calls to be made, those stored already, tokens, and dollars if priced."""

    column: str
    model: str
    calls: float = 0.0
    stored: float = 0.0
    input_tokens: float = 0.0
    output_tokens: float = 0.0
    dollars: float | None = None


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A run before it is made, without repairs, regenerations and refills, which nobody can foresee.

    Input tokens are counted on the prompts of *sampled* rows, with the schemas that a model reads too; how long answers
    will be is a guess from their schema, or ``max_tokens``, and so are prompts that hold other answers. *dollars* None
    means that some model has no known price.
    """

    rows: int | None
    sampled: int
    columns: list[ColumnEstimate]
    prompts: list[RenderedPrompt]
    dollars: float | None

    @property
    def calls(self) -> float:
        """Calls that would be sent."""
        return sum(column.calls for column in self.columns)


class _Rehearsal:
    """Makes rows from stored answers, and from stand-ins where there are none."""

    def __init__(self, run: RecipeRun, engine: Engine, shown: int) -> None:
        self._run = run
        self._engine = engine
        self._offline = OfflineUpstream()
        self._shown = shown
        self._rows = Rows(run.plan, Lineage(seed=run.recipe.seed, epoch=0), engine)
        self.prompts: list[RenderedPrompt] = []
        self.columns = {
            asked.name: ColumnEstimate(column=asked.name, model=asked.model) for asked in run.plan.asked.values()
        }

    async def make_rows(self) -> int:
        """Rehearse some rows; return how many."""
        seed_rows, wanted, made = self._run.seed_rows(), self._run.wanted, 0
        most = _SAMPLE if wanted is None else min(_SAMPLE, wanted)
        for seed_row in islice(repeat(None) if seed_rows is None else seed_rows, most):
            await self._make_row(self._rows.admit(made, seed_row))
            made += 1
        return made

    async def _make_row(self, slot: Slot) -> None:
        candidate = slot.first
        assert candidate is not None
        if candidate.rejected is not None:
            return
        values = dict(candidate.values)
        invented = invents = False
        try:
            for wave in self._run.plan.waves:
                for asked in wave.asked:
                    draw = candidate.draws[asked.name]
                    if draw is None or (asked.when is not None and not asked.when.evaluate(values)):
                        values[asked.name] = None
                        continue
                    request = candidate.requests.get(asked.name) or asked.request(values, draw)
                    self._show(slot, asked, request, invented=invented)
                    response = self._engine.recall(request)
                    invents |= response is None
                    values[asked.name] = await self._answer(asked, request, response)
                invented = invents
                make(wave.then, values, self._rows.rng, candidate.seed, slot.index)
        except (RowRejected, RowError):
            return

    def _show(self, slot: Slot, asked: Asked, request: Request, *, invented: bool) -> None:
        if slot.index < self._shown:
            prompt = RenderedPrompt(
                row=slot.index, column=asked.name, model=asked.model, messages=request.messages, invented=invented
            )
            self.prompts.append(prompt)

    async def _answer(self, asked: Asked, request: Request, stored: Response | None) -> object:
        estimate, response = self.columns[asked.name], stored
        if response is not None:
            estimate.stored += 1
        else:
            response = (await self._offline(Call(request=request, model="offline"))).response
            estimate.calls += 1
            estimate.input_tokens += _input_tokens(request, response)
            estimate.output_tokens += _output_tokens(request, response)
        read = asked.read(response)
        return None if isinstance(read, Invalid) else read.value


def _input_tokens(request: Request, response: Response) -> float:
    """What the upstream will count: a model reads the schema too, the local generator counts the messages alone."""
    return response.usage.input_tokens if request.model == "offline" else prompt_tokens(request)


def _output_tokens(request: Request, response: Response) -> float:
    bound = output_bound(request)
    expected = response.usage.output_tokens
    return expected if bound is None else min(expected, bound)


async def estimate_run(
    run: RecipeRun, engine: Engine, price_of: Callable[[str], Price | None], *, shown: int
) -> Estimate:
    """Estimate *run*; *shown* is how many rows' prompts are kept to be looked at."""
    rehearsal = _Rehearsal(run, engine, shown)
    sampled = await rehearsal.make_rows()
    scale = (run.wanted or sampled) / sampled if sampled else 0.0
    columns = list(rehearsal.columns.values())
    for column in columns:
        column.calls *= scale
        column.stored *= scale
        column.input_tokens *= scale
        column.output_tokens *= scale
        price = price_of(column.model)
        if price is not None:
            column.dollars = price.cost(Usage(round(column.input_tokens), round(column.output_tokens)))
    known = [column.dollars for column in columns if column.dollars is not None]
    return Estimate(
        rows=run.wanted,
        sampled=sampled,
        columns=columns,
        prompts=rehearsal.prompts,
        dollars=sum(known) if len(known) == len(columns) else None,
    )
