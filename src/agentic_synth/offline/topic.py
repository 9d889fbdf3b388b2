"""Read a prompt for what to write about and in what shape: topics, genre, length, feeling, offered choices."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from agentic_synth.offline import lexicon
from agentic_synth.offline.lengths import Length, read_counts, read_length
from agentic_synth.offline.lexicon import ASKING, HELPING, LANGUAGES, TONES
from agentic_synth.offline.nouns import Noun, read_nouns
from agentic_synth.offline.words import Word, words_in

__all__ = ["Feeling", "Topic", "read_topic"]

_SCANNED = 240
"""Characters read at each end of a long prompt: tasks stand at the start or the end, and reading must stay cheap."""
_TASK_WORDS = 30
"""Words at each end that may name the genre; those between are of a text that is only given."""
_MAX_PHRASES = 8


class Feeling(NamedTuple):
    """How content somebody is: from *least* to *most* on a scale from 0 to 1."""

    least: float
    most: float


class Topic(NamedTuple):
    """What a prompt asks for.

    *phrases* are the runs of nouns that it is about, *subjects* the same with "the" before those that need it.
    *choices* are the answers that the prompt offers, *counts* how many of what it speaks of (``{"turn": 4}``).
    *feeling* is None where the prompt leaves it open.
    """

    phrases: tuple[str, ...]
    subjects: tuple[str, ...]
    genre: str
    length: Length
    choices: tuple[str, ...]
    counts: Mapping[str, int]
    feeling: Feeling | None


_GENRES: dict[str, str] = {
    word: genre
    for genre, words in {
        "issue": "ticket tickets issue issues complaint complaints bug bugs problem problems incident",
        "review": "review reviews feedback testimonial testimonials",
        "story": "story stories tale novel fiction narrative fairytale",
        "mail": "email emails mail letter newsletter",
        "poem": "poem poems haiku haikus verse lyrics",
        "code": "function code python javascript program script sql algorithm",
        "explain": "explain define compare summarize summarise explanation difference",
        "title": "title titles headline headlines slogan tagline caption",
        "talk": "conversation conversations dialogue dialogues dialog chat",
        "question": "quiz question questions",
        "tip": "suggest suggestions recommend brainstorm tips advice checklist recipe itinerary",
        "": "essay article support",
    }.items()
    for word in words.split()
}
_SPEECH = frozenset((*LANGUAGES, *ASKING, *HELPING))
_FEELINGS = (Feeling(0.0, 0.4), Feeling(0.4, 0.6), Feeling(0.6, 1.0))
_VAGUE = lexicon.words("vague")
"""Word of feeling in a record; in a prompt they may be said of anything."""
_QUESTION_WORDS = lexicon.words("question_words")
_REQUEST = re.compile(
    r"(?:send|ask|say|write|give|type)s? to (?:an?|the) (?:\w+ )?(?:assistant|chatbot|language model)"
    r"|\b(?:write|generate|create|invent|make|give)\b[^.?!]{0,40}\b(?:prompt|user message|instruction|user request)s?\b"
)
_ANSWER = re.compile(r"^(?:answer|question:)|\banswer (?:the|this|these) ")
_REQUEST_CUES = ("assistant", "prompt", "instruction", "request", "chatbot", "language model")
_PUZZLE = re.compile(r"\b(?:word|math|maths|arithmetic|algebra)\s+(?:problem|puzzle|exercise)s?\b")
_STARS = re.compile(
    r"\b(\d{1,3})(?:\.\d+)?\s*(?:of|out of|/)\s*(5|10|100)\b|\b([1-5]|one|two|three|four|five)[\s-]stars?\b"
)
_OUT_OF = re.compile(r"\d\s*(?:of |out of |/)\s*\d")
_STAR_WORDS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5}
_OFFERED = re.compile(
    r"\b(yes|true)(?:\"|')?\s*(?:or|/)\s*(?:\"|')?(no|false)\b(?!\s+(?:question|quiz|statement|answer|item))",
)
_CHOICE_CUES = ("one of", "choose", "label", "option", "categories", "either", "classify")
_CHOICES = re.compile(
    r"(?:one of|choose from|choose between|labels?(?: are| include)?|options?(?: are| include)?|categories|either"
    r"|classify\b.{0,60}?\b(?:as|into))"
    r"\s*:?\s*([^.?!:\n]{3,120})",
)
_QUOTED = re.compile(r"\"([^\"\n]{1,30})\"")
_BETWEEN_CHOICES = re.compile(r"\s*(?:,\s*(?:or|and)\s+|[,|/;]|\bor\b|\band\b)\s*")


@lru_cache(maxsize=512)
def read_topic(prompt: str) -> Topic:
    """What *prompt* is about and what shape of answer it asks for.

    A long prompt is read at its two ends only. The last readings are remembered: sampling asks one prompt many times.
    """
    if len(prompt) > 2 * _SCANNED:
        prompt = f"{prompt[:_SCANNED]}\n{prompt[-_SCANNED:]}"
    lowered = prompt.lower()
    words = words_in(prompt)
    genre = _read_genre(lowered, words)
    nouns = _chosen(read_nouns(words, _GENRES))
    choices = _read_choices(prompt, lowered)
    phrases = tuple(dict.fromkeys(noun.text for noun in nouns))
    return Topic(
        phrases,
        tuple(dict.fromkeys(_subject(noun) for noun in nouns)),
        genre,
        read_length(lowered),
        choices,
        read_counts(words),
        _read_feeling(lowered, words),
    )


def _chosen(nouns: list[Noun]) -> list[Noun]:
    """The nouns that the prompt says it is about; if it says of none, all but languages and who is to speak."""
    told = [noun for noun in nouns if noun.is_told]
    nouns = told or [noun for noun in nouns if noun.text not in _SPEECH] or nouns
    return nouns[-_MAX_PHRASES:]


def _subject(noun: Noun) -> str:
    """The noun as a sentence names it; one that stood without an article is a name, a plural or a substance."""
    return f"the {noun.text}" if noun.is_definite and not noun.text[0].isupper() else noun.text


def _read_genre(lowered: str, words: Sequence[Word]) -> str:
    """The first genre that the prompt names, or that its form tells."""
    if ("problem" in lowered or "puzzle" in lowered or "exercise" in lowered) and _PUZZLE.search(lowered):
        return "puzzle"
    if any(cue in lowered for cue in _REQUEST_CUES) and _REQUEST.search(lowered):
        return "request"
    likely = (*words[:_TASK_WORDS], *words[-_TASK_WORDS:])
    genre = next((genre for word in likely if (genre := _GENRES.get(word.lowered))), "")
    is_asked = bool(words) and (words[0].lowered in _QUESTION_WORDS or lowered.rstrip().endswith("?"))
    if (genre in ("", "question") and is_asked) or (genre == "question" and _ANSWER.search(lowered)):
        return "explain"
    if not genre and lowered.startswith("plan "):
        return "tip"
    return genre


def _read_feeling(lowered: str, words: Sequence[Word]) -> Feeling | None:
    """What stars or words of feeling tell; words that contradict each other tell nothing."""
    stars = _STARS.search(lowered) if " star" in lowered or "-star" in lowered or _OUT_OF.search(lowered) else None
    if stars:
        given, most = (int(stars[1]), int(stars[2])) if stars[1] else (_STAR_WORDS.get(stars[3]) or int(stars[3]), 5)
        share = min(max(given, 1), most) / most
        return Feeling(share - 1 / most, share)
    tones = {TONES[word.lowered] for word in words if word.lowered in TONES and word.lowered not in _VAGUE}
    return _FEELINGS[tones.pop()] if len(tones) == 1 else None


def _read_choices(prompt: str, lowered: str) -> tuple[str, ...]:
    """The answers that the prompt offers, as they are written."""
    written = prompt if len(prompt) == len(lowered) else lowered
    offered = _OFFERED.search(lowered) if "yes" in lowered or "true" in lowered else None
    if offered:
        return written[offered.start(1) : offered.end(1)], written[offered.start(2) : offered.end(2)]
    parts: list[str] = []
    if '" or "' in prompt:
        parts = _QUOTED.findall(prompt)
    elif any(cue in lowered for cue in _CHOICE_CUES):
        found = _CHOICES.search(lowered)
        parts = _BETWEEN_CHOICES.split(written[found.start(1) : found.end(1)]) if found else []
    parts = [part.strip(" \"'`()[]*") for part in parts]
    choices = tuple(dict.fromkeys(part for part in parts if part and len(part.split()) <= 3))
    return choices if 2 <= len(choices) <= 12 else ()
