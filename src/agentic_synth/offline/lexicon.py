"""Words, names and places that the generator draws from, read from ``lexicon.txt``.

Adjectives begin with a consonant, so that "a" fits before each of them. Mail and web hosts made from these are names
reserved for documentation (RFC 2606), phone numbers are of the fictional 555-01xx block: nothing generated reaches
anybody.
"""

from __future__ import annotations

from pathlib import Path


def _read() -> dict[str, tuple[str, ...]]:
    """The sections of the file: ``[name]`` holds words, ``[name lines]`` an entry a line."""
    sections: dict[str, tuple[str, ...]] = {}
    for section in Path(__file__).with_name("lexicon.txt").read_text("utf-8").split("\n["):
        head, _, text = section.removeprefix("[").partition("]\n")
        name, _, kind = head.partition(" ")
        sections[name] = tuple(text.strip().split("\n")) if kind == "lines" else tuple(text.split())
    return sections


_SECTIONS = _read()

FIRST_NAMES = _SECTIONS["first_names"]
LAST_NAMES = _SECTIONS["last_names"]
PLACES = tuple([line.split("|") for line in _SECTIONS["places"]])
"""City, region, country and country code."""
STREETS = _SECTIONS["streets"]
STREET_KINDS = _SECTIONS["street_kinds"]
COMPANY_HEADS = _SECTIONS["company_heads"]
COMPANY_TAILS = _SECTIONS["company_tails"]
COMPANY_KINDS = _SECTIONS["company_kinds"]
JOBS = _SECTIONS["jobs"]
DEPARTMENTS = _SECTIONS["departments"]
CATEGORIES = _SECTIONS["categories"]
PRODUCTS = _SECTIONS["products"]
MATERIALS = _SECTIONS["materials"]
COLORS = _SECTIONS["colors"]
CURRENCIES = _SECTIONS["currencies"]
LANGUAGES = _SECTIONS["languages"]
LOCALES = _SECTIONS["locales"]
TIMEZONES = _SECTIONS["timezones"]
MONTHS = _SECTIONS["months"]
WEEKDAYS = _SECTIONS["weekdays"]
STATUSES = _SECTIONS["statuses"]
USER_AGENTS = _SECTIONS["user_agents"]
MIME_TYPES = _SECTIONS["mime_types"]
EXTENSIONS = _SECTIONS["extensions"]
NOUNS = _SECTIONS["nouns"]
ADJECTIVES = _SECTIONS["adjectives"]
VERBS = _SECTIONS["verbs"]
ADVERBS = _SECTIONS["adverbs"]
TIMES = _SECTIONS["times"]
NUMERALS = _SECTIONS["numerals"]
SYLLABLES = {1: _SECTIONS["one_syllable"], 2: _SECTIONS["two_syllables"], 3: _SECTIONS["three_syllables"]}
"""Nouns by how many syllables they have."""
LATER = frozenset(_SECTIONS["later"])
"""Words in a field's name by which its date lies after the record's first."""
STOP_WORDS = frozenset(_SECTIONS["stop_words"])
"""Words of a prompt that say nothing of its topic: function words, and those that give the task."""
