"""The parts a compiled schema is made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import msgspec

from agentic_synth.offline.scene import Scene
from agentic_synth.types import Json

__all__ = ["Field", "Maker", "Node", "Planner", "Unsatisfiable", "descend", "is_lean", "recast"]

Maker: TypeAlias = Callable[[Scene], Json]
"""Makes one valid value."""

_MAX_DEPTH = 2
_MAX_DESCENTS = 24


class Unsatisfiable(Exception):
    """No value fits; the text says why."""


class Field(msgspec.Struct, frozen=True):
    """Where a value stands, as far as its meaning goes: its own name, and that of the object around it.

    *is_crowded* says that its object speaks of several people or places, so that prefixes such as ``buyer_`` tell
    them apart; *is_talk* that it stands in a conversation, so that ``customer`` is what the customer says.
    """

    name: str = ""
    parent: str = ""
    is_crowded: bool = False
    is_talk: bool = False


class Node:
    """A compiled part of a schema.

    *height* is the least number of containers that a value needs, infinite until it is known to end. *values* are all
    possible values where these are few. *is_leaf* is false for what may hold other values.
    """

    __slots__ = ("height", "is_done", "is_leaf", "make", "measure", "values")

    def __init__(
        self,
        make: Maker,
        *,
        measure: Callable[[], float] = lambda: 0,
        is_leaf: bool = True,
        values: Sequence[Json] | None = None,
    ) -> None:
        self.make = make
        self.measure = measure
        self.is_leaf = is_leaf
        self.values = values
        self.height = math.inf
        self.is_done = True

    def become(self, other: Node) -> None:
        """Take over what *other* is; whoever holds this node already sees it."""
        self.make, self.measure, self.is_leaf, self.values = other.make, other.measure, other.is_leaf, other.values
        self.is_done = True


class Planner(Protocol):
    """Compiles the parts of one schema."""

    def plan(self, schema: Json, field: Field) -> Node:
        """The node for *schema* standing at *field*; raises :class:`Unsatisfiable`."""
        ...

    def check(self, schema: Json) -> Callable[[Json], bool]:
        """A validator of *schema*, whose references are the whole schema's."""
        ...


def is_lean(scene: Scene) -> bool:
    """Whether a recursive answer is long enough, so that only what must be there is made."""
    return scene.depth > _MAX_DEPTH or scene.descents > _MAX_DESCENTS


def descend(target: Node) -> Node:
    """A way back into *target*, in which it stands itself."""

    def make(scene: Scene) -> Json:
        if target.height == math.inf:
            raise Unsatisfiable("it contains itself without end")
        scene.depth += 1
        scene.descents += 1
        try:
            return target.make(scene)
        finally:
            scene.depth -= 1

    return Node(make, measure=lambda: 1 + target.height, is_leaf=False)


def recast(make: Maker) -> Maker:
    """*make* about people and places of its own."""

    def make_apart(scene: Scene) -> Json:
        cast = scene.renew()
        try:
            return make(scene)
        finally:
            scene.restore(cast)

    return make_apart
