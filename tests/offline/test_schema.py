"""Each feature of JSON Schema: the values are valid (``ask`` proves it), and as the feature wants them."""

import re
from typing import Any

import pytest

from agentic_synth.errors import InvalidRequest
from tests.offline.offline_schemas import FORMATS, PATTERNS, Schema, ask, asked, record

LINKED = {
    "$ref": "#/$defs/node",
    "$defs": {"node": record(value={"type": "integer"}, next={"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]})},
}
TREE = {
    "$ref": "#/$defs/tree",
    "$defs": {"tree": record(label={"type": "string"}, children={"type": "array", "items": {"$ref": "#/$defs/tree"}})},
}


def depth_of(value: Any) -> int:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth_of, parts), default=0)


@pytest.mark.parametrize(
    "name", [*FORMATS, "regex", "uri-reference", "uri-template", "iri", "idn-email", "nobody-knows"]
)
def test_formats_are_kept_and_vary(name: str) -> None:
    assert len(set(asked({"type": "string", "format": name}))) > 10


@pytest.mark.parametrize(
    "pattern", [*PATTERNS, r"^(?<year>\d{4})\/(?<month>0[1-9]|1[0-2])$", r"^(ab|cd)\1$", "^(?!foo)[a-z]{3}$", "^$"]
)
def test_patterns_are_matched(pattern: str) -> None:
    asked({"type": "string", "pattern": pattern})


@pytest.mark.parametrize(
    "bounds",
    [
        {"minLength": 5, "maxLength": 5},
        {"maxLength": 0},
        {"maxLength": 1},
        {"minLength": 2_000},
        {"minLength": 20, "maxLength": 22, "pattern": "^[a-z]+$"},
        {"minLength": 20, "maxLength": 22, "pattern": "x"},
        {"maxLength": 8, "format": "email"},
        {"minLength": 90, "format": "email"},
        {"minLength": 200, "maxLength": 210, "format": "uri"},
        {"maxLength": 3, "format": "hostname"},
        {"minLength": 120, "format": "hostname"},
        {"format": "email", "pattern": r"@corp\.com$"},
    ],
)
def test_lengths_are_kept(bounds: Schema) -> None:
    asked({"type": "string", **bounds})


@pytest.mark.parametrize(
    "bounds",
    [
        {"type": "integer", "exclusiveMinimum": 4, "exclusiveMaximum": 6},
        {"type": "integer", "multipleOf": 7, "minimum": 1, "maximum": 20},
        {"type": "integer", "multipleOf": 0.4},
        {"type": "integer", "minimum": 10**15},
        {"type": "integer", "maximum": -(10**15)},
        {"type": "integer", "minimum": -(2**62), "maximum": 2**62},
        {"type": "number", "multipleOf": 0.01, "minimum": 1},
        {"type": "number", "multipleOf": 0.3},
        {"type": "number", "minimum": -5.5, "maximum": -5.5},
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1e-6},
        {"type": "number", "minimum": 1e300},
        {"type": "number", "default": 1e308, "examples": [-1e308, 2**63]},
        {"type": "integer", "description": f"from {'9' * 400} to {'9' * 401}"},
        {"allOf": [{"type": "number", "multipleOf": 4}, {"type": "integer", "multipleOf": 6, "minimum": 0}]},
        {
            "$schema": "http://json-schema.org/draft-04/schema#",
            "type": "number",
            "minimum": 0,
            "exclusiveMinimum": True,
        },
    ],
)
def test_numbers_keep_their_bounds(bounds: Schema) -> None:
    asked(bounds)


def test_a_narrow_range_still_holds_many_numbers() -> None:
    assert len(set(asked({"type": "number", "minimum": 0.5, "maximum": 0.6}, 60))) > 5


def test_every_member_of_an_enum_comes() -> None:
    assert set(asked({"enum": ["low", "mid", "high"]}, 60)) == {"low", "mid", "high"}


def test_an_enum_is_narrowed_by_its_neighbours() -> None:
    assert set(asked({"enum": [1, 2, 3, "3", None], "type": "integer", "minimum": 2})) == {2, 3}


def test_required_properties_are_there_and_optional_ones_mostly() -> None:
    schema = {**record(a={"type": "string"}, b={"type": "integer"}), "required": ["a"]}
    values = asked(schema, 100)
    assert all("a" in value for value in values)
    assert 60 < sum("b" in value for value in values) < 100


def test_a_required_property_that_is_not_declared_is_made_from_the_rest() -> None:
    values = asked({"type": "object", "required": ["n"], "additionalProperties": {"type": "integer"}})
    assert all(isinstance(value["n"], int) for value in values)


