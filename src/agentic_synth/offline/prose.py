"""Readable sentences by a small grammar over the topic's own words.

A template names kinds of words in braces. Verbs stand in the past or after a modal, so that they fit a topic in the
singular and in the plural.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from agentic_synth.offline import lexicon
from agentic_synth.offline.scene import Scene, pick

__all__ = ["keyword", "paragraph", "phrase", "question", "sentence", "sentences", "snippet", "title"]

_SOURCES: dict[str, Sequence[str]] = {
    "topic": (),
    "noun": lexicon.NOUNS,
    "adjective": lexicon.ADJECTIVES,
    "verb": lexicon.VERBS,
    "adverb": lexicon.ADVERBS,
    "name": lexicon.FIRST_NAMES,
    "time": lexicon.TIMES,
    "few": lexicon.NUMERALS,
}
_SLOT = re.compile(r"\{(\w+)\}")


class _Template(NamedTuple):
    text: str
    sources: tuple[Sequence[str], ...]


def _templates(lines: str) -> tuple[_Template, ...]:
    return tuple(
        _Template(_SLOT.sub("%s", line), tuple(_SOURCES[slot] for slot in _SLOT.findall(line)))
        for line in lines.split("\n")
    )


_PLAIN = _templates(
    """The {topic} made the {noun} {adjective} and {adjective}.
A {adjective} {noun} can {adverb} {verb} the {topic}.
The {adjective} part was the {topic}, and the {noun} followed {time}.
In {few} of ten cases the {topic} would {verb} the {noun}.
{name} chose the {topic} because the {noun} had to stay {adjective}.
What mattered for the {topic} was a {adjective} {noun}.
After the {noun}, the {topic} became {adverb} more {adjective}.
Without a {adjective} {noun}, the {topic} could not {verb} the {noun}.
The {noun} behind the {topic} was {adjective}, yet the {noun} stayed {adjective}.
{name} and {name} tried to {verb} the {topic} {time}.
Every {noun} needs a {adjective} {noun}, and so did the {topic}.
The {topic} would {adverb} {verb} a {adjective} {noun}."""
)
_BY_GENRE: dict[str, tuple[_Template, ...]] = {
    "issue": _templates(
        """The {topic} stopped working {time}, and the {noun} has been {adjective} since then.
I tried to {verb} the {topic} {few} times, but nothing changed.
Please {verb} the {noun}, because the {topic} did not {verb} as described.
The {noun} showed a {adjective} message when I wanted to {verb} the {topic}.
{name} from your team asked me to {verb} the {noun}, without success.
It happened {time}, right after I had to {verb} the {noun}.
I expected a {adjective} {noun} from the {topic}, not a {adjective} one.
Could you {verb} the {topic} or send a {adjective} {noun}?
The {noun} on the {topic} was {adjective} and would not {verb}.
We need the {topic} for a {adjective} {noun}, so a {adjective} reply would help."""
    ),
    "review": _templates(
        """The {topic} felt {adjective} from the first day, and the {noun} was {adjective}.
I bought this {time} and would {adverb} choose it again.
For the price, the {topic} gave us a {adjective} {noun}.
The {noun} could be more {adjective}, but the {topic} did the job.
Setting up the {topic} took {few} minutes and was {adverb} {adjective}.
My one complaint: the {noun} was too {adjective} to {verb}.
{name} recommended it {time}, and the {topic} turned out {adjective}.
Compared with a {adjective} {noun}, the {topic} was {adverb} the {adjective} choice."""
    ),
    "story": _templates(
        """{name} had waited for the {topic} since the {adjective} {noun}.
"We should {verb} the {topic}," said {name}, "before the {noun} gets {adjective}."
Nobody could {verb} the {noun}, least of all {name}.
{time} the {topic} lay {adjective} in the {adjective} light.
So {name} went to {verb} the {noun} and found the {topic} instead.
The {noun} was {adjective}, and for a while {name} forgot about the {topic}.
When the {noun} came, the {topic} had {adverb} become {adjective}.
{name} looked at the {topic} and thought of a {adjective} {noun}."""
    ),
    "explain": _templates(
        """The {topic} can be seen as a {adjective} {noun} that helps to {verb} the {noun}.
In short, the {topic} would {verb} one {noun} and leave the {noun} {adjective}.
There are {few} reasons: the {noun}, the {noun}, and a {adjective} {noun}.
The main difference lies in the {noun}, which can be {adjective} or {adjective}.
To {verb} the {topic}, first {verb} the {noun}, then {verb} the {noun}.
This matters because a {adjective} {noun} can {adverb} {verb} the {topic}.
A {adjective} example is the {noun} that {name} had to {verb} {time}.
The {topic} depended on a {adjective} {noun} rather than on the {noun} alone.
It follows that the {topic} should be {adjective} wherever the {noun} is {adjective}."""
    ),
    "mail": _templates(
        """Thank you for your note about the {topic} {time}.
