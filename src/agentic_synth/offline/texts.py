"""Strings that keep a schema's bounds and read like what the field's name says."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from agentic_synth.offline import lexicon, prose, talk
from agentic_synth.offline.fields import PERSONAL, Meaning, meaning_of
from agentic_synth.offline.formats import ELASTIC, FORMATS, letters
from agentic_synth.offline.naming import words_of
from agentic_synth.offline.node import Field, Maker, Node, Planner, Unsatisfiable
from agentic_synth.offline.numbers import plan_number
from agentic_synth.offline.options import checked
from agentic_synth.offline.patterns import Pattern, compile_pattern
from agentic_synth.offline.scene import Scene, pick
from agentic_synth.offline.spans import span_of
from agentic_synth.offline.topic import read_topic
from agentic_synth.types import Json

__all__ = ["plan_text"]

_TRIES = 40
_LONGEST = 1_000_000
_EVERYDAY_LENGTH = 12
_FOR_INSTANCE = re.compile(r"(?:e\.g\.|for example|such as)[:,]?\s*([^.()\n]{3,120})", re.IGNORECASE)
_TELLING = ("email", "phone", "url", "uuid", "address", "city", "country", "company", "date", "name")


def plan_text(node: dict[str, Json], field: Field, planner: Planner) -> Node:
    """The node of a ``string`` schema: by its format, its pattern, or what the field means."""
    low, high = node.get("minLength", 0), min(node.get("maxLength", _LONGEST), _LONGEST)
    patterns = [compile_pattern(pattern) for pattern in node.get("pattern", ())]
    if max([low, *[pattern.least for pattern in patterns]]) > _LONGEST:
        raise Unsatisfiable(f"it asks for more than the {_LONGEST} characters that are made at most")
    if low > high:
        raise Unsatisfiable(f"minLength {low} is above maxLength {high}")
    name = next((name for name in node.get("format", ()) if name in FORMATS), None)
    if name is None:
        meant = _meant(node, field, high)
        return Node(_patterned(meant, patterns, low, high) if patterns else _fitted(meant, low, high))
    meant = _spoken(Meaning(FORMATS[name], _role(name, field)), field)
    make = _patterned(meant, patterns, low, high) if patterns else _formatted(name, meant, low, high)
    if not patterns and len(node["format"]) == 1:
        return Node(make)
    return checked(Node(make), planner.check({"allOf": [{"format": name} for name in node["format"]]}))


def _role(name: str, field: Field) -> str:
    if name in ("date", "date-time", "datetime"):
        return "_".join(words_of(field.name))
    meaning = meaning_of(field.name, field.parent)
    return meaning.role if meaning else ""


def _meant(node: dict[str, Json], field: Field, high: int) -> Callable[[Scene], str]:
    """A maker by meaning: what the description offers or measures, else the name, the examples, the description."""
    description = str(node.get("description", ""))
    told = _spoken_words(node, field, description) or _told(description)
    if told:
        return told
    meaning = meaning_of(field.name, field.parent)
    if meaning:
        return _spoken(meaning, field)
    examples = [text for text in (*node.get("examples", ()), node.get("default")) if isinstance(text, str) and text]
    if examples:
        return _like(examples)
    if span_of(field.name):
        number = plan_number({}, field, is_integer=False).make
        return lambda scene: str(number(scene))
    lowered = description.lower()
    hinted = next((meaning_of(word) for word in _TELLING if re.search(rf"\b{word}\b", lowered)), None)
    if hinted:
        return _spoken(hinted, field)
    return prose.phrase if high < 60 else prose.sentence


def _spoken_words(node: dict[str, Json], field: Field, description: str) -> Callable[[Scene], str] | None:
    """What is said, or who says it, for a field of a conversation."""
    if field.is_talk and talk.tells_speaker(field.name):
        names = read_topic(description).choices or (("user", "assistant") if field.name == "role" else ())
        return (lambda scene: talk.who_speaks(scene, names)) if names else talk.named_speaker
    if not field.is_talk and not talk.is_side(field.name, description, node.get("minLength", 0), node.get("maxLength")):
        return None
    side = talk.side_of(field.name)
    return None if side is None else lambda scene: talk.said(scene, side)


def _told(description: str) -> Callable[[Scene], str] | None:
    """What a description says outright: the choices, the length, some instances."""
    if not description:
        return None
    asked = read_topic(description)
    if asked.choices:
        return lambda scene: pick(scene, asked.choices)
    unit, least, most = asked.length
    if unit in ("sentence", "paragraph"):
        each = 4 if unit == "paragraph" else 1
        return lambda scene: prose.sentences(scene, min(each * (least + scene.below(most - least + 1)), 100))
    instances = _FOR_INSTANCE.search(description)
    if not instances:
        return None
    parts = [part.strip(" \"'") for part in re.split(r",|\bor\b|\band\b", instances[1])]
    named = [part for part in parts if part and len(part.split()) <= 3]
    return _like(named) if len(named) > 1 else None


def _spoken(meaning: Meaning, field: Field) -> Callable[[Scene], str]:
    sampler, role = meaning
    if sampler in PERSONAL and not field.is_crowded:
        role = ""
    return lambda scene: sampler(scene, role)


def _like(examples: Sequence[str]) -> Callable[[Scene], str]:
    """The examples themselves; of those that look like a code, others with other digits."""

    def make(scene: Scene) -> str:
        example = pick(scene, examples)
        if " " in example or not any(char.isdigit() for char in example):
            return example
        return "".join([str(scene.below(10)) if char.isdigit() else char for char in example])

    return make


def _fitted(meant: Callable[[Scene], str], low: int, high: int) -> Maker:
    if low == 0 and high >= _LONGEST:
        return meant

    def make(scene: Scene) -> Json:
        text = meant(scene)
        if low <= len(text) <= high:
            return text
        again = meant(scene)
        return again if low <= len(again) <= high else _resized(scene, text, low, high)

    return make


def _resized(scene: Scene, text: str, low: int, high: int) -> str:
    """*text* cut at a word, or carried on, so that its length fits."""
    if len(text) > high:
        cut = text[: high + 1].rpartition(" ")[0].rstrip(" ,;:.-") if " " in text else text[:high]
        return cut if low <= len(cut) <= high and cut else text[:high]
    parts, length = [text], len(text)
    while length < low:
        more = prose.sentence(scene) if low - length > 80 else pick(scene, lexicon.ADJECTIVES)
        parts.append(more)
        length += 1 + len(more)
    longer = " ".join(part for part in parts if part)
    if len(longer) < low:
        longer += letters(scene, low - len(longer))
    return longer if len(longer) <= high else longer[:high].rstrip().ljust(low, ".")


def _matches(text: str, patterns: Sequence[Pattern]) -> bool:
    return all(pattern.matcher.search(text) for pattern in patterns)


def _formatted(name: str, meant: Callable[[Scene], str], low: int, high: int) -> Maker:
    if low == 0 and high >= _LONGEST:
        return meant
    least, elastic = ELASTIC.get(name, (0, None))
    shortest = max(low, least)

    def make(scene: Scene) -> Json:
        for _ in range(_TRIES):
            text = meant(scene)
            if low <= len(text) <= high:
                return text
        if elastic is not None and high >= least:
            return elastic(scene, shortest + scene.below(min(high, shortest + _EVERYDAY_LENGTH) - shortest + 1))
        raise Unsatisfiable(f"no text of format {name!r} has {_shown(low, high)}")

    return make


def _patterned(meant: Callable[[Scene], str], patterns: list[Pattern], low: int, high: int) -> Maker:
    trial = Scene(1)
    drawn = [meant(trial) for _ in range(20)]
    is_meant = sum(low <= len(text) <= high and _matches(text, patterns) for text in drawn) > 12
    leading = max(patterns, key=lambda pattern: pattern.least)
    shortest, longest = max(low, leading.least), min(high, max(leading.most, low))

    def make(scene: Scene) -> Json:
        if is_meant:
            text = meant(scene)
            if low <= len(text) <= high and _matches(text, patterns):
                return text
        for _ in range(_TRIES * 5):
            room = max(0, min(longest, shortest + _EVERYDAY_LENGTH) - shortest)
            text = leading.make(scene, shortest + scene.below(room + 1))
            if not leading.is_anchored and scene.random() < 0.5:
                text = letters(scene, 3 + scene.below(5)) + text
            if len(text) < low:
                text += letters(scene, low - len(text))
            if len(text) <= high and _matches(text, patterns):
                return text
        shown = " and ".join(repr(pattern.matcher.pattern) for pattern in patterns)
        raise Unsatisfiable(f"no text was found that matches {shown} and has {_shown(low, high)}")

    return make


def _shown(low: int, high: int) -> str:
    return f"{low} or more characters" if high >= _LONGEST else f"{low} to {high} characters"
