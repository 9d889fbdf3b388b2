"""Reading recipes: every fault names its place and its mend."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agentic_synth.errors import RecipeError
from agentic_synth.recipes.load import check_graph, load_recipe
from agentic_synth.recipes.load_yaml import parse
from agentic_synth.recipes.model import ModelColumn, Recipe
from agentic_synth.recipes.model_samplers import ChoiceColumn

GOOD = """\
rows: 1000
columns:
  ticket:
    prompt: Write a {{ tone }} ticket about a {{ product }}.
    schema: {type: object, properties: {body: {type: string}}}
  product: {choice: [router, phone, no, on, 012], weights: [3, 5, 2, 1, 1]}
  tone: [calm, angry]
accept:
  - ticket.body | length > 40
"""


def load(text: str, directory: Path, overrides: Mapping[str, str] | None = None, name: str = "tickets.yaml") -> Recipe:
    path = directory / name
    path.write_text(text, "utf-8")
    return load_recipe(path, overrides=overrides or {})


def message(text: str, directory: Path, seed_columns: tuple[str, ...] = (), name: str = "tickets.yaml") -> str:
    with pytest.raises(RecipeError) as caught:
        check_graph(load(text, directory, name=name), seed_columns)
    return str(caught.value).replace(str(directory / name), name)


def test_a_file_is_a_recipe_named_after_it(tmp_path: Path) -> None:
    recipe = load(GOOD, tmp_path)
    assert recipe.recipe == "tickets"
    assert recipe.rows == 1000
    assert check_graph(recipe) == ["product", "tone", "ticket"]
    assert recipe.where("columns", "ticket", "prompt").endswith("tickets.yaml:4:5")


def test_words_mean_what_yaml_1_2_says(tmp_path: Path) -> None:
    column = load(GOOD, tmp_path).columns["product"]
    assert isinstance(column, ChoiceColumn)
    assert column.choice == ["router", "phone", "no", "on", 12]
    value, _ = parse("[yes, off, true, 2025-01-01, 1:30, 1e3, 0x1f, 0o17, .5, ~, null, 'no']", "t")
    assert value == ["yes", "off", True, "2025-01-01", "1:30", 1000.0, 31, 15, 0.5, None, None, "no"]


def test_keys_are_text_and_merges_work() -> None:
    assert parse("{no: 1, 2: b, true: c}", "t")[0] == {"no": 1, "2": "b", "true": "c"}
    assert parse("a: &a {x: 1}\nb: {<<: *a, y: 2}", "t")[0] == {"a": {"x": 1}, "b": {"x": 1, "y": 2}}


def test_json_says_the_same_as_yaml(tmp_path: Path) -> None:
    value, _ = parse(GOOD, "t")
    text = json.dumps(value, indent="\t").replace("calm", "\\ud83d\\ude00")
    recipe = load(text, tmp_path, name="tickets.json")
    tone = recipe.columns["tone"]
    assert isinstance(tone, ChoiceColumn)
    assert tone.choice == ["\U0001f600", "angry"]
    assert recipe.where("rows").endswith("tickets.json:2:2")


def test_a_mapping_and_an_object_load_too() -> None:
    recipe = load_recipe({"columns": {"a": ["x"]}})
    assert load_recipe(recipe) is recipe
    assert load_recipe(recipe, overrides={"rows": "3"}).rows == 3
    assert recipe.rows is None


def test_a_mapping_is_left_as_it_was() -> None:
    value: dict[str, Any] = {"columns": {"a": ["x"]}}
    load_recipe(value, overrides={"columns.a.weights": "[1]", "columns.b.constant": "1"})
    assert value == {"columns": {"a": ["x"]}}


def test_seeds_lie_beside_the_recipe(tmp_path: Path) -> None:
    for seeds, expected in [
        ("seeds.csv", str(tmp_path / "seeds.csv")),
        ("hf:owner/name", "hf:owner/name"),
        ("-", "-"),
        (str(tmp_path / "x.csv"), str(tmp_path / "x.csv")),
    ]:
        assert load(f"seeds: '{seeds}'\n{GOOD}", tmp_path).seeds == expected
    assert load(GOOD, tmp_path, {"seeds": "here.csv"}).seeds == "here.csv"


def test_overrides_are_laid_over_the_file(tmp_path: Path) -> None:
    overrides = {
        "columns.tone.choice": "[x, no]",
        "columns.product.weights.0": "9",
        "columns.ticket.parameters.temperature": "0.3",
        "seed": "5",
    }
    recipe = load(GOOD, tmp_path, overrides)
    assert recipe.columns["tone"] == ChoiceColumn(choice=["x", "no"])
    product, ticket = recipe.columns["product"], recipe.columns["ticket"]
    assert isinstance(product, ChoiceColumn)
    assert isinstance(ticket, ModelColumn)
    assert product.weights == [9, 5, 2, 1, 1]
    assert ticket.parameters == {"temperature": 0.3}
    assert recipe.seed == 5


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("columns.tone.chioce", "[x]", ["--set columns.tone.chioce", "Did you mean `choice`?"]),
        ("rows", '"a', ["--set rows: this cannot be read"]),
        ("rows", "many", ["--set rows: `rows` should be a valid integer", "not 'many'"]),
        ("rows.x", "1", ["--set rows.x", "nothing called `x`"]),
        ("rows.x.y", "1", ["--set rows.x.y", "nothing called `x`"]),
        ("columns..x", "1", ["keys with points between"]),
    ],
)
def test_a_wrong_override_is_named(path: str, value: str, words: list[str], tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load(GOOD, tmp_path, {path: value})
    assert [word for word in words if word not in str(caught.value)] == []


FAULTS: list[tuple[str, str, list[str]]] = [
    ("prompt:", "promt:", ["tickets.yaml:3:3", "Did you mean `prompt`?"]),
    ("tone }}", "tne }}", ["tickets.yaml:4:5", "reads `tne`", "Did you mean `tone`?"]),
    ("schema:", "temperature: 3\n    schema:", ["tickets.yaml:5:5", "under `parameters`"]),
    ("schema:", "extra_bdy: {}\n    schema:", ["tickets.yaml:5:5", "Did you mean `extra_body`?"]),
    ("tone:", "product:", ["tickets.yaml:7:3", "`product` is written twice, first in line 6"]),
    ("[calm, angry]", "{template: '{{ ticket }}'}", ["tickets.yaml:3:3", "ticket -> tone -> ticket"]),
    ("[calm, angry]", "{template: '{{ tone }}'}", ["tickets.yaml:7:3", "tone -> tone"]),
    ("Write a {{", "{{", ["tickets.yaml:4:24", "needs quotes"]),
    ("Write a {{ tone }} ticket about a {{ product }}.", "{{ tone }}", ["tickets.yaml:4:14", "needs quotes"]),
    ("Write a", "Write: a", ["tickets.yaml:4:18", "needs quotes"]),
    ("  tone", "\ttone", ["tickets.yaml:7:1", "a tab cannot indent YAML"]),
    ("rows: 1000", "rows: many\nsed: 4", ["tickets.yaml:1:1", "also", "tickets.yaml:2:1", "Did you mean `seed`?"]),
    ("rows: 1000", "rows: 0", ["tickets.yaml:1:1", "greater than or equal to 1"]),
    ("length", "lenght", ["tickets.yaml:9:5", "Did you mean `length`?"]),
    ("ticket.body", "tickt.body", ["tickets.yaml:9:5", "Did you mean `ticket`?"]),
    ("[3, 5, 2, 1, 1]", "[3]", ["tickets.yaml:6:51", "5 choices but 1 weights"]),
    ("[calm, angry]", "{normal: {mean: 3, sdt: 2}}", ["tickets.yaml:7:10", "`columns.tone.normal.std` is missing"]),
    ("[calm, angry]", "{fake: emial}", ["tickets.yaml:7:3", "did you mean `email`?"]),
    ("[calm, angry]", "calm", ["tickets.yaml:7:3", "not 'calm'"]),
    ("[calm, angry]", "{choice: [a], int: [1, 2]}", ["tickets.yaml:7:3", "`choice` and `int` at once"]),
    ("[calm, angry]", "{when: a}", ["tickets.yaml:7:3", "does not say what it is", "`choice`"]),
    ("[calm, angry]", "{expression: '{{ product }}'}", ["tickets.yaml:7:10", "without braces"]),
    ("type: object,", "type: objekt,", ["tickets.yaml:5:5", "no valid JSON Schema at `type`"]),
    ("{type: object, properties: {body: {type: string}}}", "no_module:X", ["tickets.yaml:5:5", "no_module.py"]),
    ("tone: [", "tone-x: [", ["`tone-x` is no name for a column"]),
    ("tone: [", "loop: [", ["`loop` is a word of the template language"]),
    ("  tone", "  ? [a]\n  : b\n  tone", ["a key must be text"]),
    ("[calm, angry]", "*calm", ["tickets.yaml:7:9", "undefined alias"]),
    ("[calm, angry]", "!!python/object:os.system {}", ["tickets.yaml:7:9", "could not determine a constructor"]),
]


@pytest.mark.parametrize(("old", "new", "words"), FAULTS)
def test_a_fault_names_its_place_and_its_mend(old: str, new: str, words: list[str], tmp_path: Path) -> None:
    assert old in GOOD
    found = message(GOOD.replace(old, new), tmp_path)
    assert [word for word in words if word not in found] == [], found


def test_a_column_may_not_take_the_name_of_a_seed_column(tmp_path: Path) -> None:
    assert "tickets.yaml:6:3: `product` is a column of the seeds" in message(GOOD, tmp_path, ("product",))
    assert check_graph(load(GOOD.replace("product }}", "text }}"), tmp_path), ("text",))[0] == "product"


@pytest.mark.parametrize("text", ["", "- a", "text", "# nothing"])
def test_a_file_without_a_mapping_is_no_recipe(text: str, tmp_path: Path) -> None:
    assert "a recipe is a mapping" in message(text, tmp_path)


def test_broken_json_names_line_and_column(tmp_path: Path) -> None:
    assert "tickets.json:2:18: this is no JSON" in message('{\n"columns": {"a": nope}}', tmp_path, name="tickets.json")
    assert "written twice" in message('{"columns": {"a": ["x"], "a": ["y"]}}', tmp_path, name="tickets.json")


def test_a_flood_of_aliases_is_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 9)]
    assert "more than 200,000 values" in message("\n".join(lines), tmp_path)


def test_a_missing_file_suggests_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "tickets.yaml").write_text(GOOD, "utf-8")
    for name, words in [("tickts.yaml", "Did you mean `tickets.yaml`?"), ("xyz.yaml", "Built in are conversations")]:
        with pytest.raises(RecipeError) as caught:
            load_recipe(tmp_path / name)
        assert words in str(caught.value)
    with pytest.raises(RecipeError, match="Did you mean `prompts`"):
        load_recipe("promts")
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(tmp_path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(path)
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load_recipe(path).rows == 1000


def test_a_module_is_found_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ticket_models.py").write_text("class Ticket:\n    body: str\n\nbroken = 3\n", "utf-8")
    text = GOOD.replace("{type: object, properties: {body: {type: string}}}", "ticket_models:{}")
    assert "Did you mean" not in message(text.replace("{}", "broken"), tmp_path)
    assert "did you mean `Ticket`" in message(text.replace("{}", "Tickt"), tmp_path)
    (tmp_path / "raising.py").write_text("raise KeyError('x')\n", "utf-8")
    assert "cannot be imported: KeyError" in message(text.replace("ticket_models:{}", "raising:X"), tmp_path)


def test_the_order_is_as_written_but_for_what_is_needed() -> None:
    columns = {
        "d": {"expression": "b + c"},
        "a": {"constant": 1},
        "c": {"expression": "a", "when": "a > 0"},
        "b": {"template": "{{ a }}"},
    }
    assert check_graph(load_recipe({"columns": columns})) == ["a", "c", "b", "d"]


def test_every_text_of_a_model_column_is_read() -> None:
    column = {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "{{ one }}"}]}],
        "system": "{{ two }}",
        "when": "three",
        "examples": [{"input": "{{ literal }}", "output": "{{ literal }}"}],
    }
    for name in ("one", "two", "three"):
        known = {other: [1] for other in ("one", "two", "three") if other != name}
        with pytest.raises(RecipeError, match=f"reads `{name}`"):
            check_graph(load_recipe({"columns": {"a": column, **known}}))
