"""Bring the values of an answer to the types its schema asks for, where that loses and invents nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from agentic_synth.errors import RecipeError
from agentic_synth.recipes.answers_schema import validator_of
from agentic_synth.types import Json

__all__ = ["Coercer"]

_NO: Final = object()
_MAX_DEPTH: Final = 64
_INTEGER: Final = re.compile(r"[+-]?\d{1,18}(\.0+)?")
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
_TRUE: Final = frozenset({"true", "yes"})
_FALSE: Final = frozenset({"false", "no"})
_NULL: Final = frozenset({"", "null", "none", "n/a"})
_UNIONS: Final = ("anyOf", "oneOf")
_COMPOSED: Final = frozenset({*_UNIONS, "allOf", "$ref", "$dynamicRef", "if", "dependentSchemas"})
_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "null": (type(None),),
    "string": (str,),
    "number": (int, float),
    "array": (list,),
    "object": (dict,),
}


class Coercer:
    """Coerces values to one schema; what it cannot bring into shape it leaves as it is."""

    def __init__(self, schema: dict[str, Json], validator: Any) -> None:
        self._root = schema
        self._checks: dict[int, Callable[[Json], bool]] = {id(schema): validator.is_valid}

    def __call__(self, value: Json) -> Json:
        """*value* in the schema's types; unwrapped first if it is the only thing in a list or object around it."""
        coerced = self._coerce(value, self._root, 0)
        if not self._fits(coerced, self._root):
            inner = self._unwrapped(value)
            if isinstance(inner, (dict, list)):
                inner = self._coerce(inner, self._root, 0)
            if inner is not _NO and self._fits(inner, self._root):
                return inner
        return coerced

    def _unwrapped(self, value: Json) -> Any:
        if isinstance(value, list) and len(value) == 1:
            return value[0]
        if isinstance(value, dict) and len(value) == 1:
            name, inner = next(iter(value.items()))
            if name not in self._root.get("properties", {}):
                return inner
        return _NO

    def _fits(self, value: Json, schema: Json) -> bool:
        """Whether *value* is valid under a part of the schema; what cannot be compiled alone fits nothing."""
        check = self._checks.get(id(schema))
        if check is None:
            check = self._checks[id(schema)] = self._check_of(schema)
        return check(value)

    def _check_of(self, schema: Json) -> Callable[[Json], bool]:
        if isinstance(schema, bool):
            return lambda value: schema
        shared = {"$schema", "$defs", "definitions"} & self._root.keys()
        definitions: dict[str, Json] = {key: self._root[key] for key in shared}
        try:
            is_valid: Callable[[Json], bool] = validator_of({**definitions, **schema}).is_valid
        except RecipeError:
            return lambda value: False
        return is_valid

    def _coerce(self, value: Json, schema: Json, depth: int) -> Json:
        if not isinstance(schema, dict) or depth > _MAX_DEPTH:
            return value
        if "$ref" in schema:
            value = self._coerce(value, self._referred(schema["$ref"]), depth + 1)
        for part in schema.get("allOf", ()):
            value = self._coerce(value, part, depth + 1)
        if "enum" in schema or "const" in schema:
            value = _member(value, schema.get("enum", [schema.get("const")]))
        types = schema.get("type")
        if types is not None:
            value = _typed(value, [types] if isinstance(types, str) else types)
        if isinstance(value, dict):
            value = self._object(value, schema, depth)
        elif isinstance(value, list):
            value = self._array(value, schema, depth)
        for union in _UNIONS:
            if union in schema:
                value = self._branch(value, schema[union], depth)
        return value

    def _referred(self, reference: str) -> Json:
        part: Any = self._root
        for name in reference.removeprefix("#").split("/")[1:] if reference.startswith("#") else [""]:
            key = name.replace("~1", "/").replace("~0", "~")
            part = part.get(key) if isinstance(part, dict) else None
        return part

    def _branch(self, value: Json, branches: list[Json], depth: int) -> Json:
        """The first branch that takes the value as it is, or else the first that takes it coerced."""
        if any(self._fits(value, branch) for branch in branches):
            return value
        for branch in branches:
            coerced = self._coerce(value, branch, depth + 1)
            if self._fits(coerced, branch):
                return coerced
        return value

    def _array(self, value: list[Json], schema: dict[str, Json], depth: int) -> list[Json]:
        prefix, items = schema.get("prefixItems", []), schema.get("items", True)
        return [
            self._coerce(item, prefix[place] if place < len(prefix) else items, depth + 1)
            for place, item in enumerate(value)
        ]

    def _object(self, value: dict[str, Json], schema: dict[str, Json], depth: int) -> dict[str, Json]:
        properties, extra = schema.get("properties", {}), schema.get("additionalProperties", True)
        patterns, required = schema.get("patternProperties", {}), set(schema.get("required", ()))
        closed = extra is False and not patterns and not _COMPOSED & schema.keys()
        coerced: dict[str, Json] = {}
        for key, inner in _renamed(value, properties).items():
            if key in properties:
                part = self._coerce(inner, properties[key], depth + 1)
                if part is None and key not in required and not self._fits(None, properties[key]):
                    continue  # null for what may be left out
                coerced[key] = part
            elif not closed:
                coerced[key] = inner if patterns else self._coerce(inner, extra, depth + 1)
        for key in schema.get("required", ()):
            if key not in coerced and key in properties and self._fits(None, properties[key]):
                coerced[key] = None
        return coerced


