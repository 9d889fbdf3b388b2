"""People whose fields agree: the name with the gender and the locale, the email with the name."""

from __future__ import annotations

import random
import re
import unicodedata
from typing import Any, Final

from mimesis import Address, Locale, Person
from mimesis.enums import Gender
from mimesis.random import Random

__all__ = ["PERSON_SCHEMA", "Persona"]

_STRING: Final = {"type": "string"}
PERSON_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "first_name": _STRING,
        "last_name": _STRING,
        "full_name": _STRING,
        "gender": {"type": "string", "enum": ["female", "male"]},
        "birth_date": {"type": "string", "format": "date"},
        "email": {"type": "string", "format": "email"},
        "username": _STRING,
        "phone": _STRING,
        "street": _STRING,
        "city": _STRING,
        "postal_code": _STRING,
        "country": _STRING,
        "occupation": _STRING,
    },
}

_FAMILY_FIRST: Final = frozenset({"hu", "ja", "ko", "zh"})
_DOMAINS: Final = ("example.com", "example.net", "example.org")  # reserved by RFC 2606: nobody's address
_YEARS: Final = (1945, 2006)
_LETTERS: Final = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "þ": "th", "ø": "o", "å": "a", "ł": "l", "đ": "d", "ð": "d", "ı": "i"}
)


class Persona:
    """Draws people of one locale."""

    def __init__(self, locale: Locale) -> None:
        self._random = Random()
        self._person = Person(locale, random=self._random)
        self._address = Address(locale, random=self._random)
        self._genders = (("female", Gender.FEMALE), ("male", Gender.MALE))
        self._family_first = locale.value.split("-")[0] in _FAMILY_FIRST
        self._country = self._address.default_country()

    def draw(self, rng: random.Random) -> dict[str, Any]:
        """One person, from *rng* alone."""
        drawn = self._random
        drawn.seed(rng.getrandbits(64))
        share = drawn.random
        word, gender = self._genders[int(share() * 2)]
        first, last = self._person.first_name(gender=gender), self._person.last_name(gender=gender)
        year = _YEARS[0] + int(share() * (_YEARS[1] - _YEARS[0] + 1))
        username = _username(first, last, int(share() * 10_000))
        return {
            "first_name": first,
            "last_name": last,
            "full_name": f"{last} {first}" if self._family_first else f"{first} {last}",
            "gender": word,
            "birth_date": f"{year}-{1 + int(share() * 12):02d}-{1 + int(share() * 28):02d}",
            "email": f"{username}@{_DOMAINS[int(share() * 3)]}",
            "username": username,
            "phone": self._person.phone_number(),
            "street": self._address.address(),
            "city": self._address.city(),
            "postal_code": self._address.postal_code(),
            "country": self._country,
            "occupation": self._person.occupation(),
        }


def _username(first: str, last: str, number: int) -> str:
    """Latin letters of the name with two digits, or ``user`` and four where the name has none."""
    parts = [part for part in (_latin(first), _latin(last)) if part]
    return f"{'.'.join(parts)}{number % 100:02d}" if parts else f"user{number:04d}"


def _latin(name: str) -> str:
    lower = name.lower()
    if not lower.isascii():
        lower = unicodedata.normalize("NFKD", lower.translate(_LETTERS)).encode("ascii", "ignore").decode()
    return lower if lower.isalpha() else re.sub(r"[^a-z]+", "", lower)
