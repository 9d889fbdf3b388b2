"""Where two long prompts differ: the sentences that they do not share at their beginning and their end."""

from __future__ import annotations

import re

from agentic_synth.policies.semantic.lexicon import PARTS_OF_WORDS
from agentic_synth.policies.semantic.slots import plain

__all__ = ["apart", "strange"]

_LONG = 600
_END = re.compile(r"[.!?]\s+|\n\s*")
_WORD = re.compile(r"[a-z]+")


def apart(first: str, second: str) -> tuple[str, str]:
    """*first* and *second* without the whole sentences that both begin or end with; short ones stay as they are.

    Equal sentences at equal ends add nothing to the differences, so only the rest has to be read word by word. Nothing
    is left out where that could hide what the rest means: an open quotation, or a prompt about words.
    """
    if len(first) + len(second) < _LONG:
        return first, second
    start = _boundary_before(first, _alike(first, second))
    one, other = first[start:], second[start:]
    end = _alike(one[::-1], other[::-1])
    stop = min(_boundary_after(text, len(text) - end) - len(text) for text in (one, other))
    stop = stop if -stop <= end else 0
    left_out = first[:start] + (one[stop:] if stop else "")
    one, other = (one[:stop], other[:stop]) if stop else (one, other)
    if not one.strip() or not other.strip() or _quotes(one) or _quotes(other) or _quotes(first[:start]):
        return first, second
    if not PARTS_OF_WORDS.isdisjoint(_WORD.findall(left_out.lower())):
        return first, second
    return one, other


def strange(first: str, second: str) -> bool:
    """Whether two long prompts have so few words in common that reading them is a waste."""
    if len(first) + len(second) < _LONG:
        return False
    words, others = set(first.lower().split()), set(second.lower().split())
    return len(words & others) < 0.6 * max(len(words), len(others))


def _alike(first: str, second: str) -> int:
    """How many characters both begin with."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if first[low:middle] == second[low:middle] else (low, middle - 1)
    return low


def _boundary_before(text: str, at: int) -> int:
    """The beginning of the sentence that *at* lies in."""
    last = 0
    for found in _END.finditer(text, 0, at):
        last = found.end()
    return last


def _boundary_after(text: str, at: int) -> int:
    """The end of the sentence that *at* lies in."""
    found = _END.search(text, at)
    return found.end() if found else len(text)


def _quotes(text: str) -> bool:
    """Whether a quotation is still open at the end of *text*."""
    text = plain(text)
    return text.count('"') % 2 == 1 or text.count("`") % 2 == 1 or text.count(" '") > 0
