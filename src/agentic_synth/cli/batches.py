"""``synth batches``: what waits at the providers, how far it is, and calling it off."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentic_synth.cli.opened import existing_store, opened_store
from agentic_synth.cli.options import Json, Store
from agentic_synth.cli.outcome import run_async
from agentic_synth.cli.terminal import say, table, write, write_json
from agentic_synth.errors import ConfigError, SynthError
from agentic_synth.settings import load_config

if TYPE_CHECKING:
    from agentic_synth.cache.batches import Batch
    from agentic_synth.transport.batches.api import BatchApi, ProviderBatch

__all__ = ["app"]

app = typer.Typer(
    name="batches",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Look at the batches that `synth generate --mode batch` left at the providers, and call them off.",
)
BatchName = Annotated[str, typer.Argument(help="A batch's number, name, or id at the provider.", metavar="BATCH")]
_CLOSED = ("imported", "cancelled", "failed")


@app.command(name="list")
def list_batches(
    limit: Annotated[int, typer.Option("--limit", "-n", help="How many, newest first.", min=1)] = 20,
    store: Store = None,
    json: Json = False,
) -> None:
    """List the last batches, as the store knows them.

    `submitted` is at its provider; the command that submitted it fetches its answers, when it is run again.

    \b
      synth batches list
    """
    file = existing_store(store)
    found = run_async(_batches(file, limit)) if file else []
    if json:
        write_json([_record(batch) for batch in found])
    elif not found:
        say("there are no batches yet")
    else:
        rows = [
            (batch.number, batch.upstream, batch.state, f"{batch.requests:,}", f"{batch.answered:,}", _age(batch))
            for batch in found
        ]
        write(table(["batch", "model", "state", "requests", "answered", "since"], rows))


@app.command()
def show(batch: BatchName, store: Store = None, json: Json = False) -> None:
    """Show one batch, and what its provider says of it where a key is there.

    \b
      synth batches show 1
    """
    found, told = run_async(_shown(existing_store(store), batch))
    if json:
        write_json({**_record(found), "provider": _record(told) if told is not None else None})
        return
    for line in _lines(found, told):
        write(line)


@app.command()
def cancel(batch: BatchName, store: Store = None) -> None:
    """Call a batch off; what is finished of it is paid, and kept.

    The command that submitted the batch fetches that, and asks for the rest again; without it nothing more is asked.

    \b
      synth batches cancel 1
    """
    say(run_async(_cancelled(existing_store(store), batch)))


async def _batches(file: Path, limit: int) -> list[Batch]:
    from agentic_synth.cache.batches import BatchLedger  # noqa: PLC0415 - keeps --help fast

    async with opened_store(file) as store:
        return BatchLedger(store).batches(limit)


async def _shown(file: Path | None, name: str) -> tuple[Batch, ProviderBatch | None]:
    from agentic_synth.cache.batches import BatchLedger  # noqa: PLC0415 - keeps --help fast

    async with opened_store(_there(file, name)) as store:
        batch = _found(BatchLedger(store), name)
    if not batch.identity:
        return batch, None
    try:
        async with _api_of(batch) as api:
            return batch, await api.poll(batch.identity)
    except SynthError as error:
        say(f"its provider does not tell: {error.message}")
        return batch, None


async def _cancelled(file: Path | None, name: str) -> str:
    """What became of it."""
    from agentic_synth.cache.batches import BatchLedger  # noqa: PLC0415 - keeps --help fast

    async with opened_store(_there(file, name)) as store:
        ledger = BatchLedger(store)
        batch = _found(ledger, name)
        if batch.state == "sealed":
            await ledger.closed(batch.number, "cancelled", "by hand")
            return f"batch {batch.number} is cancelled; it was not sent yet"
        if batch.state in _CLOSED:
            return f"batch {batch.number} is {batch.state} already"
        if batch.state == "submitting":
            raise ConfigError(
                f"batch {batch.number} is being sent, or its sender died doing so",
                mend="run the command that sent it once more: it finds out which",
            )
    async with _api_of(batch) as api:
        told = await api.cancel(batch.identity)
    ended = "it had ended before" if told.state.final and told.state != "cancelled" else "its provider ends it now"
    return f"batch {batch.number}: {ended}; the command that submitted it fetches what is finished"


def _there(file: Path | None, name: str) -> Path:
    if file is None:
        raise ConfigError(f"there is no batch {name!r}", mend="nothing is stored yet; or name the store: --store PATH")
    return file


def _found(ledger: Any, name: str) -> Batch:
    batch: Batch | None = ledger.batch(name)
    if batch is None:
        raise ConfigError(f"there is no batch {name!r}", mend="`synth batches list` lists them")
    return batch


@asynccontextmanager
async def _api_of(batch: Batch) -> AsyncIterator[BatchApi]:
    """The batch API of the provider that has *batch*, by the settings in force."""
    from agentic_synth.transport.batches.open import batch_api  # noqa: PLC0415 - keeps --help fast
    from agentic_synth.upstreams import resolve_upstream  # noqa: PLC0415

    reference = batch.upstream.removesuffix(f"@{batch.origin}")
    api = batch_api(resolve_upstream(reference, base_url=batch.origin, config=load_config({})))
    try:
        yield api
    finally:
        await api.aclose()


def _lines(batch: Batch, told: ProviderBatch | None) -> list[str]:
    lines = [
        f"batch {batch.number}: {batch.state}",
        f"  {'model':<9} {batch.upstream}",
        f"  {'at':<9} {batch.origin}",
        f"  {'name':<9} {batch.name}",
        f"  {'requests':<9} {batch.requests:,}, {batch.answered:,} answered and stored",
        f"  {'size':<9} {batch.size_bytes / 1e6:,.1f} MB",
    ]
    for name, instant in (("sealed", batch.sealed), ("submitted", batch.submitted), ("ended", batch.ended)):
        if instant:
            lines.append(f"  {name:<9} {_when(instant)}")
    if batch.reason:
        lines.append(f"  {'reason':<9} {batch.reason}")
    if told is not None:
        counts = told.counts
        lines.append(f"  {'provider':<9} {told.id}: {told.state}")
        figures = [(name, getattr(counts, name)) for name in counts.__struct_fields__]
        told_of = ", ".join(f"{count:,} {name}" for name, count in figures if count)
        lines.append(f"  {'':<9} {told_of or 'not counted yet'}")
        if told.expires is not None and not told.state.final:
            lines.append(f"  {'':<9} expires {_when(told.expires)}")
    return lines


def _record(batch: Any) -> dict[str, Any]:
    import msgspec  # noqa: PLC0415 - keeps --help fast

    record: dict[str, Any] = msgspec.to_builtins(batch)
    return record


def _age(batch: Batch) -> str:
    return _when(batch.closed or batch.ended or batch.submitted or batch.sealed)


def _when(instant: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(instant))
