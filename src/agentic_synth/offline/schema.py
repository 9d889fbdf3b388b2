"""Compile a JSON Schema into a maker of plausible, varied values that are valid against it."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import msgspec

from agentic_synth.offline.arrays import plan_array
from agentic_synth.offline.fields import meaning_of
from agentic_synth.offline.merge import canonical, conjoin
from agentic_synth.offline.node import Field, Maker, Node, Unsatisfiable, descend
from agentic_synth.offline.numbers import plan_number
from agentic_synth.offline.objects import plan_object
from agentic_synth.offline.options import among, checked, choice, fitting
from agentic_synth.offline.scene import Scene
from agentic_synth.offline.spans import span_of
from agentic_synth.offline.texts import plan_text
from agentic_synth.types import Json

__all__ = ["compile_schema"]

_MAX_NODES = 5_000
_WHOLE = "urn:agentic-synth:schema"
_TYPE_OF: dict[str, str] = {
    **dict.fromkeys(("properties", "required", "additionalProperties", "patternProperties", "minProperties"), "object"),
    **dict.fromkeys(("maxProperties", "propertyNames", "dependentRequired"), "object"),
    **dict.fromkeys(("items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains"), "array"),
    **dict.fromkeys(("minLength", "maxLength", "pattern", "format"), "string"),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), "number"),
}
_EVERY_TYPE = ("string", "integer", "number", "boolean", "object", "array", "null")


@lru_cache(maxsize=256)
def compile_schema(encoded: bytes) -> Maker:
    """The maker of the JSON Schema whose JSON text is *encoded*.

    The last schemas are remembered by their content. Raises :class:`Unsatisfiable` where it is seen at once that no
    value fits; the maker raises it where that shows only later.
    """
    schema = msgspec.json.decode(encoded)
    _refuse_malformed(schema)
    try:
        root = _Compiler(schema).compile()
    except RecursionError as error:
        raise Unsatisfiable("it is nested too deeply") from error
    for seed in range(3):
        root.make(Scene(seed))
    return root.make


def _refuse_malformed(schema: Json) -> None:
    rules: Any = importlib.import_module("jsonschema_rs")
    try:
        rules.meta.validate(schema)
    except ValueError as error:
        raise Unsatisfiable(f"it is not a JSON Schema: {getattr(error, 'message', error)}") from error


class _Compiler:
    """The state of one compilation: a :class:`Planner`."""

    def __init__(self, schema: Json) -> None:
        self._schema = schema
        self._known: dict[bytes, Node] = {}
        self._nodes: list[Node] = []
        self._registry: Any = None

    def compile(self) -> Node:
        """The node of the whole schema, with all heights known."""
        title = self._schema.get("title") if isinstance(self._schema, dict) else None
        root = self.plan(self._schema, Field(title if isinstance(title, str) and meaning_of(title) else ""))
        changed = True
        while changed:
            changed = False
            for node in self._nodes:
                height = node.measure()
                if height < node.height:
                    node.height, changed = height, True
        if root.height == math.inf:
            raise Unsatisfiable("it contains itself without end")
        return root

    def plan(self, schema: Json, field: Field) -> Node:
        key = canonical([schema, field.name, field.parent, field.is_crowded, field.is_talk])
        known = self._known.get(key)
        if known is not None:
            return known if known.is_done else self._counted(descend(known))
        node = self._known[key] = self._counted(Node(_unfinished))
        node.is_done = False
        try:
            planned, is_unsure = self._plan_all([schema], field)
            node.become(checked(planned, self.check(schema)) if is_unsure else planned)
        except Unsatisfiable:
            del self._known[key]
            raise
        return node

    def check(self, schema: Json) -> Callable[[Json], bool]:
        rules: Any = importlib.import_module("jsonschema_rs")
        if self._registry is None:
            whole = self._schema if isinstance(self._schema, dict) else {}
            resource = {key: value for key, value in whole.items() if key not in ("$id", "id")}
            self._registry = rules.Registry([(_WHOLE, resource)])
        rooted = {"allOf": [_rooted(schema)]}
        if isinstance(self._schema, dict) and "$schema" in self._schema:
            rooted["$schema"] = self._schema["$schema"]
        validator = rules.validator_for(rooted, validate_formats=True, registry=self._registry)
        is_valid: Callable[[Json], bool] = validator.is_valid
        return is_valid

    def _counted(self, node: Node) -> Node:
        if len(self._nodes) >= _MAX_NODES:
            raise Unsatisfiable(f"it unfolds into more than {_MAX_NODES} parts")
        self._nodes.append(node)
        return node

    def _plan_all(
        self, schemas: Sequence[Json], field: Field, decided: frozenset[bytes] = frozenset()
    ) -> tuple[Node, bool]:
        """The node of what fits all of *schemas*, and whether its values are yet to be checked.

        *decided* are the alternatives of which *schemas* hold one option already, so that one which contains itself
        is decided once.
        """
        found = conjoin(schemas, self._resolve)
        alternatives = {key: options for options in found.alternatives if (key := canonical(options)) not in decided}
        if not alternatives:
            node, is_unsure = self._plan_types(found.node, field)
            return node, is_unsure or found.is_unsure
        key, options = next(iter(alternatives.items()))
        others = [{"anyOf": alternatives[other]} for other in alternatives if other != key]
        nodes: list[Node] = []
        failures: list[Unsatisfiable] = []
        is_unsure = found.is_unsure
        for option in options:
            try:
                node, is_option_unsure = self._plan_all([found.node, option, *others], field, decided | {key})
            except Unsatisfiable as why:
                failures.append(why)
                continue
            nodes.append(self._counted(node))
            is_unsure = is_unsure or is_option_unsure
        return self._counted(choice(nodes, failures)), is_unsure

    def _plan_types(self, node: dict[str, Json], field: Field) -> tuple[Node, bool]:
        if "enum" in node:
            values = [value for value in node["enum"] if _has_type(value, node.get("type", _EVERY_TYPE))]
            if not values:
                raise Unsatisfiable("no value of its enum or const fits the rest")
            return fitting(values, field), not node.keys() <= _PLAIN_BESIDE_ENUM
        nodes: list[Node] = []
        failures: list[Unsatisfiable] = []
        for kind in node.get("type") or [_likely_type(node, field)]:
            try:
                nodes.append(self._counted(self._plan_type(kind, node, field)))
            except Unsatisfiable as why:
                failures.append(why)
        return self._counted(choice(nodes, failures)), False

    def _plan_type(self, kind: str, node: dict[str, Json], field: Field) -> Node:
        match kind:
            case "string":
                return plan_text(node, field, self)
            case "integer" | "number":
                return plan_number(node, field, is_integer=kind == "integer")
            case "object":
                return plan_object(node, field, self)
            case "array":
                return plan_array(node, field, self)
            case "boolean":
                return among((True, False))
            case "null":
                return among((None,))
        raise Unsatisfiable(f"there is no type {kind!r}")

    def _resolve(self, reference: str) -> Json:
        identity = self._schema.get("$id", "") if isinstance(self._schema, dict) else ""
        place = reference.removeprefix(identity) if identity and reference.startswith(identity) else reference
        if place.startswith("#/") or place in ("", "#"):
            target = self._schema
            for step in unquote(place).split("/")[1:]:
                name = step.replace("~1", "/").replace("~0", "~")
                if isinstance(target, list) and name.isdecimal() and int(name) < len(target):
                    target = target[int(name)]
                elif isinstance(target, dict) and name in target:
                    target = target[name]
                else:
                    raise Unsatisfiable(f"$ref {reference!r} leads nowhere")
            return target
        anchored = _find_anchor(self._schema, place)
        if anchored is None:
            raise Unsatisfiable(f"$ref {reference!r} leads out of the schema")
        return anchored


_PLAIN_BESIDE_ENUM = frozenset({"enum", "type", "title", "description", "default", "examples"})


def _unfinished(_scene: Scene) -> Json:
    raise AssertionError("a schema's part was used before it was compiled")


def _find_anchor(schema: Json, place: str) -> Json:
    if isinstance(schema, dict):
        names = {f"#{schema.get('$anchor')}", f"#{schema.get('$dynamicAnchor')}", schema.get("$id"), schema.get("id")}
        if place in names:
            return schema
    parts = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    return next((found for part in parts if (found := _find_anchor(part, place)) is not None), None)


def _rooted(schema: Json) -> Json:
    """*schema* with its references made to lead into the whole schema from anywhere."""
    if isinstance(schema, list | tuple):
        return [_rooted(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    rooted = {key: _rooted(part) for key, part in schema.items() if key != "$id"}
    for word in ("$ref", "$dynamicRef", "$recursiveRef"):
        reference = rooted.get(word)
        if isinstance(reference, str) and reference.startswith("#"):
            rooted.pop(word)
            rooted["$ref"] = _WHOLE + reference
    return rooted


def _has_type(value: Json, types: Sequence[str]) -> bool:
    match value:
        case None:
            return "null" in types
        case bool():
            return "boolean" in types
        case int():
            return "integer" in types or "number" in types
        case float():
            return "number" in types or ("integer" in types and value.is_integer())
        case str():
            return "string" in types
    return ("object" if isinstance(value, dict) else "array") in types


def _likely_type(node: dict[str, Json], field: Field) -> str:
    """The type that the keywords or the field's name speak of, where the schema leaves it open."""
    banned = {
        kind
        for schema in node.get("not", ())
        if isinstance(schema, dict) and schema.keys() == {"type"}
        for kind in ([schema["type"]] if isinstance(schema["type"], str) else schema["type"])
    }
    told = [_TYPE_OF[word] for word in node if word in _TYPE_OF]
    named = ["number"] if span_of(field.name) and not meaning_of(field.name) else []
    return next(kind for kind in (*told, *named, *_EVERY_TYPE, "null") if kind not in banned or kind == "null")
