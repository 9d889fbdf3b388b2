"""The lexical gate: rules that refuse a pair before any probability is asked, and what the pair shows of likeness."""

from __future__ import annotations

from itertools import pairwise

import msgspec

from agentic_synth.policies.semantic.lexicon import CLASSES, DROPPED, LEXICON, LIGHT, OPPOSITES
from agentic_synth.policies.semantic.reading import Reading, fold

__all__ = ["Comparison", "compare"]

Words = tuple[str, ...]
_NONE: frozenset[str] = frozenset()
_CLASS_OF = {word: name for name, words in reversed(CLASSES.items()) for word in words}
_RANK = {name: rank for rank, name in enumerate(["number", *CLASSES, "antonym", "name", "word"])}


class Comparison(msgspec.Struct, frozen=True):
    """How two readings differ.

    *refusal* names the rule that forbids a shared answer, or is empty; *only_first* and *only_second* are the words
    without a counterpart. The counts say how many harmless differences of each sort remain.
    """

    refusal: str
    detail: str
    shared: Words
    only_first: Words
    only_second: Words
    in_order: float
    frames: int
    synonyms: int
    inflections: int
    light: int
    articles: int
    courtesy: int


def compare(first: Reading, second: Reading) -> Comparison:
    """Hold *first* against *second*; the order of the two does not matter."""
    words, others = first.words, second.words
    inflections = synonyms = 0
    shared: Words
    only_first: Words
    only_second: Words
    if words != others:
        folded, folded_others = _folded(words), _folded(others)
        if folded == folded_others:
            inflections = sum(map(str.__ne__, words, others))
        words, others = folded, folded_others
    same = words == others
    frames = light = articles = 0
    in_order = 1.0
    if same:
        shared, only_first, only_second = words, (), ()
        frames = int(first.opened != second.opened)
        replaced, light, articles = _harmless(first.tokens, second.tokens)
        synonyms = max(0, replaced - inflections)
    else:
        shared, only_first, only_second, in_order = _matched(words, others)
    refusal, detail = _slots(first, second)
    if not refusal:
        refusal, detail = _names(first, second) if same else _words(only_first, only_second, first.names | second.names)
    if not refusal and (synonyms or inflections or light):
        refusal, detail = _rewording(first, second, inflections)
    courtesy = int(first.courteous != second.courteous)
    edits = (frames, synonyms, inflections, light, articles, courtesy)
    return Comparison(refusal, detail, shared, only_first, only_second, in_order, *edits)


def _rewording(first: Reading, second: Reading, inflections: int) -> tuple[str, str]:
    """Replaced words are no harm, unless the prompt is about words or asks for so many things."""
    if first.literal:
        return "literal", "the prompt is about words, so none may be replaced"
    if inflections and first.order and second.order:
        return "inflection", "an order for one thing is not an order for several"
    return "", ""


def _harmless(first: list[str], second: list[str]) -> tuple[int, int, int]:
    """How many words of equal meaning are written otherwise, light ones that one side lacks, and articles."""
    if first == second:
        return 0, 0, 0
    _, one, other, _ = _matched(tuple(first), tuple(second))
    light = sum(word in LIGHT for word in one + other)
    articles = sum(word in DROPPED for word in one + other)
    replaced = max(sum(bool(LEXICON.get(word, word)) for word in side) for side in (one, other))
    return replaced, light, articles


def _folded(words: Words) -> Words:
    return tuple([fold(word) if word[-1] == "s" else word for word in words])


def _matched(words: Words, others: Words) -> tuple[Words, Words, Words, float]:
    """The words of both, those of one side only, and the share of shared neighbours that keep their order."""
    end = min(len(words), len(others))
    start = 0
    while start < end and words[start] == others[start]:
        start += 1
    tail = 0
    while tail < end - start and words[-1 - tail] == others[-1 - tail]:
        tail += 1
    stop = len(words) - tail
    # Where each word stands first, and for each place where the same word stands next: no list a word, for speed.
    rest = others[start : len(others) - tail]
    left: dict[str, int] = {}
    following = [-1] * len(rest)
    for at in range(len(rest) - 1, -1, -1):
        following[at] = left.get(rest[at], -1)
        left[rest[at]] = at
    shared, only, places = [], [], [-1]
    for word in words[start:stop]:
        at = left.get(word, -1)
        if at >= 0:
            left[word] = following[at]
            places.append(at)
            shared.append(word)
        else:
            only.append(word)
    count = start + len(shared) + tail
    turned = max(_descents(places), _descents(sorted(range(len(places)), key=places.__getitem__)))
    used = set(places)
    unused = tuple([word for at, word in enumerate(rest) if at not in used])
    return (*words[:start], *shared, *words[stop:]), tuple(only), unused, 1.0 - turned / max(1, count - 1)


def _descents(places: list[int]) -> int:
    return sum(a > b for a, b in pairwise(places))


def _slots(first: Reading, second: Reading) -> tuple[str, str]:
    ours, theirs = first.slots, second.slots
    if ours != theirs:
        for kind in ("quoted", "addresses", "codes", "data"):
            if (one := getattr(ours, kind)) != (other := getattr(theirs, kind)):
                return kind, f"{one or 'none'} is not {other or 'none'}"
        if ours.units != theirs.units and str(ours.units).lower() == str(theirs.units).lower():
            return "unit", f"{ours.units} is not {theirs.units}"
    return "", ""


def _names(first: Reading, second: Reading) -> tuple[str, str]:
    """A name keeps its letters, though as a word it may have an equal ("Rapid" is not "Quick")."""
    for name in first.names ^ second.names:
        if not (_has(first, name) and _has(second, name)):
            return "name", f"only one names {name}"
    return "", ""


def _has(reading: Reading, word: str) -> bool:
    return word in reading.tokens or word in reading.words or word in reading.opened


def _words(only_first: Words, only_second: Words, names: set[str]) -> tuple[str, str]:
    """The most telling rule that words without a counterpart break."""
    if not only_first and not only_second:
        return "order", "the same words in another order"
    found = [(_sort(word, names), word) for word in only_first + only_second]
    theirs = set(only_second)
    for one in only_first:
        found += [("antonym", f"{one}/{other}") for other in sorted(OPPOSITES.get(one, _NONE) & theirs)]
    rule, word = min(found, key=lambda pair: _RANK[pair[0]])
    return rule, f"{word} has no counterpart"


def _sort(word: str, names: set[str]) -> str:
    if word[0] in "-0123456789" and any(map(str.isdigit, word)):
        return "date" if "_" in word else "number"
    return (
        "question" if word[0] == "<" and len(word) > 1 else _CLASS_OF.get(word) or ("name" if word in names else "word")
    )
