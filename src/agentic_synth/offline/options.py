"""Nodes made of other nodes or of given values: any of them, or only the valid ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agentic_synth.offline.lexicon import TONES
from agentic_synth.offline.naming import words_of
from agentic_synth.offline.node import Field, Maker, Node, Unsatisfiable, is_lean
from agentic_synth.offline.scene import Scene, pick
from agentic_synth.offline.spans import is_rating
from agentic_synth.offline.talk import tells_speaker, who_speaks
from agentic_synth.types import Json

__all__ = ["among", "checked", "choice", "fitting"]

_TRIES = 200
_NULL_SHARE = 0.1


def among(values: Sequence[Json]) -> Node:
    """One of *values*."""
    count = len(values)
    return Node(lambda scene: values[int(scene.random() * count)], values=values)


def fitting(values: Sequence[Json], field: Field) -> Node:
    """One of *values*: who speaks next, or what agrees with the record's feeling, where they are of that kind."""
    return Node(_agreeing(values, field) or among(values).make, values=values)


def _agreeing(values: Sequence[Json], field: Field) -> Maker | None:
    names = [value for value in values if isinstance(value, str)]
    if field.is_talk and tells_speaker(field.name) and len(names) == len(values):
        return lambda scene: who_speaks(scene, names)
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) == len(values) and is_rating(field.name):
        numbers.sort()
        return lambda scene: numbers[int(scene.contentment() * len(numbers))]
    tones = [_tone(value) for value in values]
    if not {0, 2} <= set(tones):
        return None
    by_tone = [[value for value, tone in zip(values, tones, strict=True) if tone == wanted] for wanted in range(3)]
    return lambda scene: pick(scene, by_tone[scene.tone] or values)


def _tone(value: Json) -> int:
    """The tone of the last word that has one; without any it is between."""
    words = words_of(value) if isinstance(value, str) else ()
    return next((TONES[word] for word in reversed(words) if word in TONES), 1)


def choice(nodes: list[Node], failures: list[Unsatisfiable]) -> Node:
    """Any of *nodes*, null seldom; the lowest where an answer must come to its end."""
    if not nodes:
        raise failures[0] if failures else Unsatisfiable("it offers no alternative")
    if len(nodes) == 1:
        return nodes[0]
    nulls = [node for node in nodes if node.values is not None and list(node.values) == [None]]
    full = [node for node in nodes if node not in nulls] or nulls

    def make(scene: Scene) -> Json:
        if is_lean(scene):
            return min(nodes, key=lambda node: node.height).make(scene)
        if nulls and scene.random() < _NULL_SHARE:
            return None
        first = pick(scene, full)
        for node in (first, *[other for other in nodes if other is not first]):
            try:
                return node.make(scene)
            except Unsatisfiable as why:
                failure = why
        raise failure

    values = [value for node in nodes for value in node.values or ()] if all(node.values for node in nodes) else None
    return Node(
        make,
        measure=lambda: min(node.height for node in nodes),
        is_leaf=all(node.is_leaf for node in nodes),
        values=values,
    )


def checked(node: Node, is_valid: Callable[[Json], bool]) -> Node:
    """*node* with only those values that are valid."""
    if node.values is not None:
        valid = [value for value in node.values if is_valid(value)]
        if not valid:
            raise Unsatisfiable("none of the values it names fits the rest")
        return among(valid)

    def make(scene: Scene) -> Json:
        for _ in range(_TRIES):
            value = node.make(scene)
            if is_valid(value):
                return value
        raise Unsatisfiable(f"no valid value was found in {_TRIES} tries")

    return Node(make, measure=node.measure, is_leaf=node.is_leaf)
