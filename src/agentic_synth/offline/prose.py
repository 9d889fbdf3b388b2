"""Readable sentences by a small grammar over the topic's own words.

A template names kinds of words in braces; a subject is a topic with its article. Verbs stand in the past or after a
modal, so that they fit a topic in the singular and in the plural.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from agentic_synth.offline import lexicon
from agentic_synth.offline.scene import Scene, pick

__all__ = ["keyword", "paragraph", "phrase", "question", "sentence", "sentences", "snippet", "title"]

_TOPICS: tuple[str, ...] = ("topic",)
_SUBJECTS: tuple[str, ...] = ("subject",)
_SOURCES: dict[str, Sequence[str]] = {
    "topic": _TOPICS,
    "subject": _SUBJECTS,
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
    """{subject} made the {noun} {adjective} and {adjective}.
A {adjective} {noun} can {adverb} {verb} {subject}.
The {adjective} part was {subject}, and the {noun} followed {time}.
In {few} of ten cases {subject} would {verb} the {noun}.
{name} chose {subject} because the {noun} had to stay {adjective}.
What mattered for {subject} was a {adjective} {noun}.
After the {noun}, {subject} became {adverb} more {adjective}.
Without a {adjective} {noun}, {subject} could not {verb} the {noun}.
The {noun} behind {subject} was {adjective}, yet the {noun} stayed {adjective}.
{name} and {name} tried to {verb} {subject} {time}.
Every {noun} needs a {adjective} {noun}, and so did {subject}.
{subject} would {adverb} {verb} a {adjective} {noun}."""
)
_BY_GENRE: dict[str, tuple[_Template, ...]] = {
    "issue": _templates(
        """{subject} stopped working {time}, and the {noun} has been {adjective} since then.
I tried to {verb} {subject} {few} times, but nothing changed.
Please {verb} the {noun}, because {subject} did not {verb} as described.
The {noun} showed a {adjective} message when I wanted to {verb} {subject}.
{name} from your team asked me to {verb} the {noun}, without success.
It happened {time}, right after I had to {verb} the {noun}.
I expected a {adjective} {noun} from {subject}, not a {adjective} one.
Could you {verb} {subject} or send a {adjective} {noun}?
The {noun} on {subject} was {adjective} and would not {verb}.
We need {subject} for a {adjective} {noun}, so a {adjective} reply would help."""
    ),
    "review": _templates(
        """{subject} felt {adjective} from the first day, and the {noun} was {adjective}.
I bought this {time} and would {adverb} choose it again.
For the price, {subject} gave us a {adjective} {noun}.
The {noun} could be more {adjective}, but {subject} did the job.
Setting up {subject} took {few} minutes and was {adverb} {adjective}.
My one complaint: the {noun} was too {adjective} to {verb}.
{name} recommended it {time}, and {subject} turned out {adjective}.
Compared with a {adjective} {noun}, {subject} was {adverb} the {adjective} choice."""
    ),
    "story": _templates(
        """{name} had waited for {subject} since the {adjective} {noun}.
"We should {verb} {subject}," said {name}, "before the {noun} gets {adjective}."
Nobody could {verb} the {noun}, least of all {name}.
{time} {subject} lay {adjective} in the {adjective} light.
So {name} went to {verb} the {noun} and found {subject} instead.
The {noun} was {adjective}, and for a while {name} forgot about {subject}.
When the {noun} came, {subject} had {adverb} become {adjective}.
{name} looked at {subject} and thought of a {adjective} {noun}."""
    ),
    "explain": _templates(
        """{subject} can be seen as a {adjective} {noun} that helps to {verb} the {noun}.
In short, {subject} would {verb} one {noun} and leave the {noun} {adjective}.
There are {few} reasons: the {noun}, the {noun}, and a {adjective} {noun}.
The main difference lies in the {noun}, which can be {adjective} or {adjective}.
To {verb} {subject}, first {verb} the {noun}, then {verb} the {noun}.
This matters because a {adjective} {noun} can {adverb} {verb} {subject}.
A {adjective} example is the {noun} that {name} had to {verb} {time}.
{subject} depended on a {adjective} {noun} rather than on the {noun} alone.
It follows that {subject} should be {adjective} wherever the {noun} is {adjective}."""
    ),
    "mail": _templates(
        """Thank you for your note about {subject} {time}.
