"""Free text in the shape a prompt asks for: a sentence, a list of five, a haiku, a letter, one of the choices."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from agentic_synth.offline import lexicon, prose, talk
from agentic_synth.offline.scene import Scene, pick
from agentic_synth.offline.topic import Topic

__all__ = ["compose"]

Writer: TypeAlias = Callable[[Scene, int], str]
"""Writes a text of the asked size."""

_MOST = 200
_MOST_WORDS = 4_000
_HAIKUS: tuple[tuple[tuple[int | str, ...], ...], ...] = (
    ((2, "in", "the", 1), (1, "and", 1, "and", 1, "meet", 1), (3, 2)),
    ((2, "and", 2), ("no", 1, "and", "no", 1, "for", 1), ("the", 1, "waits", "by", 1)),
    (("soft", 1, "on", 2), (1, "by", "the", 1, "and", 2), (2, "of", 2)),
)
"""Lines of 5, 7 and 5 syllables; a number stands for a noun of so many."""


def compose(scene: Scene, topic: Topic) -> str:
    """Text on *topic*, in the length and form it names; a few sentences where it names none."""
    if topic.choices:
        return pick(scene, topic.choices)
    unit, least, most = topic.length
    size = least + scene.below(most - least + 1)
    writer = _BY_UNIT.get(unit)
    if writer is None and size > 1:
        return _list(scene, unit, min(size, _MOST))
    writer = writer or _BY_GENRE.get(scene.genre, _few_sentences)
    return writer(scene, size)


def _few_sentences(scene: Scene, _size: int) -> str:
    return prose.sentences(scene, 1 + scene.below(3))


def _sentences(scene: Scene, size: int) -> str:
    return prose.sentences(scene, min(size, _MOST))


def _paragraphs(scene: Scene, size: int) -> str:
    return "\n\n".join([prose.paragraph(scene) for _ in range(min(size, _MOST))])


def _essay(scene: Scene, _size: int) -> str:
    return _paragraphs(scene, 3 + scene.below(3))


def _words(scene: Scene, size: int) -> str:
    if size == 1:
        return pick(scene, lexicon.ADJECTIVES).capitalize()
    return prose.exactly(scene, min(size, _MOST_WORDS))


def _lines(scene: Scene, size: int) -> str:
    return "\n".join([prose.say(scene, "verse") for _ in range(min(size, _MOST))])


def _poem(scene: Scene, _size: int) -> str:
    return _lines(scene, 4 * (1 + scene.below(3)))


def _haiku(scene: Scene) -> str:
    def spoken(part: int | str) -> str:
        return part if isinstance(part, str) else pick(scene, lexicon.SYLLABLES[part])

    return "\n".join([" ".join([spoken(part) for part in line]).capitalize() for line in pick(scene, _HAIKUS)])


def _haikus(scene: Scene, size: int) -> str:
    return "\n\n".join([_haiku(scene) for _ in range(min(size, _MOST))])


def _mail(scene: Scene, _size: int) -> str:
    greeted, signed = scene.someone(), scene.someone()
    return (
        f"Subject: {prose.title(scene)}\n\nDear {greeted.first},\n\n{prose.paragraph(scene)}\n\n"
        f"Best regards,\n{signed.first} {signed.last}"
    )


def _list(scene: Scene, unit: str, size: int) -> str:
    write = _ENTRIES.get(unit, _tip)
    entries = [write(scene) for _ in range(size)]
    if unit == "bullet":
        return "\n".join([f"- {entry}" for entry in entries])
    return "\n".join([f"{number}. {entry}" for number, entry in enumerate(entries, 1)])


def _tip(scene: Scene) -> str:
    return prose.say(scene, "tip")


def _question(scene: Scene) -> str:
    return prose.say(scene, "question")


_ENTRIES: dict[str, Callable[[Scene], str]] = {
    "name": lambda scene: scene.someone().first,
    "title": prose.title,
    "question": _question,
    "example": lambda scene: prose.phrase(scene).capitalize(),
    **dict.fromkeys(("reason", "fact", "point", "bullet"), lambda scene: prose.sentence(scene, "explain")),
}
_BY_UNIT: dict[str, Writer] = {
    "sentence": _sentences,
    "paragraph": _paragraphs,
    "word": _words,
    "line": _lines,
    "haiku": _haikus,
    "poem": _poem,
    "essay": _essay,
    "article": _essay,
    "story": _essay,
}
_BY_GENRE: dict[str, Writer] = {
    "code": lambda scene, _: prose.snippet(scene),
    "title": lambda scene, _: prose.title(scene),
    "question": lambda scene, _: _question(scene),
    "puzzle": lambda scene, _: prose.say(scene, "puzzle"),
    "talk": lambda scene, _: talk.transcript(scene),
    "review": lambda scene, _: prose.paragraph(scene),
    "issue": lambda scene, _: prose.paragraph(scene),
    "mail": _mail,
    "poem": _poem,
    "tip": lambda scene, _: _list(scene, "tip", 3 + scene.below(3)),
    "story": _essay,
}
