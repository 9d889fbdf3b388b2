"""Readable sentences by a small grammar over the topic's own words; the turns of phrase stand in ``sentences.txt``.

A turn of phrase names kinds of words in braces; a subject is a topic with its article. Verbs that go with a subject
stand in the past or after a modal, so that they fit a singular and a plural.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from agentic_synth.offline import lexicon
from agentic_synth.offline.scene import Scene, pick

__all__ = ["exactly", "keyword", "paragraph", "phrase", "say", "sentence", "sentences", "snippet", "title"]

_TOPICS: tuple[str, ...] = ("topic",)
_SUBJECTS: tuple[str, ...] = ("subject",)
_SOURCES: dict[str, Sequence[str]] = {
    "topic": _TOPICS,
    "subject": _SUBJECTS,
    "good": lexicon.GOOD,
    "bad": lexicon.BAD,
    "plain": lexicon.PLAIN,
    "plainly": lexicon.PLAINLY,
    "gladly": lexicon.GLADLY,
    "factor": lexicon.FACTORS,
    "aspect": lexicon.ASPECTS,
    "thing": lexicon.THINGS,
    "people": lexicon.PEOPLE,
    "fix": lexicon.FIXES,
    "study": lexicon.STUDIES,
    "team": lexicon.TEAMS,
    "nth": lexicon.NTHS,
    "name": lexicon.FIRST_NAMES,
    "time": lexicon.TIMES,
    "day": lexicon.DAYS,
    "few": lexicon.NUMERALS,
}
_SLOT = re.compile(r"\{(\w+)\}")
_TONES = (" bad", " mixed", " good")


class _Turn(NamedTuple):
    """A turn of phrase: a format text and what each of its places is filled from."""

    text: str
    sources: tuple[Sequence[str], ...]


def _read() -> dict[str, tuple[_Turn, ...]]:
    sections = {}
    for section in Path(__file__).with_name("sentences.txt").read_text("utf-8").split("\n["):
        head, _, lines = section.removeprefix("[").partition("]\n")
        sections[head] = tuple(
            _Turn(_SLOT.sub("%s", line), tuple(_SOURCES[slot] for slot in _SLOT.findall(line)))
            for line in lines.strip().split("\n")
        )
    return sections


_SECTIONS = _read()
_PLAIN = _SECTIONS["plain"]
_MANNERS = frozenset({"issue", "review", "story", "explain", "mail", "request", "task", "puzzle", "talk", "tip"})
"""Genres with sentences of their own."""
_TITLED = {"issue": "title issue", "review": "title review"}
_FILLERS = [turn.text for turn in _SECTIONS["filler"]]


def _fill(scene: Scene, turn: _Turn) -> str:
    """*turn* with a word in each place; a word that it has already is drawn once more."""
    random = scene.random
    words: list[str] = []
    for source in turn.sources:
        values = scene.topics if source is _TOPICS else scene.subjects if source is _SUBJECTS else source
        word = values[int(random() * len(values))]
        words.append(values[int(random() * len(values))] if word in words else word)
    return turn.text % tuple(words)


def _opened(text: str) -> str:
    return text[0].upper() + text[1:]


def _toned(scene: Scene, section: str) -> tuple[_Turn, ...]:
    """The turns of *section*, of those that have a feeling the scene's own."""
    return _SECTIONS.get(section) or _SECTIONS[section + _TONES[scene.tone]]


def _written(scene: Scene, genre: str | None) -> tuple[_Turn, ...]:
    genre = scene.genre if genre is None else genre
    return _toned(scene, genre) if genre in _MANNERS else _PLAIN


def sentence(scene: Scene, genre: str | None = None) -> str:
    """One sentence on the scene's topic, in the manner of *genre* (the scene's own if not given)."""
    return _opened(_fill(scene, pick(scene, _written(scene, genre))))


def sentences(scene: Scene, count: int, genre: str | None = None) -> str:
    """*count* sentences of one paragraph; no turn of phrase comes again before all have come."""
    turns = _written(scene, genre)
    text: list[str] = []
    left: list[_Turn] = []
    for _ in range(count):
        left = left or list(turns)
        text.append(_opened(_fill(scene, left.pop(int(scene.random() * len(left))))))
    return " ".join(text)


def paragraph(scene: Scene, genre: str | None = None) -> str:
    """Three to five sentences."""
    return sentences(scene, 3 + int(scene.random() * 3), genre)


def exactly(scene: Scene, size: int) -> str:
    """Sentences of *size* words in all."""
    words: list[str] = []
    misses = 0
    while len(words) < size:
        room = size - len(words)
        more = sentence(scene).split()
        if room <= len(_FILLERS):
            words += _FILLERS[room - 1].split()
        elif len(more) <= room:
            words += more
        elif (misses := misses + 1) > 2:
            words += _FILLERS[-1].split()
    return " ".join(words)


def say(scene: Scene, section: str) -> str:
    """One turn of phrase of a *section* of its own, such as a question or a tip."""
    return _opened(_fill(scene, pick(scene, _SECTIONS[section])))


def title(scene: Scene) -> str:
    """A headline or subject line, without a full stop."""
    return _opened(_fill(scene, pick(scene, _toned(scene, _TITLED.get(scene.genre, "title")))))


def phrase(scene: Scene) -> str:
    """A few words without a verb."""
    return _fill(scene, pick(scene, _SECTIONS["phrase"]))


def keyword(scene: Scene) -> str:
    """A word or two: one of the topic's own, or one that goes with any."""
    return pick(scene, scene.topics if scene.random() < 0.5 else lexicon.FACTORS)


def snippet(scene: Scene) -> str:
    """A few lines of Python that run."""
    noun, verb = pick(scene, lexicon.NOUNS), pick(scene, lexicon.VERBS)
    first, least = noun[0], scene.below(9) + 1
    return pick(
        scene,
        (
            f"def {verb}_{noun}(values):\n    return [value for value in values if value > {least}]",
            f"def {verb}_{noun}({noun}, limit={least}):\n    {first} = sorted({noun})\n    return {first}[:limit]",
            f"{noun}_of = {{}}\nfor {first} in range({least}):\n    {noun}_of[{first}] = {first} * {least + 1}",
        ),
    )
