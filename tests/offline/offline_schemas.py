"""Strategies for JSON Schemas, and the shortest way to ask the generator for a value of one."""

from typing import Any

import jsonschema_rs
import msgspec
from hypothesis import strategies as st

from agentic_synth.offline.answer import answer
from agentic_synth.types import Draw, Message, Request

Schema = dict[str, Any]

NAMES = ("name", "email", "price", "city", "tags", "created_at", "note", "x", "id")
FORMATS = ("date", "time", "date-time", "email", "uuid", "uri", "hostname", "ipv4", "ipv6", "duration", "json-pointer")
PATTERNS = (
    "^[A-Z]{2,4}-[0-9]{3}$",
    "^(red|green|blue)$",
    "[0-9]+",
    "^\\S+@\\S+\\.[a-z]{2,}$",
    "^[a-z][a-z0-9_]*$",
    "^(?:[01][0-9]|2[0-3]):[0-5][0-9]$",
    "^\\p{Lu}\\p{Ll}+$",
    "^[^a-m]{3,}$",
)


def ask(schema: Schema, sample: int = 0, prompt: str = "Describe an order of a red kettle.", seed: int = 0) -> Any:
    """The generator's value for *schema*, which is proven valid before it is returned."""
    request = Request(model="offline", messages=(Message("user", prompt),), schema=schema, draw=Draw("test", sample))
    value = msgspec.json.decode(answer(request, seed))
    jsonschema_rs.validator_for(schema, validate_formats=True).validate(value)
    return value


def asked(schema: Schema, count: int = 30) -> list[Any]:
    """*count* draws of one schema."""
    return [ask(schema, sample) for sample in range(count)]


def record(required: bool = True, /, **properties: Any) -> Schema:
    """An object schema of *properties*."""
    schema: Schema = {"type": "object", "properties": properties}
    return {**schema, "required": list(properties)} if required else schema


@st.composite
def _numbers(draw: st.DrawFn) -> Schema:
    low = draw(st.integers(-1_000, 1_000))
    room = draw(st.integers(0, 5_000))
    kind = draw(st.sampled_from(["integer", "number"]))
    bounds = draw(st.sampled_from(["none", "closed", "open", "low", "high", "multiple"]))
    match bounds:
        case "closed":
            return {"type": kind, "minimum": low, "maximum": low + room}
        case "open":
            return {"type": kind, "exclusiveMinimum": low, "exclusiveMaximum": low + room + 2}
        case "low":
            return {"type": kind, "minimum": low}
        case "high":
            return {"type": kind, "maximum": low + 0.5}
        case "multiple":
            step = draw(st.sampled_from([1, 3, 0.5, 0.01, 7]))
            return {"type": kind, "multipleOf": step, "minimum": low, "maximum": low + 20}
    return {"type": kind}


@st.composite
def _texts(draw: st.DrawFn) -> Schema:
    kind = draw(st.sampled_from(["bounds", "format", "pattern", "plain"]))
    if kind == "format":
        return {"type": "string", "format": draw(st.sampled_from(FORMATS))}
    if kind == "pattern":
        return {"type": "string", "pattern": draw(st.sampled_from(PATTERNS))}
    if kind == "bounds":
        low = draw(st.integers(0, 120))
        return {"type": "string", "minLength": low, "maxLength": low + draw(st.integers(0, 60))}
    return {"type": "string"}


_SCALARS = st.none() | st.booleans() | st.integers(-50, 50) | st.text("abc", max_size=3)
_LEAVES = st.one_of(
    _numbers(),
    _texts(),
    st.just({"type": "boolean"}),
    st.just({"type": ["string", "null"]}),
    st.lists(_SCALARS, min_size=1, max_size=4).map(lambda values: {"enum": values}),
    _SCALARS.map(lambda value: {"const": value}),
)


@st.composite
def _objects(draw: st.DrawFn, parts: st.SearchStrategy[Schema]) -> Schema:
    properties = draw(st.dictionaries(st.sampled_from(NAMES), parts, max_size=4))
    schema: Schema = {"type": "object", "properties": properties}
    if properties:
        schema["required"] = draw(st.lists(st.sampled_from(sorted(properties)), unique=True))
        schema["minProperties"] = draw(st.integers(0, len(properties)))
    extra = draw(st.sampled_from([None, False, {"type": "integer"}]))
    if extra is not None:
        schema["additionalProperties"] = extra
    return schema