def test_maps_have_keys_and_values_of_the_named_kind() -> None:
    schema = {"type": "object", "additionalProperties": {"type": "integer"}, "propertyNames": {"pattern": "^[a-z]{4}$"}}
    values = asked(schema)
    assert any(len(value) > 1 for value in values)
    assert all(isinstance(number, int) for value in values for number in value.values())


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "patternProperties": {"^x-[a-z]+$": {}}, "additionalProperties": False, "minProperties": 2},
        {**record(False, a={}, b={}, c={}), "maxProperties": 1},
        {**record(False, a={}, b={}), "minProperties": 4, "additionalProperties": {"type": "boolean"}},
        {**record(False, a={}, b={}, c={}), "dependentRequired": {"a": ["b"], "b": ["c", "d"]}},
        {**record(False, a={}, b={}), "dependentSchemas": {"a": {"required": ["z"]}}},
        {"allOf": [record(a={"type": "string"}), record(b={"type": "integer"})], "unevaluatedProperties": False},
        {"allOf": [{**record(a={}), "additionalProperties": False}, record(False, b={})]},
        {"properties": {"ab": {"type": "string"}}, "patternProperties": {"^a": {"minLength": 30}}, "required": ["ab"]},
    ],
)
def test_objects_keep_their_rules(schema: Schema) -> None:
    asked(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"type": "string"}, "minItems": 5, "maxItems": 5},
        {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 3}, "uniqueItems": True, "minItems": 3},
        {"type": "array", "items": {"enum": list(range(50))}, "uniqueItems": True, "minItems": 50},
        {"type": "array", "items": record(a={"enum": [1, 2]}), "uniqueItems": True, "minItems": 2},
        {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False, "minItems": 2},
        {"type": "array", "contains": {"const": 7}, "items": {"type": "integer"}},
        {"type": "array", "items": {"enum": [1, 8, 9]}, "contains": {"minimum": 8}, "minContains": 2, "maxContains": 2},
        {"$schema": "http://json-schema.org/draft-07/schema#", "type": "array", "items": [{"type": "string"}]},
    ],
)
def test_arrays_keep_their_rules(schema: Schema) -> None:
    asked(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"oneOf": [{"type": "integer", "multipleOf": 2}, {"type": "integer", "multipleOf": 3}]},
        {"oneOf": [record(k={"const": "a"}, v={"type": "string"}), record(k={"const": "b"}, w={"type": "integer"})]},
        {"anyOf": [{"minimum": 3}, {"maximum": 1}], "type": "integer"},
        {"type": "integer", "not": {"multipleOf": 2}},
        {"not": {"type": ["string", "null"]}},
        {"allOf": [{"$ref": "#/$defs/a"}, {"maxLength": 9}], "$defs": {"a": {"type": "string", "minLength": 9}}},
        {"$ref": "#here", "$defs": {"x": {"$anchor": "here", "type": "integer"}}},
        {"$ref": "#/$defs/a~1b%20c", "$defs": {"a/b c": {"const": 1}}},
    ],
)
def test_combined_schemas_are_kept(schema: Schema) -> None:
    asked(schema)


def test_a_condition_is_followed_on_both_sides() -> None:
    schema = {
        **record(country={"enum": ["US", "CA"]}),
        "if": {"properties": {"country": {"const": "US"}}},
        "then": record(zip={"type": "string", "pattern": r"^\d{5}$"}),
        "else": record(postcode={"type": "string"}),
    }
    values = asked(schema, 60)
    assert {value["country"] for value in values} == {"US", "CA"}
    assert all(("zip" in value) == (value["country"] == "US") for value in values)


def test_null_is_one_of_the_answers_but_seldom() -> None:
    values = asked({"anyOf": [{"type": "string"}, {"type": "null"}]}, 200)
    assert 0 < values.count(None) < 60


@pytest.mark.parametrize("schema", [LINKED, TREE])
def test_recursive_schemas_vary_in_depth_and_end(schema: Schema) -> None:
    depths = {depth_of(value) for value in asked(schema, 60)}
    assert len(depths) > 1
    assert max(depths) < 20


def test_an_optional_property_that_never_ends_is_left_out() -> None:
    endless = {"type": "object", "properties": {"x": {"$ref": "#/$defs/endless"}}, "required": ["x"]}
    assert ask({**record(False, a={"$ref": "#/$defs/endless"}), "$defs": {"endless": endless}}) == {}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "minItems": 10_000_000},
        {"type": "array", "contains": {"type": "null"}, "minContains": 10_000_000},
        {"type": "object", "minProperties": 10_000_000},
        {"type": "string", "minLength": 10_000_000},
        {"type": "string", "pattern": "^(a{9999}){9999}$"},
    ],
)
def test_what_is_too_large_is_refused_rather_than_made(schema: Schema) -> None:
    with pytest.raises(InvalidRequest, match=r"more than the \d+"):
        ask(schema)


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "integer", "minimum": 5, "maximum": 4}, "no integer lies within minimum 5, maximum 4"),
        ({"type": "integer", "multipleOf": 10, "minimum": 1, "maximum": 9}, "multipleOf 10"),
        ({"type": "string", "minLength": 5, "maxLength": 4}, "minLength 5 is above maxLength 4"),
        ({"type": "string", "format": "date", "maxLength": 5}, "no text of format 'date'"),
        ({"type": "string", "pattern": "^[a-z]{3}$", "minLength": 20}, "no text was found that matches"),
        ({"enum": [1], "type": "string"}, "no value of its enum"),
        ({"const": 1, "enum": [2]}, "no value of its enum"),
        ({"allOf": [{"type": "string"}, {"type": "integer"}]}, "nothing is both string and integer"),
        ({**record(False), "required": ["b"], "additionalProperties": False}, "the required property 'b'"),
        ({**record(a={}, b={}), "maxProperties": 1}, "maxProperties 1 is below"),
        ({"type": "array", "items": {"type": "boolean"}, "uniqueItems": True, "minItems": 3}, "2 different items"),
        ({"type": "array", "items": False, "minItems": 1}, "its items cannot be made"),
        ({"type": "array", "minItems": 3, "maxItems": 2}, "minItems 3 is above maxItems 2"),
        ({"oneOf": [{"type": "string"}, {"type": "string"}]}, "no valid value was found"),
        ({"not": {}}, "no valid value was found"),
        ({"$ref": "#/$defs/missing"}, "leads nowhere"),
        ({"$ref": "https://example.com/schema"}, "leads out of the schema"),
        (record(next={"$ref": "#"}), "contains itself without end"),
        ({"type": "banana"}, "is not a JSON Schema"),
        ({"type": "string", "pattern": "["}, "cannot be read"),
    ],
)
def test_a_schema_without_values_is_refused_with_the_reason(schema: Schema, why: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(why)) as refusal:
        ask(schema)
    assert refusal.value.upstream == "offline"
    assert refusal.value.mend
