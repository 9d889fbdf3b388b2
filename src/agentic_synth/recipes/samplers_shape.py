"""Round a number and keep it inside its bounds, with the two in agreement."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from agentic_synth.errors import RecipeError

__all__ = ["shaped"]


def shaped(low: float | None, high: float | None, decimals: int | None) -> Callable[[float], float]:
    """Keep a number between *low* and *high* after rounding it to *decimals*; 0 decimals give whole numbers.

    Raises:
        RecipeError: no number with so few decimals lies between the ends.
    """
    floor = -math.inf if low is None else _rounded(low, decimals, ROUND_CEILING)
    ceiling = math.inf if high is None else _rounded(high, decimals, ROUND_FLOOR)
    if floor > ceiling:
        message = f"no number with {decimals} decimals lies between {low} and {high}" if decimals is not None else ""
        raise RecipeError(message or f"min {low} is above max {high}", mend="Widen the range, or raise decimals.")
    bounded = low is not None or high is not None
    if decimals is None:
        return (lambda value: min(max(value, floor), ceiling)) if bounded else (lambda value: value)
    if decimals == 0:
        return lambda value: round(min(max(value, floor), ceiling))
    return lambda value: min(max(round(value, decimals), floor), ceiling)


def _rounded(end: float, decimals: int | None, direction: str) -> float:
    if decimals is None:
        return end
    return float(Decimal(repr(end)).quantize(Decimal(1).scaleb(-decimals), rounding=direction))
