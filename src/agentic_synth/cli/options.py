"""The options that several commands share, and the settings they stand for."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from agentic_synth.errors import ConfigError

__all__ = [
    "BaseUrl",
    "Budget",
    "Concurrency",
    "DryRun",
    "Fallback",
    "Fresh",
    "Http",
    "Json",
    "ModeOfRun",
    "Model",
    "NoFallback",
    "Out",
    "Quiet",
    "Recipe",
    "Rejects",
    "Rows",
    "Seed",
    "Seeds",
    "Sets",
    "ShowRows",
    "Stats",
    "Store",
    "Unordered",
    "overrides",
]

Recipe: TypeAlias = Annotated[
    str,
    typer.Argument(
        help="A recipe file (.yaml, .json) or the name of a built-in recipe.", show_default=False, metavar="RECIPE"
    ),
]
Model: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="PROVIDER/MODEL, a name with --base-url, or offline for all columns.",
        metavar="MODEL",
    ),
]
ModeOfRun: TypeAlias = Annotated[
    str,
    typer.Option(
        "--mode",
        help="online; batch (the providers' batch APIs, half price, within a day); mixed (first and last rows online).",
        metavar="MODE",
    ),
]
BaseUrl: TypeAlias = Annotated[
    str | None,
    typer.Option("--base-url", help="An OpenAI-compatible server, e.g. http://localhost:8000/v1.", metavar="URL"),
]
Seeds: TypeAlias = Annotated[
    str | None,
    typer.Option("--seeds", help="Rows to start from: .jsonl .csv .json .parquet, or - for stdin.", metavar="FILE"),
]
Sets: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change the recipe: parameters.temperature=0.3. May be repeated.", metavar="KEY=VALUE"),
]
Store: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--store", help="Where answers are kept: a folder or .sqlite file; :none: keeps none.", metavar="PATH"
    ),
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Write JSON instead of a table.")]
Rows: TypeAlias = Annotated[
    int | None, typer.Option("--rows", "-n", help="How many rows; else the recipe's, else one a seed.", min=1)
]
Out: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--out", "-o", help="The file: .jsonl .parquet .csv .json (text also .gz .zst); else stdout.", metavar="FILE"
    ),
]
Budget: TypeAlias = Annotated[
    str | None, typer.Option(help="A hard stop: 5usd, 2Mtok or 10000req. The rows until then are kept.", metavar="N")
]
Seed: TypeAlias = Annotated[int | None, typer.Option(help="Other draws everywhere; else the recipe's seed.")]
DryRun: TypeAlias = Annotated[
    bool, typer.Option("--dry-run", help="Show prompts, calls, tokens and dollars; send nothing.")
]
Concurrency: TypeAlias = Annotated[
    str | None, typer.Option(help="Calls in flight: a number, or auto to find what the upstream takes.", metavar="N")
]
Fallback: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--fallback", help="Where to ask when the model's upstream fails. May be repeated.", metavar="MODEL"),
]
NoFallback: TypeAlias = Annotated[
    bool, typer.Option("--no-fallback", help="Ask nobody else, whatever the settings say.")
]
Fresh: TypeAlias = Annotated[bool, typer.Option("--fresh", help="Draw anew instead of taking earlier runs' answers.")]
Provenance: TypeAlias = Annotated[
    bool, typer.Option("--provenance", help="Add a _source_COLUMN beside each model column: where its answer is from.")
]
Unordered: TypeAlias = Annotated[bool, typer.Option("--unordered", help="Write rows as they come.")]
Rejects: TypeAlias = Annotated[
    str | None, typer.Option(help="Write rejected candidates there, with reason and answer.", metavar="FILE")
]
Stats: TypeAlias = Annotated[
    str | None, typer.Option(help="Write the run's statistics there, as JSON.", metavar="FILE")
]
ShowRows: TypeAlias = Annotated[
    int, typer.Option("--show", help="Show the first rows of the file.", min=0, metavar="N", show_default=False)
]
Http: TypeAlias = Annotated[str | None, typer.Option(help="The HTTP version: auto, 1 or 2.", metavar="VERSION")]
Quiet: TypeAlias = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress and no summary; errors are still told.")
]


def overrides(sets: list[str] | None) -> dict[str, str]:
    """``--set key=value``, as the recipe loader takes them."""
    changes: dict[str, str] = {}
    for text in sets or ():
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ConfigError(
                f"cannot read --set {text!r}", mend="write --set KEY=VALUE, e.g. --set parameters.temperature=0"
            )
        changes[key.strip()] = value
    return changes
