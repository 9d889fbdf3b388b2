"""``synth preview``: a few rows, in full."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentic_synth.cli.options import BaseUrl, Json, Model, Recipe, Seed, Seeds, Sets, Store, overrides
from agentic_synth.cli.outcome import ExitCode, before_asking, run_async
from agentic_synth.cli.terminal import say, write
from agentic_synth.settings import load_config
from agentic_synth.telemetry.figures import counted

if TYPE_CHECKING:
    from agentic_synth.sdk.run_options import RunOptions
    from agentic_synth.sdk.synth import Synth

__all__ = ["in_full", "preview"]


def preview(
    recipe: Recipe,
    rows: Annotated[int, typer.Option("--rows", "-n", help="How many.", min=1, max=100)] = 3,
    seeds: Seeds = None,
    model: Model = None,
    base_url: BaseUrl = None,
    sets: Sets = None,
    seed: Seed = None,
    store: Store = None,
    json: Json = False,
) -> None:
    """Make a few rows and show them in full.

    They are real rows: with a model they cost what they cost, and they are stored.

    \b
      synth preview tickets.yaml
      synth preview tickets.yaml -n 1 --model openai/gpt-4.1-mini --set parameters.temperature=1.2
    """
    config = load_config({"model": model, "base_url": base_url, "store.path": store})
    options: RunOptions = {"overrides": overrides(sets)}
    if seed is not None:
        options["seed"] = seed

    def opened() -> Synth:
        from agentic_synth.sdk.synth import Synth  # noqa: PLC0415 - keeps --help fast

        return Synth(model, base_url=base_url, config=config)

    with before_asking():
        shown = run_async(_preview(opened, recipe, rows, seeds, options, json))
    if shown < rows:
        say(f"only {shown} of {counted(rows, 'row')} could be made; `synth generate ... --rejects FILE` shows why")
        raise typer.Exit(ExitCode.FAILED)


async def _preview(
    opened: Callable[[], Synth], recipe: str, rows: int, seeds: str | None, options: RunOptions, json: bool
) -> int:
    import msgspec  # noqa: PLC0415 - keeps --help fast

    shown = 0
    async with opened() as synth:
        if synth.upstream.wire == "offline":
            say("offline: rows are made by the local generator; no model is used\n")
        async for row in synth.generate(recipe, rows=rows, seeds=seeds, **options):
            shown += 1
            if json:
                write(msgspec.json.encode(row).decode())
                continue
            write(f"row {shown}")
            for line in in_full(row, 1):
                write(line)
            write()
    return shown


def in_full(value: Any, depth: int = 0) -> Iterator[str]:
    """The lines that show a value with nothing left out: names, a colon, text as it is, what is nested further in."""
    margin = "  " * depth
    named = value.items() if isinstance(value, dict) else (("-", one) for one in value)
    for name, one in named:
        label = name if name == "-" and not isinstance(value, dict) else f"{name}:"
        if isinstance(one, dict | list) and one:
            yield f"{margin}{label}"
            yield from in_full(one, depth + 1)
        elif isinstance(one, str) and "\n" in one:
            yield f"{margin}{label}"
            yield from (f"{margin}  {line}" for line in one.splitlines())
        else:
            yield f"{margin}{label} {_plain(one)}"


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    import msgspec  # noqa: PLC0415 - keeps --help fast

    return msgspec.json.encode(value, enc_hook=str).decode()
