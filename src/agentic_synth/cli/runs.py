"""``synth runs`` and ``synth report``: what was run, and what each run came to."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentic_synth.cli.opened import existing_store, opened_store
from agentic_synth.cli.options import Json, Store
from agentic_synth.cli.outcome import run_async
from agentic_synth.cli.summary import summary
from agentic_synth.cli.terminal import say, table, write, write_json
from agentic_synth.errors import ConfigError
from agentic_synth.telemetry.figures import duration

if TYPE_CHECKING:
    from agentic_synth.cache.ledger import Run

__all__ = ["RunName", "found_run", "report", "runs"]

RunName = Annotated[str, typer.Argument(help="A run's id, the beginning of one, or `last`.", metavar="RUN")]


def runs(
    limit: Annotated[int, typer.Option("--limit", "-n", help="How many, newest first.", min=1)] = 20,
    store: Store = None,
    json: Json = False,
) -> None:
    """List the last runs.

    \b
      synth runs
      synth report last
    """
    file = existing_store(store)
    found = run_async(_runs(file, limit)) if file else []
    if json:
        write_json([_record(run) for run in found])
        return
    if not found:
        say("nothing was run yet")
        return
    rows = [
        (run.id, _when(run.started), run.recipe, run.state, f"{run.accepted:,}", _asked(run), _took(run), run.out)
        for run in found
    ]
    write(table(["run", "started", "recipe", "state", "rows", "asked", "took", "out"], rows))


def report(run: RunName = "last", store: Store = None, json: Json = False) -> None:
    """Say what a run came to.

    Rows, calls, tokens, dollars and latencies, as at its end; --json is what --stats wrote.

    \b
      synth report last
      synth report 3k9 --json
    """
    found = found_run(existing_store(store), run)
    record = _record(found)
    if json:
        write_json(record)
        return
    write(f"run {found.id}: {found.recipe}, begun {_when(found.started)}, seed {found.seed}")
    statistics = record["statistics"]
    if not statistics:
        write(f"{found.state}: it left no statistics")
        return
    for line in summary(found.state, statistics, _file(found.out)):
        write(line)
    for name in ("latency_seconds", "ttft_seconds"):
        if (told := statistics[name])["count"] and list(statistics["upstreams"]) != ["offline"]:
            figures = ", ".join(f"{key} {told[key] * 1_000:,.1f} ms" for key in ("p50", "p95", "p99", "max"))
            write(f"  {name.removesuffix('_seconds'):<9} {figures}")
    if statistics["peak_memory_bytes"]:
        write(f"  {'memory':<9} {statistics['peak_memory_bytes'] / 1e6:,.0f} MB at most")


def found_run(file: Path | None, name: str) -> Run:
    """The run called *name*.

    Raises:
        ConfigError: there is none, or several.
    """
    run = run_async(_run(file, name)) if file else None
    if run is None:
        raise ConfigError(f"there is no run {name!r}", mend="`synth runs` lists what was run")
    return run


async def _runs(file: Path, limit: int) -> list[Run]:
    from agentic_synth.cache.ledger import Ledger  # noqa: PLC0415 - keeps --help fast

    async with opened_store(file) as store:
        return Ledger(store).runs(limit)


async def _run(file: Path, name: str) -> Run | None:
    from agentic_synth.cache.ledger import Ledger  # noqa: PLC0415 - keeps --help fast

    async with opened_store(file) as store:
        return Ledger(store).run(name)


def _file(out: str) -> str | None:
    """Where the rows of an output are now; a run that wrote to stdout has none."""
    return next((name for name in (f"{out}.partial", out) if Path(name).is_file()), None)


def _record(run: Run) -> dict[str, Any]:
    """The run as JSON, with its documents as what they are."""
    import msgspec  # noqa: PLC0415 - keeps --help fast

    record: dict[str, Any] = msgspec.to_builtins(run)
    for name in ("recipe_json", "settings_json", "statistics_json"):
        text = record.pop(name)
        key = "definition" if name == "recipe_json" else name.removesuffix("_json")
        record[key] = msgspec.json.decode(text) if text else {}
    return record


def _when(instant: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(instant))


def _asked(run: Run) -> str:
    return "" if run.rows is None else f"{run.rows:,}"


def _took(run: Run) -> str:
    return "" if run.finished is None else duration(run.finished - run.started)
