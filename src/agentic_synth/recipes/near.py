"""Near names for a wrong one, worded for an error's mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["listed", "nearest"]


def nearest(name: str, known: Iterable[str], *, sentence: bool = False) -> str:
    """``; did you mean `x`?`` for the known name most like *name*, or nothing if none is."""
    lower = {one.lower(): one for one in known}
    found = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.6)
    if not found:
        return ""
    return f"Did you mean `{lower[found[0]]}`?" if sentence else f"; did you mean `{lower[found[0]]}`?"


def listed(names: Iterable[str], most: int = 12) -> str:
    """``, only `a`, `b```: what there is, cut after *most* names."""
    known = list(names)
    if not known:
        return ", and nothing else either"
    more = f" and {len(known) - most} more" if len(known) > most else ""
    return ", only " + ", ".join(f"`{one}`" for one in known[:most]) + more
