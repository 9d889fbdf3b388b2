"""How long an answer a prompt asks for: only a count with its unit says so, not any noun that has a unit in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from agentic_synth.offline import lexicon
from agentic_synth.offline.naming import singular
from agentic_synth.offline.words import Word

__all__ = ["Length", "read_counts", "read_length"]


class Length(NamedTuple):
    """From *least* to *most* of a *unit*; the unit is empty where no length was named."""

    unit: str = ""
    least: int = 0
    most: int = 0


_NUMBERS = {
    **{word: number for number, word in enumerate(("one", *lexicon.NUMERALS), 1)},
    "twelve": 12,
    "fifteen": 15,
    "twenty": 20,
    "fifty": 50,
    "a hundred": 100,
    "a": 1,
    "a single": 1,
    "single": 1,
    "a couple of": 2,
    "a few": 3,
    "several": 4,
}
_MOST_DIGITS = 4
_FORMS = ("haiku", "poem", "essay", "article", "story")
_COUNT = r"\d{1,4}|" + "|".join(sorted(_NUMBERS, key=len, reverse=True))
_PROSE = ("sentence", "word", "paragraph", "line")
_ENTRY = "bullet(?: point)?|item|step|idea|reason|tip|name|title|question|example|point|way|fact"
_UNIT = re.compile(
    rf"\b(?P<unit>{'|'.join(_PROSE)}|{_ENTRY}|{'|'.join(_FORMS)}|stories)(?P<plural>e?s)?\b"
    r"(?=(?:\s+(?P<next>[a-z]+))?)"
)
_COUNTED = re.compile(
    r"(?P<bound>\b(?:under|below|within|up to|(?:less|fewer|no more|no longer|not more|more|over) than"
    r"|at (?:most|least)|over|max(?:imum)?(?: of)?|min(?:imum)?(?: of)?|no fewer than|no less than|between)\s+)?"
    rf"(?<!given )(?<!from )(?<!of )(?<!for )\b(?P<count>{_COUNT})"
    rf"(?:\s*(?:or|to|and|-|–)\s*(?P<other>{_COUNT})[\s-]+|(?P<hyphen>-)|\s+)"
    r"(?:(?!of\b|in\b|to\b|and\b|or\b)[a-z]+\s+)??$"
)
_REACH = 48
"""Characters before a unit in which its count stands."""
_LISTED = re.compile(rf"\b(?:list|top)\s+(?:of\s+)?(?:the\s+)?(?:top\s+)?(?P<count>{_COUNT})\b")
_FORM = re.compile(
    r"(?:^|\b(?:write|tell|compose|create|generate|draft|make|give|want|need|invent|as|in)\b"
    r"(?:\s+(?!of\b|about\b|for\b|on\b|from\b|in\b|to\b|that\b|which\b|with\b)[\w-]+){0,4}?)\s*"
    r"\b(?P<unit>haiku|poem|essay|article|story)\b(?!\s+(?:below|above|title|idea|prompt|outline|review|summary|line))"
)
_FEW_WORDS = re.compile(r"\bin (?:a|one) word\b")
_AT_MOST = re.compile(r"under|below|within|up to|less|fewer|no (?:more|longer)|not more|most|max")
_FUNCTION_WORDS = lexicon.words("after_lengths")
_MANY = 10


def read_length(lowered: str) -> Length:
    """The length that a prompt, in lower case, asks for."""
    if _FEW_WORDS.search(lowered):
        return Length("word", 1, 1)
    found = []
    for unit in _UNIT.finditer(lowered):
        counted = _COUNTED.search(lowered, max(0, unit.start() - _REACH), unit.start())
        if counted and _is_length(counted, unit):
            found.append(_measured(counted, unit["unit"]))
    if found:
        return next((length for length in found if length.unit in _PROSE), found[0])
    if "list " in lowered or "top " in lowered:
        listed = _LISTED.search(lowered)
        count = _number(listed["count"]) if listed else 0
        if count > 1:
            return Length("item", count, count)
    form = _FORM.search(lowered) if any(form in lowered for form in _FORMS) else None
    return Length(form["unit"], 1, 1) if form else Length()


def read_counts(words: Sequence[Word]) -> dict[str, int]:
    """How many of what a prompt speaks of: ``{"turn": 4}`` for "exactly four turns"."""
    counts: dict[str, int] = {}
    for index, (_raw, _bare, lowered) in enumerate(words):
        count = int(lowered) if lowered.isdecimal() and len(lowered) < _MOST_DIGITS else _NUMBERS.get(lowered, 0)
        if count > 1:
            named = [word.lowered for word in words[index + 1 : index + 3] if len(word.bare) > 3]
            noun = next((word for word in named if word.endswith("s") and word.isalpha()), None)
            if noun:
                counts.setdefault(singular(noun), count)
    return counts


def _is_length(counted: re.Match[str], named: re.Match[str]) -> bool:
    """Whether count and unit belong together: "a word problem" and "three line managers" name no length."""
    count, unit, following = counted["count"], named["unit"], named["next"]
    if counted["hyphen"]:
        return count.isdecimal() or unit in _PROSE
    if named["plural"] or unit == "stories":
        return True
    is_last_word = following is None or following in _FUNCTION_WORDS
    if _number(count) >= _MANY:
        return unit in _PROSE
    if _number(count) > 1:
        return unit == "haiku"
    return is_last_word and (unit in _FORMS or (unit in _PROSE and not (unit == "word" and count == "a")))


def _measured(counted: re.Match[str], unit: str) -> Length:
    least = most = _number(counted["count"])
    bound = (counted["bound"] or "").strip()
    if counted["other"]:
        most = _number(counted["other"])
    elif bound and bound != "between":
        if _AT_MOST.search(bound):
            least = max(1, most * 3 // 5)
            most -= bound in ("under", "below", "less than", "fewer than") and most > 1
        else:
            most += max(1, most // 4)
    unit = {"stories": "story", "bullet point": "bullet"}.get(unit, unit)
    return Length(unit, max(1, min(least, most)), max(1, least, most))


def _number(word: str) -> int:
    return int(word) if word.isdecimal() else _NUMBERS[word]
