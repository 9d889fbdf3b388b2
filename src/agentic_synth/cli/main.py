"""The command ``synth``: which commands there are."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from agentic_synth import __version__
from agentic_synth.cli import batches, cache
from agentic_synth.cli.check import check
from agentic_synth.cli.doctor import doctor
from agentic_synth.cli.generate import generate
from agentic_synth.cli.init import init
from agentic_synth.cli.models import models
from agentic_synth.cli.outcome import guarded
from agentic_synth.cli.preview import preview
from agentic_synth.cli.runs import report, runs
from agentic_synth.cli.show import show
from agentic_synth.cli.simulate import simulate

__all__ = ["app", "main"]

_WHILE_LOADING = 200_000
"""Objects made between two looks for garbage: modules make many and leave none; the loop goes back to the usual."""

app = typer.Typer(
    name="synth",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS: tuple[Callable[..., None], ...] = (
    generate,
    preview,
    check,
    runs,
    show,
    report,
    init,
    doctor,
    models,
    simulate,
)
for command in COMMANDS:
    app.command()(command)
app.add_typer(cache.app)
app.add_typer(batches.app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"agentic-synth {__version__}")
        raise typer.Exit


@app.callback()
def synth(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Synthetic data with language models: exactly N valid rows, fast, for the least money, nothing lost or paid twice.

    \b
    First steps:
      synth generate structured --rows 5                 no key, no model: the offline generator
      synth init                                         a recipe of your own to change
      synth generate tickets.yaml --out tickets.parquet --model openai/gpt-4.1-mini --budget 2usd

    \b
    A run that was cut short goes on with the same command: what was paid for is kept and never paid twice.
    """


def main() -> None:
    """The entry point of ``synth`` and ``agentic-synth``."""
    gc.set_threshold(_WHILE_LOADING, *gc.get_threshold()[1:])
    sys.exit(guarded(lambda: app(prog_name="synth")))


if __name__ == "__main__":
    main()
