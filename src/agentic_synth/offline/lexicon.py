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


def words(section: str) -> frozenset[str]:
    """The words of one section of the file."""
    return frozenset(_SECTIONS[section])


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
GOODS = {line.split()[0]: tuple(line.split()[1:]) for line in _SECTIONS["goods"]}
"""Products of a category, and every product alone under its own name."""
GOODS |= {product: (product,) for products in (*GOODS.values(), PRODUCTS) for product in products}
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
TIMES = _SECTIONS["times"]
NUMERALS = _SECTIONS["numerals"]
SYLLABLES = {1: _SECTIONS["one_syllable"], 2: _SECTIONS["two_syllables"], 3: _SECTIONS["three_syllables"]}
"""Nouns by how many syllables they have."""
LATER = words("later")
"""Words in a field's name by which its date lies after the record's first."""
TEAMS = _SECTIONS["teams"]
NTHS = _SECTIONS["nths"]
PEOPLE = _SECTIONS["people"]
DAYS = _SECTIONS["days"]
GOOD, BAD, PLAIN = _SECTIONS["good"], _SECTIONS["bad"], _SECTIONS["plain"]
PLAINLY, GLADLY = _SECTIONS["plainly"], _SECTIONS["gladly"]
FACTORS = _SECTIONS["factors"]
"""What an explanation looks at."""
ASPECTS = _SECTIONS["aspects"]
"""What a customer looks at."""
THINGS = _SECTIONS["things"]
FIXES, STUDIES = _SECTIONS["fix"], _SECTIONS["study"]
ASKING = words("asking")
"""Who speaks first in a conversation, and who answers."""
HELPING = words("helping")
TONES = {word: tone for tone, name in enumerate(("low", "middle", "high")) for word in _SECTIONS[name]}
"""Words of feeling: 0 for the bad ones, 1 for those between, 2 for the good ones."""
MODIFIERS = frozenset((*ADJECTIVES, *GOOD, *BAD, *PLAIN, *TONES, *_SECTIONS["more_adjectives"]))
"""Adjectives: they may begin a topic, but are none by themselves."""


def _inflected(verbs: tuple[str, ...]) -> tuple[frozenset[str], frozenset[str]]:
    """The forms of *verbs*: those that a noun may have too (plain, with -s), and those in -ed and -ing."""
    like_nouns, others = set(verbs), set[str]()
    for verb in verbs:
        stem = verb if verb.endswith("ee") else verb.removesuffix("e")
        doubled = stem + stem[-1]
        is_hissing = verb.endswith(("s", "x", "z", "ch", "sh", "o"))
        turns_to_i = verb[-1] == "y" and verb[-2] not in "aeou"
        like_nouns.add(f"{verb[:-1]}ies" if turns_to_i else f"{verb}es" if is_hissing else f"{verb}s")
        others.update(f"{base}{ending}" for base in (stem, doubled) for ending in ("ed", "ing"))
        others.add(f"{verb[:-1]}ied")
    return frozenset(like_nouns), frozenset(others)


_PURE, _PURE_FORMS = _inflected(_SECTIONS["verbs_only"])
NOUN_LIKE_VERBS, _FORMS = _inflected(_SECTIONS["verbs_or_nouns"])
"""Verbs that are nouns as well: the words around them decide."""
PURE_VERBS = words("verbs_only_past") | _PURE | _PURE_FORMS | {form for form in _FORMS if form.endswith("ed")}
STOP_WORDS = words("stop_words")
"""Words of a prompt that say nothing of its topic: function words, and those that give the task."""
