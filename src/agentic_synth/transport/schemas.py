"""JSON Schemas as upstreams take them: closed and reduced for constrained decoding, or as words in the prompt."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from agentic_synth.types import Json, Message

__all__ = ["SchemaMemo", "fit", "instructed"]

T = TypeVar("T")

_KEPT = frozenset({"type", "enum", "const", "title", "description", "default", "format", "$ref", "examples"})
_TOLD = frozenset(
    {"minLength", "maxLength", "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
    | {"minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties"}
)
_DROPPED = frozenset({"$schema", "$id", "$comment", "$anchor", "deprecated", "readOnly", "writeOnly"})


def fit(schema: Json, *, require_all: bool) -> dict[str, Json] | None:
    """*schema* for a decoder that knows only closed objects, or None where that would change what fits.

    Objects that say nothing of further properties are closed. Bounds a decoder does not know move into the
    description, so that the model is still told; the answer is validated against the whole schema anyway.
    *require_all* (OpenAI's strict mode) refuses objects with optional properties.
    """
    try:
        return _fit(schema, require_all)
    except _Misfit:
        return None


class _Misfit(Exception):
    pass


def _fit(schema: Json, require_all: bool) -> dict[str, Json]:
    if not isinstance(schema, dict):
        raise _Misfit
    fitted: dict[str, Json] = {}
    told: list[str] = []
    for key, value in schema.items():
        if key in _KEPT:
            fitted[key] = value
        elif key in _TOLD:
            told.append(f"{key}: {msgspec.json.encode(value).decode()}")
        elif key in {"properties", "$defs", "definitions"}:
            fitted[key] = {name: _fit(inner, require_all) for name, inner in value.items()}
        elif key in {"anyOf", "oneOf"}:
            fitted["anyOf"] = [_fit(inner, require_all) for inner in value]
        elif key == "items":
            fitted[key] = _fit(value, require_all)
        elif key not in _DROPPED and key not in {"required", "additionalProperties"}:
            raise _Misfit
    if told:
        fitted["description"] = f"{fitted.get('description', '')} ({', '.join(told)})".strip()
    if schema.get("type") == "object" or "properties" in schema:
        _close(schema, fitted, require_all)
    return fitted


def _close(schema: dict[str, Json], fitted: dict[str, Json], require_all: bool) -> None:
    properties, required = schema.get("properties", {}), schema.get("required", [])
    is_open = schema.get("additionalProperties", False) is not False
    if is_open or not properties or (require_all and set(required) != set(properties)):
        raise _Misfit
    fitted["required"] = list(required)
    fitted["additionalProperties"] = False


def instructed(messages: tuple[Message, ...], instruction: str) -> tuple[Message, ...]:
    """*messages* with *instruction* in the system message, for an upstream that takes no schema."""
    if messages and messages[0].role in {"system", "developer"} and isinstance(messages[0].content, str):
        first = msgspec.structs.replace(messages[0], content=f"{messages[0].content}\n\n{instruction}")
        return (first, *messages[1:])
    return (Message("system", instruction), *messages)


def instruction_of(schema: Json) -> str:
    """The schema in words."""
    text = msgspec.json.encode(schema).decode()
    return f"Answer with one JSON value that fits this JSON Schema, and with nothing else:\n{text}"


class SchemaMemo(Generic[T]):
    """Remembers what was derived from a schema, by the identity of the schema object.

    A recipe asks with the same object over and over, so the work is done once. The object is held while its entry is,
    so an identity is never reused; the entries used last are kept.
    """

    def __init__(self, derive: Callable[[dict[str, Json]], T], size: int = 128) -> None:
        self._derive = derive
        self._size = size
        self._entries: OrderedDict[int, tuple[dict[str, Json], T]] = OrderedDict()

    def __call__(self, schema: dict[str, Json]) -> T:
        entry = self._entries.get(id(schema))
        if entry is None:
            entry = self._entries[id(schema)] = (schema, self._derive(schema))
            if len(self._entries) > self._size:
                self._entries.popitem(last=False)
        else:
            self._entries.move_to_end(id(schema))
        return entry[1]
