"""``synth cache``: look at, export and clear the response store."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from agentic_synth.cli.cache_explain import explain
from agentic_synth.cli.cache_warm import warm
from agentic_synth.cli.opened import existing_store, opened_store
from agentic_synth.cli.options import Json, Store
from agentic_synth.cli.outcome import run_async
from agentic_synth.cli.prune import age, prune
from agentic_synth.cli.terminal import say, table, write, write_json
from agentic_synth.errors import ConfigError
from agentic_synth.settings import load_config
from agentic_synth.telemetry.figures import counted

__all__ = ["app"]

app = typer.Typer(
    name="cache",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Look at the store of paid answers. Every answer is kept there and never paid twice.",
)
_POPULAR = 10
_DAYS = 30


@app.command()
def stats(store: Store = None, json: Json = False) -> None:
    """Say what is stored and how often it served.

    Answers by status and model, tokens, dollars, bytes; how many lookups of the last 30 days were hits, and which
    requests are asked most.

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
    before = None if older_than is None else time.time() - age(older_than)
    if before is None and model is None and not every:
        raise ConfigError("nothing says what to delete", mend="add --older-than AGE, --model MODEL, or --all")
    file = existing_store(store)
    deleted = run_async(_clear(file, before, model)) if file else 0
    say(f"{counted(deleted, 'answer')} deleted")


app.command()(prune)
app.command()(warm)
app.command()(explain)


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
    from agentic_synth.cache.accesses import asked_most, days  # noqa: PLC0415 - keeps --help fast

    now, ttl = time.time(), load_config().store.ttl
    async with opened_store(file) as store:
        held, warnings = store.contents(), store.warnings
        lately = store.read(lambda connection: days(connection, int(now // 86_400) - _DAYS))
        popular = store.read(lambda connection: asked_most(connection, _POPULAR, now))
    hits, misses = sum(day.hits for day in lately), sum(day.misses for day in lately)
    saved = sum(day.saved for day in lately)
    if json:
        import msgspec  # noqa: PLC0415 - keeps --help fast

        asked = [one._asdict() | {"key": one.key.hex()} for one in popular]
        lookups = {"days": _DAYS, "hits": hits, "misses": misses, "saved": saved}
        whole = {"lookups": lookups, "ttl": ttl, "popular": asked, "warnings": list(warnings)}
        write_json({"file": str(file), **msgspec.to_builtins(held), **whole})
        return
    write(f"file     {file} ({held.file_bytes / 1e6:,.1f} MB)")
    write(f"answers  {sum(held.entries.values()):,}" + _listed(held.entries))
    write(f"tokens   {held.input_tokens:,} in, {held.output_tokens:,} out")
    write(f"dollars  {held.cost:,.4f}")
    if held.oldest is not None and held.newest is not None:
        write(f"from     {_day(held.oldest)} to {_day(held.newest)}")
    if hits or misses:
        share = f"{hits:,} hits of {hits + misses:,} ({hits / (hits + misses):.1%})"
        write(f"lookups  {share} in {_DAYS} days, {saved:,.4f} dollars saved")
    if ttl is not None:
        write(f"expire   after {ttl / 86_400:g} days (store.ttl)")
    if held.models:
        rows = sorted(held.models.items(), key=lambda pair: -pair[1])
        write("\n" + table(["model", "answers"], rows))
    if popular:
        asked_rows = [(one.lookups, _day(one.last), one.model, one.prompt) for one in popular]
        write("\n" + table(["asked", "last", "model", "prompt"], asked_rows))
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


def _listed(counts: dict[str, int]) -> str:
    return f" ({', '.join(f'{count:,} {name}' for name, count in counts.items())})" if counts else ""


def _day(instant: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(instant))
