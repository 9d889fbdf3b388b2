"""Rows that share calls over real sockets: fewer calls, the same rows, and nothing paid twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentic_synth.config import Config, UpstreamSettings
from agentic_synth.testing.serve import SimulatorProcess
from tests.runs.places import QUICK, Place

SCHEMA = {
    "type": "object",
    "required": ["number", "word"],
    "properties": {"number": {"type": "integer"}, "word": {"type": "string", "maxLength": 12}},
}


def recipe(**column: Any) -> dict[str, Any]:
    asked = {"prompt": "A short word, and a number, about {{ topic }} {{ n }}.", "schema": SCHEMA, **column}
    return {
        "recipe": "words",
        "system": "You know many words.",
        "columns": {"n": {"sequence": 1}, "topic": {"choice": ["tea", "rain"]}, "word": asked},
    }


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess() as process:
        yield process


@pytest.fixture
def place(tmp_path: Path, simulator: SimulatorProcess) -> Place:
    simulator.reset(faults="omitted=0.05,doubled=0.02,misnamed=0.02,invalid=0.1")
    return Place(tmp_path / "place", simulator.url)


async def make(place: Place, what: dict[str, Any], rows: int, name: str = "rows.jsonl", **synth: Any) -> Any:
    async with place.synth(**synth) as opened:
        run = await opened.run(what, rows=rows, out=str(place.folder / name))
    assert run.state == "complete"
    return run


async def test_every_row_is_there_and_every_token_is_told_once(place: Place, simulator: SimulatorProcess) -> None:
    run = await make(place, recipe(pack=10), 200)
    rows = [json.loads(line) for line in (place.folder / "rows.jsonl").read_text().splitlines()]
    assert [row["n"] for row in rows] == list(range(1, 201))
    assert all(set(row["word"]) == {"number", "word"} for row in rows)
    books = simulator.statistics()
    assert books["received"] < 100
    assert run.usage.input_tokens == books["input_tokens"]
    assert run.usage.output_tokens == books["output_tokens"]


async def test_a_rerun_pays_nothing_whatever_it_packs(place: Place, simulator: SimulatorProcess) -> None:
    await make(place, recipe(pack=10), 60)
    paid = simulator.statistics()["received"]
    ways: list[dict[str, Any]] = [{"pack": 10}, {"pack": 7}, {"pack": "auto"}, {}]
    for number, column in enumerate(ways):
        await make(place, recipe(**column), 60, name=f"again{number}.jsonl")
        assert (place.folder / f"again{number}.jsonl").read_bytes() == (place.folder / "rows.jsonl").read_bytes()
    assert simulator.statistics()["received"] == paid


async def test_a_larger_run_pays_for_the_new_rows_alone(place: Place, simulator: SimulatorProcess) -> None:
    simulator.reset()
    await make(place, recipe(), 40)
    await make(place, recipe(pack=20), 80, name="more.jsonl")
    assert simulator.statistics()["received"] in range(42, 44)
    first = (place.folder / "rows.jsonl").read_text().splitlines()
    assert (place.folder / "more.jsonl").read_text().splitlines()[:40] == first


async def test_a_column_that_waits_for_another_is_packed_too(place: Place, simulator: SimulatorProcess) -> None:
    simulator.reset()
    what = recipe(pack=10)
    what["columns"]["rhyme"] = {"prompt": "A rhyme on {{ word.word }}.", "pack": 10}
    await make(place, what, 100)
    assert simulator.statistics()["received"] < 60


async def test_servers_that_batch_by_themselves_are_asked_row_by_row(place: Place, simulator: SimulatorProcess) -> None:
    simulator.reset()
    config = Config(engine=QUICK, upstreams={"vllm": UpstreamSettings(base_url=simulator.url)})
    await make(place, recipe(pack=10), 30, config=config, model="vllm/m")
    assert simulator.statistics()["received"] == 30


async def test_packing_can_be_switched_off(place: Place, simulator: SimulatorProcess) -> None:
    simulator.reset()
    config = Config(engine=QUICK.__class__(concurrency=16, batching=False))
    await make(place, recipe(pack=10), 30, config=config)
    assert simulator.statistics()["received"] == 30
