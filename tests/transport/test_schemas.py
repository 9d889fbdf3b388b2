"""Schemas reduced for constrained decoding, and remembered by identity."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentic_synth.transport.schemas import SchemaMemo, fit, instructed, instruction_of
from agentic_synth.types import Message


def closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def test_an_object_that_says_nothing_of_further_properties_is_closed() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    assert fit(schema, require_all=True) == closed(a={"type": "string"})
    assert "additionalProperties" not in schema


def test_bounds_are_told_in_the_description() -> None:
    schema = closed(a={"type": "string", "description": "A name", "maxLength": 80, "minLength": 2})
    fitted = fit(schema, require_all=True)
    assert fitted is not None
    assert fitted["properties"]["a"] == {"type": "string", "description": "A name (maxLength: 80, minLength: 2)"}


def test_it_reaches_into_arrays_unions_and_definitions() -> None:
    schema = closed(a={"type": "array", "items": {"$ref": "#/$defs/b"}, "minItems": 1}, c={"oneOf": [{"type": "null"}]})
    schema["$defs"] = {"b": {"type": "object", "properties": {"n": {"minimum": 1}}, "required": ["n"]}}
    fitted = fit(schema, require_all=True)
    assert fitted is not None
    assert fitted["$defs"]["b"] == closed(n={"description": "(minimum: 1)"})
    assert fitted["properties"]["c"] == {"anyOf": [{"type": "null"}]}
    assert fitted["properties"]["a"]["items"] == {"$ref": "#/$defs/b"}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {}}, "additionalProperties": True},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "object"},
        closed(a={"allOf": [{"type": "string"}]}),
        closed(a={"not": {"type": "string"}}),
        closed(a={"type": "array", "prefixItems": [{"type": "string"}]}),
        closed(a={"type": "object", "patternProperties": {"^x": {}}}),
        closed(a=True),
    ],
)
def test_what_a_decoder_cannot_hold_is_refused_whole(schema: dict[str, Any]) -> None:
    assert fit(schema, require_all=False) is None


def test_optional_properties_are_refused_only_where_all_must_be_required() -> None:
    schema = {"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a"]}
    assert fit(schema, require_all=True) is None
    fitted = fit(schema, require_all=False)
    assert fitted is not None
    assert fitted["required"] == ["a"]


def test_the_instruction_joins_a_system_message_or_becomes_one() -> None:
    user = Message("user", "hi")
    assert instructed((user,), "do") == (Message("system", "do"), user)
    assert instructed((Message("system", "be"), user), "do") == (Message("system", "be\n\ndo"), user)
    assert json.loads(instruction_of({"type": "null"}).partition("\n")[2]) == {"type": "null"}


def test_the_memo_derives_once_a_schema_and_forgets_the_oldest() -> None:
    derived: list[Any] = []

    def derive(schema: dict[str, Any]) -> int:
        derived.append(schema["n"])
        return int(schema["n"])

    memo = SchemaMemo(derive, size=2)
    first, second, third = {"n": 1}, {"n": 2}, {"n": 3}
    assert [memo(first), memo(first), memo(second), memo(first), memo(third)] == [1, 1, 2, 1, 3]
    assert derived == [1, 2, 3]
    assert memo(first) == 1
    assert memo(second) == 2
    assert derived == [1, 2, 3, 2]


def test_equal_schemas_made_anew_are_never_confused() -> None:
    memo = SchemaMemo(lambda schema: schema["n"], size=4)
    assert [memo({"n": n}) for n in range(100)] == list(range(100))
