"""Objects: which properties are there, and the values of each."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from agentic_synth.offline import lexicon
from agentic_synth.offline.fields import is_crowd
from agentic_synth.offline.node import Field, Maker, Node, Planner, Unsatisfiable, is_lean, recast
from agentic_synth.offline.patterns import Pattern, compile_pattern
from agentic_synth.offline.scene import Scene, pick
from agentic_synth.types import Json

__all__ = ["plan_object"]

_PRESENT = 0.85
_LONGEST_KEY = 24
_MAX_EXTRA = 4
_THING_MARKS = frozenset({"price", "sku", "category", "brand", "stock"})


class _Keys(NamedTuple):
    """How many properties there may be, and what those are like that the schema does not name."""

    low: int
    high: float
    make: Callable[[Scene], str]
    fits: Callable[[str], bool]
    value: Node | None


def plan_object(node: dict[str, Json], field: Field, planner: Planner) -> Node:
    """The node of an ``object`` schema; optional properties are mostly there."""
    required = node.get("required", [])
    declared = node.get("properties", {})
    parent = field.name or ("product" if _THING_MARKS & declared.keys() else "")
    is_crowded = is_crowd(declared)
    children: dict[str, Node] = {}
    for name in dict.fromkeys([*declared, *required]):
        try:
            children[name] = planner.plan(_schema_of(node, name), Field(name, parent, is_crowded))
        except Unsatisfiable as why:
            if name in required:
                raise Unsatisfiable(f"the required property {name!r} cannot be made: {why}") from why
    keys = _plan_keys(node, field, planner, children)
    low, high = node.get("minProperties", 0), node.get("maxProperties", float("inf"))
    if len(required) > high or low > high:
        raise Unsatisfiable(f"maxProperties {high} is below what is required ({max(low, len(required))})")
    must = {name: children[name] for name in required}
    make = _fixed(children) if _is_plain(node, children) else _chosen(node, children, must, keys)
    if any("name" in child.rsplit("_", 1)[-1] for child in children) and field.name:
        make = recast(make)

    def measure() -> float:
        few = sorted(child.height for name, child in children.items() if name not in must)[: max(0, low - len(must))]
        return 1 + max((*few, *[child.height for child in must.values()]), default=0)

    return Node(make, measure=measure, is_leaf=False)


def _schema_of(node: dict[str, Json], name: str) -> Json:
    """What the property called *name* must fit: its own schema and those of the patterns that its name matches."""
    declared = node.get("properties", {}).get(name)
    matching = [
        schema for pattern, schema in node.get("patternProperties", {}).items() if _search(pattern, name) is not None
    ]
    if declared is None and not matching:
        return node.get("additionalProperties", True)
    schemas = [schema for schema in (declared, *matching) if schema is not None]
    return schemas[0] if len(schemas) == 1 else {"allOf": schemas}


def _search(pattern: str, name: str) -> re.Match[str] | None:
    return compile_pattern(pattern).matcher.search(name)


def _is_plain(node: dict[str, Json], children: dict[str, Node]) -> bool:
    return bool(children) and len(node.get("required", ())) == len(children) >= node.get("minProperties", 0)


def _fixed(children: dict[str, Node]) -> Maker:
    """Every property, always: the common case and the fast one."""
    pairs = list(children.items())
    if all(child.is_done for child in children.values()):
        makers = [(name, child.make) for name, child in pairs]
        return lambda scene: {name: make(scene) for name, make in makers}
    return lambda scene: {name: child.make(scene) for name, child in pairs}


def _chosen(node: dict[str, Json], children: dict[str, Node], must: dict[str, Node], keys: _Keys) -> Maker:
    needs = {name: [*names] for name, names in node.get("dependentRequired", {}).items()}
    order = list(children)

    def make(scene: Scene) -> Json:
        names = _present(scene, children, must, keys)
        for name in list(names):
            _require(name, needs, names)
        if len(names) > keys.high or not names <= children.keys():
            names = set(must)
            for name in must:
                _require(name, needs, names)
        values: dict[str, Json] = {}
        for name in order:
            if name in names:
                _fill(scene, values, name, children[name], is_required=name in must)
        _extend(scene, values, keys, is_open=not children)
        if len(values) < keys.low:
            raise Unsatisfiable(f"no more than {len(values)} properties can be made, minProperties is {keys.low}")
        return values

    return make


def _fill(scene: Scene, values: dict[str, Json], name: str, child: Node, *, is_required: bool) -> None:
    try:
        values[name] = child.make(scene)
    except Unsatisfiable:
        if is_required:
            raise


def _present(scene: Scene, children: dict[str, Node], must: dict[str, Node], keys: _Keys) -> set[str]:
    names = set(must)
    spare = [name for name in children if name not in must]
    lean = is_lean(scene)
    missing = []
    for name in spare:
        if scene.random() < _PRESENT and len(names) < keys.high and (not lean or children[name].is_leaf):
            names.add(name)
        else:
            missing.append(name)
    missing.sort(key=lambda name: children[name].height)
    while len(names) < keys.low and missing:
        names.add(missing.pop(0))
    return names


def _require(name: str, needs: dict[str, list[str]], names: set[str]) -> None:
    for needed in needs.get(name, ()):
        if needed not in names:
            names.add(needed)
            _require(needed, needs, names)


def _extend(scene: Scene, values: dict[str, Json], keys: _Keys, *, is_open: bool) -> None:
    """Add properties that the schema does not name: where it names none, or asks for more."""
    if keys.value is None:
        return
    wanted = keys.low
    if is_open and not is_lean(scene):
        wanted = max(wanted, min(int(keys.high) if keys.high < _MAX_EXTRA else _MAX_EXTRA, 1 + scene.below(_MAX_EXTRA)))
    for _ in range(40 * max(0, wanted - len(values))):
        if len(values) >= wanted:
            return
        name = keys.make(scene)
        if name not in values and keys.fits(name):
            values[name] = keys.value.make(scene)


def _plan_keys(node: dict[str, Json], field: Field, planner: Planner, children: dict[str, Node]) -> _Keys:
    low, high = node.get("minProperties", 0), node.get("maxProperties", float("inf"))
    patterns = {pattern: compile_pattern(pattern) for pattern in node.get("patternProperties", {})}
    named = planner.check(node["propertyNames"]) if "propertyNames" in node else None
    declared = node.get("properties", {}).keys()
    additional = node.get("additionalProperties", True)
    for pattern, schema in node.get("patternProperties", {}).items():
        if schema is not False and (additional is False or not children):
            value = _value(planner, schema, field)
            if value is not None:
                others = [other for text, other in patterns.items() if text != pattern]
                return _Keys(low, high, _key_of(patterns[pattern]), _key_test(declared, others, named), value)
    value = _value(planner, additional, field) if low > len(children) or not children else None
    return _Keys(low, high, _key_maker(node, planner), _key_test(declared, list(patterns.values()), named), value)


def _value(planner: Planner, schema: Json, field: Field) -> Node | None:
    try:
        return planner.plan(schema, Field(field.name and f"{field.name}_entry"[:_LONGEST_KEY]))
    except Unsatisfiable:
        return None


def _key_of(pattern: Pattern) -> Callable[[Scene], str]:
    return lambda scene: pattern.make(scene, pattern.least + scene.below(4))


def _key_maker(node: dict[str, Json], planner: Planner) -> Callable[[Scene], str]:
    if "propertyNames" in node:
        names = planner.plan({"allOf": [{"type": "string"}, node["propertyNames"]]}, Field())
        return lambda scene: str(names.make(scene))

    def make(scene: Scene) -> str:
        words = pick(scene, scene.topics if scene.random() < 0.5 else lexicon.NOUNS)
        return words.replace(" ", "_")[:_LONGEST_KEY] if scene.random() < 0.9 else f"{words[:8]}_{scene.below(1000)}"

    return make


def _key_test(declared: object, patterns: list[Pattern], named: Callable[[Json], bool] | None) -> Callable[[str], bool]:
    names = frozenset(declared) if isinstance(declared, (set, frozenset)) else frozenset(list(declared))  # type: ignore[call-overload]

    def fits(name: str) -> bool:
        if name in names or any(pattern.matcher.search(name) for pattern in patterns):
            return False
        return named is None or named(name)

    return fits