@st.composite
def _arrays(draw: st.DrawFn, parts: st.SearchStrategy[Schema]) -> Schema:
    low = draw(st.integers(0, 3))
    schema: Schema = {"type": "array", "items": draw(parts), "minItems": low, "maxItems": low + draw(st.integers(0, 3))}
    if draw(st.booleans()):
        schema["prefixItems"] = draw(st.lists(parts, min_size=1, max_size=2))
    return schema


def _composed(parts: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    return st.one_of(
        _objects(parts),
        _arrays(parts),
        st.lists(parts, min_size=1, max_size=3).map(lambda options: {"anyOf": options}),
        parts.map(lambda part: {"allOf": [part, {"description": "the same again"}, part]}),
        parts.map(lambda part: {"$ref": "#/$defs/part", "$defs": {"part": part}}),
    )


def _lifted(schema: Schema) -> Schema:
    """*schema* with its definitions at the top, where its references look for them."""
    definitions: Schema = {}

    def lift(part: Any) -> Any:
        if isinstance(part, list):
            return [lift(one) for one in part]
        if not isinstance(part, dict):
            return part
        if "$defs" in part:
            name = f"part{len(definitions)}"
            definitions[name] = True
            definitions[name] = lift(part["$defs"]["part"])
            return {"$ref": f"#/$defs/{name}"}
        return {key: lift(one) for key, one in part.items()}

    lifted = lift(schema)
    return {**lifted, "$defs": definitions} if definitions else lifted


satisfiable = st.recursive(_LEAVES, _composed, max_leaves=8).map(_lifted)
"""Schemas of every kind for which a value exists, by how they are built."""

_KEYWORDS: dict[str, st.SearchStrategy[Any]] = {
    "type": st.sampled_from(["string", "integer", "number", "boolean", "object", "array", "null"])
    | st.lists(st.sampled_from(["string", "integer", "number", "object", "null"]), min_size=1, max_size=3, unique=True),
    "minimum": st.integers(-5, 5),
    "maximum": st.integers(-5, 5),
    "exclusiveMinimum": st.integers(-5, 5),
    "exclusiveMaximum": st.integers(-5, 5),
    "multipleOf": st.sampled_from([1, 2, 3, 0.5, 0.1]),
    "minLength": st.integers(0, 9),
    "maxLength": st.integers(0, 9),
    "pattern": st.sampled_from(PATTERNS),
    "format": st.sampled_from(FORMATS),
    "enum": st.lists(_SCALARS, min_size=1, max_size=4),
    "const": _SCALARS,
    "minItems": st.integers(0, 4),
    "maxItems": st.integers(0, 4),
    "uniqueItems": st.booleans(),
    "minProperties": st.integers(0, 3),
    "maxProperties": st.integers(0, 3),
    "required": st.lists(st.sampled_from(NAMES), unique=True, max_size=3),
    "dependentRequired": st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), unique=True)),
    "default": _SCALARS,
    "examples": st.lists(_SCALARS, max_size=2),
}


def _wilder(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(parts, min_size=1, max_size=3)
    named = st.dictionaries(st.sampled_from(NAMES), parts, max_size=3)
    nested = {
        "properties": named,
        "patternProperties": st.dictionaries(st.sampled_from(["^x", "e", "[0-9]$"]), parts, max_size=2),
        "additionalProperties": parts,
        "propertyNames": st.sampled_from([{"pattern": "^[a-e]+$"}, {"maxLength": 5}, {"enum": list(NAMES)}]),
        "dependentSchemas": named,
        "items": parts,
        "prefixItems": some,
        "contains": parts,
        "minContains": st.integers(0, 2),
        "maxContains": st.integers(1, 3),
        "anyOf": some,
        "oneOf": some,
        "allOf": some,
        "not": parts,
        "if": parts,
        "then": parts,
        "else": parts,
        "$ref": st.sampled_from(["#", "#/$defs/a", "#/$defs/b"]),
        "unevaluatedProperties": st.just(False),
    }
    return st.fixed_dictionaries({}, optional={**nested, **_KEYWORDS}).map(_few) | parts


def _few(schema: Schema) -> Schema:
    """At most four keywords of *schema*: with more of them next to nothing fits."""
    return dict(sorted(schema.items(), key=repr)[:4])


wild = st.builds(
    lambda schema, one, other: {
        **(schema if isinstance(schema, dict) else {"allOf": [schema]}),
        "$defs": {"a": one, "b": other},
    },
    st.recursive(st.fixed_dictionaries({}, optional=_KEYWORDS).map(_few) | st.booleans(), _wilder, max_leaves=8),
    _LEAVES,
    st.just({"type": "object", "properties": {"next": {"$ref": "#/$defs/b"}}}) | st.just({"$ref": "#/$defs/a"}),
)
"""Any keywords together, whether or not a value exists."""