We would like to {verb} {subject} before the {noun} becomes {adjective}.
Please {verb} the {noun} and let {name} know whether it is {adjective}.
I have attached a {adjective} {noun} on {subject}.
Could we {verb} the {noun} together this week?
The team decided {time} to {verb} {subject}.
If the {noun} suits you, {name} will {verb} {subject} next."""
    ),
}
_TITLES = _templates(
    """{adjective} {noun} for {topic}
{topic}: a {adjective} {noun}
How to {verb} {subject}
{topic} and the {adjective} {noun}
{few} ways to {verb} {subject}
A {adjective} {noun} about {topic}
Why {topic} needs a {adjective} {noun}
{verb} the {noun}: {topic}"""
)
_ISSUE_TITLES = _templates(
    """{topic}: {noun} not {adjective}
Problem with {topic} since {adjective} {noun}
Cannot {verb} {subject}
{topic} will not {verb}
Please {verb} my {topic}
{topic} lost its {noun} {time}
Request to {verb} {subject}"""
)
_PHRASES = _templates(
    """{adjective} {topic}
{adjective} {noun} for {topic}
{topic} {noun}
{noun} of {subject}
{adjective} {noun}
{topic} with a {adjective} {noun}"""
)
_QUESTIONS = _templates(
    """How does {subject} {verb} a {adjective} {noun}?
Why would {subject} need a {adjective} {noun}?
What is the {adjective} {noun} behind {subject}?
Which {noun} should {verb} {subject} first?
When can a {noun} {verb} {subject}?
What happens if the {noun} of {subject} is {adjective}?
Is {subject} more {adjective} than a {adjective} {noun}?
How many {noun} types can {verb} {subject}?"""
)
_SNIPPETS = _templates(
    """def {verb}_{noun}(values):
    {noun} = [value for value in values if value is not None]
    return sorted({noun})[:{few}]"""
)


def _fill(scene: Scene, template: _Template) -> str:
    random = scene.random
    words = []
    for source in template.sources:
        values = scene.topics if source is _TOPICS else scene.subjects if source is _SUBJECTS else source
        words.append(values[int(random() * len(values))])
    return template.text % tuple(words)


def _opened(text: str) -> str:
    return text[0].upper() + text[1:]


def _written(scene: Scene, genre: str | None) -> tuple[_Template, ...]:
    return _BY_GENRE.get(scene.genre if genre is None else genre, _PLAIN)


def sentence(scene: Scene, genre: str | None = None) -> str:
    """One sentence on the scene's topic, in the manner of *genre* (the scene's own if not given)."""
    return _opened(_fill(scene, pick(scene, _written(scene, genre))))


def sentences(scene: Scene, count: int, genre: str | None = None) -> str:
    """*count* sentences of one paragraph; no turn comes again before all have come."""
    templates = _written(scene, genre)
    text: list[str] = []
    left: list[_Template] = []
    for _ in range(count):
        left = left or list(templates)
        text.append(_opened(_fill(scene, left.pop(int(scene.random() * len(left))))))
    return " ".join(text)


def paragraph(scene: Scene, genre: str | None = None) -> str:
    """Three to five sentences."""
    return sentences(scene, 3 + int(scene.random() * 3), genre)


def title(scene: Scene) -> str:
    """A headline or subject line, without a full stop."""
    return _opened(_fill(scene, pick(scene, _ISSUE_TITLES if scene.genre == "issue" else _TITLES)))


def question(scene: Scene) -> str:
    """A question on the topic."""
    return _opened(_fill(scene, pick(scene, _QUESTIONS)))


def phrase(scene: Scene) -> str:
    """A few words without a verb."""
    return _fill(scene, pick(scene, _PHRASES))


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
