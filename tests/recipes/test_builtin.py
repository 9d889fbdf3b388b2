"""The recipes that come with the package, made whole with the local generator."""

from __future__ import annotations

import random
from typing import Any

import pytest

from agentic_synth.offline.answer import answer
from agentic_synth.recipes.answers import Answers, Read
from agentic_synth.recipes.load import builtin_recipes, check_graph, load_recipe
from agentic_synth.recipes.model import Column, ExpressionColumn, ModelColumn, Recipe, TemplateColumn
from agentic_synth.recipes.samplers import compile_sampler
from agentic_synth.recipes.templates import compile_expression, compile_template
from agentic_synth.types import Draw, Message, Request

NAMES = ["conversations", "events", "instructions", "prompts", "qa", "structured", "timeseries"]


def cell(column: Column, name: str, row: dict[str, Any], index: int) -> Any:
    if column.when is not None and not compile_expression(column.when).evaluate(row):
        return None
    if isinstance(column, ExpressionColumn):
        return compile_expression(column.expression).evaluate(row)
    if isinstance(column, TemplateColumn):
        return compile_template(column.template).render(row)
    if isinstance(column, ModelColumn):
        return asked(column, row, index)
    return compile_sampler(column, stream=name)(random.Random(f"{name}/{index}"), index)


def asked(column: ModelColumn, row: dict[str, Any], index: int) -> Any:
    assert column.prompt is not None
    prompt = Message("user", compile_template(column.prompt).render(row))
    text = answer(Request(model="offline", messages=(prompt,), schema=column.answer, draw=Draw(sample=index)))
    if column.answer is None:
        return text
    read = Answers.compile(column.answer).read(text)
    assert isinstance(read, Read), (read, text)
    return read.value


def rows(recipe: Recipe, count: int) -> list[dict[str, Any]]:
    order = check_graph(recipe)
    made = []
    for index in range(count):
        row: dict[str, Any] = {}
        for name in order:
            row[name] = cell(recipe.columns[name], name, row, index)
        made.append(row)
    return made


def test_the_built_in_recipes_are_these() -> None:
    assert list(builtin_recipes()) == NAMES
    assert all(builtin_recipes().values())


@pytest.mark.parametrize("name", NAMES)
def test_a_built_in_recipe_makes_accepted_and_varied_rows(name: str) -> None:
    recipe = load_recipe(name)
    made = rows(recipe, 24)
    gates = [compile_expression(text) for text in recipe.accept]
    accepted = [row for row in made if all(gate.evaluate(row) for gate in gates)]
    assert len(accepted) >= 20
    kept = [name for name, column in recipe.columns.items() if column.keep]
    assert len({str([row[name] for name in kept]) for row in accepted}) == len(accepted)


@pytest.mark.parametrize("name", ["timeseries", "events"])
def test_series_and_events_ask_no_model(name: str) -> None:
    assert not any(isinstance(column, ModelColumn) for column in load_recipe(name).columns.values())


def test_a_built_in_recipe_takes_its_parameters_from_overrides() -> None:
    recipe = load_recipe("prompts", overrides={"columns.language.constant": "German", "columns.field.choice": "[law]"})
    row = rows(recipe, 1)[0]
    assert (row["language"], row["field"]) == ("German", "law")


def test_events_are_in_order_and_purchases_have_amounts() -> None:
    made = rows(load_recipe("events"), 300)
    assert [row["time"] for row in made] == sorted(row["time"] for row in made)
    assert all((row["amount"] is not None) == (row["action"] == "purchase") for row in made)


def test_sensors_share_their_instants() -> None:
    made = rows(load_recipe("timeseries"), 9)
    assert len({row["time"] for row in made}) == 3
    assert [row["sensor"] for row in made[:3]] == ["north", "south", "roof"]
