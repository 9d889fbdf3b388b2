"""Whether two answers say the same, as far as that can be told without asking anybody."""

from __future__ import annotations

import re
from typing import Any

import msgspec

__all__ = ["agree"]

_SHORT = 60
_SAME = 0.8
_words = re.compile(r"\w+").findall


def agree(one: str, other: str) -> bool | None:
    """True where they say the same, False where they cannot, None where only a reader could tell.

    Values (JSON, labels, numbers) agree when they are equal but for case and space. Longer texts that share four fifths
    of their words agree; of others nobody knows.
    """
    first, second = _value(one), _value(other)
    if first == second:
        return True
    if _is_short(first) and _is_short(second):
        return False
    a, b = set(_words(one.casefold())), set(_words(other.casefold()))
    return True if a and len(a & b) >= _SAME * len(a | b) else None


def _value(text: str) -> Any:
    try:
        return _folded(msgspec.json.decode(text))
    except (msgspec.DecodeError, UnicodeEncodeError):
        return _folded(text)


def _folded(value: Any) -> Any:
    if isinstance(value, str):
        return " ".join(value.casefold().split()).rstrip(".")
    if isinstance(value, list):
        return [_folded(inner) for inner in value]
    if isinstance(value, dict):
        return {key: _folded(inner) for key, inner in value.items()}
    return value


def _is_short(value: Any) -> bool:
    """Whether every text in *value* is a label rather than prose."""
    if isinstance(value, str):
        return len(value) <= _SHORT
    if isinstance(value, list):
        return all(map(_is_short, value))
    if isinstance(value, dict):
        return all(map(_is_short, value.values()))
    return True
