"""Read a prompt for what to write about and in what shape: content words, genre, length, offered choices."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from agentic_synth.offline.lexicon import STOP_WORDS

__all__ = ["Topic", "read_topic"]

_SCANNED = 300
"""Characters read at each end of a long prompt: tasks stand at the start or the end, and reading must stay cheap."""
_MAX_PHRASES = 8
_MAX_PHRASE_WORDS = 3


class Topic(NamedTuple):
    """What a prompt asks for.

    *phrases* are runs of its content words, *subjects* the same with "the" before all but proper names. *unit* and
    *size* are the asked length (``"sentence"``, 3), *unit* empty if none was named. *choices* are the answers that the
    prompt offers.
    """

    phrases: tuple[str, ...]
    subjects: tuple[str, ...]
    genre: str
    unit: str
    size: int
    choices: tuple[str, ...]


_GENRES: dict[str, str] = {
    word: genre
    for genre, words in {
        "issue": "ticket tickets issue issues complaint complaints bug problem problems incident support",
        "review": "review reviews feedback testimonial testimonials",
        "story": "story stories tale novel fiction narrative fairytale",
        "mail": "email mail letter newsletter",
        "poem": "poem poems haiku verse lyrics",
        "code": "function code python javascript program script sql algorithm",
        "explain": "explain why how what define compare summarize summarise explanation difference",
        "title": "title titles headline headlines slogan tagline caption",
        "question": "quiz",
        "": "essay article",
    }.items()
    for word in words.split()
}
_PUNCTUATION = ".,;:!?\"'`()[]{}<>*#_-–—…“”‘’/|"
_STOPS = (".", "!", "?", ":")
_NUMBERS = {
    "a": 1,
    "a single": 1,
    "single": 1,
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
    "twelve": 12,
}
_NUMBER = r"\d{1,4}|a single|a|single|one|two|three|four|five|six|seven|eight|nine|ten|twelve"
_LENGTH = re.compile(
    rf"\b({_NUMBER})[\s-]+(?:(?:or|to|-)\s*\w+\s+)?(?:[a-z]+\s+)??(sentence|word|paragraph|bullet|item|step|idea|reason"
    r"|tip|line|name|title|question|example|point|way|fact|haiku|poem|essay|article|story)s?\b"
)
_LISTED = re.compile(rf"\blist\s+(?:of\s+)?(?:the\s+)?({_NUMBER})\b")
_FORMS = ("haiku", "poem", "essay", "article", "story")
_CHOICE_CUES = ("one of", "choose", "label", "option", "categories", "either", "classify")
_CHOICES = re.compile(
    r"(?:one of|choose from|choose between|labels?(?: are)?|options?(?: are)?|categories|either|classify\b.{0,60}?\bas)"
    r"\s*:?\s*([^.?!:\n]{3,120})",
    re.IGNORECASE,
)
_BETWEEN_CHOICES = re.compile(r"\s*(?:,\s*(?:or|and)\s+|[,|/;]|\bor\b|\band\b)\s*")


@lru_cache(maxsize=512)
def read_topic(prompt: str) -> Topic:
    """What *prompt* is about and what shape of answer it asks for.

    A long prompt is read at its two ends only. The last readings are remembered: sampling asks one prompt many times.
    """
    if len(prompt) > 2 * _SCANNED:
        prompt = f"{prompt[:_SCANNED]}\n{prompt[-_SCANNED:]}"
    lowered = prompt.lower()
    phrases, genre = _read_words(prompt)
    unit, size = _read_length(lowered)
    choices = _read_choices(prompt) if any(cue in lowered for cue in _CHOICE_CUES) else ()
    subjects = tuple([phrase if phrase[0].isupper() else f"the {phrase}" for phrase in phrases])
    return Topic(phrases, subjects, genre, unit, size, choices)


def _read_words(prompt: str) -> tuple[tuple[str, ...], str]:
    """The runs of content words, proper names as they are written, and the first genre named."""
    phrases: dict[str, None] = {}
    run: list[str] = []
    genre = ""
    is_start = True
    for raw, raw_lowered in zip(prompt.split(), prompt.lower().split(), strict=False):
        word = "" if raw_lowered in STOP_WORDS else raw.strip(_PUNCTUATION)
        lowered = word.lower()
        if lowered in _GENRES:
            genre = genre or _GENRES[lowered]
        elif len(word) > 2 and lowered not in STOP_WORDS and _is_word(word):
            run.append(lowered if is_start and not word.isupper() else word)
            if raw.endswith(word) and len(run) < _MAX_PHRASE_WORDS:
                is_start = False
                continue
        is_start = raw.endswith(_STOPS)
        if run:
            phrases[" ".join(run)] = None
            run = []
    if run:
        phrases[" ".join(run)] = None
    if not genre and prompt.rstrip().endswith("?"):
        genre = "explain"
    return tuple(phrases)[-_MAX_PHRASES:], genre


def _is_word(word: str) -> bool:
    return word.isalpha() or word.replace("-", "").replace("'", "").replace("’", "").isalpha()


def _read_length(lowered: str) -> tuple[str, int]:
    listed = _LISTED.search(lowered) if "list " in lowered else None
    if listed:
        return "item", _to_number(listed[1])
    asked = _LENGTH.search(lowered)
    if asked:
        return asked[2], max(1, _to_number(asked[1]))
    return next(((form, 1) for form in _FORMS if form in lowered), ("", 0))


def _to_number(word: str) -> int:
    return int(word) if word.isdecimal() else _NUMBERS[word]


def _read_choices(prompt: str) -> tuple[str, ...]:
    found = _CHOICES.search(prompt)
    if not found:
        return ()
    parts = [part.strip(" \"'`()[]*") for part in _BETWEEN_CHOICES.split(found[1])]
    choices = tuple(dict.fromkeys(part for part in parts if part and len(part.split()) <= 3))
    return choices if 2 <= len(choices) <= 12 else ()
