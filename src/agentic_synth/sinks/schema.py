"""From the JSON Schema of a column to how Parquet stores it."""

from __future__ import annotations

from typing import Any

from agentic_synth.sinks.arrow import (
    BOOLEAN,
    INTEGER,
    JSON_TEXT,
    NUMBER,
    TEXT,
    ListShape,
    Shape,
    StructShape,
    infer_shape,
)

__all__ = ["shape_of"]

_SCALARS: dict[str, Shape] = {"string": TEXT, "integer": INTEGER, "number": NUMBER, "boolean": BOOLEAN}
_PYTHON_FORMATS = {"date", "date-time", "time", "uuid", "decimal"}
"""A sampler may give these as Python values, a model gives text: the first rows tell."""
_OPEN_KEYWORDS = ("patternProperties", "anyOf", "oneOf", "allOf", "if", "dependentSchemas", "unevaluatedProperties")


def shape_of(schema: Any) -> Shape | None:
    """The shape for values of *schema*, None where it says nothing and the first rows must tell.

    An object with named properties is a struct unless its ``additionalProperties`` is given and not false; an array
    with ``items`` is a list; a free-form object, a union of types and a recursive schema are JSON text.
    """
    found, _ = _resolve(schema, schema, ())
    if not isinstance(found, dict) or found.get("format") in _PYTHON_FORMATS:
        return None
    if not found.keys() & {"type", "enum", "const", "properties", "items", "anyOf", "oneOf", "allOf"}:
        return None
    return _shape(schema, schema, ())


def _shape(schema: Any, root: Any, seen: tuple[str, ...]) -> Shape:
    schema, seen = _resolve(schema, root, seen)
    if not isinstance(schema, dict):
        return JSON_TEXT
    if "const" in schema or "enum" in schema:
        return infer_shape(schema.get("enum", [schema.get("const")]))
    kind = _type(schema)
    if kind == "object":
        return _object(schema, root, seen)
    if kind == "array":
        return ListShape(_shape(schema["items"], root, seen)) if _is_list(schema) else JSON_TEXT
    return _SCALARS.get(kind, JSON_TEXT)


def _object(schema: dict[str, Any], root: Any, seen: tuple[str, ...]) -> Shape:
    properties = schema.get("properties")
    if not properties or schema.get("additionalProperties") or any(word in schema for word in _OPEN_KEYWORDS):
        return JSON_TEXT
    return StructShape({name: _shape(part, root, seen) for name, part in properties.items()})


def _is_list(schema: dict[str, Any]) -> bool:
    return isinstance(schema.get("items"), dict) and "prefixItems" not in schema


def _type(schema: dict[str, Any]) -> str:
    """The one JSON type the schema allows beside null, or ``""``."""
    kind = schema.get("type")
    if isinstance(kind, list):
        kinds = {name for name in kind if name != "null"}
        if kinds == {"integer", "number"}:
            return "number"
        kind = kinds.pop() if len(kinds) == 1 else None
    if kind is None and "type" not in schema and "properties" in schema:
        return "object"
    return kind if isinstance(kind, str) else ""


def _resolve(schema: Any, root: Any, seen: tuple[str, ...]) -> tuple[Any, tuple[str, ...]]:
    """Follow references and one-way unions; a reference inside itself resolves to None."""
    while isinstance(schema, dict):
        if "$ref" in schema:
            reference = str(schema["$ref"])
            if reference in seen:
                return None, seen
            seen = (*seen, reference)
            schema = _pointed(reference, root)
            continue
        inner = next((schema[word] for word in ("anyOf", "oneOf", "allOf") if word in schema), None)
        if not isinstance(inner, list) or "properties" in schema:
            break
        choices = [choice for choice in inner if choice != {"type": "null"}]
        if len(choices) != 1:
            break
        schema = choices[0]
    return schema, seen


def _pointed(reference: str, root: Any) -> Any:
    """What a JSON pointer within the document points at, None where that is nothing."""
    if not reference.startswith("#"):
        return None
    found = root
    for part in reference[1:].split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        found = found.get(key) if isinstance(found, dict) else None
    return found