def _renamed(value: dict[str, Json], properties: Iterable[str]) -> dict[str, Json]:
    """Keys that differ from an absent property in case or separators only take its name."""
    absent = {_bare(name): name for name in properties if name not in value}
    if not absent or all(key in properties for key in value):
        return value
    renamed: dict[str, Json] = {}
    for key, inner in value.items():
        name = key if key in properties else absent.pop(_bare(key), key)
        renamed[name] = inner
    return renamed


def _bare(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).lower()


def _member(value: Json, members: list[Json]) -> Json:
    if not isinstance(value, str):
        return value
    if value in members:
        return value
    bare = value.strip().strip("\"'`.").strip().lower()
    found = [member for member in members if member is not None and _text(member).strip().lower() == bare]
    return found[0] if len(found) == 1 else value


def _text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _typed(value: Json, types: list[str]) -> Json:
    if any(_is(value, kind) for kind in types):
        return value
    for kind in types:
        converted = _CONVERSIONS[kind](value) if kind in _CONVERSIONS else _NO
        if converted is not _NO:
            return converted
    return value


def _is(value: Json, kind: str) -> bool:
    if kind == "boolean" or isinstance(value, bool):
        return kind == "boolean" and isinstance(value, bool)
    if kind == "integer":
        return isinstance(value, int)
    return isinstance(value, _KINDS.get(kind, ()))


def _alone(value: Json) -> Json:
    """The only value of a list, for a place that takes one value."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _to_integer(value: Json) -> Any:
    value = _alone(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value.strip().split(".")[0])
    return value if _is(value, "integer") else _NO


def _to_number(value: Json) -> Any:
    value = _alone(value)
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        whole = _to_integer(value)
        return float(value) if whole is _NO or "." in value else whole
    return value if _is(value, "number") else _NO


def _to_boolean(value: Json) -> Any:
    value = _alone(value)
    if isinstance(value, str) and value.strip().lower() in _TRUE | _FALSE:
        return value.strip().lower() in _TRUE
    return value if isinstance(value, bool) else _NO


def _to_string(value: Json) -> Any:
    value = _alone(value)
    return _text(value) if isinstance(value, (str, bool, int, float)) else _NO


def _to_null(value: Json) -> Any:
    return None if isinstance(value, str) and value.strip().lower() in _NULL else _NO


def _to_array(value: Json) -> Any:
    if isinstance(value, str) and value.lstrip().startswith("["):
        inner = _parsed(value)
        if isinstance(inner, list):
            return inner
    return _NO if value is None else [value]


def _to_object(value: Json) -> Any:
    inner = _parsed(value) if isinstance(value, str) and value.lstrip().startswith("{") else _alone(value)
    return inner if isinstance(inner, dict) else _NO


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _NO


_CONVERSIONS: Final[Mapping[str, Callable[[Json], Any]]] = {
    "integer": _to_integer,
    "number": _to_number,
    "boolean": _to_boolean,
    "string": _to_string,
    "array": _to_array,
    "object": _to_object,
    "null": _to_null,
}
