"""``synth cache warm``: ask popular requests before anybody does."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentic_synth.cli.opened import existing_store, opened_store
from agentic_synth.cli.options import BaseUrl, Budget, Json, Store
from agentic_synth.cli.outcome import ExitCode, run_async
from agentic_synth.cli.terminal import say, table, write, write_json
from agentic_synth.errors import Rejected
from agentic_synth.settings import load_config
from agentic_synth.telemetry.figures import counted

if TYPE_CHECKING:
    from agentic_synth.engine.warming import Likely, Warmed, Warmer

__all__ = ["warm"]

_DAY = 86_400.0
_AT_ONCE = 16
_SHOWN_EVERY_S = 1.0
_SHOWN = 20


def warm(
    top: Annotated[int, typer.Option(help="How many of the most popular requests to look at.", min=1)] = 100,
    budget: Budget = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Only requests of this model, as `stats` names it.")
    ] = None,
    base_url: BaseUrl = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Tell what would be asked and what it brings; send nothing.")
    ] = False,
    store: Store = None,
    json: Json = False,
) -> None:
    """Ask popular requests anew whose answers expired or were pruned.

    Whoever asks for them next is served at once. What was warmed is warmed again only after somebody has asked for it.
    Stopped by Ctrl+C or the budget, it keeps every answer that it has.

    \b
      synth cache warm --top 100 --plan
      synth cache warm --top 1000 --budget 1usd
    """
    file = existing_store(store)
    if file is None:
        say("nothing is stored yet")
        return
    found = run_async(_likely(file, top, model))
    if plan:
        _tell(found, json=json)
    elif found:
        _carry_out(found, str(file), budget, base_url, json=json)
    else:
        say(f"nothing to warm: of the {top:,} most popular requests none has expired or was pruned")


async def _likely(file: Path, top: int, model: str | None) -> list[Likely]:
    from agentic_synth.engine.warming import likely  # noqa: PLC0415 - keeps --help fast

    now, ttl = time.time(), load_config().store.ttl
    async with opened_store(file) as store:
        return store.read(lambda connection: likely(connection, top, now, ttl=ttl, horizon=_DAY, model=model))


def _tell(found: list[Likely], *, json: bool) -> None:
    from agentic_synth.cache.accesses import prompt_of  # noqa: PLC0415 - keeps --help fast

    hits = sum(one.chance for one in found)
    dollars = sum(one.wanted.dollars or 0.0 for one in found)
    unpriced = sum(one.wanted.dollars is None for one in found)
    shown = [
        {
            "chance": round(one.chance, 4),
            "asked": one.wanted.popularity.lookups,
            "dollars": one.wanted.dollars,
            "why": one.wanted.reason,
            "prompt": prompt_of(one.wanted.canonical),
        }
        for one in found
    ]
    if json:
        write_json({"requests": shown, "hits": hits, "dollars": dollars, "unpriced": unpriced})
        return
    if shown:
        rows = [(f"{one['chance']:.0%}", *list(one.values())[1:]) for one in shown[:_SHOWN]]
        write(table(["chance", "asked", "dollars", "why", "prompt"], rows))
    if len(shown) > _SHOWN:
        say(f"... and {len(shown) - _SHOWN:,} more")
    free = f", {counted(unpriced, 'answer')} without a known price" if unpriced else ""
    say(f"{counted(len(found), 'request')} would be asked for about {dollars:,.4f} dollars{free}")
    say(f"of them {hits:,.1f} are expected to be asked for within a day, or until they expire")


def _carry_out(found: list[Likely], file: str, budget: str | None, base_url: str | None, *, json: bool) -> None:
    went: Counter[Warmed] = Counter()
    dollars = 0.0
    error = ""

    async def ask() -> None:
        nonlocal dollars, error
        from agentic_synth.sdk.synth import Synth  # noqa: PLC0415 - keeps --help fast

        reference = found[0].wanted.model.partition("@")[0]
        async with Synth(reference, store=file, budget=budget, base_url=base_url) as synth:
            warmer = synth.session.warmer()
            assert warmer is not None
            try:
                await _ask_all(warmer, found, went)
            finally:
                dollars, error = warmer.statistics().dollars, warmer.statistics().error

    try:
        run_async(ask())
    finally:
        told = {str(how): count for how, count in went.items()}
        if json:
            write_json({**told, "found": len(found), "dollars": dollars, "error": error})
        else:
            listed = ", ".join(f"{count:,} {how}" for how, count in told.items()) or "none asked"
            say(f"of {counted(len(found), 'request')}: {listed}, for {dollars:,.4f} dollars")
        if error:
            say(f"the last failure: {error}")
    if error:
        raise typer.Exit(ExitCode.FAILED)


async def _ask_all(warmer: Warmer, found: list[Likely], went: Counter[Warmed]) -> None:
    """Ask the likeliest first, several at a time."""
    import asyncio  # noqa: PLC0415 - keeps --help fast

    waiting = iter(found)
    shown = time.monotonic()
    refused: Rejected | None = None

    async def ask() -> None:
        nonlocal shown, refused
        for one in waiting:
            try:
                went[await warmer.ask(one.wanted)] += 1
            except Rejected as error:
                refused = error
            if refused is not None:
                return
            if time.monotonic() - shown >= _SHOWN_EVERY_S:
                shown = time.monotonic()
                say(f"{went.total():,} of {len(found):,}")

    async with asyncio.TaskGroup() as tasks:
        for _ in range(min(_AT_ONCE, len(found))):
            tasks.create_task(ask())
    if refused is not None:
        raise refused
