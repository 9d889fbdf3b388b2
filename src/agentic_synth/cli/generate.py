"""``synth generate``: a recipe in, a dataset out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

from agentic_synth.cli.options import (
    BaseUrl,
    Budget,
    Concurrency,
    DryRun,
    Fallback,
    Fresh,
    Http,
    Model,
    ModeOfRun,
    NoFallback,
    Out,
    Provenance,
    Quiet,
    Recipe,
    Rejects,
    Rows,
    Seed,
    Seeds,
    Sets,
    ShowRows,
    Stats,
    Store,
    Unordered,
    overrides,
)
from agentic_synth.cli.outcome import ExitCode, before_asking, run_async
from agentic_synth.cli.summary import next_step, summary
from agentic_synth.cli.terminal import say, table, write
from agentic_synth.errors import ConfigError, SynthError
from agentic_synth.sdk.run_options import Mode, RunOptions
from agentic_synth.settings import environment, load_config

if TYPE_CHECKING:
    from agentic_synth.sdk.recipe_run import RecipeRun
    from agentic_synth.sdk.synth import Synth

__all__ = ["generate"]


def generate(
    recipe: Recipe,
    rows: Rows = None,
    seeds: Seeds = None,
    model: Model = None,
    base_url: BaseUrl = None,
    out: Out = None,
    budget: Budget = None,
    mode: ModeOfRun = "online",
    sets: Sets = None,
    seed: Seed = None,
    dry_run: DryRun = False,
    concurrency: Concurrency = None,
    fallback: Fallback = None,
    no_fallback: NoFallback = False,
    fresh: Fresh = False,
    unordered: Unordered = False,
    provenance: Provenance = False,
    rejects: Rejects = None,
    stats: Stats = None,
    show_rows: ShowRows = 0,
    store: Store = None,
    http: Http = None,
    quiet: Quiet = False,
) -> None:
    """Make the rows of a recipe.

    Progress and summary go to stderr, rows to the file or to stdout. The exit code is 0 only if every row is there, 1
    if the run is short or failed, 2 if the input is wrong, 3 if the budget is spent, 130 after Ctrl+C, 141 if the
    reader of stdout went away (| head), which stops the run without a word.

    \b
      synth generate structured --rows 5
      synth generate tickets.yaml --out tickets.parquet --model openai/gpt-4.1-mini --budget 2usd
      synth generate tickets.yaml --seeds users.csv --out tickets.jsonl --base-url http://localhost:8000/v1 -m qwen3
      synth generate tickets.yaml --set columns.tone.choice="[calm, angry]" --dry-run
      synth generate tickets.yaml --rows 20000 --mode batch --out tickets.parquet -m openai/gpt-4.1-mini

    \b
    Cut short (Ctrl+C, kill, power)? The same command goes on from there: what was answered is not paid again.
    """
    flags = {"model": model, "base_url": base_url, "fallback": fallback or None, "http": http, "store.path": store}
    flags |= {"engine.concurrency": concurrency, "engine.budget": budget}
    config = load_config(flags | {"engine.fallback": False if no_fallback else None})

    def opened() -> Synth:
        from agentic_synth.sdk.synth import Synth  # noqa: PLC0415 - keeps --help fast

        # Model and base URL again, for what is said by hand wins over the recipe, and settings do not.
        return Synth(model, base_url=base_url, config=config, sends=not dry_run)

    said = RunOptions(mode=cast("Mode", mode), fresh=fresh, unordered=unordered, provenance=provenance)
    options = _options(said, sets, seed, rejects)
    if dry_run:
        from agentic_synth.cli.dry_run import show_estimate  # noqa: PLC0415 - keeps --help fast

        run_async(show_estimate(opened, recipe, rows, seeds, options))
        return
    ending = _Ending(out, stats, show_rows=show_rows, quiet=quiet)
    raise typer.Exit(run_async(_generate(opened, recipe, rows, seeds, options, ending)))


def _options(said: RunOptions, sets: list[str] | None, seed: int | None, rejects: str | None) -> RunOptions:
    """What was *said* yes or no to, and the rest where it was said at all."""
    options: RunOptions = {**said, "overrides": overrides(sets)}
    if seed is not None:
        options["seed"] = seed
    if rejects is not None:
        options["rejects"] = rejects
    return options


class _Ending:
    """What is left behind when a run ends, however it ends: the summary and the statistics file."""

    def __init__(self, out: str | None, stats: str | None, *, show_rows: int, quiet: bool) -> None:
        self.out = out or "-"
        self.quiet = quiet
        self._shown = show_rows
        if show_rows and self.out == "-":
            raise ConfigError("--show shows rows of a file", mend="add --out FILE; without it the rows are on stdout")
        self._stats = Path(stats) if stats else None
        if self._stats and not self._stats.absolute().parent.is_dir():
            raise ConfigError(
                f"{stats}: there is no directory {self._stats.parent}", mend="make it first, with mkdir -p"
            )

    def file(self) -> str | None:
        """Where the rows are; a run that did not end well may have left them beside the final name."""
        if self.out == "-":
            return None
        partial = f"{self.out}.partial"
        return partial if Path(partial).exists() else self.out

    def record(self, state: str, statistics: dict[str, Any], *, run: str | None = None) -> None:
        """Write the statistics, if they were asked for."""
        if self._stats:
            import msgspec  # noqa: PLC0415 - keeps --help fast

            record = msgspec.json.encode({"run": run, "state": state, "out": self.file(), **statistics})
            try:
                self._stats.write_bytes(msgspec.json.format(record, indent=2) + b"\n")
            except OSError as error:
                say(f"error: cannot write {self._stats}: {error.strerror}")

    def tell(self, state: str, statistics: dict[str, Any], **known: Any) -> None:
        """Say what the run came to; *known* is what the next step hangs on."""
        if self._shown and (file := self.file()):
            _show_rows(file, self._shown)
        if not self.quiet:
            for line in summary(state, statistics, self.file()):
                say(line)
            if step := next_step(state, statistics, **known):
                say(f"  {'next':<9} {step}")


async def _generate(
    opened: Callable[[], Synth], recipe: str, rows: int | None, seeds: str | None, options: RunOptions, ending: _Ending
) -> ExitCode:
    from asyncio import CancelledError  # noqa: PLC0415 - keeps --help fast

    from agentic_synth.sinks.sink import OutputClosed  # noqa: PLC0415
    from agentic_synth.telemetry.progress import open_progress  # noqa: PLC0415

    # Rows that run over the terminal leave no place for a live line.
    silent = ending.quiet or (ending.out == "-" and sys.stdout is not None and sys.stdout.isatty())
    progress = open_progress(sys.stderr, quiet=silent, dumb=environment().get("TERM") == "dumb")
    async with opened() as synth:
        for warning in synth.session.warnings:
            say(f"warning: {warning}")
        with before_asking():
            run = synth.prepare(recipe, rows=rows, seeds=seeds, **options)
        remembered = synth.session.remembers
        with _stopped_by_hand(run) as interrupted, before_asking(lambda: run.begun):
            try:
                done = await synth.execute(run, out=ending.out, progress=progress)
            except CancelledError:
                ending.record("interrupted", _so_far(run))
                ending.tell("interrupted", _so_far(run), remembered=remembered, batches=_left(synth))
                return ExitCode.INTERRUPTED if interrupted() else ExitCode.TERMINATED
            except OutputClosed:
                ending.record("interrupted", _so_far(run))
                raise
            except SynthError:
                if run.statistics.attempts or run.statistics.from_store or run.statistics.rows_accepted:
                    ending.record("failed", _so_far(run))
                    ending.tell("failed", _so_far(run), remembered=remembered, batches=_left(synth))
                raise
        batches = _left(synth)
    ending.record(done.state, done.statistics, run=done.id)
    ending.tell(done.state, done.statistics, budget_spent=done.budget_spent, remembered=remembered, batches=batches)
    if done.budget_spent:
        return ExitCode.BUDGET
    if done.state == "interrupted":
        return ExitCode.INTERRUPTED
    return ExitCode.DONE if done.state == "complete" else ExitCode.FAILED


def _left(synth: Synth) -> int:
    """Batches that go on at their providers without us."""
    return sum(batch.state != "sealed" for batch in synth.session.batches.pending())


def _so_far(run: RecipeRun) -> dict[str, Any]:
    return run.statistics.as_dict(run.snapshot().seconds)


@contextmanager
def _stopped_by_hand(run: RecipeRun) -> Iterator[Callable[[], bool]]:
    """Ctrl+C sends nothing more and waits for what is in flight, which is paid; a second one stops at once."""
    import asyncio  # noqa: PLC0415 - keeps --help fast
    import signal  # noqa: PLC0415

    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    times = 0

    def interrupt() -> None:
        nonlocal times
        times += 1
        if not run.stopping:
            run.stop()
            say("\nstopping: nothing more is sent, what is in flight is kept; Ctrl+C again stops at once")
        elif task is not None:
            task.cancel()

    handled = False
    with suppress(NotImplementedError):  # Windows: Ctrl+C cancels at once
        loop.add_signal_handler(signal.SIGINT, interrupt)
        handled = True
    try:
        yield lambda: times > 0
    finally:
        if handled:
            loop.remove_signal_handler(signal.SIGINT)


def _show_rows(file: str, count: int) -> None:
    from agentic_synth.sources.open import open_seeds  # noqa: PLC0415 - keeps --help fast

    if not Path(file).exists():
        return
    rows = list(islice(iter(open_seeds(file)), count))
    if rows:
        write(table(list(rows[0]), [list(row.values()) for row in rows], whole=0))
