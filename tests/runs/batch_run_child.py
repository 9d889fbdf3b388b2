"""A run by batch, in a process of its own that kills itself where it is told."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from agentic_synth.cache.batches import BatchLedger
from agentic_synth.cache.ledger import Journal
from agentic_synth.cache.parked import Parking
from agentic_synth.config import Config, EngineConfig, StoreConfig, UpstreamConfig
from agentic_synth.sdk.batch_desk import BatchDesk
from agentic_synth.sdk.recipe_run import RecipeRun, Run
from agentic_synth.sdk.run_options import Mode
from agentic_synth.sdk.session import Session
from agentic_synth.transport.batches.api import BatchApi, BatchLimits, BatchLine, BatchResult, ProviderBatch
from tests.runs.batch_child import SharedClock

T = TypeVar("T")

POINTS = ("park", "parked", "sealed", "submitting", "sent", "submitted", "ended", "fetched", "settled", "imported")
"""Where it may be killed: ``sent`` is before the provider's reply was noted, ``settled`` in the midst of the import."""
SCHEMA = {
    "type": "object",
    "required": ["subject", "priority"],
    "properties": {"subject": {"type": "string", "maxLength": 80}, "priority": {"enum": ["low", "mid", "high"]}},
}
RECIPE: dict[str, Any] = {
    "recipe": "tickets",
    "rows": 60,
    "seed": 7,
    "columns": {
        "customer": {"sequence": {"start": 1}},
        "product": ["router", "phone", "tv"],
        "ticket": {"prompt": "A ticket of customer {{ customer }} about a {{ product }}.", "schema": SCHEMA},
        "note": {"prompt": "A note to customer {{ customer }}.", "when": "product != 'tv'"},
        "reply": {"prompt": "Answer customer {{ customer }}: {{ ticket.subject }}"},
    },
    "accept": ["ticket.priority != 'low'"],
}
KEPT = EngineConfig(concurrency=16, backoff_base=0.01, backoff_cap=0.1, retry_budget=1.0)


class Death:
    """Kills this process when a point is reached for the *n*-th time."""

    def __init__(self, point: str, times: int = 1) -> None:
        self.point = point
        self.times = times

    def at(self, point: str) -> None:
        if point == self.point:
            self.times -= 1
            if not self.times:
                os.kill(os.getpid(), signal.SIGKILL)


class MortalJournal:
    """A journal that dies right after a transaction of its kind is durable."""

    def __init__(self, journal: Journal, death: Death) -> None:
        self._journal = journal
        self._death = death

    async def perform(self, work: Callable[[sqlite3.Connection], T]) -> T:
        before = self._told()
        if before["waiting"] == 0:
            self._death.at("park")
        result = await self._journal.perform(work)
        after = self._told()
        for point in POINTS:
            if after.get(point, 0) > before.get(point, 0):
                self._death.at(point)
        if after["waiting"] > before["waiting"]:
            self._death.at("parked")
        if after["batched"] < before["batched"]:
            self._death.at("settled")
        return result

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return self._journal.read(work)

    def _told(self) -> dict[str, int]:
        """How many batches stand where, and what is parked."""

        def work(connection: sqlite3.Connection) -> dict[str, int]:
            told: dict[str, int] = dict(connection.execute("SELECT state, count(*) FROM batches GROUP BY state"))
            (told["waiting"],) = connection.execute("SELECT count(*) FROM parked WHERE batch IS NULL").fetchone()
            (told["batched"],) = connection.execute("SELECT count(batch) FROM parked").fetchone()
            return told

        return self._journal.read(work)


class MortalApi:
    """A batch API whose caller dies once the provider has done its part."""

    def __init__(self, api: BatchApi, death: Death) -> None:
        self._api = api
        self._death = death

    @property
    def limits(self) -> BatchLimits:
        return self._api.limits

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)

    def list(self) -> AsyncIterator[ProviderBatch]:
        return self._api.list()

    async def submit(self, name: str, lines: Iterable[BatchLine]) -> ProviderBatch:
        sent = await self._api.submit(name, lines)
        self._death.at("sent")
        return sent

    async def results(self, batch: ProviderBatch) -> AsyncGenerator[BatchResult, None]:
        async for result in self._api.results(batch):
            yield result
        self._death.at("fetched")


class MortalSession(Session):
    """A session that dies at one point."""

    def __init__(self, config: Config, upstream: UpstreamConfig, death: Death) -> None:
        super().__init__(config, lambda reference, base_url: upstream)
        self._death = death
        journal = MortalJournal(cast("Journal", self._journal), death)
        self.batches, self.parking = BatchLedger(journal), Parking(journal)

    def desk(self, name: str) -> BatchDesk:
        desk = super().desk(name)
        if not isinstance(desk.api, MortalApi):
            desk.api = desk._counter.api = cast("BatchApi", MortalApi(desk.api, self._death))
        return desk


async def run(folder: Path, url: str, wire: str, mode: Mode, kill_at: str = "", times: int = 1) -> Run:
    """Run the recipe of *folder* through the provider at *url*, which lets time pass whenever we wait."""
    config = Config(engine=KEPT, store=StoreConfig(path=str(folder / "store")))
    upstream = UpstreamConfig(
        reference="simulated/m", name="simulated", model="m", wire=wire, base_url=url  # type: ignore[arg-type]
    )  # fmt: skip
    session = MortalSession(config, upstream, Death(kill_at, times))
    recipe = msgspec.json.decode((folder / "recipe.json").read_bytes())
    try:
        made = RecipeRun(
            session, recipe, rows=None, seeds=None, options={"mode": mode}, said={}, clock=SharedClock(url)
        )
        return await made.execute(str(folder / "rows.jsonl"))
    finally:
        await session.aclose()


if __name__ == "__main__":
    place, address, spoken, asked, point, count = sys.argv[1:]
    sys.stdout.write(asyncio.run(run(Path(place), address, spoken, cast("Mode", asked), point, int(count))).state)
