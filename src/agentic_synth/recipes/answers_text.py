"""Find JSON in what a model wrote around it, and repair it where it is broken."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final, Literal, NoReturn, TypeAlias

import msgspec

from agentic_synth.types import Json

__all__ = ["found_json", "repaired_json", "without_fences"]

_MAX_STARTS: Final = 200
_MAX_FOUND: Final = 16
_MAX_REPAIR: Final = 200_000
_THOUGHT: Final = re.compile(r"\A\s*<(think|thinking|reasoning)>.*?</\1>", re.DOTALL)
_FENCED: Final = re.compile(r"```[\w-]*[ \t]*\r?\n(.*?)\r?\n?[ \t]*```", re.DOTALL)
_OPENING: Final = re.compile(r"[{\[]")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_lenient = json.JSONDecoder(strict=False, parse_constant=_no_constant)
"""Reads strings that hold raw line breaks, too."""

Mend: TypeAlias = Literal["", "fenced", "repaired"]
_WHOLE: Final[tuple[tuple[json.JSONDecoder, Mend], ...]] = (
    (json.JSONDecoder(parse_constant=_no_constant), ""),
    (_lenient, "repaired"),
)


_BROKEN: Final = (ValueError, RecursionError, msgspec.DecodeError)


def _sound(value: Json) -> Json:
    """*value* with its surrogate pairs joined.

    Raises:
        DecodeError: half a pair is left over, which no file could hold.
    """
    return msgspec.json.decode(json.dumps(value))


def without_fences(text: str) -> str:
    """The text alone: without thoughts before it and code fences around it."""
    text = _THOUGHT.sub("", text, count=1).strip()
    fenced = _FENCED.fullmatch(text)
    return (fenced[1] if fenced else text).strip()


def found_json(text: str) -> Iterator[tuple[Json, Mend]]:
    """The JSON values in *text*, the whole of it first, then those inside it, the longest first."""
    for decoder, mend in _WHOLE:
        try:
            value = _sound(decoder.decode(text))
        except _BROKEN:
            continue
        yield value, mend
        return
    found: list[tuple[int, Any]] = []
    text = _THOUGHT.sub("", text, count=1)
    place = 0
    for _ in range(_MAX_STARTS):
        opening = _OPENING.search(text, place)
        if opening is None or len(found) == _MAX_FOUND:
            break
        try:
            value, place = _lenient.raw_decode(text, opening.start())
            found.append((place - opening.start(), _sound(value)))
        except _BROKEN:
            if _looks_like_json(text, opening.start()):
                break  # broken JSON: the pieces inside it are not the answer
            place = opening.end()
    found.sort(key=lambda one: -one[0])
    for _, value in found:
        yield value, "fenced"


def _looks_like_json(text: str, start: int) -> bool:
    """Whether what opens here is an object or array, and not a bracket in prose."""
    head = text[start : start + 40].lstrip("{[ \t\r\n")
    return head.startswith(('"', "'", "“")) or re.match(r"\w+\s*:", head) is not None


def repaired_json(text: str) -> Iterator[tuple[Json, Mend]]:
    """The value of broken JSON: loose quotes, commas and brackets are put right.

    JSON that breaks off is left alone, since what is missing would be lost without a word; so is JSON with holes.
    """
    source = _broken_json(text)
    if source is None or len(source) > _MAX_REPAIR:
        return
    from json_repair import loads  # noqa: PLC0415 - only where JSON is broken

    try:
        value = _sound(loads(source, skip_json_loads=True))
    except (*_BROKEN, IndexError):
        return
    if isinstance(value, (dict, list)) and value and _empty_strings(value) <= _written_empty(source):
        yield value, "repaired"


def _broken_json(text: str) -> str | None:
    """From the first bracket that looks like JSON to the last one that closes it."""
    text = _THOUGHT.sub("", text, count=1)
    for _, opening in zip(range(_MAX_STARTS), _OPENING.finditer(text), strict=False):
        if _looks_like_json(text, opening.start()):
            closing = text.rfind("}" if opening[0] == "{" else "]")
            tail = text[closing + 1 :]
            return None if closing < opening.start() or '"' in tail else text[opening.start() : closing + 1]
    return None


def _empty_strings(value: Json) -> int:
    if isinstance(value, dict):
        return sum(map(_empty_strings, value.values()))
    if isinstance(value, list):
        return sum(map(_empty_strings, value))
    return int(value == "")


def _written_empty(source: str) -> int:
    return source.count('""') + source.count("''") + source.count("“”")
