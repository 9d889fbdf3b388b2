"""The local rungs of the repair ladder: form is mended, content is neither invented nor lost."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, field_validator
from typing_extensions import TypedDict

from agentic_synth.errors import RecipeError
from agentic_synth.recipes.answers import Answers, Invalid, Read
from agentic_synth.recipes.answers_schema import schema_of

TICKET = {
    "type": "object",
    "required": ["subject", "priority"],
    "additionalProperties": False,
    "properties": {
        "subject": {"type": "string", "maxLength": 40},
        "priority": {"enum": ["low", "mid", "high"]},
        "count": {"type": "integer"},
        "price": {"type": "number"},
        "open": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "due_date": {"type": ["string", "null"], "format": "date"},
        "either": {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]},
    },
}
GOOD = '{"subject": "s", "priority": "low"}'
ANSWERS = Answers.compile(TICKET)


def with_field(name: str, value: Any) -> str:
    return json.dumps({"subject": "s", "priority": "low", name: value})


def test_a_valid_answer_is_read_as_it_is() -> None:
    assert ANSWERS.read(GOOD) == Read({"subject": "s", "priority": "low"})


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}\n```",
        f"Sure! Here it is:\n\n```json\n{GOOD}\n```\nAnything else [1]?",
        f"The ticket {{as asked}} is {GOOD}.",
        f"<think>Perhaps {{'a': 1}}</think>\n{GOOD}",
    ],
)
def test_fences_and_prose_are_left_out(text: str) -> None:
    assert ANSWERS.read(text) == Read({"subject": "s", "priority": "low"}, "fenced")


@pytest.mark.parametrize(
    ("name", "given_value", "value"),
    [
        ("count", "3", 3),
        ("count", " 3.0 ", 3),
        ("count", [3], 3),
        ("price", "2.50", 2.5),
        ("price", "7", 7),
        ("open", "true", True),
        ("open", "No", False),
        ("tags", "a", ["a"]),
        ("tags", '["a", "b"]', ["a", "b"]),
        ("tags", [1, "b"], ["1", "b"]),
        ("subject", 12, "12"),
        ("priority", " High. ", "high"),
        ("either", "4", 4),
        ("either", ["4", 5], [4, 5]),
    ],
)
def test_values_are_brought_to_their_types(name: str, given_value: Any, value: Any) -> None:
    read = ANSWERS.read(with_field(name, given_value))
    assert isinstance(read, Read)
    assert (read.value[name], read.repaired) == (value, "coerced")


GUESSES: list[tuple[str, Any]] = [
    ("count", "three"),
    ("count", 2.5),
    ("count", "1,000"),
    ("price", "$3"),
    ("open", "maybe"),
    ("open", 1),
    ("priority", "urgent"),
    ("subject", {"a": 1}),
    ("subject", "x" * 41),
]


@pytest.mark.parametrize(("name", "value"), GUESSES)
def test_what_would_have_to_be_guessed_is_invalid(name: str, value: Any) -> None:
    read = ANSWERS.read(with_field(name, value))
    assert isinstance(read, Invalid)
    assert f"at `{name}`" in read.reason


def test_null_means_left_out_where_a_value_may_be_left_out() -> None:
    assert ANSWERS.read(with_field("tags", None)) == Read({"subject": "s", "priority": "low"}, "coerced")


def test_half_a_character_is_invalid_and_a_whole_one_is_kept() -> None:
    assert isinstance(ANSWERS.read('{"subject": "\\ud83d", "priority": "low"}'), Invalid)
    read = ANSWERS.read('{"subject": "\\ud83d\\ude00", "priority": "low",}')
    assert read == Read({"subject": "\U0001f600", "priority": "low"}, "repaired")


def test_keys_that_differ_in_case_or_separators_are_renamed() -> None:
    read = ANSWERS.read('{"Subject": "s", "PRIORITY": "low", "due date": "2025-01-02"}')
    assert read == Read({"subject": "s", "priority": "low", "due_date": "2025-01-02"}, "coerced")


def test_extra_keys_go_only_where_they_are_forbidden() -> None:
    assert ANSWERS.read(with_field("note", 1)) == Read({"subject": "s", "priority": "low"}, "coerced")
    free = Answers.compile({"type": "object", "properties": {"n": {"type": "integer"}}})
    assert free.read('{"n": "1", "note": 1}') == Read({"n": 1, "note": 1}, "coerced")


def test_a_wrapper_is_taken_off() -> None:
    for text in (f'{{"ticket": {GOOD}}}', f"[{GOOD}]"):
        assert ANSWERS.read(text) == Read({"subject": "s", "priority": "low"}, "coerced")


def test_a_required_value_that_may_be_null_is_null_when_it_is_left_out() -> None:
    maybe = {"type": ["integer", "null"]}
    nullable = Answers.compile({"type": "object", "required": ["a"], "properties": {"a": maybe}})
    assert nullable.read("{}") == Read({"a": None}, "coerced")
    assert nullable.read('{"a": "n/a"}') == Read({"a": None}, "coerced")


@pytest.mark.parametrize(
    "text",
    [
        "{'subject': 's', 'priority': 'low',}",
        '{subject: "s", priority: "low"}',
        '{"subject": "s" "priority": "low"}',
        'Here: {"subject": "s", "priority": "low",} done',
        '{"subject": "s", // a remark\n"priority": "low"}',
        '{"ticket": {"subject": "s", "priority": "low"}',
    ],
)
def test_broken_json_is_repaired(text: str) -> None:
    assert ANSWERS.read(text) == Read({"subject": "s", "priority": "low"}, "repaired")


def test_quotes_and_line_breaks_inside_texts_are_kept() -> None:
    read = ANSWERS.read('{"subject": "He said "hi" to me", "priority": "low"}')
    assert read == Read({"subject": 'He said "hi" to me', "priority": "low"}, "repaired")
    read = ANSWERS.read('{"subject": "a\nb", "priority": "low"}')
    assert read == Read({"subject": "a\nb", "priority": "low"}, "repaired")


@settings(deadline=None)
@given(st.integers(min_value=1, max_value=70))
def test_an_answer_that_breaks_off_is_never_taken_for_a_whole_one(cut: int) -> None:
    text = '{"subject": "hello", "priority": "low", "tags": ["a", "b"], "due_date": "2025-01-02"}'
    assert isinstance(ANSWERS.read(text[:-cut]), Invalid)


@pytest.mark.parametrize("text", ['{"subject": , "priority": "low"}', '{"subject": "", "x": , "priority": "low"}'])
def test_holes_are_not_filled(text: str) -> None:
    assert isinstance(ANSWERS.read(text), Invalid)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the answer is empty"),
        ("I cannot do that.", "there is no JSON in the answer"),
        ("I cannot {do} that [really].", "there is no JSON in the answer"),
        ('{"subject": "s", "prio', "the JSON is broken or breaks off before its end"),
        ('{"subject": "s", "priority": "urgent"}', 'at `priority`: "urgent" is not one of "low", "mid" or "high"'),
        ('{"subject": "s"}', '"priority" is a required property'),
    ],
)
def test_the_reason_says_what_a_model_can_mend(text: str, reason: str) -> None:
    read = ANSWERS.read(text)
    assert read == Invalid(reason)
    assert reason in ANSWERS.correction(reason)


def test_a_reason_stays_short() -> None:
    wrong = {"subject": "x" * 100_000, "priority": 1, "count": "a", "price": "b", "open": "c", "tags": [{}]}
    read = ANSWERS.read(json.dumps(wrong))
    assert isinstance(read, Invalid)
    assert len(read.reason) < 1_500
    assert read.reason.endswith("and more")


def test_absurd_input_is_bounded() -> None:
    assert isinstance(ANSWERS.read("[" * 200_000), Invalid)
    assert isinstance(ANSWERS.read('{"a":' * 50_000), Invalid)
    assert ANSWERS.read("x" * 4_000_001) == Invalid("the answer is longer than 4,000,000 characters")


def test_a_single_value_may_come_as_plain_text() -> None:
    word = Answers.compile({"enum": ["low", "high"]})
    assert word.read('"low"') == Read("low")
    assert word.read("High.") == Read("high", "coerced")
    assert word.read("```\nlow\n```") == Read("low", "coerced")
    assert isinstance(word.read("medium"), Invalid)
    text = Answers.compile({"type": "string"})
    assert text.read("{not json") == Read("{not json", "coerced")
    assert text.read("42") == Read("42", "coerced")
    assert isinstance(text.read('{"a": 1}'), Invalid)
    assert Answers.compile({"type": "integer"}).read(' "4" ') == Read(4, "coerced")


def shape(kind: str, side: str) -> dict[str, Any]:
    return {"type": "object", "required": [side], "properties": {"kind": {"const": kind}, side: {"type": "number"}}}


def test_unions_are_never_pruned() -> None:
    shapes = Answers.compile({"oneOf": [shape("circle", "r"), shape("box", "w")]})
    read = shapes.read('{"kind": "box", "w": "3", "colour": "red"}')
    assert read == Read({"kind": "box", "w": 3, "colour": "red"}, "coerced")


def test_references_are_followed_and_recursion_ends() -> None:
    tree = Answers.compile(
        {
            "$ref": "#/$defs/node",
            "$defs": {
                "node": {
                    "type": "object",
                    "required": ["n"],
                    "properties": {"n": {"type": "integer"}, "next": {"$ref": "#/$defs/node"}},
                }
            },
        }
    )
    assert tree.read('{"n": "1", "next": {"n": "2"}}') == Read({"n": 1, "next": {"n": 2}}, "coerced")


KEYS = st.sampled_from(["subject", "priority", "tags", "x"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(json_values)
def test_whatever_is_read_is_valid(value: Any) -> None:
    read = ANSWERS.read(json.dumps(value))
    if isinstance(read, Read):
        assert ANSWERS.read(json.dumps(read.value)) == Read(read.value)


class Odd(BaseModel):
    a: int
    b: str = "kept"

    @field_validator("a")
    @classmethod
    def odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("must be odd")
        return value


class Struct(msgspec.Struct):
    a: int


@dataclass
class Data:
    a: int


class Dictionary(TypedDict):
    a: int


def test_a_models_own_validators_judge_too() -> None:
    answers = Answers.compile(Odd)
    assert answers.read('{"a": 3}') == Read({"a": 3, "b": "kept"})
    assert answers.read('{"a": 4}') == Invalid("at `a`: Value error, must be odd")


@pytest.mark.parametrize("kind", [Struct, Data, Dictionary])
def test_any_described_type_is_a_schema(kind: Any) -> None:
    answers = Answers.compile(kind)
    assert answers.read('{"a": "3"}') == Read({"a": 3}, "coerced")
    assert isinstance(answers.read('{"a": "x"}'), Invalid)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "nope"}, "no valid JSON Schema at `type`"),
        ({"$ref": "http://127.0.0.1:9/x"}, "may not refer to http://127.0.0.1:9/x"),
        ({"$ref": "#/$defs/absent"}, "absent"),
        ({"type": "string", "pattern": "("}, "regex"),
        ("no_such_module:Model", "no module 'no_such_module'"),
        ("json:JSONDecodr", "did you mean `JSONDecoder`"),
        ("json:loads", "no type"),
        ("math:pi", "no JSON Schema"),
    ],
)
def test_a_wrong_schema_says_what_is_wrong(schema: Any, words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        schema_of(schema)
    assert words in str(caught.value)
