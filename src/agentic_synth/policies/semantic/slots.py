"""What a prompt is filled with: numbers, dates, quoted strings, addresses, codes, names and data to work on.

Two prompts whose slots differ never share an answer, however near their vectors are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

__all__ = ["EMPTY", "FILLED", "Slots", "iso_dates", "mine", "names", "plain"]

_QUOTED = re.compile(r"""```.*?```|`[^`]*`|"[^"]*"|(?<!\w)'[^'\n]*[^\s']'(?!\w)""", re.DOTALL)
_MARKS = re.compile("[“”„«»‘’‚]|``|''")
_PLAIN_MARKS = {**dict.fromkeys("“”„«»", '"'), **dict.fromkeys("‘’‚", "'"), "``": '"', "''": '"'}
_LINK = re.compile(r"https?://\S+|www\.\S+")
_MAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]*\w")
_PATH = re.compile(r"(?<![\w/:])[~.]?/[\w./-]+")
_MONTH = (
    r"(jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)"
)
_DATE = re.compile(
    rf"\b(?=[\dadfjmnos])(?:(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? {_MONTH}"
    rf"|{_MONTH} (\d{{1,2}})(?:st|nd|rd|th)?\b)(?:,? (\d{{4}}))?\b",
    re.IGNORECASE,
)
_ISO = re.compile(r"\b(\d{4})-(\d{2})-(\d{2})\b")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_CASED_UNIT = re.compile(r"(?<![\w-])\d+(?:\.\d+)? ?([A-Za-z]{1,3})\b")
_DIGITS = re.compile(r"\d+")
_REST_OF_WORD = re.compile(r"[\w-]*")
_NUMBER_AND_UNIT = re.compile(r"-?\d+-?[A-Za-z]*$|-?(?:\d|day_)[\d_-]*$")
_DATA = re.compile(r":\s+|:$|\n\s*")
_NAME = re.compile(r" [A-Z][\w-]*")
_ENDS = frozenset(".!?:;\"'`-\n ")
_DIGIT = re.compile(r"\d")
_QUOTE = re.compile("[\"'`]")


class Slots(msgspec.Struct, frozen=True):
    """The values of a prompt, each kind in the order of the text; *data* is what follows a colon or a line break."""

    units: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    quoted: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    data: str = ""


EMPTY = Slots()
# Only a text with one of these can have a slot.
FILLED = re.compile("[\\d\"'`/@:\n]|www")


def plain(text: str) -> str:
    """*text* with one kind of quotation mark, and thousands without commas."""
    if not text.isascii() or "``" in text or "''" in text:
        text = _MARKS.sub(lambda mark: _PLAIN_MARKS[mark[0]], text)
    return _THOUSANDS.sub("", text) if "," in text else text


def iso_dates(text: str) -> str:
    """*text* with each day ("5 January 2024", "Jan 5th", "2024-01-05") as one word."""
    text = _ISO.sub(r"\1_\2_\3", text)
    return _DATE.sub(_iso, text) if _may_have_day(text.lower()) else text


def _may_have_day(low: str) -> bool:
    """Whether a month and a digit are near each other: a look that is far cheaper than the pattern."""
    for month in _MONTHS:
        at = low.find(month)
        while at >= 0:
            if _DIGIT.search(low, max(0, at - 8), at + 14):
                return True
            at = low.find(month, at + 3)
    return False


def _iso(found: re.Match[str]) -> str:
    day, month = (found[1], found[2]) if found[1] else (found[4], found[3])
    number = _MONTHS.index(month[:3].lower()) + 1
    return f"{found[5] or 'day'}_{number:02}_{int(day):02}"


def mine(text: str) -> Slots:
    """The slots of *text*, which is :func:`plain` and has its dates as :func:`iso_dates` writes them."""
    digits = _DIGIT.search(text) is not None
    data = _DATA.search(text) if ":" in text or "\n" in text else None
    return Slots(
        units=tuple(_CASED_UNIT.findall(text)) if digits else (),
        codes=tuple(_codes(text)) if digits else (),
        quoted=tuple(" ".join(found.split()) for found in _QUOTED.findall(text)) if _QUOTE.search(text) else (),
        addresses=tuple(_addresses(text)),
        data=text[data.end() :].strip() if data else "",
    )


def _codes(text: str) -> Iterator[str]:
    """Words with a digit in them, numbers and their units aside; found from the digits, which are few."""
    end = 0
    for digits in _DIGITS.finditer(text):
        if digits.start() >= end:
            start = digits.start()
            while start and (text[start - 1].isalnum() or text[start - 1] in "-_"):
                start -= 1
            rest = _REST_OF_WORD.match(text, digits.end())
            end = rest.end() if rest else digits.end()
            if not _NUMBER_AND_UNIT.match(word := text[start:end]):
                yield word.lower()


def _addresses(text: str) -> Iterator[str]:
    if "://" in text or "www" in text:
        yield from _LINK.findall(text)
    if "@" in text:
        yield from _MAIL.findall(text)
    if "/" in text:
        yield from _PATH.findall(text)


def names(text: str) -> set[str]:
    """Words in capitals within a sentence, in small letters; *I* is none."""
    found = set()
    for name in _NAME.finditer(text):
        at = name.start()
        if at and text[at - 1] not in _ENDS and name[0] != " I":
            found.add(name[0][1:].lower())
    return found
