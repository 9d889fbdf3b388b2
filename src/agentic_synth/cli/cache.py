"""``synth cache``: look at, export and clear the response store."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from agentic_synth.cli.opened import existing_store, opened_store
from agentic_synth.cli.options import Json, Store
from agentic_synth.cli.outcome import run_async
from agentic_synth.cli.terminal import say, table, write, write_json
from agentic_synth.errors import ConfigError
from agentic_synth.telemetry.figures import counted

__all__ = ["app"]

app = typer.Typer(
    name="cache",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Look at the store of paid answers. Every answer is kept there and never paid twice.",
)
UNITS = {"m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}


@app.command()
def stats(store: Store = None, json: Json = False) -> None:
    """Say what is stored.

    Answers by status and model, tokens, dollars, bytes.

    \b
      synth cache stats
      synth cache stats --json
    """
    file = existing_store(store)
    if file is None:
        say("nothing is stored yet")
        return
    run_async(_stats(file, json))


@app.command()
def clear(
    older_than: Annotated[
        str | None, typer.Option(help="Only answers older than this: 12h, 30d, 8w.", metavar="AGE")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Only answers of this model, as `stats` names it.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All answers.")] = False,
    store: Store = None,
) -> None:
    """Delete stored answers.

    They will be paid again when they are needed again.

    \b
      synth cache clear --older-than 30d
      synth cache clear --model openai/gpt-4.1-mini
      synth cache clear --all
    """
    before = None if older_than is None else time.time() - _seconds(older_than)
    if before is None and model is None and not every:
        raise ConfigError("nothing says what to delete", mend="add --older-than AGE, --model MODEL, or --all")
    file = existing_store(store)
    deleted = run_async(_clear(file, before, model)) if file else 0
    say(f"{counted(deleted, 'answer')} deleted")


@app.command()
def export(
    out: Annotated[str, typer.Option("--out", "-o", help="The file to write; - is stdout.", metavar="FILE")] = "-",
    store: Store = None,
) -> None:
    """Write stored answers as JSON lines.

    Each line is one answer with its request and status; the oldest comes first.

    \b
      synth cache export --out answers.jsonl
      synth cache export | head -n 1
    """
    file = existing_store(store)
    count = run_async(_export(file, out)) if file else 0
    say(f"{counted(count, 'answer')} exported")


async def _stats(file: Path, json: bool) -> None:
    async with opened_store(file) as store:
        held, warnings = store.contents(), store.warnings
    if json:
        import msgspec  # noqa: PLC0415 - keeps --help fast

        write_json({"file": str(file), **msgspec.to_builtins(held), "warnings": list(warnings)})
        return
    write(f"file     {file} ({held.file_bytes / 1e6:,.1f} MB)")
    write(f"answers  {sum(held.entries.values()):,}" + _listed(held.entries))
    write(f"tokens   {held.input_tokens:,} in, {held.output_tokens:,} out")
    write(f"dollars  {held.cost:,.4f}")
    if held.oldest is not None and held.newest is not None:
        write(f"from     {_day(held.oldest)} to {_day(held.newest)}")
    if held.models:
        rows = sorted(held.models.items(), key=lambda pair: -pair[1])
        write("\n" + table(["model", "answers"], rows))
    for warning in warnings:
        say(f"warning: {warning}")


async def _clear(file: Path, before: float | None, model: str | None) -> int:
    async with opened_store(file) as store:
        return store.clear(before=before, model=model)


async def _export(file: Path, out: str) -> int:
    import msgspec  # noqa: PLC0415 - keeps --help fast

    encoder = msgspec.json.Encoder()
    count = 0
    async with opened_store(file) as store:
        with _written(out) as output:
            for record in store.export():
                output.write(encoder.encode(record) + b"\n")
                count += 1
    return count


def _written(out: str) -> AbstractContextManager[IO[Any]]:
    if out == "-":
        return nullcontext(sys.stdout.buffer)
    try:
        return Path(out).open("wb")
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error.strerror}", mend="choose another file") from error


def _seconds(age: str) -> float:
    try:
        seconds = float(age[:-1]) * UNITS[age[-1:]]
    except (ValueError, KeyError):
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ConfigError(f"cannot read the age {age!r}", mend="write a number and m, h, d or w: 12h, 30d")
    return seconds


def _listed(counts: dict[str, int]) -> str:
    return f" ({', '.join(f'{count:,} {name}' for name, count in counts.items())})" if counts else ""


def _day(instant: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(instant))
