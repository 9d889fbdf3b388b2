"""One run of a recipe from its text to its file: prepared, executed, recorded."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from agentic_synth.cache.ledger import Output, RunState, new_run_id
from agentic_synth.cache.ledger import Run as LedgerEntry
from agentic_synth.clock import Clock, SystemClock
from agentic_synth.errors import BudgetSpent, ConfigError, OutputError, RecipeError
from agentic_synth.recipes.ask import Answerer
from agentic_synth.recipes.lineage import Lineage
from agentic_synth.recipes.load import load_recipe
from agentic_synth.recipes.model import ModelColumn, Recipe
from agentic_synth.recipes.plan import Plan
from agentic_synth.recipes.rows import Filled, Rows
from agentic_synth.recipes.run import Flow, RowRun
from agentic_synth.sdk.run_options import RunOptions, known_options
from agentic_synth.sdk.session import Connected, Session
from agentic_synth.sdk.watched import traffic
from agentic_synth.sinks.open import OutputClosed, Sink, SinkColumn, open_sink
from agentic_synth.sources.open import Seeds, seeds_from
from agentic_synth.telemetry.progress import Progress
from agentic_synth.telemetry.run_statistics import RunStatistics, Snapshot, source_of
from agentic_synth.types import Json, Usage

if TYPE_CHECKING:
    from agentic_synth.sdk.batch_run import BatchRun  # loaded where a run goes by batch

__all__ = ["RecipeRun", "RecipeSource", "Run", "SeedSource", "Settings"]

RecipeSource = str | Path | Mapping[str, Any] | Recipe
SeedSource = str | Path | Seeds | Iterable[dict[str, Any]]

UPSTREAM_COLUMN = "_upstream"
SOURCE_COLUMNS = "_source_"
_REJECTS = ("slot", "candidate", "reason", "column", "answer", "values")


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did. *state* is ``complete`` only if every asked row is there; *rows* were accepted.

    *out* is where they are (None: stdout), *error* what ended the run early, *cost* dollars (None: no price is known),
    *statistics* everything else, as ``--stats`` writes it.
    """

    id: str
    recipe: str
    state: RunState
    rows: int
    asked: int | None
    out: str | None
    seconds: float
    usage: Usage
    cost: float | None
    statistics: dict[str, Json]
    error: str | None = None
    budget_spent: bool = False


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger remembers of a run beside its recipe, so that ``synth show`` finds its answers; no keys."""

    seeds: str | None = None
    models: list[str] = []
    base_url: str | None = None
    upstreams: list[Connected] = []


class RecipeRun:
    """Prepares a run, so that wrong input is told before anything is asked, and executes it once."""

    def __init__(
        self,
        session: Session,
        source: RecipeSource,
        *,
        rows: int | None,
        seeds: SeedSource | None,
        options: RunOptions,
        said: Mapping[str, str | None],
        clock: Clock | None = None,
    ) -> None:
        """*said* are the model and base URL that were given by hand, which win over the recipe's own.

        *clock* is what looking after provider batches goes by.
        """
        self.options = known_options(options)
        self.id = new_run_id()
        recipe = load_recipe(source, overrides=options.get("overrides", {}))
        changes: dict[str, Any] = {key: value for key, value in said.items() if value is not None}
        if "model" in changes:
            changes["base_url"] = said.get("base_url")  # the recipe's was that of its own model
        if "seed" in options:
            changes["seed"] = options["seed"]
        recipe = recipe.model_copy(update=changes)
        self.recipe = recipe = _rehearsed(recipe) if _is_offline(said.get("model")) else recipe
        given = seeds if seeds is not None else recipe.seeds
        self.seeds = seeds_from(given) if given is not None else None
        seed_columns = self.seeds.columns() if self.seeds is not None else []
        self.plan = Plan(recipe, seed_columns=seed_columns, model_of=session.name_of, run=self.id)
        self.explicit_rows = rows if rows is not None else recipe.rows
        self.wanted = self._wanted()
        self.statistics = RunStatistics(self.wanted)
        self._session = session
        self._clock = clock or SystemClock()
        self._rows: RowRun | None = None
        self._batch_run: BatchRun | None = None
        self._stopped = False
        self._refused: OutputError | None = None
        self.begun = False
        """Whether output and ledger are open, so that what goes wrong now is no fault of the input."""
        self._started = time.monotonic()
        references = {asked.model for asked in self.plan.asked.values()}
        self.offline = bool(references) and references == {"offline"}
        self.marked = bool(references) and ("offline" in references or session.engine.may_fall_back)
        """Whether rows say which upstream answered: where it is not the model that the user named."""
        if self.by_batch:
            from agentic_synth.sdk.batch_run import check_plan  # noqa: PLC0415 - only where a run goes by batch

            check_plan(self.plan, session)

    @property
    def by_batch(self) -> bool:
        """Whether answers come through the providers' batch APIs, all or most of them."""
        return self.options.get("mode", "online") != "online"

    def _wanted(self) -> int | None:
        if self.explicit_rows is not None:
            if self.explicit_rows < 0:
                raise ConfigError(f"{self.explicit_rows} rows cannot be made", mend="ask for a number from 0 up")
            return self.explicit_rows
        if self.seeds is None:
            raise RecipeError(
                f"nobody says how many rows {self.recipe.recipe} shall have",
                mend="write `rows: 100` into the recipe, or add --rows 100",
            )
        count = self.seeds.count()
        return None if count is None else count * self.recipe.rows_per_seed

    def columns(self) -> list[SinkColumn]:
        """The columns of the output, in order."""
        columns = [SinkColumn(name, schema) for name, schema in self.plan.outputs.items()]
        if self.marked and UPSTREAM_COLUMN not in self.plan.outputs:
            columns.append(SinkColumn(UPSTREAM_COLUMN, {"type": "string"}))
        if self.options.get("provenance", False):
            names = [SOURCE_COLUMNS + name for name in self.plan.asked]
            columns += [SinkColumn(name, {"type": "string"}) for name in names if name not in self.plan.outputs]
        return columns

    def seed_rows(self) -> Iterator[dict[str, Any]] | None:
        """Each seed row as often as it is used; again from the first where more rows were asked than that gives."""
        if self.seeds is None:
            return None
        passes = itertools.repeat(self.seeds) if self.explicit_rows is not None else iter([self.seeds])
        times = self.recipe.rows_per_seed
        return (row for seeds in passes for row in seeds for _ in range(times))

    @property
    def stopping(self) -> bool:
        """Whether nothing more is sent, by :meth:`stop` or because nobody takes the rows any more."""
        return self._stopped

    def stop(self) -> None:
        """Send nothing more; what is in flight, and paid, finishes and is written."""
        self._stopped = True
        if self._rows is not None:
            self._rows.stop()

    def snapshot(self) -> Snapshot:
        """The figures of the moment, for progress."""
        upstreams = self._session.engine.statistics()["upstreams"]
        batches = self._batch_run.told() if self._batch_run is not None else ""
        return self.statistics.snapshot(time.monotonic() - self._started, traffic(upstreams.values()), batches)

    def _flow_of_rows(self) -> Flow:
        forgets = any(asked.reuse == "no_store" for asked in self.plan.asked.values())
        durable = (self._session.remembers or self.offline) and not forgets
        return Flow(
            wanted=self.wanted,
            spare=self.wanted or 0 if self.explicit_rows is not None else 0,
            window=self.options.get("window") or self._session.window,
            keep=1_000 if durable else 4_000,
            lead=(8_192 if self.seeds is not None else 32_768) if durable else 4_000,
            ordered=not self.options.get("unordered", False),
        )

    async def batches(self, output: Output) -> AsyncGenerator[list[Filled], None]:
        """Filled slots; see :class:`RowRun`."""
        engine, flow = self._session.engine, self._flow_of_rows()

        def start(answerer: Answerer, statistics: RunStatistics, flow: Flow, *, keep_rejections: bool = True) -> RowRun:
            lineage = Lineage(seed=self.recipe.seed, epoch=output.epoch)
            kept = keep_rejections and "rejects" in self.options
            rows = Rows(self.plan, lineage, answerer, passes=output.passes, keep_rejections=kept)
            self._rows = RowRun(rows, self.seed_rows(), statistics, flow, lambda: engine.stops.stop(self.id))
            if self._stopped:
                self._rows.stop()
            return self._rows

        if self.by_batch:
            from agentic_synth.sdk.batch_run import open_batch_run  # noqa: PLC0415 - only where a run goes by batch

            errand = self._session.errand(self.id, self.statistics, self._clock)
            mixed = self.options.get("mode") == "mixed"
            self._batch_run = open_batch_run(self._session, self.plan, start, flow, errand, mixed=mixed)
        source = self._batch_run or start(engine, self.statistics, flow)
        try:
            async with aclosing(source.batches()) as batches:
                async for batch in batches:
                    if not self._refused:
                        self.statistics.record_accepted(sum(filled.row is not None for filled in batch))
                    yield batch
        finally:
            engine.stops.forget(self.id)

    def row_of(self, filled: Filled) -> dict[str, Any]:
        """The row as it leaves; what answered is said where that is not plain."""
        row = filled.row
        assert row is not None
        if self.marked:
            # Seeds that were made like this say it already.
            names = [*str(row.get(UPSTREAM_COLUMN) or "").split("+")]
            names += [answered.response.upstream for answered in filled.answers.values()]
            row[UPSTREAM_COLUMN] = "+".join(dict.fromkeys(filter(None, names))) or None
        if self.options.get("provenance", False):
            for name in self.plan.asked:
                answered = filled.answers.get(name)
                row[SOURCE_COLUMNS + name] = source_of(answered.response) if answered is not None else None
        return row

    async def execute(self, out: str, progress: Progress | None = None) -> Run:
        """Make all rows and write them to *out*.

        Raises:
            SynthError: the run could not go on; the rows made until then are kept, and a rerun goes on from there.
        """
        ledger, name, fresh = self._session.ledger, self._output_name(out), self.options.get("fresh", False)
        async with self._sinks(out) as (sink, rejects):
            output = await ledger.open_output(name, fresh=fresh)
            entry = self._entry(name, output, fresh=fresh)
            await ledger.begin(entry)
            self.begun = True
            error: BaseException | None = None
            delivered = False
            try:
                async with _shown(progress, self.snapshot):
                    await self._flow(output, sink, rejects)
            except BaseException as caught:  # noqa: BLE001 - kept and raised again, once the file is whole
                error = caught
            run = self._run(entry, out, error)
            try:
                deliver = run.state in ("complete", "short") or (run.rows > 0 and not self._better(out, output))
                await sink.close(deliver=deliver)
                delivered = deliver
                if rejects is not None:
                    await rejects.close(deliver=True)
            except BaseException as caught:  # noqa: BLE001 - as above, once the ledger tells the truth
                error = caught if error is None or isinstance(error, BudgetSpent) else error
                run = self._run(entry, out, error)
            statistics = msgspec.json.encode(run.statistics).decode()
            await ledger.finish(entry.id, run.state, run.rows, statistics, delivered=delivered)
        if error is not None and not isinstance(error, BudgetSpent):
            raise error
        return run if delivered or run.out is None else msgspec.structs.replace(run, out=f"{out}.partial")

    def _output_name(self, out: str) -> str:
        """What the ledger calls the output, so that the next run of it goes on from this one."""
        return str(Path(out).absolute()) if out != "-" else f"- {self.recipe.recipe}"

    @asynccontextmanager
    async def _sinks(self, out: str) -> AsyncIterator[tuple[Sink, Sink | None]]:
        """The output and the file of rejects; what was not delivered by the end is left beside its name."""
        async with AsyncExitStack() as opened:
            rejects = None
            if "rejects" in self.options:
                rejects = open_sink(self.options["rejects"], [SinkColumn(column) for column in _REJECTS])
                opened.push_async_callback(rejects.close, deliver=False)
            sink = open_sink(out, self.columns())
            opened.push_async_callback(sink.close, deliver=False)
            yield sink, rejects

    async def _flow(self, output: Output, sink: Sink, rejects: Sink | None) -> None:
        """Write what is made; where it cannot be written, what is in flight is waited for, since it is paid."""
        async with aclosing(self.batches(output)) as batches:
            async for batch in batches:
                if self._refused is not None:
                    continue
                try:
                    await sink.write([self.row_of(filled) for filled in batch if filled.row is not None])
                    if rejects is not None:
                        await rejects.write([r.as_row(filled.index) for filled in batch for r in filled.rejections])
                except OutputError as error:
                    self._refused = error
                    self.stop()
        if self._refused is not None:
            raise self._refused

    def _better(self, out: str, output: Output) -> bool:
        """Whether a file stands at *out* that a part of the rows must not replace: a whole one, or a larger part."""
        if out == "-" or not Path(out).exists():
            return False
        return not output.delivered_incomplete or output.delivered_rows > self.statistics.rows_accepted

    def _state(self, error: BaseException | None) -> RunState:
        if error is not None:
            stopped = isinstance(error, BudgetSpent | OutputClosed) or not isinstance(error, Exception)
            return "interrupted" if stopped else "failed"
        assert self._rows is not None
        if self._rows.cut_short:
            return "interrupted"
        if self._rows.failed or self._rows.parked:
            return "failed"
        missing = self._rows.exhausted if self.wanted is None else self.wanted - self.statistics.rows_accepted
        return "short" if missing else "complete"

    def _entry(self, name: str, output: Output, *, fresh: bool) -> LedgerEntry:
        models = {asked.model for asked in self.plan.asked.values()}
        settings = Settings(
            seeds=self.seeds.name if self.seeds is not None else None,
            models=sorted(models),
            base_url=self._session.base_url,
            upstreams=self._session.connected(models),
        )
        return LedgerEntry(
            id=self.id,
            recipe=self.recipe.recipe,
            out=name,
            started=time.time(),
            rows=self.wanted,
            seed=self.recipe.seed,
            epoch=output.epoch,
            passes=output.passes,
            fresh=fresh,
            recipe_json=self.recipe.model_dump_json(by_alias=True, exclude_defaults=True, fallback=str),
            settings_json=msgspec.json.encode(settings).decode(),
        )

    def _run(self, entry: LedgerEntry, out: str, error: BaseException | None) -> Run:
        statistics = self.statistics
        seconds = time.monotonic() - self._started
        return Run(
            id=entry.id,
            recipe=entry.recipe,
            state=self._state(error),
            rows=statistics.rows_accepted,
            asked=self.wanted,
            out=None if out == "-" else out,
            seconds=seconds,
            usage=statistics.usage(),
            cost=None if statistics.unpriced and not statistics.dollars else statistics.dollars,
            statistics=statistics.as_dict(seconds),
            error=str(error) if error is not None else None,
            budget_spent=isinstance(error, BudgetSpent),
        )


def _is_offline(reference: str | None) -> bool:
    return reference is not None and reference.partition("/")[0] == "offline"


def _rehearsed(recipe: Recipe) -> Recipe:
    """*recipe* with no column asked elsewhere: ``offline``, said by hand, must not cost anything."""
    nobody = {"model": None, "base_url": None}
    columns = {
        name: column.model_copy(update=nobody) if isinstance(column, ModelColumn) else column
        for name, column in recipe.columns.items()
    }
    return recipe.model_copy(update={"columns": columns})


@asynccontextmanager
async def _shown(progress: Progress | None, snapshot: Callable[[], Snapshot]) -> AsyncIterator[None]:
    """Show the run while the block lasts."""
    if progress is None:
        yield
        return
    watcher = asyncio.create_task(progress.watch(snapshot))
    try:
        yield
    finally:
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)
