"""Whole runs over real sockets: what is paid, what is written, and what the next run makes of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest

from agentic_synth.config import Config, EngineConfig, UpstreamSettings
from agentic_synth.errors import InvalidRequest, OutputError, RecipeError
from agentic_synth.sdk.recipe_run import Run
from agentic_synth.testing.behaviour import Behaviour, Latency
from agentic_synth.testing.serve import SimulatorProcess
from tests.runs.places import QUICK, Place, answered

RECIPE: dict[str, Any] = {
    "recipe": "words",
    "rows": 40,
    "columns": {"n": {"sequence": {"start": 0}}, "text": {"prompt": "A word about {{ n }}."}},
}


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess() as process:
        yield process


@pytest.fixture
def provider(simulator: SimulatorProcess) -> SimulatorProcess:
    """The provider with fresh books, and no fault at all."""
    simulator.reset()
    return simulator


@pytest.fixture
def place(tmp_path: Path, provider: SimulatorProcess) -> Place:
    return Place(tmp_path / "place", provider.url)


async def ran(place: Place, recipe: dict[str, Any] = RECIPE, name: str = "rows.jsonl", **options: Any) -> Run:
    """A run of *recipe* with a Synth of its own; *options* are those of ``run``, and *engine*."""
    synth = {key: options.pop(key) for key in ("engine", "config", "budget", "model", "fallback") if key in options}
    if "rejects" in options:
        options["rejects"] = str(place.folder / options["rejects"])
    async with place.synth(**synth) as opened:
        return await opened.run(recipe, out=str(place.folder / name), **options)


# Reruns --------------------------------------------------------------------------------------------------------------


async def test_a_rerun_pays_nothing_and_writes_the_same_bytes(place: Place, provider: SimulatorProcess) -> None:
    provider.reset(faults="invalid=0.3,refusal=0.1,error=0.05", resample="yes")
    schema = {"type": "object", "required": ["word"], "properties": {"word": {"type": "string", "maxLength": 12}}}
    recipe = {**RECIPE, "columns": {**RECIPE["columns"], "data": {"prompt": "Data of {{ n }}.", "schema": schema}}}
    first = await ran(place, recipe, rejects="rejects.jsonl")
    written, rejects = place.read("rows.jsonl"), place.read("rejects.jsonl")
    assert (first.state, first.rows) == ("complete", 40)
    assert first.statistics["requests"]["repairs"] > 0
    paid = answered(provider)
    for concurrency in (1, 40):
        again = await ran(place, recipe, rejects="rejects.jsonl", engine=_with(concurrency))
        assert again.statistics["requests"]["attempts"] == 0
        assert (place.read("rows.jsonl"), place.read("rejects.jsonl")) == (written, rejects)
    assert answered(provider) == paid


def _with(concurrency: int) -> EngineConfig:
    return msgspec.structs.replace(QUICK, concurrency=concurrency)


async def test_equal_prompts_are_separate_draws_and_shared_ones_are_not(
    place: Place, provider: SimulatorProcess
) -> None:
    provider.reset(resample="yes")
    recipe = {
        "rows": 30,
        "columns": {"own": {"prompt": "Tell a story."}, "same": {"prompt": "Tell one.", "draws": "shared"}},
    }
    await ran(place, recipe, engine=_with(1), window=1)
    rows = place.rows("rows.jsonl")
    assert len({row["own"] for row in rows}) == 30
    assert len({row["same"] for row in rows}) == 1
    assert answered(provider) == 31


async def test_another_seed_is_another_draw_of_everything(place: Place, provider: SimulatorProcess) -> None:
    provider.reset(resample="yes")
    recipe = {**RECIPE, "columns": {"size": {"int": {"min": 0, "max": 10**9}}, "text": {"prompt": "A word."}}}
    await ran(place, recipe)
    first = place.rows("rows.jsonl")
    await ran(place, recipe, seed=5)
    second = place.rows("rows.jsonl")
    assert answered(provider) == 80
    assert not {row["size"] for row in first} & {row["size"] for row in second}
    await ran(place, {**recipe, "seed": 5})
    assert (answered(provider), place.rows("rows.jsonl")) == (80, second)
    await ran(place, recipe)
    assert (answered(provider), place.rows("rows.jsonl")) == (80, first)


async def test_more_rows_later_pay_only_for_the_new_ones(place: Place, provider: SimulatorProcess) -> None:
    await ran(place)
    first = place.rows("rows.jsonl")
    await ran(place, rows=70)
    assert place.rows("rows.jsonl")[:40] == first
    assert answered(provider) == 70


async def test_editing_one_prompt_pays_only_for_what_depends_on_it(place: Place, provider: SimulatorProcess) -> None:
    columns = {
        **RECIPE["columns"],
        "title": {"prompt": "A title for: {{ text }}"},
        "aside": {"prompt": "Something else than {{ n }}."},
    }
    await ran(place, {**RECIPE, "columns": columns})
    assert answered(provider) == 120
    await ran(place, {**RECIPE, "columns": {**columns, "title": {"prompt": "A short title for: {{ text }}"}}})
    assert answered(provider) == 160
    await ran(place, {**RECIPE, "columns": {**columns, "new": ["a", "b"]}})
    assert answered(provider) == 160


async def test_seeds_in_front_pay_for_themselves_alone(place: Place, provider: SimulatorProcess) -> None:
    recipe = {
        "columns": {"text": {"prompt": "Of {{ topic }}."}, "title": {"prompt": "A title for: {{ text }}"}},
    }
    seeds = [{"topic": f"t{number}"} for number in range(50)]
    await ran(place, recipe, seeds=seeds)
    first = place.rows("rows.jsonl")
    await ran(place, recipe, seeds=[{"topic": "new"}, *seeds])
    assert answered(provider) == 102
    assert place.rows("rows.jsonl")[1:] == first


# Columns -------------------------------------------------------------------------------------------------------------


async def test_columns_of_two_models_are_asked_at_once_and_others_wait_for_them(
    tmp_path: Path, provider: SimulatorProcess
) -> None:
    provider.reset(latency="30ms")
    with SimulatorProcess(Behaviour(latency=Latency(low=0.03), models=("right",))) as second:
        place = Place(tmp_path / "place", provider.url)
        recipe = {
            "rows": 1,
            "columns": {
                "left": {"prompt": "Left.", "model": "any", "base_url": provider.url},
                "right": {"prompt": "Right.", "model": "right", "base_url": second.url},
                "two": {"prompt": "{{ left }} | {{ right }}", "model": "any", "base_url": provider.url},
                "sum": {"expression": "(left | length) + (right | length)", "type": "integer"},
                "far": {"prompt": "Far: {{ sum }}", "model": "right", "base_url": second.url, "when": "sum < 0"},
                "near": {"prompt": "Near: {{ sum }}", "model": "right", "base_url": second.url, "when": "sum > 0"},
            },
        }
        run = await ran(place, recipe, model=None, rows=12)
        assert (answered(provider), answered(second)) == (24, 24)
    assert (run.state, run.rows) == ("complete", 12)
    for row in place.rows("rows.jsonl"):
        assert list(row) == ["left", "right", "two", "sum", "far", "near"]
        assert row["sum"] == len(row["left"]) + len(row["right"])
        assert row["far"] is None
        assert row["near"]


async def test_rejected_candidates_are_kept_with_reason_and_answer(place: Place, provider: SimulatorProcess) -> None:
    provider.reset(faults="refusal=0.4")
    recipe = {
        "rows": 20,
        "columns": {
            "n": {"sequence": {"start": 0}},
            "size": {"int": {"min": 0, "max": 9}},
            "text": {"prompt": "{{ size }} words about {{ n }}.", "regenerate": 0},
        },
        "accept": ["size != 3"],
    }
    run = await ran(place, recipe, rejects="rejects.jsonl")
    rows, rejects = place.rows("rows.jsonl"), place.rows("rejects.jsonl")
    assert (run.state, len(rows)) == ("complete", 20)
    assert len(rejects) == run.statistics["rows"]["rejected"]
    assert {reject["reason"] for reject in rejects} == {"accept: size != 3", "text: the model refused to answer"}
    for reject in rejects:
        refused = reject["column"] == "text"
        assert refused == reject["reason"].startswith("text: ") == bool(reject["answer"])
        assert reject["values"]["n"] == reject["slot"]
        assert (reject["values"]["size"] == 3) == (not refused)
    places = [(reject["slot"], reject["candidate"]) for reject in rejects]
    assert places == sorted(places)
    assert all(row["size"] != 3 and "can't help" not in row["text"] for row in rows)


@pytest.mark.slow
async def test_what_is_not_stored_is_not_asked_again_for_having_waited(
    tmp_path: Path, provider: SimulatorProcess
) -> None:
    provider.reset(answers="brief")
    with SimulatorProcess(Behaviour(latency=Latency(low=4.0))) as slow:
        columns = {
            **RECIPE["columns"],
            "text": {"prompt": "A word about {{ n }}.", "model": "any", "base_url": provider.url, "reuse": "no_store"},
            "first": {"prompt": "Slowly.", "model": "any", "base_url": slow.url, "when": "n == 0"},
        }
        place = Place(tmp_path / "place")
        run = await ran(place, {**RECIPE, "columns": columns}, model=None, rows=1_500, engine=_with(64))
        assert (answered(provider), answered(slow)) == (1_500, 1)
    assert run.statistics["latency_seconds"]["max"] >= 4.0
    assert [row["n"] for row in place.rows("rows.jsonl")] == list(range(1_500))


# Who answered --------------------------------------------------------------------------------------------------------


async def test_offline_rows_say_so_and_so_does_what_is_made_from_them(place: Place, provider: SimulatorProcess) -> None:
    await ran(place, name="first.jsonl", model=None)
    assert {row["_upstream"] for row in place.rows("first.jsonl")} == {"offline"}
    recipe = {"columns": {"more": {"prompt": "More about {{ text }}."}}}
    for name in ("second.parquet", "second.jsonl"):
        run = await ran(place, recipe, name, model=None, seeds=str(place.folder / "first.jsonl"))
        assert run.statistics["offline"] is True
    table = pq.read_table(place.folder / "second.parquet")
    assert table.column_names == ["n", "text", "_upstream", "more"]
    assert set(table["_upstream"].to_pylist()) == {"offline"}
    assert [list(row) for row in place.rows("second.jsonl")] == [table.column_names] * 40
    assert answered(provider) == 0


async def test_a_model_that_was_named_is_not_said_again(place: Place) -> None:
    await ran(place)
    assert list(place.rows("rows.jsonl")[0]) == ["n", "text"]


async def test_with_a_fallback_every_row_says_who_answered_whoever_came_first(
    tmp_path: Path, provider: SimulatorProcess
) -> None:
    provider.reset(faults="error=0.5")
    with SimulatorProcess() as second:
        config = Config(
            engine=QUICK,
            upstreams={"one": UpstreamSettings(base_url=provider.url), "two": UpstreamSettings(base_url=second.url)},
        )
        place = Place(tmp_path / "place")
        columns = {**RECIPE["columns"], "other": {"prompt": "Another word about {{ n }}."}}
        options: dict[str, Any] = {"config": config, "model": "one/any", "fallback": ["two/any"]}
        recipe = {**RECIPE, "columns": columns}
        run = await ran(place, recipe, **options)
        rows = place.rows("rows.jsonl")
        assert run.state == "complete"
        assert answered(second) > 0
        assert {row["_upstream"] for row in rows} <= {"one/any", "two/any", "one/any+two/any", "two/any+one/any"}
        assert len({row["_upstream"] for row in rows}) > 1
        paid = answered(provider) + answered(second)
        await ran(place, recipe, **options)
        assert place.rows("rows.jsonl") == rows, "the store remembers who answered"
        assert answered(provider) + answered(second) == paid


# How a run ends ------------------------------------------------------------------------------------------------------


async def test_a_short_run_says_so_and_the_next_one_tries_further(place: Place, provider: SimulatorProcess) -> None:
    provider.reset(faults="refusal=0.8")
    seeds = [{"topic": f"t{number}"} for number in range(20)]
    recipe = {
        "refills": 1,
        "columns": {
            "size": {"int": {"min": 0, "max": 10**6}},
            "text": {"prompt": "Of {{ topic }}, {{ size }}.", "regenerate": 0},
        },
    }
    run = await ran(place, recipe, seeds=seeds)
    first = place.rows("rows.jsonl")
    assert (run.state, run.rows) == ("short", len(first))
    assert 0 < len(first) < 20
    again = await ran(place, recipe, seeds=seeds)
    second = place.rows("rows.jsonl")
    assert again.rows > run.rows
    assert [row for row in second if row in first] == first
    assert again.statistics["requests"]["from_store"] == run.statistics["requests"]["attempts"]


async def test_a_spent_budget_keeps_the_rows_and_a_larger_one_goes_on(place: Place, provider: SimulatorProcess) -> None:
    run = await ran(place, budget="10req")
    assert (run.state, run.rows, run.budget_spent) == ("interrupted", 10, True)
    part = place.rows("rows.jsonl")
    assert len(part) == 10
    run = await ran(place, budget="10req")
    assert (run.state, run.rows, run.out) == ("interrupted", 20, str(place.folder / "rows.jsonl"))
    assert len(place.rows("rows.jsonl")) == 20, "a larger part takes the place of a part"
    run = await ran(place, budget="30req")
    assert (run.state, run.rows) == ("complete", 40)
    assert [row for row in place.rows("rows.jsonl") if row in part] == part
    assert answered(provider) == 40


async def test_a_part_does_not_replace_a_file_that_is_whole(place: Place) -> None:
    await ran(place)
    whole = place.read("rows.jsonl")
    run = await ran(place, fresh=True, budget="5req")
    assert (run.state, run.rows) == ("interrupted", 5)
    assert run.out == str(place.folder / "rows.jsonl.partial")
    assert place.read("rows.jsonl") == whole
    assert len(place.rows("rows.jsonl.partial")) == 5
    run = await ran(place, fresh=True)
    assert (run.state, run.rows, run.out) == ("complete", 40, str(place.folder / "rows.jsonl"))
    assert not (place.folder / "rows.jsonl.partial").exists()


async def test_a_file_that_nobody_here_wrote_is_not_replaced_by_a_part(place: Place) -> None:
    (place.folder / "rows.jsonl").write_text("mine\n")
    run = await ran(place, budget="5req")
    assert run.out == str(place.folder / "rows.jsonl.partial")
    assert place.read("rows.jsonl") == b"mine\n"


async def test_an_upstream_that_fails_now_and_then_leaves_rows_out_and_the_next_run_fills_them(
    place: Place, provider: SimulatorProcess
) -> None:
    provider.reset(faults="error=0.3")
    run = await ran(place, engine=msgspec.structs.replace(QUICK, tries=1))
    assert run.state == "failed"
    assert 0 < run.rows < 40
    assert run.statistics["requests"]["failures"] == 40 - run.rows
    part = place.rows("rows.jsonl")
    provider.reset()
    run = await ran(place)
    assert (run.state, run.rows) == ("complete", 40)
    assert [row for row in place.rows("rows.jsonl") if row in part] == part
    assert answered(provider) == 40 - len(part)


async def test_a_file_that_could_not_be_delivered_is_not_called_complete(place: Place) -> None:
    class Vanishing:
        """Seeds whose output folder is gone by the time they end."""

        name = "vanishing"

        def __iter__(self) -> Iterator[dict[str, Any]]:
            yield from ({"topic": f"t{number}"} for number in range(5))
            shutil.rmtree(place.folder / "deep")

        def columns(self) -> list[str]:
            return ["topic"]

        def count(self) -> int | None:
            return None

        def fingerprint(self) -> str:
            return ""

    (place.folder / "deep").mkdir()
    recipe = {"columns": {"text": {"prompt": "Of {{ topic }}."}}}
    async with place.synth() as synth:
        with pytest.raises(OutputError):
            await synth.run(recipe, seeds=Vanishing(), out=str(place.folder / "deep" / "rows.jsonl"))
        (told,) = synth.session.ledger.runs()
    assert (told.state, told.delivered) == ("failed", False)


async def test_an_output_that_cannot_be_opened_costs_no_epoch_and_leaves_no_run(place: Place) -> None:
    await ran(place)
    with pytest.raises(OutputError):
        await ran(place, name="missing/rows.jsonl", fresh=True, rejects="rejects.jsonl")
    async with place.synth() as synth:
        assert len(synth.session.ledger.runs()) == 1
        output = await synth.session.ledger.open_output("another", fresh=True)
    assert output.epoch == 1


async def test_a_request_that_is_always_wrong_ends_the_run_with_its_mend(place: Place) -> None:
    recipe = {**RECIPE, "rows": 5_000, "parameters": {"n": 2}}
    async with place.synth() as synth:
        run = synth.prepare(recipe)
        with pytest.raises(InvalidRequest, match="n must be 1"):
            await synth.execute(run, out=str(place.folder / "rows.jsonl"))
    assert run.statistics.attempts < 1_000


async def test_nobody_says_how_many_rows(place: Place) -> None:
    with pytest.raises(RecipeError, match="nobody says how many rows"):
        await ran(place, {"columns": RECIPE["columns"]})
