"""Runs through providers' batches: the same file as online, half the price, nothing twice, whatever happens."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import agentic_synth
from agentic_synth.clock import Clock
from agentic_synth.config import Config
from agentic_synth.errors import ConfigError, UnknownModel
from agentic_synth.recipes.lineage import Lineage
from agentic_synth.recipes.rows import Rows
from agentic_synth.sdk.recipe_run import RecipeRun, Run
from agentic_synth.sdk.run_options import RunOptions
from agentic_synth.sdk.synth import Synth
from agentic_synth.testing.behaviour import Behaviour
from agentic_synth.testing.serve import SimulatorProcess
from tests.runs import batch_run_child
from tests.runs.batch_child import SharedClock
from tests.runs.batch_run_child import KEPT, POINTS, RECIPE

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(Behaviour()) as process:
        yield process


def drive(folder: Path, url: str, wire: str, mode: str, kill_at: str = "", times: int = 1) -> int:
    source = Path(next(iter(agentic_synth.__path__))).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(source), str(ROOT)])}
    command = [sys.executable, "-m", "tests.runs.batch_run_child", str(folder), url, wire, mode, kill_at, str(times)]
    ended = subprocess.run(command, env=environment, timeout=50, check=False, capture_output=True, text=True)
    assert ended.returncode in (0, -9), ended.stderr
    assert ended.returncode or ended.stdout.strip() == "complete", ended.stdout
    return ended.returncode


def workplace(folder: Path) -> Path:
    folder.mkdir()
    (folder / "recipe.json").write_text(json.dumps(RECIPE))
    return folder


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("wire", ["openai", "anthropic"])
def test_killed_at_every_state_it_is_the_file_of_an_online_run_and_paid_once(
    tmp_path: Path, simulator: SimulatorProcess, wire: str
) -> None:
    online, killed = workplace(tmp_path / "online"), workplace(tmp_path / "killed")
    simulator.reset(batches="processing=600s", faults="invalid=0.2")
    assert drive(online, simulator.url, wire, "online") == 0
    usual = simulator.statistics()
    paid = usual["answered"]

    simulator.reset(batches="processing=600s", faults="invalid=0.2")
    for point in POINTS:
        assert drive(killed, simulator.url, wire, "batch", point) == -9, point
    # The prompts that hold other answers make a batch of their own.
    assert [drive(killed, simulator.url, wire, "batch", point) for point in POINTS] == [-9] * len(POINTS)
    assert drive(killed, simulator.url, wire, "batch") == 0
    books = simulator.statistics()
    assert books["batches"]["requests"] == books["batches"]["finished"] == books["answered"] == paid
    # A refilled row may ask the same words again, as it does online.
    assert books["answered_again"] == usual["answered_again"]
    assert (killed / "rows.jsonl").read_bytes() == (online / "rows.jsonl").read_bytes()
    assert drive(killed, simulator.url, wire, "batch") == 0
    assert simulator.statistics()["batches"]["requests"] == paid


# In one process -------------------------------------------------------------------------------------------------------

NOTES: dict[str, Any] = {
    "recipe": "notes",
    "rows": 120,
    "columns": {"n": {"sequence": {"start": 0}}, "note": {"prompt": "A note about {{ n }}."}},
    "parameters": {"max_tokens": 300},
}


def opened(folder: Path, url: str, model: str = "any", **told: Any) -> Synth:
    return Synth(model, base_url=url, store=str(folder / "store"), config=Config(engine=KEPT), **told)


def prepared(synth: Synth, recipe: dict[str, Any], options: RunOptions, clock: Clock | None = None) -> RecipeRun:
    clock = clock or SharedClock(synth.upstream.base_url)
    return RecipeRun(synth.session, recipe, rows=None, seeds=None, options=options, said={}, clock=clock)


async def ran(folder: Path, url: str, options: RunOptions, recipe: dict[str, Any] = NOTES, **told: Any) -> Run:
    async with opened(folder, url, **told) as synth:
        return await prepared(synth, recipe, options).execute(str(folder / "rows.jsonl"))


async def test_what_a_batch_fails_twice_fails_with_its_error_and_a_rerun_asks_it_again(
    tmp_path: Path, simulator: SimulatorProcess
) -> None:
    simulator.reset(batches="processing=600s,failed=0.3")
    run = await ran(tmp_path, simulator.url, {"mode": "batch"})
    assert run.state == "failed"
    assert set(run.statistics["requests"]["failure_reasons"]) == {"Overloaded"}
    failed = run.statistics["requests"]["failures"]
    assert run.rows == 120 - failed
    assert simulator.statistics()["batches"]["batches"] == 2
    while (await ran(tmp_path, simulator.url, {"mode": "batch"})).state != "complete":
        pass
    books = simulator.statistics()
    assert (books["answered"], books["answered_again"]) == (120, 0)


@pytest.mark.parametrize("batches", ["processing=600s,failed=0.5", "processing=600s,expiry=300s"])
async def test_mixed_asks_online_what_batches_leave_over(
    tmp_path: Path, simulator: SimulatorProcess, batches: str
) -> None:
    simulator.reset(batches=batches)
    run = await ran(tmp_path, simulator.url, {"mode": "mixed"})
    books = simulator.statistics()
    assert run.state == "complete"
    assert (books["answered"], books["answered_again"]) == (120, 0)
    assert run.statistics["requests"]["from_store"] == 0
    assert 40 <= books["batches"]["finished"] < 88
    assert run.statistics["requests"]["attempts"] == books["statuses"]["200"] + _seen(books, batches)


def _seen(books: dict[str, Any], batches: str) -> int:
    """Requests of batches that a model has seen; what expired costs nothing."""
    seen: int = books["batches"]["requests" if "failed" in batches else "finished"]
    return seen


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
@pytest.mark.parametrize("fault", ["upload", "submit", "lost", "poll", "results"])
async def test_what_goes_wrong_between_us_and_the_provider_is_tried_again(
    tmp_path: Path, simulator: SimulatorProcess, fault: str, wire: str
) -> None:
    simulator.reset(batches=f"processing=600s,{fault}=0.4", seed=3)
    (tmp_path / "recipe.json").write_text(json.dumps(RECIPE))
    run = await batch_run_child.run(tmp_path, simulator.url, wire, "batch")
    books = simulator.statistics()
    assert run.state == "complete"
    assert books["batches"]["requests"] == books["answered"] == run.statistics["requests"]["attempts"]


async def test_a_batch_that_is_cancelled_keeps_what_it_finished(tmp_path: Path, simulator: SimulatorProcess) -> None:
    simulator.reset(batches="processing=600s")
    async with opened(tmp_path, simulator.url) as synth:
        clock = Canceller(synth, simulator.url)
        run = await prepared(synth, NOTES, {"mode": "batch"}, clock).execute(str(tmp_path / "rows.jsonl"))
        first, second = reversed(synth.session.batches.batches())
    books = simulator.statistics()
    assert run.state == "complete"
    assert 0 < first.answered < 120
    assert (second.requests, second.answered) == (120 - first.answered, 120 - first.answered)
    assert (books["answered"], books["answered_again"]) == (120, 0)


class Canceller(SharedClock):
    """Calls the first batch off in the midst of it."""

    def __init__(self, synth: Synth, url: str) -> None:
        super().__init__(url)
        self._synth = synth
        self._waits = 0

    async def sleep(self, seconds: float) -> None:
        await super().sleep(60)
        self._waits += 1
        if self._waits == 4:
            (batch,) = self._synth.session.batches.pending()
            await self._synth.session.desk("any").api.cancel(batch.identity)


async def test_mixed_gives_the_first_rows_before_the_batch_ends(tmp_path: Path, simulator: SimulatorProcess) -> None:
    simulator.reset(batches="processing=600s")
    async with opened(tmp_path, simulator.url) as synth:
        early = []
        async for row in synth.generate(NOTES, mode="mixed"):
            early.append(row)
            if len(early) == 32:
                break
    assert [row["n"] for row in early] == list(range(32))
    assert simulator.statistics()["batches"]["finished"] == 0


async def test_half_the_price_is_estimated_and_billed(tmp_path: Path, simulator: SimulatorProcess) -> None:
    simulator.reset(batches="processing=600s")
    model = "openai/gpt-4.1-mini"
    online = await ran(tmp_path, simulator.url, {}, model=model)
    (tmp_path / "other").mkdir()
    by_batch = await ran(tmp_path / "other", simulator.url, {"mode": "batch"}, model=model)
    assert online.cost is not None
    assert by_batch.cost == pytest.approx(online.cost / 2)
    assert by_batch.statistics["dollars_saved"] == 0
    assert by_batch.usage == online.usage
    assert by_batch.statistics["upstreams"] == online.statistics["upstreams"]
    async with Synth(model, store=str(tmp_path / "new"), config=Config(engine=KEPT), sends=False) as synth:
        usual, half = await synth.estimate(NOTES), await synth.estimate(NOTES, mode="batch")
    assert usual.dollars is not None
    assert half.dollars == pytest.approx(usual.dollars / 2)


@pytest.mark.parametrize(("budget", "rows"), [("200req", 120), ("70req", 70)])
async def test_a_budget_is_never_passed(tmp_path: Path, simulator: SimulatorProcess, budget: str, rows: int) -> None:
    simulator.reset(batches="processing=600s")
    run = await ran(tmp_path, simulator.url, {"mode": "batch"}, budget=budget)
    assert (run.rows, run.budget_spent) == (rows, rows < 120)
    assert simulator.statistics()["batches"]["requests"] == rows


async def test_a_budget_in_tokens_makes_smaller_batches_one_after_the_other(
    tmp_path: Path, simulator: SimulatorProcess
) -> None:
    simulator.reset(batches="processing=600s")
    run = await ran(tmp_path, simulator.url, {"mode": "batch"}, budget="8ktok")
    books = simulator.statistics()
    assert run.state == "complete"
    assert books["batches"]["batches"] > 1
    assert run.usage.input_tokens + run.usage.output_tokens <= 8_000


async def test_stopped_it_leaves_the_batch_and_the_next_run_fetches_it(
    tmp_path: Path, simulator: SimulatorProcess
) -> None:
    simulator.reset(batches="processing=600s")
    async with opened(tmp_path, simulator.url) as synth:
        clock = Stopper(simulator.url)
        run = clock.run = prepared(synth, NOTES, {"mode": "batch"}, clock)
        done = await run.execute(str(tmp_path / "rows.jsonl"))
        assert (done.state, done.rows) == ("interrupted", 0)
        assert [batch.state for batch in synth.session.batches.pending()] == ["submitted"]
    assert (await ran(tmp_path, simulator.url, {"mode": "batch"})).state == "complete"
    assert simulator.statistics()["batches"] | {"files": 1} == {
        "requests": 120, "repeated": 0, "finished": 120, "batches": 1, "files": 1
    }  # fmt: skip


async def test_what_an_earlier_run_sent_counts_in_the_budget_of_the_one_that_fetches_it(
    tmp_path: Path, simulator: SimulatorProcess
) -> None:
    simulator.reset(batches="processing=600s")
    async with opened(tmp_path, simulator.url, budget="70req") as synth:
        clock = Stopper(simulator.url, "70 in 1 batch at any: ")
        run = clock.run = prepared(synth, NOTES, {"mode": "batch"}, clock)
        assert (await run.execute(str(tmp_path / "rows.jsonl"))).state == "interrupted"
    for budget, rows in (("70req", 70), ("60req", 120)):
        done = await ran(tmp_path, simulator.url, {"mode": "batch"}, budget=budget)
        assert (done.rows, done.budget_spent) == (rows, rows < 120)
        assert simulator.statistics()["batches"]["requests"] == rows


class Stopper(SharedClock):
    """Stops the run in the midst of its first batch, when progress shows what is *told*."""

    run: RecipeRun

    def __init__(self, url: str, told: str = "120 in 1 batch at any: ") -> None:
        super().__init__(url)
        self._told = told

    async def sleep(self, seconds: float) -> None:
        await super().sleep(60)
        if self.now() > 200:
            assert self.run.snapshot().batches.startswith(self._told)
            self.run.stop()
            await asyncio.sleep(0)


async def test_two_runs_at_once_share_their_batches(tmp_path: Path, simulator: SimulatorProcess) -> None:
    simulator.reset(batches="processing=600s")
    async with opened(tmp_path, simulator.url) as one, opened(tmp_path, simulator.url) as other:
        runs = [
            prepared(synth, NOTES, {"mode": "batch"}, YieldingClock(simulator.url)).execute(str(tmp_path / name))
            for synth, name in ((one, "a.jsonl"), (one, "b.jsonl"), (other, "c.jsonl"))
        ]
        done = await asyncio.gather(*runs)
    assert [run.state for run in done] == ["complete"] * 3
    books = simulator.statistics()
    assert (books["answered"], books["answered_again"]) == (120, 0)


class YieldingClock(SharedClock):
    """Lets the others go on while it waits."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        await super().sleep(seconds)


