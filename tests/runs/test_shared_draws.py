"""Equal prompts that share one draw, over real sockets: each distinct one is paid once, whoever asks and how often."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from agentic_synth.testing.behaviour import Behaviour, Latency
from agentic_synth.testing.serve import SimulatorProcess
from tests.runs.places import Place

DISTINCT, ALL = 1_400, 2_000
RECIPE: dict[str, Any] = {
    "recipe": "shared",
    "seeds": "prompts.jsonl",
    "columns": {"answer": {"prompt": "{{ prompt }}", "draws": "shared"}},
}
SLOW = Behaviour(latency=Latency(low=0.3))
"""So slow that duplicates are in flight together: rows are asked faster than the first answer comes."""


def prepared(folder: Path, url: str) -> Place:
    place = Place(folder, url)
    (place.folder / "synth.toml").write_text("[engine]\nconcurrency = 200\n")
    place.write("recipe.json", RECIPE)
    rng = random.Random(11)
    prompts = [f"A word about the number {number}." for number in range(DISTINCT)]
    prompts += rng.choices(prompts, k=ALL - DISTINCT)
    rng.shuffle(prompts)
    (place.folder / "prompts.jsonl").write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))
    return place


@pytest.mark.slow
def test_of_two_thousand_prompts_the_provider_sees_the_distinct_ones_once(tmp_path: Path) -> None:
    with SimulatorProcess(SLOW) as simulator:
        place = prepared(tmp_path / "place", simulator.url)
        place.finish("recipe.json", "--out", "rows.jsonl", "--provenance", "--stats", "stats.json")
        books = simulator.statistics()
        assert (books["received"], books["distinct"]) == (DISTINCT, DISTINCT)
        rows = place.rows("rows.jsonl")
        assert len(rows) == ALL
        told = json.loads(place.read("stats.json"))["from"]
        assert told["answered"] == DISTINCT
        assert sum(told.values()) == ALL
        sources = [row["_source_answer"] for row in rows]
        assert {name: sources.count(name) for name in told} == told
        assert told["dedup"] > 50, "duplicates met in flight"


@pytest.mark.slow
def test_two_processes_at_once_pay_each_distinct_prompt_once(tmp_path: Path) -> None:
    with SimulatorProcess(SLOW) as simulator:
        place = prepared(tmp_path / "place", simulator.url)
        names = ["one.jsonl", "two.jsonl"]
        running = [place.start("recipe.json", "--out", name) for name in names]
        for process in running:
            with process:
                _, told = process.communicate(timeout=50)
            assert process.returncode == 0, told.decode()
        books = simulator.statistics()
        assert (books["received"], books["distinct"]) == (DISTINCT, DISTINCT)
        assert place.read(names[0]) == place.read(names[1])
        assert len(place.rows(names[0])) == ALL
