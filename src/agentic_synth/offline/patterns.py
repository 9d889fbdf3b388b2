"""Texts that match a regular expression, of a wanted length.

The pattern is read once by Python's own parser and compiled to closures. JSON Schema writes patterns in ECMA-262's
dialect; what differs (named groups, ``\\p{...}``, ``\\/``) is translated first.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from agentic_synth.offline.node import Unsatisfiable
from agentic_synth.offline.scene import Scene, pick

__all__ = ["Pattern", "compile_pattern"]

Part: TypeAlias = Callable[[Scene, list[str]], str]
"""Makes the text of one part; the list holds what the groups matched."""

_PRINTABLE = "".join(map(chr, range(32, 127)))
_LIKELY = "abcdefghijklmnopqrstuvwxyz0123456789 "
_WORD = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
_CATEGORIES = {
    "CATEGORY_DIGIT": "0123456789",
    "CATEGORY_NOT_DIGIT": "".join(char for char in _PRINTABLE if not char.isdigit()),
    "CATEGORY_SPACE": " ",
    "CATEGORY_NOT_SPACE": _PRINTABLE[1:],
    "CATEGORY_WORD": _WORD,
    "CATEGORY_NOT_WORD": "".join(char for char in _PRINTABLE if char not in _WORD),
}
_PROPERTIES = {
    "L": "a-zA-Z",
    "Letter": "a-zA-Z",
    "Alphabetic": "a-zA-Z",
    "Lu": "A-Z",
    "Ll": "a-z",
    "N": "0-9",
    "Nd": "0-9",
    "P": ".,;:!?-",
    "Z": " ",
    "Zs": " ",
    "ASCII": " -~",
}
_ESCAPE = re.compile(r"\\p\{(?:\w+=)?(\w+)\}|\\(.)|(\[\^?\]?)|(\])|\(\?<(?![=!])", re.DOTALL)


class Pattern(NamedTuple):
    """A compiled pattern: *make* a text of at least *least* and, if possible, at most so many characters."""

    matcher: re.Pattern[str]
    least: int
    most: int
    part: Part

    @property
    def is_anchored(self) -> bool:
        """Whether the match must stand at the start of the text."""
        return self.matcher.pattern.startswith(("^", "(?:^", "(^", "\\A"))

    def make(self, scene: Scene, length: int) -> str:
        """A text that matches, of about *length* characters; the caller checks with *matcher*."""
        scene.slack = max(0, length - self.least)
        return self.part(scene, [""] * (self.matcher.groups + 1))


def compile_pattern(pattern: str) -> Pattern:
    """Read *pattern*; raises :class:`Unsatisfiable` for one that cannot be read."""
    parser = importlib.import_module("re._parser")
    try:
        translated = _translate(pattern)
        matcher = re.compile(translated, re.ASCII)
        tree = parser.parse(translated, re.ASCII)
    except (re.error, RecursionError, OverflowError) as error:
        raise Unsatisfiable(f"the pattern {pattern!r} cannot be read: {error}") from error
    least, most = tree.getwidth()
    return Pattern(matcher, least, most, _sequence(tree))


def _translate(pattern: str) -> str:
    """The same pattern in Python's dialect."""
    in_class = False

    def replace(found: re.Match[str]) -> str:
        nonlocal in_class
        if found[1]:
            if found[1] not in _PROPERTIES:
                raise Unsatisfiable(f"the pattern {pattern!r} uses the unknown character property {found[1]!r}")
            return _PROPERTIES[found[1]] if in_class else f"[{_PROPERTIES[found[1]]}]"
        if found[2]:
            return found[2] if found[2] == "/" else found[0]
        if found[3]:
            opens, in_class = not in_class, True
            return found[0] if opens else "\\["
        if found[4]:
            in_class = False
            return found[0]
        return found[0] if in_class else "(?P<"

    return _ESCAPE.sub(replace, pattern)


def _sequence(items: Any) -> Part:
    parts = [_part(str(code), argument) for code, argument in items]
    if len(parts) == 1:
        return parts[0]
    return lambda scene, groups: "".join([part(scene, groups) for part in parts])


def _part(code: str, argument: Any) -> Part:
    builder = _BUILDERS.get(code)
    return builder(code, argument) if builder else _nothing


def _nothing(_scene: Scene, _groups: list[str]) -> str:
    """Anchors and look-arounds take no room; whether they hold is checked on the finished text."""
    return ""


def _literal(_code: str, argument: Any) -> Part:
    text = chr(argument)
    return lambda _scene, _groups: text


def _one_of(code: str, argument: Any) -> Part:
    characters = _characters(code, argument)
    return lambda scene, _groups: pick(scene, characters)


def _branch(_code: str, argument: Any) -> Part:
    branches = [_sequence(branch) for branch in argument[1]]
    return lambda scene, groups: pick(scene, branches)(scene, groups)


def _group(number: int | None, part: Part) -> Part:
    if number is None:
        return part

    def make(scene: Scene, groups: list[str]) -> str:
        groups[number] = part(scene, groups)
        return groups[number]

    return make


def _repeat(least: int, most: int, items: Any) -> Part:
    part = _sequence(items)
    width = max(1, items.getwidth()[0])
    if least == most:
        return lambda scene, groups: "".join([part(scene, groups) for _ in range(least)])

    def make(scene: Scene, groups: list[str]) -> str:
        room = min(most - least, scene.slack // width)
        extra = room if scene.random() < 0.3 else scene.below(room + 1)
        scene.slack -= extra * width
        return "".join([part(scene, groups) for _ in range(least + extra)])

    return make


def _characters(code: str, argument: Any) -> str:
    if code == "ANY":
        return _LIKELY
    if code == "NOT_LITERAL":
        return _likely({char for char in _PRINTABLE if char != chr(argument)})
    chosen: set[str] = set()
    is_negated = False
    for kind, value in argument:
        match str(kind):
            case "NEGATE":
                is_negated = True
            case "LITERAL":
                chosen.add(chr(value))
            case "RANGE":
                chosen.update(map(chr, range(value[0], min(value[1], value[0] + 512) + 1)))
            case "CATEGORY":
                chosen.update(_CATEGORIES[str(value)])
    if not is_negated:
        return _likely(chosen)
    return _likely({char for char in _PRINTABLE if char not in chosen})


def _likely(characters: set[str]) -> str:
    """*characters* in a fixed order: the everyday ones if there are any, otherwise all of them."""
    everyday = sorted(char for char in characters if char in _LIKELY and (char != " " or len(characters) < 40))
    if len(characters) > 70 and everyday:
        return "".join(everyday)
    return "".join(sorted(characters)) or " "


_BUILDERS: dict[str, Callable[[str, Any], Part]] = {
    "LITERAL": _literal,
    "NOT_LITERAL": _one_of,
    "IN": _one_of,
    "ANY": _one_of,
    "BRANCH": _branch,
    "SUBPATTERN": lambda _code, argument: _group(argument[0], _sequence(argument[3])),
    "ATOMIC_GROUP": lambda _code, argument: _sequence(argument),
    "MAX_REPEAT": lambda _code, argument: _repeat(*argument),
    "MIN_REPEAT": lambda _code, argument: _repeat(*argument),
    "POSSESSIVE_REPEAT": lambda _code, argument: _repeat(*argument),
    "GROUPREF": lambda _code, argument: lambda _scene, groups: groups[argument],
}
