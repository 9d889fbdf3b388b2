"""A prompt as the verifier reads it: canonical words in their order, its slots, and how it is worded."""

from __future__ import annotations

import re

import msgspec

from agentic_synth.policies.semantic.frames import is_order, opening
from agentic_synth.policies.semantic.lexicon import CLASSES, LEXICON, PARTS_OF_WORDS, TENS, words
from agentic_synth.policies.semantic.slots import EMPTY, FILLED, Slots, iso_dates, mine, names, plain

__all__ = ["Reading", "fold", "read", "tokens"]

# Acronyms that small letters would turn into another word.
_ACRONYM = re.compile(r"(?<=[a-z,] )(?:US|IT|WHO|AM|OR|IN|AN|DO|BE|IS|NO|ME|HE|MAY)\b")
_TOKEN = re.compile(
    r"[a-z_]\w*(?:'\w+)*[+#]{0,2}|\d+(?:[.,:]\d+)+|\w+(?:'\w+)*[+#]{0,2}|(?<![\w)])-\d+(?:[.,:]\d+)*"
    r"|'\w+(?:'\w+)*|(?<=\d)\s?-(?=\s?\d)|!=|(?<=\d)!|[^\w\s,.;:!?()\"'\u2013\u2014\u2026-]"
)
# With brackets and operators a prompt has a formula, where each bracket counts.
_OPERATOR = re.compile("[-+*/=^<>|&]")
_FORMULA = re.compile(_TOKEN.pattern + "|[()-]")
_CAPITALS = re.compile("[A-Z][A-Z]")
_BLANKS = re.compile(r"[ \t]{2,}|\t")
_MORE_THAN_WORDS = re.compile(r"[^a-z ,.;:!?()\"\n'-]")
_STOPS = {ord(mark): " " for mark in ',.;:!?()"-\n'}
_SPLIT = re.compile(r"(\d+)([a-z]+)$")

_GENRES = words("poem haiku limerick sonnet song essay article story report speech paper joke chapter lecture")
_ABOUT_WORDS = frozenset({"translate", "define", "rewrite"})


class Reading(msgspec.Struct, frozen=True):
    """What two prompts are compared by.

    *words* carry the meaning, in order; *tokens* are the words as they were written, those without a meaning too.
    *asks* and *opened* are the sort of prompt and how it says so; an *order* is not a question. A *literal* prompt is
    about words.
    """

    words: tuple[str, ...]
    tokens: list[str]
    asks: str
    opened: str
    courteous: bool
    order: bool
    literal: bool
    slots: Slots
    names: set[str]


def read(text: str) -> Reading:
    """Read *text*; the cost grows with its length only."""
    text = plain(text.strip())
    slots = EMPTY
    if FILLED.search(text):
        text = iso_dates(text)
        slots = mine(text)
    if "  " in text or "\t" in text:
        text = _BLANKS.sub(" ", text)
    low = (_ACRONYM.sub(_marked, text) if _CAPITALS.search(text) else text).lower()
    asks, opened, rest, courteous = opening(low)
    found = tokens(rest)
    meant = _canonical(found, [f"<{asks}>"] if asks else [])
    literal = asks in _ABOUT_WORDS or not PARTS_OF_WORDS.isdisjoint(meant)
    return Reading(tuple(meant), found, asks, opened, courteous, is_order(asks, rest), literal, slots, names(text))


def _canonical(found: list[str], meant: list[str]) -> list[str]:
    """*meant* and the meant that carry the meaning of *found*."""
    for token, known in zip(found, map(LEXICON.get, found), strict=True):
        if known is not None:
            meant += known
        elif token.isalpha():
            meant.append(token)
        else:
            meant += _unknown(token)
    if "on" in meant:
        for at, word in enumerate(meant):
            if word == "on" and at and meant[at - 1] in _GENRES and CLASSES["date"].isdisjoint(meant[at + 1 : at + 2]):
                meant[at] = "about"
    return meant if TENS.keys().isdisjoint(meant) else _counted(meant)


def _counted(meant: list[str]) -> list[str]:
    """*meant* with "twenty five" as 25."""
    counted: list[str] = []
    open_tens = False
    for word in meant:
        if open_tens and len(word) == 1 and "1" <= word <= "9":
            counted[-1] = counted[-1][0] + word
            open_tens = False
            continue
        open_tens = word in TENS
        counted.append(TENS.get(word, word))
    return counted


def tokens(low: str) -> list[str]:
    """The words, numbers and signs of *low*, which has small letters only."""
    if "(" in low and _OPERATOR.search(low):
        return _FORMULA.findall(low)
    if _MORE_THAN_WORDS.search(low) is None:
        # Prose without numbers and signs is taken apart four times as fast, with the same result.
        words = low.translate(_STOPS).split()
        if "'" not in low or not any(word[0] == "'" or word[-1] == "'" for word in words):
            return words
    return _TOKEN.findall(low)


def _marked(found: re.Match[str]) -> str:
    return found[0] + "_"


def _unknown(token: str) -> tuple[str, ...]:
    """A word that no list knows: possessives and a unit glued to its number come apart."""
    if token[0] == "'":
        token = token[1:]
    if "'" in token:
        return (token.removesuffix("'s"),)
    if token[0].isdigit() and (parts := _SPLIT.match(token)):
        unit = LEXICON.get(parts[2])
        return (parts[1], *(unit or (parts[2],)))
    return (token,)


def fold(word: str) -> str:
    """*word* without its plural or third person *s*."""
    if len(word) < 4 or word[-1] != "s" or word[-2] in "sui":
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("ches", "shes", "sses", "xes", "zes")) else word[:-1]