We would like to {verb} the {topic} before the {noun} becomes {adjective}.
Please {verb} the {noun} and let {name} know whether it is {adjective}.
I have attached a {adjective} {noun} on the {topic}.
Could we {verb} the {noun} together this week?
The team decided {time} to {verb} the {topic}.
If the {noun} suits you, {name} will {verb} the {topic} next."""
    ),
}
_TITLES = _templates(
    """{adjective} {noun} for {topic}
{topic}: a {adjective} {noun}
How to {verb} the {topic}
{topic} and the {adjective} {noun}
{few} ways to {verb} the {topic}
A {adjective} {noun} about {topic}
Why {topic} needs a {adjective} {noun}
{verb} the {noun}: {topic}"""
)
_ISSUE_TITLES = _templates(
    """{topic}: {noun} not {adjective}
Problem with {topic} since {adjective} {noun}
Cannot {verb} the {topic}
{topic} will not {verb}
Please {verb} my {topic}
{topic} lost its {noun} {time}
Request to {verb} the {topic}"""
)
_PHRASES = _templates(
    """{adjective} {topic}
{adjective} {noun} for {topic}
{topic} {noun}
{noun} of the {topic}
{adjective} {noun}
{topic} with a {adjective} {noun}"""
)
_QUESTIONS = _templates(
    """How does the {topic} {verb} a {adjective} {noun}?
Why would the {topic} need a {adjective} {noun}?
What is the {adjective} {noun} behind the {topic}?
Which {noun} should {verb} the {topic} first?
When can a {noun} {verb} the {topic}?
What happens if the {noun} of the {topic} is {adjective}?
Is the {topic} more {adjective} than a {adjective} {noun}?
How many {noun} types can {verb} the {topic}?"""
)
_SNIPPETS = _templates(
    """def {verb}_{noun}(values):
    {noun} = [value for value in values if value is not None]
    return sorted({noun})[:{few}]"""
)


def _fill(scene: Scene, template: _Template) -> str:
    random, topics = scene.random, scene.topics
    words = []
    for source in template.sources:
        values = source or topics
        words.append(values[int(random() * len(values))])
    text = template.text % tuple(words)
    return text[0].upper() + text[1:]


def _written(scene: Scene, genre: str | None) -> tuple[_Template, ...]:
    return _BY_GENRE.get(scene.genre if genre is None else genre, _PLAIN)


def sentence(scene: Scene, genre: str | None = None) -> str:
    """One sentence on the scene's topic, in the manner of *genre* (the scene's own if not given)."""
    return _fill(scene, pick(scene, _written(scene, genre)))


def sentences(scene: Scene, count: int, genre: str | None = None) -> str:
    """*count* sentences of one paragraph; no turn comes again before all have come."""
    templates = _written(scene, genre)
    text: list[str] = []
    left: list[_Template] = []
    for _ in range(count):
        left = left or list(templates)
        text.append(_fill(scene, left.pop(int(scene.random() * len(left)))))
    return " ".join(text)


def paragraph(scene: Scene, genre: str | None = None) -> str:
    """Three to five sentences."""
    return sentences(scene, 3 + int(scene.random() * 3), genre)


def title(scene: Scene) -> str:
    """A headline or subject line, without a full stop."""
    return _fill(scene, pick(scene, _ISSUE_TITLES if scene.genre == "issue" else _TITLES))


def question(scene: Scene) -> str:
    """A question on the topic."""
    return _fill(scene, pick(scene, _QUESTIONS))


def phrase(scene: Scene) -> str:
    """A few words without a verb."""
    return _fill(scene, pick(scene, _PHRASES)).lower()


def keyword(scene: Scene) -> str:
    """A word or two: one of the topic's own, or one that goes with any."""
    return pick(scene, scene.topics if scene.random() < 0.5 else lexicon.NOUNS)


def snippet(scene: Scene) -> str:
    """A few lines of Python that run."""
    noun, verb = pick(scene, lexicon.NOUNS), pick(scene, lexicon.VERBS)
    first, least = noun[0], scene.below(9) + 1
    return pick(
        scene,
        (
            f"def {verb}_{noun}(values):\n    return [value for value in values if value > {least}]",
            f"def {verb}_{noun}({noun}, limit={least}):\n    {first} = sorted({noun})\n    return {first}[:limit]",
            f"{noun}s = {{}}\nfor {first} in range({least}):\n    {noun}s[{first}] = {first} * {least + 1}",
        ),
    )
