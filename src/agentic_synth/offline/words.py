"""A prompt as words."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Word", "words_in"]

_TOKEN = re.compile(r"\n|\S+")
_MARKS = ".,;:!?\"'`()[]{}<>*#_-–—…“”‘’/|="


class Word(NamedTuple):
    """One word of a prompt: as it is written, bare of marks, and in lower case; ``"\\n"`` for the end of a line."""

    raw: str
    bare: str
    lowered: str


def words_in(prompt: str) -> list[Word]:
    """The words of *prompt*, and the ends of its lines."""
    words = []
    for raw in _TOKEN.findall(prompt):
        bare = raw if raw == "\n" else raw.strip(_MARKS)
        words.append(Word(raw, bare, bare.lower()))
    return words
