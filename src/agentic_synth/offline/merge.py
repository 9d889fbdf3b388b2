"""Bring schemas that must all hold into one: the conjunction of ``allOf``, ``$ref`` and neighbouring keywords."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import msgspec

from agentic_synth.offline.node import Unsatisfiable
from agentic_synth.types import Json

__all__ = ["Conjunction", "both", "canonical", "conjoin"]

_MAX = frozenset({"minLength", "minItems", "minProperties", "minimum", "exclusiveMinimum"})
_MIN = frozenset({"maxLength", "maxItems", "maxProperties", "maximum", "exclusiveMaximum"})
_MANY = frozenset({"pattern", "format", "multipleOf", "not", "contains"})
_FIRST = frozenset({"title", "description", "default"})
_UNSURE = frozenset(
    {"not", "contains", "unevaluatedProperties", "unevaluatedItems", "$dynamicRef", "$recursiveRef", "propertyNames"}
)
_OBJECT_WORDS = ("properties", "patternProperties", "additionalProperties")
_ARRAY_WORDS = ("prefixItems", "items")

Merge: TypeAlias = Callable[[Json, Json], Json]


class Conjunction(msgspec.Struct):
    """Several schemas as one.

    *node* holds the merged keywords; of ``pattern``, ``format``, ``multipleOf``, ``not`` and ``contains`` it holds
    tuples. *alternatives* are the lists of which one member each must hold as well. *is_unsure* says that keeping
    *node* to the letter does not prove validity, so the value is to be checked.
    """

    node: dict[str, Json] = {}
    alternatives: list[list[Json]] = []
    is_unsure: bool = False


def canonical(value: Json) -> bytes:
    """Equal bytes for equal JSON values, whatever the order of keys; ``1`` and ``1.0`` are equal."""
    return msgspec.json.encode(_whole(value), order="sorted")


def _whole(value: Json) -> Json:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole(part) for part in value]
    if isinstance(value, dict):
        return {key: _whole(part) for key, part in value.items()}
    return value


def both(one: Json, other: Json) -> Json:
    """The schema of what fits *one* and *other*."""
    if one is False or other is False:
        return False
    if one is True or one in ({}, other):
        return other
    return one if other is True or other == {} else {"allOf": [one, other]}


def conjoin(schemas: Iterable[Json], resolve: Callable[[str], Json]) -> Conjunction:
    """Merge *schemas*, following references and ``allOf``; raises :class:`Unsatisfiable` on a contradiction."""
    result = Conjunction()
    waiting = list(schemas)
    followed: set[str] = set()
    seen: set[bytes] = set()
    while waiting:
        schema = waiting.pop(0)
        key = canonical(schema)
        if key in seen:
            continue
        seen.add(key)
        if schema is False:
            raise Unsatisfiable("nothing fits the schema false")
        if schema is True:
            continue
        if not isinstance(schema, dict):
            raise Unsatisfiable(f"a schema is an object or a boolean, not {schema!r:.60}")
        for word in ("$ref", "$dynamicRef", "$recursiveRef"):
            if word in schema and schema[word] not in followed:
                followed.add(schema[word])
                waiting.append(resolve(schema[word]))
        waiting.extend(schema.get("allOf", ()))
        _add_alternatives(result, schema)
        _add(result.node, _normal(schema))
        result.is_unsure = result.is_unsure or not _UNSURE.isdisjoint(schema)
    return result


def _add_alternatives(result: Conjunction, schema: dict[str, Json]) -> None:
    if "anyOf" in schema:
        result.alternatives.append(list(schema["anyOf"]))
    if "oneOf" in schema:
        result.alternatives.append(list(schema["oneOf"]))
        result.is_unsure = result.is_unsure or not _are_disjoint(schema["oneOf"])
    if "if" in schema:
        condition = schema["if"]
        result.alternatives.append(
            [both(condition, schema.get("then", True)), both({"not": condition}, schema.get("else", True))]
        )
    for name, needed in {**schema.get("dependentSchemas", {}), **schema.get("dependencies", {})}.items():
        then = {"required": needed} if isinstance(needed, list) else needed
        result.alternatives.append([both({"required": [name]}, then), {"properties": {name: False}}])


def _are_disjoint(options: Sequence[Json]) -> bool:
    """Whether no value can fit two of *options*: their types differ, or a required property's constants do."""
    if not all(isinstance(option, dict) for option in options):
        return False
    types = [option.get("type") for option in options]
    if all(isinstance(kind, str) for kind in types) and len(set(types)) == len(types):
        return not {"integer", "number"} <= set(types)
    required = [set(option.get("required", ())) for option in options]
    for name in sorted(set.intersection(*required) if required else ()):
        constants = [_constants(option.get("properties", {}).get(name)) for option in options]
        if all(constants) and sum(map(len, constants)) == len(set().union(*constants)):
            return all(kind == "object" for kind in types)
    return False


