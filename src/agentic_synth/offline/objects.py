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
from agentic_synth.offline.talk import is_exchange
from agentic_synth.types import Json

__all__ = ["plan_object"]

_PRESENT = 0.85
_LONGEST_KEY = 24
_MAX_EXTRA = 4
_MOST_PROPERTIES = 1_000
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
    declared = node.get("properties", {})
    groups = {name: _group(name, node) for name in (*declared, *node.get("required", ()))}
    must = frozenset[str]().union(*[groups[name] for name in node.get("required", ())])
    children = _plan_children(node, field, planner, groups, must)
    keys = _plan_keys(node, field, planner, children)
    if keys.low > _MOST_PROPERTIES:
        raise Unsatisfiable(f"it asks for more than the {_MOST_PROPERTIES} properties that are made at most")
    if max(len(must), keys.low) > keys.high:
        raise Unsatisfiable(f"maxProperties {keys.high} is below what is required ({max(len(must), keys.low)})")
    if children and len(must) == len(children) >= keys.low:
        make = _fixed(children)
    else:
        optional = {name: groups[name] for name in children if name in groups and name not in must}
        make = _chosen(
            children, must, {name: group for name, group in optional.items() if group <= children.keys()}, keys
        )
    if any("name" in child.rsplit("_", 1)[-1] for child in children) and field.name:
        make = recast(make)

    def measure() -> float:
        few = sorted(child.height for name, child in children.items() if name not in must)
        return 1 + max([*few[: max(0, keys.low - len(must))], *[children[name].height for name in must]], default=0)

    return Node(make, measure=measure, is_leaf=False)


def _group(name: str, node: dict[str, Json]) -> frozenset[str]:
    """The property called *name* and all those that must be there with it."""
    needs = node.get("dependentRequired", {})
    group: set[str] = set()
    waiting = [name]
    while waiting:
        needed = waiting.pop()
        if needed not in group:
            group.add(needed)
            waiting.extend(needs.get(needed, ()))
    return frozenset(group)


def _plan_children(
    node: dict[str, Json], field: Field, planner: Planner, groups: dict[str, frozenset[str]], must: frozenset[str]
) -> dict[str, Node]:
    """The nodes of all properties that have a name, in the schema's order; without optional ones that cannot be."""
    declared = node.get("properties", {})
    parent = field.name or ("product" if _THING_MARKS & declared.keys() else "")
    is_crowded = is_crowd(declared)
    is_talk = (field.is_talk and "subject" not in declared) or is_exchange(declared)
    children: dict[str, Node] = {}
    for name in dict.fromkeys([*groups, *sorted(frozenset[str]().union(*groups.values()))]):
        try:
            children[name] = planner.plan(_schema_of(node, name), Field(name, parent, is_crowded, is_talk))
        except Unsatisfiable as why:
            if name in must:
                raise Unsatisfiable(f"the required property {name!r} cannot be made: {why}") from why
    return children


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


def _fixed(children: dict[str, Node]) -> Maker:
    """Every property, always: the common case and the fast one."""
    pairs = list(children.items())
    if all(child.is_done for child in children.values()):
        makers = [(name, child.make) for name, child in pairs]
        return lambda scene: {name: make(scene) for name, make in makers}
    return lambda scene: {name: child.make(scene) for name, child in pairs}


def _chosen(children: dict[str, Node], must: frozenset[str], optional: dict[str, frozenset[str]], keys: _Keys) -> Maker:
    """What must be there, and most of what may; *optional* tells what each property brings along."""

    def make(scene: Scene) -> Json:
        names = _present(scene, children, must, optional, keys)
        values: dict[str, Json] = {}
        failed: set[str] = set()
        for name, child in children.items():
            if name in names:
                try:
                    values[name] = child.make(scene)
                except Unsatisfiable:
                    if name in must:
                        raise
                    failed.add(name)
        if failed:
            values = {name: value for name, value in values.items() if failed.isdisjoint(optional.get(name, ()))}
        _extend(scene, values, keys, is_open=not children)
        if len(values) < keys.low:
            raise Unsatisfiable(f"no more than {len(values)} properties can be made, minProperties is {keys.low}")
        return values

    return make


def _present(
    scene: Scene, children: dict[str, Node], must: frozenset[str], optional: dict[str, frozenset[str]], keys: _Keys
) -> set[str]:
    names = set(must)
    lean = is_lean(scene)
    left: list[str] = []
    for name, group in optional.items():
        is_wanted = scene.random() < _PRESENT and (not lean or children[name].is_leaf)
        if is_wanted and len(names | group) <= keys.high:
            names |= group
        else:
            left.append(name)
    left.sort(key=lambda name: (len(optional[name]), children[name].height))
    for name in left:
        if len(names) < keys.low and len(names | optional[name]) <= keys.high:
            names |= optional[name]
    return names


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
    taken = frozenset({*node.get("properties", {}), *node.get("dependentRequired", {}), *children})
    additional = node.get("additionalProperties", node.get("unevaluatedProperties", True))
    for pattern, schema in node.get("patternProperties", {}).items():
        if schema is not False and (additional is False or not children):
            value = _value(planner, schema, field)
            if value is not None:
                others = [other for text, other in patterns.items() if text != pattern]
                return _Keys(low, high, _key_of(patterns[pattern]), _key_test(taken, others, named), value)
    value = _value(planner, additional, field) if low > len(children) or not children else None
    return _Keys(low, high, _key_maker(node, planner), _key_test(taken, list(patterns.values()), named), value)


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
        return (
            words.lower().replace(" ", "_")[:_LONGEST_KEY]
            if scene.random() < 0.9
            else f"{words[:8]}_{scene.below(1000)}"
        )

    return make


def _key_test(
    taken: frozenset[str], patterns: list[Pattern], named: Callable[[Json], bool] | None
) -> Callable[[str], bool]:
    def fits(name: str) -> bool:
        if name in taken or any(pattern.matcher.search(name) for pattern in patterns):
            return False
        return named is None or named(name)

    return fits