async def test_equal_prompts_that_share_a_draw_are_asked_once(tmp_path: Path, simulator: SimulatorProcess) -> None:
    simulator.reset(batches="processing=600s")
    columns = {"product": ["router", "phone"], "note": {"prompt": "A note about a {{ product }}.", "draws": "shared"}}
    run = await ran(tmp_path, simulator.url, {"mode": "batch"}, NOTES | {"columns": columns})
    assert (run.state, run.rows) == ("complete", 120)
    assert simulator.statistics()["batches"]["requests"] == 2
    assert run.statistics["requests"]["from_store"] == 118


async def test_what_nobody_wants_any_more_is_not_sent(tmp_path: Path, simulator: SimulatorProcess) -> None:
    simulator.reset(batches="processing=600s")
    async with opened(tmp_path, simulator.url) as synth:
        run = prepared(synth, NOTES, {"mode": "batch"})
        desk = synth.session.desk("any")
        for column in ("A poem about {{ n }}.", "A song about {{ n }}."):
            earlier = prepared(synth, NOTES | {"columns": NOTES["columns"] | {"note": {"prompt": column}}}, {})
            rows = Rows(earlier.plan, Lineage(seed=0, epoch=0), synth.session.engine)
            requests = [rows.admit(index, None).first for index in range(5)]
            for candidate in requests:
                assert candidate is not None
                await desk.lot.park(candidate.requests["note"])
            await desk.seal() if "poem" in column else None
        assert (await run.execute(str(tmp_path / "rows.jsonl"))).state == "complete"
    assert simulator.statistics()["batches"]["requests"] == 120


