"""``synth generate --dry-run``: what a run would ask and cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from agentic_synth.cli.outcome import before_asking
from agentic_synth.cli.terminal import message_lines, say, table, write
from agentic_synth.telemetry.figures import counted, dollars, short

if TYPE_CHECKING:
    from agentic_synth.sdk.estimate import Estimate
    from agentic_synth.sdk.run_options import RunOptions
    from agentic_synth.sdk.synth import Synth

__all__ = ["show_estimate"]

SHOWN = 3
"""How many rows' prompts are shown."""


async def show_estimate(
    opened: Callable[[], Synth], recipe: str, rows: int | None, seeds: str | None, options: RunOptions
) -> None:
    """Show the prompts of the first rows, and calls, tokens and dollars of the whole run."""
    with before_asking():
        estimate = await _estimate(opened, recipe, rows, seeds, options)
    for prompt in estimate.prompts:
        after = ", after answers that are stand-ins here" if prompt.invented else ""
        write(f"row {prompt.row + 1}, {prompt.column}, asked of {prompt.model}{after}")
        for message in prompt.messages:
            for line in message_lines(message.role, message.content):
                write(line)
        write()
    for line in _figures(estimate):
        write(line)
    if options.get("mode", "online") != "online":
        write("dollars are those of the providers' batches; what --mode mixed asks online costs the usual price")
    say("nothing was sent")


async def _estimate(
    opened: Callable[[], Synth], recipe: str, rows: int | None, seeds: str | None, options: RunOptions
) -> Estimate:
    async with opened() as synth:
        return await synth.estimate(recipe, rows=rows, seeds=seeds, shown=SHOWN, **options)


def _figures(estimate: Estimate) -> list[str]:
    rows = "as many rows as there are seeds" if estimate.rows is None else counted(estimate.rows, "row")
    if not estimate.columns:
        return [f"{rows}; no model is needed"]
    lines = [
        table(
            ["column", "model", "calls", "stored", "tokens in", "tokens out", "dollars"],
            [
                (
                    column.column,
                    column.model,
                    round(column.calls),
                    round(column.stored),
                    short(round(column.input_tokens)),
                    short(round(column.output_tokens)),
                    "no price" if column.dollars is None else dollars(column.dollars),
                )
                for column in estimate.columns
            ],
            whole=2,
        ),
        "",
    ]
    cost = "of unknown price" if estimate.dollars is None else f"about {dollars(estimate.dollars)}"
    lines.append(
        f"{rows}: about {counted(round(estimate.calls), 'call')}, {cost}, "
        f"told from {counted(estimate.sampled, 'rehearsed row')};"
    )
    lines.append("repairs, regenerations and refills come on top; tokens in hold the schemas, tokens out are a guess")
    return lines
