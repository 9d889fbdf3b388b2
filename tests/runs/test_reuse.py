"""What a run takes from others, over real sockets: pools, and where every cell says it came from."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from agentic_synth.cli.summary import summary
from agentic_synth.sdk.recipe_run import Run
from agentic_synth.testing.serve import SimulatorProcess
from tests.runs.places import Place, answered

SCHEMA = {"type": "object", "required": ["word"], "properties": {"word": {"type": "string"}}}
POOLED: dict[str, Any] = {
    "recipe": "pooled",
    "columns": {
        "word": {"prompt": "A word.", "reuse": "pool"},
        "kind": {"prompt": "What kind of word is {{ word }}?", "reuse": "pool", "schema": SCHEMA},
    },
}
"""Equal prompts, each a draw of its own, and one that depends on them."""


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess() as process:
        yield process


@pytest.fixture
def place(tmp_path: Path, simulator: SimulatorProcess) -> Place:
    simulator.reset(resample="yes")
    return Place(tmp_path / "place", simulator.url)


async def ran(place: Place, recipe: dict[str, Any], name: str = "rows.jsonl", **options: Any) -> Run:
    async with place.synth() as opened:
        return await opened.run(recipe, out=str(place.folder / name), **options)


async def test_another_seed_takes_what_others_drew_and_asks_only_for_what_is_missing(
    place: Place, simulator: SimulatorProcess
) -> None:
    await ran(place, POOLED, "one.jsonl", rows=30, seed=1)
    assert answered(simulator) == 60
    run = await ran(place, POOLED, "two.jsonl", rows=40, seed=2, provenance=True)
    assert answered(simulator) == 80
    assert run.statistics["from"] == {"pool": 60, "answered": 20}
    rows = place.rows("two.jsonl")
    assert Counter(row["_source_word"] for row in rows) == {"pool": 30, "answered": 10}
    assert Counter(row["_source_kind"] for row in rows) == {"pool": 30, "answered": 10}
    one = Counter(row["word"] for row in place.rows("one.jsonl"))
    assert Counter(row["word"] for row in rows if row["_source_word"] == "pool") == one, "each once"
    # The whole run again finds all of it under its own draws, and says the same of what it took.
    again = await ran(place, POOLED, "again.jsonl", rows=40, seed=2)
    assert (answered(simulator), again.statistics["from"]) == (80, {"pool": 60, "exact": 20})
    plain = [{name: row[name] for name in ("word", "kind")} for row in rows]
    assert place.rows("again.jsonl") == plain
    assert again.cost == 0
    assert any("80 answered from the store (60 pool)" in line for line in summary("complete", again.statistics, None))


async def test_a_fresh_run_takes_nothing_from_others(place: Place, simulator: SimulatorProcess) -> None:
    await ran(place, POOLED, "one.jsonl", rows=10, seed=1)
    run = await ran(place, POOLED, "two.jsonl", rows=10, seed=2, fresh=True)
    assert answered(simulator) == 40
    assert run.statistics["from"] == {"answered": 20}


async def test_provenance_is_a_column_of_every_format_and_empty_where_nothing_was_asked(place: Place) -> None:
    recipe = {
        "columns": {
            "n": {"sequence": {"start": 0}},
            "text": {"prompt": "A word about {{ n }}."},
            "note": {"prompt": "A note about {{ n }}.", "when": "n > 1"},
        }
    }
    await ran(place, recipe, "rows.parquet", rows=3, provenance=True)
    table = pq.read_table(place.folder / "rows.parquet")
    assert table.column_names == ["n", "text", "note", "_source_text", "_source_note"]
    assert table["_source_text"].to_pylist() == ["answered"] * 3
    assert table["_source_note"].to_pylist() == [None, None, "answered"]
    await ran(place, recipe, "rows.parquet", rows=3, provenance=True)
    assert pq.read_table(place.folder / "rows.parquet")["_source_text"].to_pylist() == ["exact"] * 3
    await ran(place, recipe, "plain.parquet", rows=3)
    assert pq.read_table(place.folder / "plain.parquet").column_names == ["n", "text", "note"]


async def test_a_stored_answer_that_a_stricter_rule_refuses_is_asked_again_and_the_others_are_not(
    place: Place, simulator: SimulatorProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rule is Python's, so the schema and with it the key are the same: the row judges what it is served."""
    monkeypatch.syspath_prepend(str(tmp_path))
    model = "import pydantic\n\nclass Word(pydantic.BaseModel):\n    word: str\n"
    rule = (
        "\n    @pydantic.field_validator('word')\n    @classmethod\n    def check(cls, word: str) -> str:\n"
        "        if len(word) % 2:\n            raise ValueError('odd')\n        return word\n"
    )
    (tmp_path / "lax_word.py").write_text(model)
    (tmp_path / "strict_word.py").write_text(model + rule)
    columns: dict[str, Any] = {"n": {"sequence": {"start": 0}}, "word": {"prompt": "Word {{ n }}.", "regenerate": 20}}

    def recipe(module: str) -> dict[str, Any]:
        return {"columns": {**columns, "word": {**columns["word"], "schema": f"{module}:Word"}}}

    await ran(place, recipe("lax_word"), "lax.jsonl", rows=40)
    words = [row["word"]["word"] for row in place.rows("lax.jsonl")]
    odd = sum(len(word) % 2 for word in words)
    assert 0 < odd < 40
    paid = answered(simulator)
    run = await ran(place, recipe("strict_word"), "strict.jsonl", rows=40)
    kept = [row["word"]["word"] for row in place.rows("strict.jsonl")]
    assert all(len(word) % 2 == 0 for word in kept)
    assert [word for word in words if len(word) % 2 == 0] == [
        word for word, before in zip(kept, words, strict=True) if len(before) % 2 == 0
    ]
    assert run.statistics["from"]["exact"] == 40
    assert odd <= answered(simulator) - paid == run.statistics["from"]["answered"]


async def test_equal_streams_of_one_engine_are_one_call_on_the_wire(place: Place, simulator: SimulatorProcess) -> None:
    async with place.synth() as synth:

        async def read() -> str:
            return "".join([delta.text async for delta in synth.stream("A long story.", temperature=0)])

        first, second = [asyncio.create_task(read()) for _ in range(20)], asyncio.create_task(read())
        await asyncio.sleep(0)
        second.cancel()
        texts = set(await asyncio.gather(*first))
        assert len(texts) == 1
        assert simulator.statistics()["received"] == 1
        plain = await synth.complete("A long story.", temperature=0)
        assert (plain.text, plain.stored) == (texts.pop(), True)
        assert synth.session.engine.statistics()["dedup"]["in_flight"] == 0