@pytest.mark.parametrize(
    ("change", "message"),
    [({"reuse": "refresh"}, "reuse: refresh"), ({"model": "offline"}, "offline has no batch API")],
)
async def test_what_cannot_go_by_batch_is_told_first(
    tmp_path: Path, simulator: SimulatorProcess, change: dict[str, Any], message: str
) -> None:
    note = NOTES["columns"]["note"] | change
    recipe = NOTES | {"columns": NOTES["columns"] | {"note": note}}
    async with opened(tmp_path, simulator.url) as synth:
        with pytest.raises(ConfigError, match=message):
            synth.prepare(recipe, mode="batch")


async def test_a_server_without_batches_is_told_before_anything_is_parked(
    tmp_path: Path, simulator: SimulatorProcess
) -> None:
    async with opened(tmp_path, f"{simulator.url}/nowhere") as synth:
        run = prepared(synth, NOTES, {"mode": "batch"})
        with pytest.raises(UnknownModel, match="--mode online"):
            await run.execute(str(tmp_path / "rows.jsonl"))
        assert synth.session.desk(synth.upstream.reference).waiting() == 0


async def test_without_a_store_nothing_goes_by_batch(simulator: SimulatorProcess) -> None:
    async with Synth("any", base_url=simulator.url, store=":none:", config=Config(engine=KEPT)) as synth:
        with pytest.raises(ConfigError, match="store"):
            synth.prepare(NOTES, mode="batch")
