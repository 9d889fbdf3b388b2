"""From a recipe to the order in which a row is made."""

from __future__ import annotations

import random
from typing import Any

import pytest

from agentic_synth.recipes.load import load_recipe
from agentic_synth.recipes.plan import Gate, Made, Plan, RowRejected, Step, make
from tests.recipes.row_flow import planned


def names_of(steps: list[Step]) -> list[str]:
    return [step.name if isinstance(step, Made) else "gate" for step in steps]


def waves_of(plan: Plan) -> list[list[str]]:
    return [[asked.name for asked in wave.asked] for wave in plan.waves]


def run(steps: list[Step], **values: Any) -> dict[str, Any]:
    make(steps, values, random.Random(), 7, 0)
    return values


def test_columns_wait_for_no_more_than_they_need() -> None:
    plan = planned(
        {
            "columns": {
                "summary": {"prompt": "Sum up {{ question }} and {{ size }}."},
                "question": {"prompt": "Ask about {{ topic }}."},
                "title": {"prompt": "A title for {{ topic }}."},
                "size": {"expression": "question | length"},
                "verdict": {"prompt": "Is {{ summary }} right?"},
                "shout": {"expression": "topic | upper"},
            }
        },
        ["topic"],
    )
    assert names_of(plan.first) == ["shout"]
    assert waves_of(plan) == [["question", "title"], ["summary"], ["verdict"]]
    assert [names_of(wave.then) for wave in plan.waves] == [["size"], [], []]


def test_a_dependent_column_knows_all_it_is_made_from() -> None:
    plan = planned(
        {
            "columns": {
                "tone": ["calm", "angry"],
                "unused": ["x"],
                "question": {"prompt": "Ask about {{ topic }}."},
                "size": {"expression": "question | length + weight"},
                "answer": {"prompt": "Answer in {{ size }} words, {{ tone }}."},
                "verdict": {"prompt": "Is {{ answer }} right?", "when": "flag"},
            }
        },
        ["topic", "weight", "flag", "other"],
    )
    assert plan.inputs == {
        "answer": (("tone", "topic", "weight"), ("question",)),
        "verdict": (("flag", "tone", "topic", "weight"), ("answer", "question")),
    }


def test_a_gate_stands_where_its_names_are_known() -> None:
    plan = planned(
        {
            "columns": {
                "size": {"int": {"min": 1, "max": 9}},
                "question": {"prompt": "Ask {{ size }} things."},
                "long": {"expression": "question | length"},
                "answer": {"prompt": "Answer {{ question }}."},
            },
            "accept": ["answer != question", "size > 3", "long > 10", "true"],
        }
    )
    assert names_of(plan.first) == ["size", "gate", "gate"]
    assert [names_of(wave.then) for wave in plan.waves] == [["long", "gate"], ["gate"]]


def test_what_leaves_and_what_it_is() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    plan = planned(
        {
            "columns": {
                "hidden": {"choice": ["x"], "keep": False},
                "text": {"prompt": "Say {{ hidden }}."},
                "data": {"prompt": "Say {{ hidden }}.", "schema": schema},
                "size": {"expression": "text | length", "type": "integer"},
                "line": {"template": "{{ text }}!"},
                "any": {"expression": "text"},
            }
        },
        ["id"],
    )
    assert list(plan.outputs) == ["id", "text", "data", "size", "line", "any"]
    assert plan.outputs == {
        "id": None,
        "text": {"type": "string"},
        "data": schema,
        "size": {"type": "integer"},
        "line": {"type": "string"},
        "any": None,
    }


def test_each_column_has_the_model_that_was_said_for_it() -> None:
    said: list[tuple[str | None, str | None]] = []

    def model_of(model: str | None, base_url: str | None) -> str:
        said.append((model, base_url))
        return f"{model}@{base_url}"

    recipe = load_recipe(
        {
            "model": "usual",
            "base_url": "http://usual",
            "columns": {
                "a": {"prompt": "a"},
                "b": {"prompt": "b", "model": "own"},
                "c": {"prompt": "c", "base_url": "http://own"},
            },
        }
    )
    plan = Plan(recipe, model_of=model_of)
    assert [asked.model for asked in plan.asked.values()] == [
        "usual@http://usual",
        "own@None",
        "usual@http://own",
    ]


def test_a_made_column_that_is_not_wanted_is_null() -> None:
    plan = planned(
        {"columns": {"size": {"choice": [3], "when": "flag"}, "twice": {"expression": "(size or 1) * 2"}}}, ["flag"]
    )
    assert run(plan.first, flag=False) == {"flag": False, "size": None, "twice": 2}
    assert run(plan.first, flag=True) == {"flag": True, "size": 3, "twice": 6}


def test_another_column_does_not_change_what_is_drawn() -> None:
    columns = {"a": {"int": {"min": 0, "max": 10**9}}, "b": {"int": {"min": 0, "max": 10**9}}}
    two = run(planned({"columns": columns}).first)
    three = run(planned({"columns": {"new": [1, 2, 3], **columns}}).first)
    assert {name: three[name] for name in two} == two
    assert two["a"] != two["b"]


def test_a_gate_says_which_it_is() -> None:
    plan = planned({"columns": {"a": [1]}, "accept": ["a > 1"]})
    assert any(isinstance(step, Gate) for step in plan.first)
    with pytest.raises(RowRejected, match="accept: a > 1"):
        run(plan.first)


def test_a_value_that_cannot_be_computed_rejects_the_row() -> None:
    plan = planned({"columns": {"a": {"expression": "1 / n"}}}, ["n"])
    with pytest.raises(RowRejected, match=r"columns\.a\.expression: division by zero"):
        run(plan.first, n=0)
    with pytest.raises(RowRejected, match="`n` has no value"):
        run(plan.first)


def test_a_bare_rejection_holds_nothing_of_the_row() -> None:
    plan = planned({"columns": {"a": [1]}, "accept": ["a > 1"]})
    with pytest.raises(RowRejected) as caught:
        run(plan.first)
    bare = RowRejected("why", column="a", raw="said").bare()
    assert (bare.reason, bare.column, bare.raw) == ("why", "a", "said")
    assert caught.value.__traceback__ is not None
    assert caught.value.bare().__traceback__ is None
