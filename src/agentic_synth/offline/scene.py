"""What one answer is made of: seeded chance, the words it is about, and the people, places and dates it speaks of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple, TypeAlias, TypeVar

from agentic_synth.offline import lexicon
from agentic_synth.offline.topic import Feeling, Topic, read_topic

__all__ = ["Person", "Place", "Scene", "company", "pick"]

T = TypeVar("T")
_NO_TOPIC = read_topic("")
_ANYTHING = tuple([f"the {noun}" for noun in lexicon.NOUNS])
_FIRST_DAY, _DAYS = 737_425, 2_190
"""Dates lie within six years of 2020-01-01 (as a proleptic ordinal): fixed, so that an answer does not age."""


class Person(NamedTuple):
    """Who a record is about; name, mail address and account name are made from it, and so agree."""

    first: str
    last: str
    company: str
    number: int


class Place(NamedTuple):
    """Where a record plays; city, region and country agree."""

    city: str
    region: str
    country: str
    code: str


Cast: TypeAlias = tuple[dict[str, Person], dict[str, Place], int, Feeling | None, Sequence[str], Sequence[str]]
_BAD, _MIXED, _GOOD = Feeling(0.0, 0.4), Feeling(0.4, 0.6), Feeling(0.6, 1.0)


class Scene:
    """The state of one answer; only *random* decides anything.

    ``random.random`` alone is used, since its sequence is the same in every Python. A person, a place or a feeling is
    drawn when it is first asked for, and stays until :meth:`renew`, so that the fields of one record agree. In a
    conversation *turn* and *turns* tell where it stands.
    """

    __slots__ = (
        "_day",
        "_feeling",
        "_people",
        "_places",
        "_told",
        "counts",
        "depth",
        "descents",
        "genre",
        "random",
        "slack",
        "subjects",
        "topics",
        "turn",
        "turns",
    )

    def __init__(self, seed: int, topic: Topic = _NO_TOPIC) -> None:
        self.random: Callable[[], float] = Random(seed).random
        self._told = topic
        self.topics: Sequence[str] = ()
        self.subjects: Sequence[str] = ()
        self._speak_freely()
        self.genre = topic.genre
        self.counts = topic.counts
        self.turn, self.turns = 0, 1
        self.depth = 0
        self.descents = 0
        self.slack = 0
        self._people: dict[str, Person] = {}
        self._places: dict[str, Place] = {}
        self._day = 0
        self._feeling = topic.feeling

    def renew(self) -> Cast:
        """Speak of somebody else, somewhere else, at another time; returns what :meth:`restore` takes back."""
        before = self._people, self._places, self._day, self._feeling, self.topics, self.subjects
        self._speak_freely()
        self._people, self._places, self._day, self._feeling = {}, {}, 0, self._told.feeling
        return before

    def restore(self, cast: Cast) -> None:
        """Go back to the people, places, day and feeling from before a :meth:`renew`."""
        self._people, self._places, self._day, self._feeling, self.topics, self.subjects = cast

    def _speak_freely(self) -> None:
        """Speak of what the prompt is about, or of any one thing if it is about nothing."""
        self.topics = self._told.phrases or lexicon.NOUNS
        self.subjects = self._told.subjects or (_ANYTHING[int(self.random() * len(_ANYTHING))],)

    def speak_of(self, product: str) -> None:
        """Make *product* the topic until :meth:`renew`, where a review is asked for or the prompt is about nothing."""
        if self.genre == "review" or not self._told.phrases:
            self.topics, self.subjects = (product,), (f"the {product}",)

    def below(self, count: int) -> int:
        """An integer from 0 to *count* - 1; fair for counts of any size."""
        if count < 1 << 50:
            return int(self.random() * count)
        whole = 0
        for _ in range(0, count.bit_length() + 16, 32):
            whole = whole << 32 | int(self.random() * 4_294_967_296)
        return whole % count

    def person(self, role: str = "") -> Person:
        """Who plays *role* in this record."""
        person = self._people.get(role)
        if person is None:
            person = self._people[role] = self.someone()
        return person

    def someone(self) -> Person:
        """Somebody new."""
        return Person(pick(self, lexicon.FIRST_NAMES), pick(self, lexicon.LAST_NAMES), company(self), self.below(900))

    def place(self, role: str = "") -> Place:
        """The place that has *role* in this record."""
        place = self._places.get(role)
        if place is None:
            place = self._places[role] = Place(*pick(self, lexicon.PLACES))
        return place

    @property
    def feeling(self) -> Feeling:
        """How content the record's people are: what the prompt tells, else bad, mixed or good by chance."""
        if self._feeling is None:
            drawn = self.random()
            self._feeling = _BAD if drawn < _BAD.most else _MIXED if drawn < _MIXED.most else _GOOD
        return self._feeling

    def contentment(self) -> float:
        """A number from 0 to 1 within the record's feeling; evenly spread over all records."""
        least, most = self.feeling
        return least + self.random() * (most - least)

    @property
    def tone(self) -> int:
        """0 for a bad feeling, 1 for a mixed one, 2 for a good one."""
        middle = (self.feeling.least + self.feeling.most) / 2
        return 0 if middle < _BAD.most else 1 if middle < _MIXED.most else 2

    @property
    def day(self) -> int:
        """The ordinal of the day on which the record begins."""
        if not self._day:
            self._day = _FIRST_DAY + self.below(_DAYS)
        return self._day


def pick(scene: Scene, values: Sequence[T]) -> T:
    """One of *values*, each as likely as the others."""
    return values[int(scene.random() * len(values))]


def company(scene: Scene) -> str:
    """A company's made-up name, such as ``Meridianworks Ltd``."""
    head, tail = pick(scene, lexicon.COMPANY_HEADS), pick(scene, lexicon.COMPANY_TAILS)
    return f"{head}{tail} {pick(scene, lexicon.COMPANY_KINDS)}"
