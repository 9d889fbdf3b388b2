"""What a recipe may say, in YAML words and in Python."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import jsonschema_rs
import pytest
from pydantic import BaseModel, ValidationError

from agentic_synth.recipes.load import builtin_recipes
from agentic_synth.recipes.load_yaml import parse
from agentic_synth.recipes.model import KINDS, ModelColumn, Recipe, json_schema
from agentic_synth.recipes.model_samplers import ChoiceColumn, FloatColumn, IntColumn
from agentic_synth.recipes.model_series import TicksColumn


class Ticket(BaseModel):
    body: str


def column(value: Any) -> Any:
    return Recipe.model_validate({"columns": {"a": value}}).columns["a"]


def fault(value: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        column(value)
    return str(caught.value.errors()[0]["msg"])


def test_a_bare_list_is_a_choice() -> None:
    assert column(["x", "y"]) == ChoiceColumn(choice=["x", "y"])


@pytest.mark.parametrize("bounds", [[1, 6], {"min": 1, "max": 6}])
def test_a_range_is_a_pair_or_has_names(bounds: Any) -> None:
    assert column({"int": bounds}) == IntColumn(int=(1, 6))


def test_uniform_is_another_word_for_float() -> None:
    assert column({"uniform": [0, 1], "decimals": 2}) == FloatColumn(float=[0, 1], decimals=2)


def test_a_step_is_seconds_or_a_number_with_a_unit() -> None:
    ticks = column({"ticks": {"start": "2025-01-01", "step": "1.5h"}})
    assert isinstance(ticks, TicksColumn)
    assert ticks.ticks.step == 5400


@pytest.mark.parametrize(
    ("short", "long"), [({"bernoulli": 0.3}, {"bernoulli": {"p": 0.3}}), ({"poisson": 4}, {"poisson": {"mean": 4}})]
)
def test_one_number_may_have_its_name(short: Any, long: Any) -> None:
    assert column(short) == column(long)


def test_python_objects_say_the_same_as_yaml() -> None:
    written = Recipe.model_validate({"columns": {"t": {"prompt": "Hi", "schema": {"type": "object"}}}})
    assert Recipe(columns={"t": ModelColumn(prompt="Hi", schema={"type": "object"})}) == written


def test_a_pydantic_class_is_a_schema() -> None:
    recipe = Recipe(columns={"t": {"prompt": "Hi", "schema": Ticket}})
    answered = recipe.columns["t"]
    assert isinstance(answered, ModelColumn)
    assert answered.answer is Ticket


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"int": [5, 1]}, "ends (1) before it begins (5)"),
        ({"choice": ["a"], "weights": [1, 2]}, "1 choices but 2 weights"),
        ({"choice": ["a"], "weights": [0]}, "nothing that can be drawn"),
        ({"sequence": {"format": "{0.__class__}"}}, "no format for one number"),
        ({"sequence": {"format": "{:>9999999}"}}, "no format for one number"),
        ({"sequence": {"format": "{} {}"}}, "no format for one number"),
        ({"sequence": {"format": "no braces"}}, "no format for one number"),
        ({"prompt": "a", "messages": [{"role": "user", "content": "b"}]}, "either `prompt` or `messages`"),
        ({"datetime": ["2025-01-01T00:00:00Z", "2025-01-02T00:00:00"]}, "time zone"),
        ({"ticks": {"start": "2025-01-01", "step": "5 parsecs"}}, "no duration"),
        ({"arrivals": {"start": "2025-01-01", "per_hour": 1, "hours": [0] * 24}}, "no hour"),
        ({"prompt": "a", "schema": "not a reference"}, "no schema"),
        ({"prompt": "a", "schema": [1]}, "a mapping"),
        ({"float": [0, float("inf")]}, "finite"),
    ],
)
def test_what_cannot_be_meant_is_refused(value: Any, words: str) -> None:
    assert words in fault(value)


@pytest.mark.parametrize("value", [{}, {"choice": [1], "int": [1, 2]}, "text", None, 3])
def test_a_column_says_one_thing(value: Any) -> None:
    with pytest.raises(ValidationError):
        column(value)


def test_a_recipe_is_frozen() -> None:
    recipe = Recipe(columns={"a": ["x"]})
    with pytest.raises(ValidationError):
        recipe.rows = 3


def test_the_published_schema_is_up_to_date() -> None:
    published = resources.files("agentic_synth.recipes").joinpath("recipe.schema.json").read_text("utf-8")
    expected = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    assert published == expected, "write the value of *expected* into recipe.schema.json"


def test_the_published_schema_knows_every_kind() -> None:
    text = json.dumps(json_schema())
    assert [kind for kind in KINDS if kind != "uniform" and f'"{kind}"' not in text] == []


def test_the_published_schema_takes_every_built_in_recipe_and_refuses_typing_errors() -> None:
    validator = jsonschema_rs.validator_for(json_schema())
    for name in builtin_recipes():
        text = resources.files("agentic_synth.recipes").joinpath("builtin", f"{name}.yaml").read_text("utf-8")
        value, _ = parse(text, name)
        assert [error.message for error in validator.iter_errors(value)] == []
        assert not validator.is_valid({**value, "colums": {}})
    assert not validator.is_valid({"columns": {"a": {"promt": "x"}}})
