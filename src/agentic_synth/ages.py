"""How long something may last, as people write it."""

from __future__ import annotations

__all__ = ["age_in_seconds"]

_UNITS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}


def age_in_seconds(text: str) -> float | None:
    """The seconds in ``90s``, ``12h``, ``30d`` or ``8w``, or a plain number of them; None where it is no age."""
    number, unit = (text[:-1], text[-1:]) if text[-1:] in _UNITS else (text, "s")
    try:
        seconds = float(number) * _UNITS[unit]
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None
