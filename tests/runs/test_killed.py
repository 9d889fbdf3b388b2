"""``kill -9``, again and again: the file in the end is the same, and nothing that was durable is paid for twice."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from agentic_synth.testing.behaviour import Behaviour, Latency
from agentic_synth.testing.serve import SimulatorProcess
from tests.runs.places import ALPACA, FAULTY, QUICK, Place, answered, more_than

KILLS = 4
SCHEMA = {
    "type": "object",
    "required": ["subject", "body", "priority"],
    "properties": {
        "subject": {"type": "string", "maxLength": 80},
        "body": {"type": "string"},
        "priority": {"enum": ["low", "mid", "high"]},
    },
}
TICKETS: dict[str, Any] = {
    "recipe": "tickets",
    "rows": 250,
    "seed": 7,
    "columns": {
        "customer": {"fake": "name"},
        "product": ["router", "phone", "tv"],
        "ticket": {"prompt": "A ticket of {{ customer }} about a {{ product }}.", "schema": SCHEMA},
        "note": {"prompt": "A note to {{ customer }}.", "when": "product != 'tv'"},
        "reply": {"prompt": "Answer this: {{ ticket.body }}", "regenerate": 1},
    },
    "accept": ["ticket.priority != 'low'"],
}
TASKS: dict[str, Any] = {
    "recipe": "tasks",
    "seeds": str(ALPACA),
    "columns": {
        "variant": {"int": {"min": 1, "max": 999}},
        "task": {
            "prompt": "Variant {{ variant }} of a task like this one: {{ instruction }}",
            "schema": {
                "type": "object",
                "required": ["instruction", "answer"],
                "properties": {"instruction": {"type": "string"}, "answer": {"type": "string"}},
            },
        },
    },
}
needs_alpaca = pytest.mark.skipif(not ALPACA.exists(), reason="alpaca_seed_tasks.jsonl is not beside the checkout")


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe", [TICKETS, pytest.param(TASKS, marks=needs_alpaca)], ids=lambda recipe: recipe["recipe"]
)
def test_killed_and_resumed_it_is_the_same_file_and_little_is_paid_twice(
    tmp_path: Path, recipe: dict[str, Any]
) -> None:
    rng = random.Random(1)
    with SimulatorProcess(FAULTY, seed=3) as simulator:
        whole, killed = Place(tmp_path / "whole", simulator.url), Place(tmp_path / "killed", simulator.url)
        for place in (whole, killed):
            place.write("recipe.json", recipe)
        whole.finish("recipe.json", "--out", "rows.jsonl", "--rejects", "rejects.jsonl")
        needed = answered(simulator)
        whole.finish("recipe.json", "--out", "rows.parquet")
        assert answered(simulator) == needed, "an output of the same recipe takes the same draws"

        simulator.reset()
        command = ["recipe.json", "--out", "rows.parquet"]
        kills = sum(killed.kill(*command, when=more_than(simulator, rng, needed // KILLS)) for _ in range(KILLS))
        assert kills == KILLS
        assert not (killed.folder / "rows.parquet").exists()
        killed.finish(*command)
        paid = answered(simulator)
        # What was on the wire, and what was answered but not committed: a permit is free before its answer is durable.
        assert needed <= paid <= needed + kills * 2 * (QUICK.concurrency or 0)
        killed.finish("recipe.json", "--out", "rows.jsonl", "--rejects", "rejects.jsonl")
        assert answered(simulator) == paid
    for name in ("rows.parquet", "rows.jsonl", "rejects.jsonl"):
        assert killed.read(name) == whole.read(name)
    assert len(killed.rows("rows.jsonl")) == recipe.get("rows", 175)
    assert killed.rows("rejects.jsonl")


@pytest.mark.slow
@needs_alpaca
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet"])
def test_offline_a_killed_run_is_made_again_alike(tmp_path: Path, name: str) -> None:
    whole, killed = Place(tmp_path / "whole"), Place(tmp_path / "killed")
    for place in (whole, killed):
        place.write("recipe.json", TASKS)
    command = ["recipe.json", "--out", name, "--rows", "8000"]
    partial = killed.folder / f"{name}.partial"
    for size in (0, 1):
        assert killed.kill(*command, when=lambda size=size: partial.exists() and partial.stat().st_size >= size)  # type: ignore[misc]
        assert not (killed.folder / name).exists()
    killed.finish(*command)
    whole.finish(*command)
    assert killed.read(name) == whole.read(name)
    assert not partial.exists()


@pytest.mark.slow
def test_a_fresh_run_that_is_killed_goes_on_with_the_same_command(tmp_path: Path) -> None:
    recipe = {"rows": 60, "columns": {"n": {"sequence": {"start": 0}}, "text": {"prompt": "A word about {{ n }}."}}}
    fresh = ["recipe.json", "--out", "rows.jsonl", "--fresh"]
    # Equal requests are answered differently each time, as a model would.
    behaviour = Behaviour(latency=Latency(low=0.05), resample=True)
    with SimulatorProcess(behaviour) as simulator:
        place = Place(tmp_path / "place", simulator.url)
        place.write("recipe.json", recipe)
        place.finish("recipe.json", "--out", "rows.jsonl")
        first = place.rows("rows.jsonl")
        assert answered(simulator) == 60

        rng = random.Random(5)
        for _ in range(2):
            assert place.kill(*fresh, when=more_than(simulator, rng, 20))
        assert place.rows("rows.jsonl") == first, "the whole file of before still stands"
        place.finish(*fresh)
        assert 120 <= answered(simulator) <= 120 + 2 * (QUICK.concurrency or 0)
        second = place.rows("rows.jsonl")
        assert [row["n"] for row in second] == [row["n"] for row in first]
        assert sum(one == other for one, other in zip(first, second, strict=True)) <= 3

        paid = answered(simulator)
        place.finish("recipe.json", "--out", "rows.jsonl")
        assert (answered(simulator), place.rows("rows.jsonl")) == (paid, second), "the fresh draws are the output's now"
        place.finish(*fresh)
        assert answered(simulator) == paid + 60
        assert place.rows("rows.jsonl") != second
