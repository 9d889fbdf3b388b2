"""Integers and numbers within a schema's bounds, near what the field's name makes usual."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from fractions import Fraction

from agentic_synth.offline.node import Field, Maker, Node, Unsatisfiable
from agentic_synth.offline.scene import Scene
from agentic_synth.offline.spans import Span, is_rating, span_of
from agentic_synth.types import Json

__all__ = ["plan_number"]

_MOST_DECIMALS = 12
_FEW = 512
_FARTHEST = 9_007_199_254_740_991
"""Integers beyond 2**53 are not kept by every JSON reader."""
_TOLD_RANGE = re.compile(r"(-?\d{1,15}(?:\.\d{1,9})?)\s*(?:-|–|to|and|\.\.)\s*(-?\d{1,15}(?:\.\d{1,9})?)")


def plan_number(node: dict[str, Json], field: Field, *, is_integer: bool) -> Node:
    """The node of an ``integer`` or ``number`` schema: a grid of equal steps between two bounds."""
    span = _usual_span(node, field)
    step = _step(node.get("multipleOf", ()), is_integer=is_integer)
    decimals = 0 if is_integer else span.decimals
    low, high = _bounds(node)
    grid = step or _fine_grid(low, high, decimals)
    first, last = _ends(low, high, grid, node)
    if first is not None and last is not None and first > last:
        raise Unsatisfiable(f"no {'integer' if is_integer else 'number'} lies within {_shown(node)}")
    usual_first, usual_last = math.ceil(Fraction(span.low) / grid), math.floor(Fraction(span.high) / grid)
    first, last = _narrowed(first, last, usual_first, usual_last)
    law = Scene.contentment if is_rating(field.name) else _skewed if span.is_skewed else _evenly
    if is_integer:
        return _integers(first, last, int(grid), law)
    return Node(_decimals(first, last, grid, law))


def _usual_span(node: dict[str, Json], field: Field) -> Span:
    told = _TOLD_RANGE.search(str(node.get("description", "")))
    if told and float(told[1]) < float(told[2]):
        decimals = max(len(text.partition(".")[2]) for text in told.groups())
        return Span(float(told[1]), float(told[2]), decimals or (2 if float(told[2]) <= 1 else 0))
    span = span_of(field.name)
    if span:
        return span
    hints = [value for value in (node.get("default"), *node.get("examples", ())) if _is_number(value)]
    if hints:
        least, most = min(hints), max(hints)
        room = abs(most) or 1
        decimals = max(len(repr(value).partition(".")[2]) for value in hints)
        return Span(least - room / 2 if least < 0 else least / 2, most + room / 2, min(decimals, 6))
    return Span(0, 1000, 2)


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _FARTHEST


def _step(multiples: tuple[Json, ...], *, is_integer: bool) -> Fraction | None:
    """The least positive number that every one of *multiples* divides."""
    steps = [Fraction(str(multiple)) for multiple in multiples]
    if is_integer:
        steps.append(Fraction(1))
    if not steps:
        return None
    return Fraction(math.lcm(*[step.numerator for step in steps]), math.gcd(*[step.denominator for step in steps]))


def _bounds(node: dict[str, Json]) -> tuple[Fraction | None, Fraction | None]:
    lows = [Fraction(str(node[key])) for key in ("minimum", "exclusiveMinimum") if key in node]
    highs = [Fraction(str(node[key])) for key in ("maximum", "exclusiveMaximum") if key in node]
    return max(lows, default=None), min(highs, default=None)


def _fine_grid(low: Fraction | None, high: Fraction | None, decimals: int) -> Fraction:
    """Steps small enough that a narrow range still holds many of them."""
    if low is not None and high is not None and low < high:
        while decimals < _MOST_DECIMALS and (high - low) * 10**decimals < 10:
            decimals += 1
        return min(Fraction(1, 10**decimals), (high - low) / 4)
    return Fraction(1, 10**decimals)


def _ends(
    low: Fraction | None, high: Fraction | None, grid: Fraction, node: dict[str, Json]
) -> tuple[int | None, int | None]:
    first = None if low is None else math.ceil(low / grid)
    last = None if high is None else math.floor(high / grid)
    if first is not None and "exclusiveMinimum" in node and first * grid <= Fraction(str(node["exclusiveMinimum"])):
        first += 1
    if last is not None and "exclusiveMaximum" in node and last * grid >= Fraction(str(node["exclusiveMaximum"])):
        last -= 1
    return first, last


def _narrowed(first: int | None, last: int | None, usual_first: int, usual_last: int) -> tuple[int, int]:
    """The usual range as far as the bounds allow it, else a range of usual width at the bound."""
    width = max(usual_last - usual_first, 1)
    if first is None:
        if last is None:
            return usual_first, max(usual_first, usual_last)
        return (usual_first, min(usual_last, last)) if usual_first <= last else (last - width, last)
    if last is None:
        return (max(first, usual_first), usual_last) if first <= usual_last else (first, first + width)
    low, high = max(first, usual_first), min(last, usual_last)
    is_roomy = low <= high and (high - low) * 50 >= min(last - first, width)
    return (low, high) if is_roomy else (first, last)


def _evenly(scene: Scene) -> float:
    return scene.random()


def _skewed(scene: Scene) -> float:
    cubed: float = scene.random() ** 3
    return cubed


def _integers(first: int, last: int, step: int, law: Callable[[Scene], float]) -> Node:
    if (last - first) * step > 2 * _FARTHEST:
        first, last = max(first, -_FARTHEST // step), min(last, _FARTHEST // step)
    count = last - first + 1
    values = range(first * step, last * step + 1, step)

    def near(scene: Scene) -> Json:
        return (first + int(law(scene) * count)) * step

    def wide(scene: Scene) -> Json:
        return (first + scene.below(count)) * step

    make: Maker = wide if count >= 1 << 50 else near
    return Node(make, values=values if count <= _FEW else None)


def _decimals(first: int, last: int, grid: Fraction, law: Callable[[Scene], float]) -> Maker:
    numerator, denominator = grid.numerator, grid.denominator
    count = last - first + 1
    if denominator == 1:
        return lambda scene: (first + int(law(scene) * count)) * numerator

    def make(scene: Scene) -> Json:
        return (first + int(law(scene) * count)) * numerator / denominator

    return make


def _shown(node: dict[str, Json]) -> str:
    names = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "multipleOf")
    return ", ".join(
        f"{name} {', '.join(map(str, value)) if isinstance(value, tuple) else value}"
        for name in names
        if (value := node.get(name)) is not None and value != ()
    )
