"""``synth show``: how one row of a run was made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from agentic_synth.cli.opened import existing_store
from agentic_synth.cli.options import Store
from agentic_synth.cli.outcome import run_async
from agentic_synth.cli.preview import in_full
from agentic_synth.cli.runs import RunName, found_run
from agentic_synth.cli.terminal import message_lines, write
from agentic_synth.config import Config, EngineConfig, StoreConfig
from agentic_synth.errors import ConfigError, NotCached
from agentic_synth.telemetry.figures import counted, dollars, duration

if TYPE_CHECKING:
    from agentic_synth.cache.ledger import Run
    from agentic_synth.engine.engine import Engine
    from agentic_synth.recipes.rows import Filled
    from agentic_synth.sdk.recipe_run import RecipeRun
    from agentic_synth.types import Request, Response

__all__ = ["show"]


def show(
    run: RunName,
    row: Annotated[
        int, typer.Argument(help="The number of the row, from 1, in the order of the file.", min=1, metavar="ROW")
    ],
    store: Store = None,
) -> None:
    """Show how a row was made.

    What was asked for it and what was answered, every attempt, from the store; nothing is sent and no key is needed.

    \b
      synth show last 1
      synth show 3k9 250
    """
    file = existing_store(store)
    found = found_run(file, run)
    for line in run_async(_told(found, row, str(file))):
        write(line)


class _Asked(NamedTuple):
    request: Request
    response: Response


class _Recall:
    """Answers from the store alone and remembers what was asked; the local generator, which is free, answers anew."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.asked: list[_Asked] = []

    async def submit(self, request: Request) -> Response:
        response = self._engine.recall(request)
        if response is None and request.model == "offline":
            response = await self._engine.submit(request)
        if response is None:
            raise NotCached("an answer of this run is not in the store any more", mend="run it again to have it there")
        self.asked.append(_Asked(request, response))
        return response

    def reject(self, request: Request, reason: str) -> None:
        """Nothing changes by looking."""


async def _told(found: Run, number: int, store: str) -> list[str]:
    """The lines about one row; the run itself remembers what its models meant."""
    import msgspec  # noqa: PLC0415 - keeps --help fast

    from agentic_synth.sdk.recipe_run import RecipeRun, Settings  # noqa: PLC0415
    from agentic_synth.sdk.session import Session, connected_again  # noqa: PLC0415

    settings = msgspec.json.decode(found.settings_json, type=Settings)
    definition = msgspec.json.decode(found.recipe_json)
    config = Config(base_url=settings.base_url, engine=EngineConfig(fallback=False), store=StoreConfig(path=store))
    session = Session(config, connected_again(settings.upstreams), sends=False)
    async with session.engine:
        prepared = RecipeRun(session, definition, rows=found.rows, seeds=settings.seeds, options={}, said={})
        recall = _Recall(session.engine)
        filled = await _filled(found, prepared, recall, number)
    lines = [f"run {found.id}, row {number} (slot {filled.index})", ""]
    for rejection in filled.rejections:
        lines += [f"candidate {rejection.candidate} was rejected: {rejection.rejected.reason}", ""]
    for asked in recall.asked:
        lines += [*_conversation(asked), ""]
    return [*lines, "row", *in_full(filled.row, 1)]


async def _filled(found: Run, prepared: RecipeRun, recall: _Recall, number: int) -> Filled:
    """The row, made again as the run made it: slot after slot, since only accepted ones count.

    Raises:
        ConfigError: there is no such row.
    """
    from agentic_synth.recipes.lineage import Lineage  # noqa: PLC0415 - keeps --help fast
    from agentic_synth.recipes.rows import Rows  # noqa: PLC0415

    if number > found.accepted:
        raise ConfigError(
            f"run {found.id} has {counted(found.accepted, 'row')}, not {number:,}", mend="rows count from 1"
        )
    rows = Rows(prepared.plan, Lineage(seed=found.seed, epoch=found.epoch), recall, passes=found.passes)
    seeds = prepared.seed_rows()
    index = accepted = 0
    while True:
        recall.asked.clear()
        filled = await rows.fill(rows.admit(index, next(seeds) if seeds is not None else None), None)
        accepted += filled.row is not None
        index += 1
        if accepted == number:
            return filled


def _conversation(asked: _Asked) -> Iterator[str]:
    request, response = asked
    usage = response.usage
    cost = f", {dollars(response.cost)}" if response.cost else ""
    attempt = f", attempt {request.draw.attempt + 1}" if request.draw.attempt else ""
    served = (
        "" if response.model in (response.upstream, response.upstream.partition("/")[2]) else f" as {response.model}"
    )
    yield (
        f"asked of {request.model}{attempt}; answered by {response.upstream}{served} ({response.finish}): "
        f"{usage.input_tokens:,} tokens in, {usage.output_tokens:,} out{cost}, {duration(response.seconds)}"
    )
    for message in request.messages:
        yield from message_lines(message.role, message.content)
    yield from message_lines("answer", response.text)
