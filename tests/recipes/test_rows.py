"""One row at a time: its draws, its candidates, and why there may be none."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentic_synth.cache.key import key_of
from agentic_synth.errors import InvalidRequest, Overloaded
from agentic_synth.recipes.rows import Filled, Slot
from agentic_synth.telemetry.run_statistics import RunStatistics
from agentic_synth.types import Request
from tests.recipes.row_flow import Model, Said, echo, filled_all, lot, refused, released, rows_of

CHAIN: dict[str, Any] = {
    "columns": {
        "tone": ["calm", "angry", "sad"],
        "question": {"prompt": "Ask about {{ topic }}, {{ tone }}."},
        "answer": {"prompt": "Answer: {{ question }}"},
        "verdict": {"prompt": "Right? {{ answer }}"},
    }
}
topics = st.lists(st.sampled_from("abc"), max_size=12).map(lambda names: [{"topic": name} for name in names])


def draws_of(recipe: dict[str, Any], seeds: list[dict[str, Any]], **options: Any) -> list[dict[str, Any]]:
    rows = rows_of(recipe, Model(), seeds=[{"topic": ""}], **options)
    return [dict(rows.admit(index, row).draws) for index, row in enumerate(seeds)]


async def keys_of(recipe: dict[str, Any], seeds: list[dict[str, Any]]) -> dict[str, list[bytes]]:
    """What each row asks, column by column, when all are made in order."""
    model = Model()
    rows = rows_of(recipe, model, seeds=[{"topic": ""}])
    keys: dict[str, list[bytes]] = {}
    for index, row in enumerate(seeds):
        filled = await rows.fill(rows.admit(index, row), RunStatistics())
        for column, request in zip(filled.answers, model.asked, strict=True):
            keys.setdefault(column, []).append(key_of(request, "").draw)
        model.asked.clear()
    return keys


@given(topics)
async def test_no_two_cells_ever_ask_the_same(seeds: list[dict[str, Any]]) -> None:
    keys = [key for column in (await keys_of(CHAIN, seeds)).values() for key in column]
    assert len(keys) == 3 * len(seeds) == len(set(keys))


async def test_different_rows_whose_prompts_are_equal_are_different_draws() -> None:
    recipe = {
        "columns": {"a": {"prompt": "Say a word."}, "b": {"prompt": "Say a word."}, "c": {"prompt": "{{ a[:0] }}x"}}
    }
    model = Model()
    rows = await filled_all(rows_of(recipe, model, seeds=[{"topic": ""}]), [{"topic": name} for name in "abcaa"])
    assert len({key_of(request, "").draw for request in model.asked}) == 15
    assert len({filled.row[name] for filled in rows if filled.row for name in "abc"}) == 15


@pytest.mark.parametrize(
    "column", [{"draws": "shared"}, {"parameters": {"temperature": 0}}, {"parameters": {"seed": 1}}]
)
async def test_shared_draws_are_asked_once(column: dict[str, Any]) -> None:
    recipe = {"columns": {"a": {"prompt": "Of {{ topic }}.", **column}, "b": {"prompt": "{{ a[:0] }}x", **column}}}
    model = Model()
    rows = await filled_all(rows_of(recipe, model, seeds=[{"topic": ""}]), [{"topic": name} for name in "abab"])
    assert len(model.asked) == 3
    assert [filled.row["a"] for filled in rows if filled.row] == [rows[0].row["a"], rows[1].row["a"]] * 2  # type: ignore[index]


async def test_a_refill_asks_a_shared_draw_no_second_time() -> None:
    columns = {"size": {"int": {"min": 0, "max": 9}}, "a": {"prompt": "Of {{ topic }}.", "draws": "shared"}}
    recipe = {"columns": columns, "accept": ["size + (a | length) * 0 < 2"]}
    model = Model()
    (filled,) = await filled_all(rows_of(recipe, model, seeds=[{"topic": "a"}]), [{"topic": "a"}])
    assert len(filled.rejections) > 1
    assert len(model.asked) == 1


@given(topics, st.sampled_from("abcd"))
async def test_a_row_in_front_of_all_others_leaves_theirs_alone(seeds: list[dict[str, Any]], new: str) -> None:
    before, after = await keys_of(CHAIN, seeds), await keys_of(CHAIN, [{"topic": new}, *seeds])
    fresh = {"topic": new} not in seeds
    for column, keys in before.items():
        if fresh:
            assert after[column][1:] == keys
        elif column == "question":
            # Equal prompts are numbered in their order: all that were asked before still are, and one more.
            assert set(keys) <= set(after[column])


async def test_a_row_in_front_moves_no_answer_that_depends_on_another() -> None:
    seeds = [{"topic": f"topic {number}"} for number in range(200)]
    before, after = await keys_of(CHAIN, seeds), await keys_of(CHAIN, [{"topic": "new"}, *seeds])
    moved = {column: sum(x != y for x, y in zip(before[column], after[column][1:], strict=True)) for column in before}
    assert moved == {"question": 0, "answer": 0, "verdict": 0}


@given(topics)
async def test_a_column_that_nobody_reads_changes_no_draw(seeds: list[dict[str, Any]]) -> None:
    extra = {"unused": {"int": {"min": 0, "max": 9}}, "aside": {"prompt": "Something else about {{ topic }}."}}
    wider = {"columns": {**extra, **CHAIN["columns"]}}
    before, after = draws_of(CHAIN, seeds), draws_of(wider, seeds)
    assert before == [{name: draws[name] for name in CHAIN["columns"] if name in draws} for draws in after]


@pytest.mark.parametrize(
    ("column", "stays"), [("question", set()), ("answer", {"question"}), ("verdict", {"question", "answer"})]
)
async def test_editing_a_prompt_asks_only_what_depends_on_it(column: str, stays: set[str]) -> None:
    seeds = [{"topic": name} for name in "abcaab"]
    columns: dict[str, Any] = dict(CHAIN["columns"])
    columns[column] = {"prompt": columns[column]["prompt"] + " Please."}
    before, after = await keys_of(CHAIN, seeds), await keys_of({"columns": columns}, seeds)
    assert {name for name in before if before[name] == after[name]} == stays
    assert all(not set(before[name]) & set(after[name]) for name in before.keys() - stays)


def test_another_seed_or_epoch_draws_anew_and_only_the_seed_samples_anew() -> None:
    seeds = [{"topic": "a"}] * 30

    def tones(**options: Any) -> list[str]:
        rows = rows_of(CHAIN, Model(), seeds=seeds, **options)
        slots = [rows.admit(index, row) for index, row in enumerate(seeds)]
        return [slot.first.values["tone"] for slot in slots if slot.first]

    one, other, fresh = (draws_of(CHAIN, seeds, **options) for options in ({}, {"seed": 1}, {"epoch": 1}))
    for column in ("question", "answer", "verdict"):
        assert not {row[column] for row in one} & {row[column] for row in other}
        assert not {row[column] for row in one} & {row[column] for row in fresh}
    assert tones() == tones(epoch=1) != tones(seed=1)


# Candidates ----------------------------------------------------------------------------------------------------------


def moody(request: Request) -> Said:
    """A model that refuses, says nothing, and is cut off now and then, and otherwise speaks."""
    chance = lot(request, "mood")
    if chance < 0.2:
        return refused()
    if chance < 0.3:
        return ""
    if chance < 0.4:
        return refused("a piec", "length")
    return echo(request)


PICKY = {
    "refills": 3,
    "columns": {
        "size": {"int": {"min": 0, "max": 99}},
        "question": {"prompt": "Ask {{ size }} of {{ topic }}.", "regenerate": 1},
        "answer": {"prompt": "Answer {{ question }}", "regenerate": 0, "when": "size > 20"},
    },
    "accept": ["size < 90", "question | length != 35"],
}


def shown(filled: Filled) -> tuple[Any, ...]:
    rejections = [
        (r.candidate, r.rejected.reason, r.rejected.column, r.rejected.raw, r.values) for r in filled.rejections
    ]
    return filled.index, filled.row, list(filled.answers), rejections


async def test_a_slot_is_filled_from_its_own_seed_row_until_a_candidate_is_accepted() -> None:
    model = Model(moody)
    statistics = RunStatistics()
    rows = rows_of(PICKY, model, seeds=[{"topic": ""}])
    seeds = [{"topic": f"t{number}"} for number in range(60)]
    slots = [rows.admit(index, row) for index, row in enumerate(seeds)]
    filled = [await rows.fill(slot, statistics) for slot in slots]
    for number, one in enumerate(filled):
        assert [rejection.candidate for rejection in one.rejections] == list(range(len(one.rejections)))
        assert all(rejection.values["topic"] == f"t{number}" for rejection in one.rejections)
        assert len(one.rejections) == 4 if one.row is None else len(one.rejections) <= 3
        if one.row is not None:
            assert one.row["topic"] == f"t{number}"
            assert one.row["size"] < 90
            assert (one.row["answer"] is None) == (one.row["size"] <= 20) == ("answer" not in one.answers)
    assert statistics.rejections.total == sum(len(one.rejections) for one in filled)
    assert any(one.row is None for one in filled)
    assert len({one.row["size"] for one in filled if one.row}) > 20


async def test_a_rerun_pays_nothing_and_makes_the_same_of_every_candidate() -> None:
    model = Model(moody)
    seeds = [{"topic": f"t{number % 7}"} for number in range(60)]
    first = await filled_all(rows_of(PICKY, model, seeds=seeds), seeds)
    paid = len(model.asked)
    again = await filled_all(rows_of(PICKY, model, seeds=seeds), seeds)
    assert list(map(shown, again)) == list(map(shown, first))
    assert len(model.asked) == paid
    assert len({key_of(request, "").draw for request in model.asked}) == paid


async def test_each_pass_gives_as_many_refills_again_and_keeps_what_was_accepted() -> None:
    model = Model(moody)
    seeds = [{"topic": f"t{number}"} for number in range(40)]
    first = await filled_all(rows_of(PICKY, model, seeds=seeds), seeds)
    paid = len(model.asked)
    second = await filled_all(rows_of(PICKY, model, seeds=seeds, passes=1), seeds)
    assert len(model.asked) > paid
    for before, after in zip(first, second, strict=True):
        if before.row is not None:
            assert after.row == before.row
        else:
            assert len(after.rejections) == 8 if after.row is None else 4 <= len(after.rejections) <= 7
    assert sum(one.row is not None for one in first) < sum(one.row is not None for one in second)


async def test_rejections_are_forgotten_where_nobody_reads_them() -> None:
    seeds = [{"topic": f"t{number}"} for number in range(20)]
    statistics = RunStatistics()
    rows = rows_of(PICKY, Model(moody), seeds=seeds, keep_rejections=False)
    slots = [rows.admit(index, row) for index, row in enumerate(seeds)]
    filled = [await rows.fill(slot, statistics) for slot in slots]
    assert statistics.rejections.total > 0
    assert not any(one.rejections for one in filled)


async def test_a_row_that_cannot_pass_asks_nobody() -> None:
    model = Model()
    (filled,) = await filled_all(
        rows_of({**CHAIN, "accept": ["topic != 'a'"]}, model, seeds=[{"topic": "a"}]), [{"topic": "a"}]
    )
    assert filled.row is None
    assert len(filled.rejections) == 9
    assert model.asked == []


async def test_a_gate_spares_what_would_be_asked_after_it() -> None:
    model = Model()
    recipe = {**CHAIN, "accept": ["question | length > 1000"], "refills": 1}
    (filled,) = await filled_all(rows_of(recipe, model, seeds=[{"topic": "a"}]), [{"topic": "a"}])
    assert filled.row is None
    assert [rejection.rejected.reason for rejection in filled.rejections] == ["accept: question | length > 1000"] * 2
    assert len(model.asked) == 2


# Several columns at once ---------------------------------------------------------------------------------------------

PAIR = {
    "refills": 1,
    "columns": {
        "left": {"prompt": "Left of {{ topic }}.", "model": "one", "regenerate": 0},
        "right": {"prompt": "Right of {{ topic }}.", "model": "two", "regenerate": 0},
        "both": {"prompt": "{{ left }} and {{ right }}", "regenerate": 0},
    },
}


def first_fails(left: Said, right: Said) -> Model:
    """A model whose two columns fail like this in every first candidate, and answer in the second."""

    def law(request: Request) -> Said:
        if "/" in request.draw.lineage:
            return echo(request)
        return {"one": left, "two": right}.get(request.model, echo(request))

    return Model(law)


@pytest.mark.parametrize("seed", range(6))
async def test_columns_of_one_wave_are_asked_at_once_and_the_order_of_answers_leaves_no_trace(seed: int) -> None:
    seeds = [{"topic": name} for name in "abcdef"]
    calm = await filled_all(rows_of(PAIR, Model(), seeds=seeds), seeds)
    model = Model(rng=random.Random(seed))
    async with released(model):
        stormy = await filled_all(rows_of(PAIR, model, seeds=seeds), seeds)
    assert list(map(shown, stormy)) == list(map(shown, calm))
    assert model.peak == 2
    assert [list(one.row or ()) for one in stormy] == [["topic", "left", "right", "both"]] * 6


@pytest.mark.parametrize("seed", range(4))
async def test_when_both_fail_the_first_column_is_named(seed: int) -> None:
    model = first_fails(refused(), "")
    model.rng = random.Random(seed)
    async with released(model):
        (filled,) = await filled_all(rows_of(PAIR, model, seeds=[{"topic": "a"}]), [{"topic": "a"}])
    assert [rejection.rejected.reason for rejection in filled.rejections] == ["left: the model refused to answer"]


async def test_a_bad_answer_decides_even_where_another_upstream_fails() -> None:
    for sides in ((Overloaded("busy"), refused()), (refused(), Overloaded("busy"))):
        (filled,) = await filled_all(rows_of(PAIR, first_fails(*sides), seeds=[{"topic": "a"}]), [{"topic": "a"}])
        assert filled.row is not None
        assert "refused" in filled.rejections[0].rejected.reason


async def test_a_failing_cell_lets_the_others_finish_whose_answers_are_paid() -> None:
    model = first_fails("", "right")
    (filled,) = await filled_all(rows_of(PAIR, model, seeds=[{"topic": "a"}]), [{"topic": "a"}])
    assert filled.rejections[0].values == {"topic": "a", "right": "right"}
    model = first_fails(Overloaded("busy"), "right")
    with pytest.raises(Overloaded):
        await filled_all(rows_of(PAIR, model, seeds=[{"topic": "a"}]), [{"topic": "a"}])
    assert len(model.stored) == 1


async def test_a_cancelled_row_leaves_no_task() -> None:
    model = Model(rng=random.Random(0))
    rows = rows_of(PAIR, model, seeds=[{"topic": "a"}])
    before = asyncio.all_tasks()
    task = asyncio.create_task(rows.fill(rows.admit(0, {"topic": "a"}), None))
    while len(model.waiting) < 2:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == before
    assert model.in_flight == 0


# What is wrong with a row, and what is wrong with the request --------------------------------------------------------


async def test_a_prompt_that_cannot_be_made_rejects_its_row_alone() -> None:
    recipe = {
        "refills": 0,
        "columns": {
            "first": {"prompt": "Of {{ topic }}."},
            "second": {"prompt": "{{ 1 / size }}"},
            "third": {"prompt": "{{ topic }}?"},
        },
    }
    seeds: list[dict[str, Any]] = [
        {"topic": "a", "size": 1},
        {"topic": "b", "size": 0},
        {"topic": "c"},
        {"topic": "d\ud800", "size": 1},
    ]
    model = Model()
    filled = await filled_all(rows_of(recipe, model, seeds=seeds), seeds)
    reasons = [one.rejections[0].rejected.reason for one in filled[1:]]
    assert filled[0].row is not None
    assert reasons[:2] == ["columns.second: division by zero", "columns.second: `size` has no value"]
    assert reasons[2].startswith("first: the request cannot be written as JSON")
    assert len(model.asked) == 3


async def test_a_column_that_a_seed_row_lacks_is_null() -> None:
    recipe = {"columns": {"text": {"prompt": "Of {{ topic }}."}}}
    seeds: list[dict[str, Any]] = [{"topic": "a", "note": 1}, {"topic": "b"}]
    filled = await filled_all(rows_of(recipe, Model(), seeds=seeds), seeds)
    assert [one.row["note"] for one in filled if one.row] == [1, None]


async def test_a_request_that_the_upstream_calls_wrong_rejects_its_candidate() -> None:
    def law(request: Request) -> Said:
        return InvalidRequest("too long") if lot(request) < 0.5 else echo(request)

    seeds = [{"topic": f"t{number}"} for number in range(500)]
    filled = await filled_all(rows_of({**PICKY, "accept": []}, Model(law), seeds=seeds), seeds)
    assert any(one.row for one in filled)
    reasons = {rejection.rejected.reason for one in filled for rejection in one.rejections}
    assert reasons == {"question: too long", "answer: too long"}


async def test_where_no_request_was_ever_right_the_run_is_not_carried_on_to_its_end() -> None:
    model = Model(lambda request: InvalidRequest("temperature must be at most 2"))
    rows = rows_of(CHAIN, model, seeds=[{"topic": ""}])
    with pytest.raises(InvalidRequest, match="at most 2"):
        await filled_all(rows, [{"topic": f"t{number}"} for number in range(1000)])
    assert len(model.asked) == 100


# Made again ----------------------------------------------------------------------------------------------------------

BRITTLE: dict[str, Any] = {
    "refills": 2,
    "columns": {
        "size": {"int": {"min": 0, "max": 9}},
        "left": {"prompt": "{{ 10 // size }} of {{ topic }}", "regenerate": 0},
        "right": {"prompt": "{{ 10 // (size - 1) }} of {{ topic }}", "regenerate": 0, "when": "size != 5"},
        "both": {"prompt": "{{ left }}, {{ right }}", "regenerate": 0},
    },
    "accept": ["size != 2"],
}


@pytest.mark.parametrize("reuse", ["exact", "refresh", "never"])
@settings(deadline=None, max_examples=30)
@given(data=st.data())
async def test_a_slot_that_was_shed_is_made_again_alike_and_for_nothing(reuse: str, data: st.DataObject) -> None:
    seeds = data.draw(topics)
    columns: dict[str, Any] = dict(BRITTLE["columns"])
    for name in ("left", "right", "both"):
        columns[name] = {**columns[name], "reuse": reuse}
    model = Model(moody)
    rows = rows_of({**BRITTLE, "columns": columns}, model, seeds=[{"topic": ""}])
    slots: list[Slot] = [rows.admit(index, row) for index, row in enumerate(seeds)]
    first = [await rows.fill(slot, RunStatistics()) for slot in slots]
    paid = len(model.asked)
    again = [await rows.fill(slot.shed(), None) for slot in slots]
    assert list(map(shown, again)) == list(map(shown, first))
    assert len(model.asked) == paid
