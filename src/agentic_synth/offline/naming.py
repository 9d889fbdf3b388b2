"""Names of fields as words."""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["singular", "words_of"]

_SPLIT = re.compile(r"[^A-Za-z0-9]+|(?<=[a-z0-9])(?=[A-Z])")


@lru_cache(maxsize=1024)
def words_of(name: str) -> tuple[str, ...]:
    """The lower-case words of a name in snake, kebab or camel case."""
    return tuple([word.lower() for word in _SPLIT.split(name) if word])


def singular(word: str) -> str:
    """An English plural's usual singular; other words stay."""
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word
