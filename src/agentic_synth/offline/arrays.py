"""Arrays: how many items, what each is, and that they differ where they must."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from agentic_synth.offline.merge import both, canonical
from agentic_synth.offline.naming import singular, words_of
from agentic_synth.offline.node import Field, Maker, Node, Planner, Unsatisfiable, is_lean, recast
from agentic_synth.offline.scene import Scene
from agentic_synth.offline.talk import is_talk
from agentic_synth.types import Json

__all__ = ["plan_array"]

_USUAL, _MORE = 2, 3
_ENDING = 0.7
_TRIES = 200
_LONGEST = 10_000
_MOST_ASKED = 200


class _Size(NamedTuple):
    """How many items there are: at least *low*, usually from *usual* to *most*, up to *highest* if the prompt says so.

    *name* is what the prompt would call one of them.
    """

    name: str
    low: int
    usual: int
    most: int
    highest: int


def plan_array(node: dict[str, Json], field: Field, planner: Planner) -> Node:
    """The node of an ``array`` schema; where the schema leaves it open there are two to four items."""
    low, high = node.get("minItems", 0), node.get("maxItems")
    if high is not None and low > high:
        raise Unsatisfiable(f"minItems {low} is above maxItems {high}")
    if max([low, *[entry[1] for entry in node.get("contains", ())]]) > _LONGEST:
        raise Unsatisfiable(f"it asks for more than the {_LONGEST} items that are made at most")
    talks = is_talk(field.name)
    item_field = Field(_one_of(field.name), field.parent, is_talk=talks)
    contained = [entry for entry in node.get("contains", ()) if entry[1] > 0]
    prefix, high = _plan_prefix(node, item_field, planner, low, high)
    prefix += [
        planner.plan(both(node.get("items", True), schema), item_field)
        for schema, count, _most in contained
        for _ in range(count)
    ]
    rest = _plan_rest(node, item_field, planner, low, len(prefix))
    if rest is None:
        high = len(prefix) if high is None else min(high, len(prefix))
    if high is not None and low > high:
        raise Unsatisfiable(f"minItems {low} is more than the {high} items that can be made")
    least = max(low, len(prefix) if contained else 0)
    if high is not None and least > high:
        raise Unsatisfiable(f"maxItems {high} leaves no room for the items that must be contained")
    size = _size(item_field.name, least, high, len(prefix))
    if node.get("uniqueItems", False):
        make = _unequal(prefix, rest, size)
    elif talks:
        make = _in_turns(prefix, rest, size)
    else:
        make = _any(prefix, rest, size)

    def measure() -> float:
        needed = [*prefix[:least], *([rest] if rest and least > len(prefix) else [])]
        return 1 + max([child.height for child in needed], default=0)

    return Node(make, measure=measure, is_leaf=False)


def _one_of(name: str) -> str:
    """The name of one item of the list called *name*: a tag of the tags."""
    words = words_of(name)
    return "_".join((*words[:-1], singular(words[-1]))) if words else ""


def _plan_prefix(
    node: dict[str, Json], field: Field, planner: Planner, low: int, high: int | None
) -> tuple[list[Node], int | None]:
    """The items with schemas of their own; an item that cannot be ends the array before it."""
    prefix: list[Node] = []
    for schema in node.get("prefixItems", [])[: high if high is not None else _LONGEST]:
        try:
            prefix.append(planner.plan(schema, field))
        except Unsatisfiable:
            if len(prefix) < low:
                raise
            return prefix, len(prefix)
    return prefix, high


def _plan_rest(node: dict[str, Json], field: Field, planner: Planner, low: int, fixed: int) -> Node | None:
    try:
        return planner.plan(node.get("items", not node.get("prefixItems")), field)
    except Unsatisfiable as why:
        if low > fixed:
            raise Unsatisfiable(f"its items cannot be made: {why}") from why
        return None


def _size(name: str, low: int, high: int | None, fixed: int) -> _Size:
    usual = max(low, fixed or _USUAL)
    most = usual if fixed else usual + _MORE - 1
    if high is not None:
        usual, most = min(usual, high), min(most, high)
    highest = most if fixed else max(low, _MOST_ASKED) if high is None else high
    return _Size(words_of(name)[-1] if name else "", low, usual, most, highest)


def _any(prefix: list[Node], rest: Node | None, size: _Size) -> Maker:
    def make(scene: Scene) -> Json:
        count = _count(scene, size)
        items = [child.make(scene) for child in prefix[:count]]
        if rest is not None:
            _extend(scene, items, rest, size.low, count)
        return items

    return make if rest is None or rest.is_leaf else recast(make)


def _unequal(prefix: list[Node], rest: Node | None, size: _Size) -> Maker:
    if rest is not None and rest.values is not None and not prefix:
        return _sampled(rest.values, size)
    return recast(lambda scene: _distinct(scene, prefix, rest, size.low, _count(scene, size)))


def _in_turns(prefix: list[Node], rest: Node | None, size: _Size) -> Maker:
    """The turns of a conversation: of the same people, and each knows where it stands."""

    def make(scene: Scene) -> Json:
        before = scene.turn, scene.turns
        scene.turns = _count(scene, size)
        items: list[Json] = []
        try:
            for child in [*prefix, *([rest] * scene.turns if rest else [])][: scene.turns]:
                scene.turn = len(items)
                items.append(child.make(scene))
        except Unsatisfiable:
            if len(items) < size.low:
                raise
        finally:
            scene.turn, scene.turns = before
        return items

    return make


def _count(scene: Scene, size: _Size) -> int:
    """How many items: what the prompt says, as far as the schema lets it, else what is usual.

    Within a recursion it is often the least, so that its branches end at different depths.
    """
    if is_lean(scene) or (scene.depth and scene.random() < _ENDING):
        return size.low
    asked = scene.counts.get(size.name) if scene.counts else None
    if asked:
        return min(max(asked, size.low), size.highest)
    return size.usual + scene.below(size.most - size.usual + 1)


def _sampled(values: Sequence[Json], size: _Size) -> Maker:
    """Different ones of a few known values."""
    different = list({canonical(value): value for value in values}.values())
    if len(different) < size.low:
        raise Unsatisfiable(f"there are no more than {len(different)} different items, minItems is {size.low}")

    def make(scene: Scene) -> Json:
        left = different.copy()
        count = min(_count(scene, size), len(left))
        for index in range(count):
            other = index + scene.below(len(left) - index)
            left[index], left[other] = left[other], left[index]
        return left[:count]

    return make


def _extend(scene: Scene, items: list[Json], node: Node, low: int, count: int) -> None:
    while len(items) < count:
        if not node.is_leaf:
            scene.renew()
        try:
            items.append(node.make(scene))
        except Unsatisfiable:
            if len(items) < low:
                raise
            return


def _distinct(scene: Scene, prefix: list[Node], rest: Node | None, low: int, count: int) -> list[Json]:
    items: list[Json] = []
    seen: set[bytes] = set()
    while len(items) < count:
        child = prefix[len(items)] if len(items) < len(prefix) else rest
        item = None if child is None else _unseen(scene, child, seen)
        if item is None:
            break
        items.append(item[0])
        seen.add(canonical(item[0]))
    if len(items) < low:
        raise Unsatisfiable(f"no more than {len(items)} different items were found, minItems is {low}")
    return items


def _unseen(scene: Scene, child: Node, seen: set[bytes]) -> tuple[Json] | None:
    for _ in range(_TRIES):
        scene.renew()
        item = child.make(scene)
        if canonical(item) not in seen:
            return (item,)
    return None
