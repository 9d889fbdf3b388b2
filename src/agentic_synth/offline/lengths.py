"""How long an answer a prompt asks for: only a count with its unit says so, not any noun that has a unit in it."""

from __future__ import annotations

import re
from typing import NamedTuple

from agentic_synth.offline.naming import singular

__all__ = ["Length", "read_counts", "read_length"]


class Length(NamedTuple):
    """From *least* to *most* of a *unit*; the unit is empty where no length was named."""

    unit: str = ""
    least: int = 0
    most: int = 0


_NUMBERS = {
    **{word: number for number, word in enumerate("one two three four five six seven eight nine ten".split(), 1)},
    **{"twelve": 12, "fifteen": 15, "twenty": 20, "fifty": 50, "a hundred": 100, "a": 1, "a single": 1, "single": 1},
    **{"a couple of": 2, "a few": 3, "several": 4},
}
_FORMS = ("haiku", "poem", "essay", "article", "story")
_COUNT = r"\d{1,4}|" + "|".join(sorted(_NUMBERS, key=len, reverse=True))
_PROSE = ("sentence", "word", "paragraph", "line")
_ENTRY = "bullet(?: point)?|item|step|idea|reason|tip|name|title|question|example|point|way|fact"
_ASKED = re.compile(
    rf"(?P<bound>\b(?:under|below|within|up to|(?:less|fewer|no more|no longer|not more|more|over) than|at (?:most|least)"
    r"|over|max(?:imum)?(?: of)?|min(?:imum)?(?: of)?|no fewer than|no less than|between)\s+)?"
    rf"(?<!given )(?<!from )(?<!of )(?<!for )\b(?P<count>{_COUNT})(?:\s*(?:or|to|and|-|–)\s*(?P<other>{_COUNT})[\s-]+|(?P<hyphen>-)|\s+)"
    rf"(?:(?!of\b|in\b|to\b|and\b|or\b)[a-z]+\s+)??(?P<unit>{'|'.join(_PROSE)}|{_ENTRY}|{'|'.join(_FORMS)}|stories)(?P<plural>e?s)?\b"
    r"(?:\s+(?P<next>[a-z]+))?"
)
_LISTED = re.compile(rf"\b(?:list|top)\s+(?:of\s+)?(?:the\s+)?(?:top\s+)?(?P<count>{_COUNT})\b")
_FORM = re.compile(
    r"(?:^|\b(?:write|tell|compose|create|generate|draft|make|give|want|need|invent|as|in)\b"
    r"(?:\s+(?!of\b|about\b|for\b|on\b|from\b|in\b|to\b|that\b|which\b|with\b)[\w-]+){0,4}?)\s*"
    r"\b(?P<unit>haiku|poem|essay|article|story)\b(?!\s+(?:below|above|title|idea|prompt|outline|review|summary|line))"
)
_COUNTED = re.compile(rf"(?<![\d.])\b(?P<count>{_COUNT})\s+(?:[a-z]+\s+)??(?P<noun>[a-z]{{3,}}s)\b")
_FEW_WORDS = re.compile(r"\bin (?:a|one) word\b")
_AT_MOST = re.compile(r"under|below|within|up to|less|fewer|no (?:more|longer)|not more|most|max")
_FUNCTION_WORDS = frozenset(
    """a about and answer as at based by containing describing explaining for from given in including is long max maximum
    maybe of on only or per please so summarising summarizing summary that the then to under using what when where which
    who why with without you""".split()
)
_MANY = 10


def read_length(lowered: str) -> Length:
    """The length that a prompt, in lower case, asks for."""
    if _FEW_WORDS.search(lowered):
        return Length("word", 1, 1)
    found = [_measured(asked) for asked in _ASKED.finditer(lowered) if _is_length(asked)]
    if found:
        return next((length for length in found if length.unit in _PROSE), found[0])
    if "list " in lowered or "top " in lowered:
        listed = _LISTED.search(lowered)
        count = _number(listed["count"]) if listed else 0
        if count > 1:
            return Length("item", count, count)
    form = _FORM.search(lowered)
    return Length(form["unit"], 1, 1) if form else Length()


def read_counts(lowered: str) -> dict[str, int]:
    """How many of what a prompt, in lower case, speaks of: ``{"turn": 4}`` for "exactly four turns"."""
    counts: dict[str, int] = {}
    for found in _COUNTED.finditer(lowered):
        if _number(found["count"]) > 1:
            counts.setdefault(singular(found["noun"]), _number(found["count"]))
    return counts


def _is_length(asked: re.Match[str]) -> bool:
    """Whether count and unit belong together: "a word problem" and "three line managers" name no length."""
    count, unit, following = asked["count"], asked["unit"], asked["next"]
    if asked["hyphen"]:
        return count.isdecimal() or unit in _PROSE
    if asked["plural"] or unit == "stories":
        return True
    is_last_word = following is None or following in _FUNCTION_WORDS
    if _number(count) >= _MANY:
        return unit in _PROSE
    if _number(count) > 1:
        return unit == "haiku"
    return is_last_word and (unit in _FORMS or (unit in _PROSE and not (unit == "word" and count == "a")))


def _measured(asked: re.Match[str]) -> Length:
    least = most = _number(asked["count"])
    bound = (asked["bound"] or "").strip()
    if asked["other"]:
        most = _number(asked["other"])
    elif bound and bound != "between":
        if _AT_MOST.search(bound):
            least = max(1, most * 3 // 5)
            most -= bound in ("under", "below", "less than", "fewer than") and most > 1
        else:
            most += max(1, most // 4)
    unit = {"stories": "story", "bullet point": "bullet"}.get(asked["unit"], asked["unit"])
    return Length(unit, max(1, min(least, most)), max(1, least, most))


def _number(word: str) -> int:
    return int(word) if word.isdecimal() else _NUMBERS[word]
