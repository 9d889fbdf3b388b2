"""Values of the formats that JSON Schema and OpenAPI name."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import TypeAlias

from agentic_synth.offline import lexicon, prose
from agentic_synth.offline.scene import Person, Scene, pick

__all__ = ["ELASTIC", "FORMATS", "Sampler", "email", "instant", "letters", "uuid"]

Sampler: TypeAlias = Callable[[Scene, str], str]
"""Makes a text; the second argument is the role that the field's name gives it (``buyer`` of ``buyer_email``)."""

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def letters(scene: Scene, count: int) -> str:
    """*count* lower-case letters that begin like a word."""
    text = pick(scene, lexicon.NOUNS)
    while len(text) < count:
        text += pick(scene, _LETTERS) if count - len(text) < 4 else pick(scene, lexicon.NOUNS)
    return text[:count]


def _host(person: Person) -> str:
    return "example.com" if person.number % 3 else f"{person.company.split(' ')[0].lower()}.example"


def email(scene: Scene, role: str) -> str:
    """A mail address that belongs to the record's person."""
    person = scene.person(role)
    first, last, number = person.first.lower(), person.last.lower(), person.number
    match number % 4:
        case 0:
            local = f"{first}.{last}"
        case 1:
            local = f"{first[0]}{last}{number}"
        case 2:
            local = f"{first}{number}"
        case _:
            local = f"{first}.{last}{number % 100}"
    return f"{local}@{_host(person)}"


def _day(scene: Scene, role: str) -> int:
    if role and not lexicon.LATER.isdisjoint(role.split("_")):
        return scene.day + 1 + int(scene.random() * 45)
    if "birth" in role or role in ("dob", "born"):
        return scene.day - 6_600 - int(scene.random() * 22_000)
    return scene.day


def date(scene: Scene, role: str) -> str:
    """A calendar day; in one record an end lies after its start."""
    return datetime.date.fromordinal(_day(scene, role)).isoformat()


def time(scene: Scene, _role: str) -> str:
    """A time of day in UTC."""
    second = int(scene.random() * 86_400)
    return f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}Z"


def instant(scene: Scene, role: str) -> str:
    """A day and a time of day in UTC."""
    return f"{date(scene, role)}T{time(scene, role)}"


def uuid(scene: Scene, _role: str) -> str:
    """A random UUID (RFC 9562, version 4)."""
    bits = f"{scene.below(1 << 128):032x}"
    return f"{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-{'89ab'[int(scene.random() * 4)]}{bits[17:20]}-{bits[20:]}"


def slug(scene: Scene, _role: str = "") -> str:
    """Words joined by hyphens."""
    words = [pick(scene, lexicon.ADJECTIVES), pick(scene, lexicon.NOUNS), str(scene.below(1000))]
    topic = pick(scene, scene.topics).lower().replace(" ", "-")
    return "-".join([topic, *words[1:]] if topic.isascii() and topic.replace("-", "").isalnum() else words)


def uri(scene: Scene, role: str) -> str:
    """An https address under a documentation host."""
    return f"https://www.{_host(scene.person(role))}/{slug(scene)}"


def hostname(scene: Scene, role: str) -> str:
    """A host below a documentation domain."""
    return f"{pick(scene, lexicon.NOUNS)}-{scene.below(100)}.{_host(scene.person(role))}"


def ipv4(scene: Scene, _role: str) -> str:
    """An address in the private block 10/8."""
    return f"10.{scene.below(256)}.{scene.below(256)}.{1 + scene.below(254)}"


def ipv6(scene: Scene, _role: str) -> str:
    """An address in the documentation block 2001:db8::/32."""
    return f"2001:db8:{scene.below(65536):x}:{scene.below(65536):x}::{1 + scene.below(65535):x}"


def duration(scene: Scene, _role: str) -> str:
    """An ISO 8601 duration."""
    return pick(scene, (f"PT{1 + scene.below(59)}M", f"PT{1 + scene.below(23)}H", f"P{1 + scene.below(30)}D"))


def base64(scene: Scene, _role: str) -> str:
    """Random bytes in base64, without padding."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return "".join([pick(scene, alphabet) for _ in range(4 * (2 + scene.below(6)))])


def password(scene: Scene, _role: str) -> str:
    """Two words, a number and a sign."""
    return f"{prose.keyword(scene).title().replace(' ', '')}{pick(scene, '-_.!')}{letters(scene, 6)}{scene.below(1000)}"


FORMATS: dict[str, Sampler] = {
    "date": date,
    "time": time,
    "date-time": instant,
    "datetime": instant,
    "duration": duration,
    "email": email,
    "idn-email": email,
    "uuid": uuid,
    "uri": uri,
    "url": uri,
    "iri": uri,
    "uri-reference": uri,
    "iri-reference": uri,
    "uri-template": lambda scene, role: f"{uri(scene, role)}/{{{pick(scene, lexicon.NOUNS)}}}",
    "hostname": hostname,
    "idn-hostname": hostname,
    "ipv4": ipv4,
    "ipv6": ipv6,
    "json-pointer": lambda scene, _: f"/{pick(scene, lexicon.NOUNS)}/{scene.below(10)}",
    "relative-json-pointer": lambda scene, _: f"{scene.below(3)}/{pick(scene, lexicon.NOUNS)}",
    "regex": lambda scene, _: f"^{pick(scene, lexicon.NOUNS)}-[0-9]{{{1 + scene.below(6)}}}$",
    "byte": base64,
    "base64": base64,
    "password": password,
}


def _long_host(scene: Scene, length: int) -> str:
    text = list(letters(scene, length))
    for index in range(60, length - 1, 61):
        text[index] = "."
    return "".join(text)


def _long_email(scene: Scene, length: int) -> str:
    local = min(length - 5, 60)
    return f"{letters(scene, local)}@{'a.io' if local < 60 else _long_host(scene, length - local - 1)}"


def _long_uri(scene: Scene, length: int) -> str:
    return f"http://{letters(scene, 1)}/{letters(scene, length - 9)}"


def _long_pointer(scene: Scene, length: int) -> str:
    return f"/{letters(scene, length - 1)}"


ELASTIC: dict[str, tuple[int, Callable[[Scene, int], str]]] = {
    "email": (6, _long_email),
    "idn-email": (6, _long_email),
    "uri": (9, _long_uri),
    "url": (9, _long_uri),
    "iri": (9, _long_uri),
    "uri-reference": (1, letters),
    "iri-reference": (1, letters),
    "uri-template": (1, letters),
    "hostname": (1, _long_host),
    "idn-hostname": (1, _long_host),
    "json-pointer": (1, _long_pointer),
    "regex": (1, letters),
}
"""Formats of any length: the least length, and a maker of exactly the length asked."""