def _constants(schema: Json) -> set[bytes]:
    if not isinstance(schema, dict):
        return set()
    return {canonical(value) for value in ([schema["const"]] if "const" in schema else schema.get("enum", ()))}


def _normal(schema: dict[str, Json]) -> dict[str, Json]:
    """The keywords of one schema in the form in which they merge; older drafts' spellings are made new."""
    node = {key: value for key, value in schema.items() if key in _MERGED}
    for key in _MANY & node.keys():
        if not isinstance(node[key], tuple):
            node[key] = (node[key],)
    if "contains" in schema and not isinstance(schema["contains"], tuple):
        node["contains"] = ((schema["contains"], schema.get("minContains", 1), schema.get("maxContains")),)
    if isinstance(node.get("type"), str):
        node["type"] = [node["type"]]
    if "const" in schema:
        node["enum"] = _same_values([schema["const"]], schema.get("enum", [schema["const"]]))
    for limit, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(node.get(exclusive), bool) and node.pop(exclusive) and limit in node:
            node[exclusive] = node.pop(limit)
    if isinstance(node.get("items"), list):
        node["prefixItems"] = node.pop("items")
        node["items"] = schema.get("additionalItems", True)
    return node


def _add(into: dict[str, Json], node: dict[str, Json]) -> None:
    if any(word in node for word in _OBJECT_WORDS):
        _merge_objects(into, node)
    if any(word in node for word in _ARRAY_WORDS):
        _merge_arrays(into, node)
    for key, value in node.items():
        if key not in _OBJECT_WORDS and key not in _ARRAY_WORDS:
            into[key] = _MERGED[key](into[key], value) if key in into else value


def _merge_objects(into: dict[str, Json], node: dict[str, Json]) -> None:
    ours, theirs = into.get("properties", {}), node.get("properties", {})
    merged = {name: both(_allowed(into, name), _allowed(node, name)) for name in {**ours, **theirs}}
    patterns = dict(into.get("patternProperties", {}))
    for pattern, schema in node.get("patternProperties", {}).items():
        patterns[pattern] = both(patterns.get(pattern, True), schema)
    additional = both(into.get("additionalProperties", True), node.get("additionalProperties", True))
    for word, value, missing in zip(_OBJECT_WORDS, (merged, patterns, additional), ({}, {}, True), strict=True):
        if value != missing or word in into or word in node:
            into[word] = value


def _allowed(node: dict[str, Json], name: str) -> Json:
    """What *node* says of a property called *name*, its patterns aside."""
    declared = node.get("properties", {}).get(name)
    if declared is not None:
        return declared
    if any(re.search(pattern, name) for pattern in node.get("patternProperties", {})):
        return True
    return node.get("additionalProperties", True)


def _merge_arrays(into: dict[str, Json], node: dict[str, Json]) -> None:
    ours, theirs = into.get("prefixItems", []), node.get("prefixItems", [])
    our_rest, their_rest = into.get("items", True), node.get("items", True)
    prefix = [
        both(
            ours[index] if index < len(ours) else our_rest,
            theirs[index] if index < len(theirs) else their_rest,
        )
        for index in range(max(len(ours), len(theirs)))
    ]
    if prefix:
        into["prefixItems"] = prefix
    into["items"] = both(our_rest, their_rest)


def _same_types(ours: list[str], theirs: list[str]) -> list[str]:
    shared = [kind for kind in ours if kind in theirs or (kind == "integer" and "number" in theirs)]
    shared += [kind for kind in theirs if kind == "integer" and "number" in ours and kind not in shared]
    if not shared:
        raise Unsatisfiable(f"nothing is both {' or '.join(ours)} and {' or '.join(theirs)}")
    return shared


def _same_values(ours: list[Json], theirs: list[Json]) -> list[Json]:
    known = {canonical(value) for value in theirs}
    return [value for value in ours if canonical(value) in known]


_MERGED: dict[str, Merge] = {
    **dict.fromkeys(_MAX, max),
    **dict.fromkeys(_MIN, min),
    **dict.fromkeys(_MANY, lambda ours, theirs: tuple(list(ours) + [value for value in theirs if value not in ours])),
    **dict.fromkeys(_FIRST, lambda ours, _theirs: ours),
    **dict.fromkeys((*_OBJECT_WORDS, *_ARRAY_WORDS), lambda ours, _theirs: ours),
    "type": _same_types,
    "enum": _same_values,
    "required": lambda ours, theirs: list(dict.fromkeys([*ours, *theirs])),
    "uniqueItems": lambda ours, theirs: ours or theirs,
    "examples": lambda ours, theirs: [*ours, *theirs] if isinstance(ours, list) and isinstance(theirs, list) else ours,
    "propertyNames": both,
    "unevaluatedProperties": both,
    "dependentRequired": lambda ours, theirs: {
        name: [*ours.get(name, ()), *theirs.get(name, ())] for name in {**ours, **theirs}
    },
}
"""How two values of one keyword merge; keywords that are not here do not bear on validity."""
