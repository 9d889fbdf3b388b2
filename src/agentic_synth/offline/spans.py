"""Where a field's numbers usually lie, by its name."""

from __future__ import annotations

from typing import NamedTuple

from agentic_synth.offline.naming import singular, words_of

__all__ = ["Span", "is_rating", "span_of"]


class Span(NamedTuple):
    """Where a field's numbers usually lie; *is_skewed* puts most of them near *low*."""

    low: float
    high: float
    decimals: int = 0
    is_skewed: bool = False


_SPANS: dict[str, Span] = {
    name: span
    for names, span in (
        ("age", Span(18, 90)),
        ("price cost amount total subtotal fee balance payment revenue value", Span(5, 500, 2, is_skewed=True)),
        ("salary income budget", Span(25_000, 180_000, 0, is_skewed=True)),
        ("tax discount", Span(0, 50, 2)),
        ("rating stars", Span(1, 5)),
        ("score", Span(0, 100)),
        ("confidence probability ratio fraction accuracy similarity", Span(0, 1, 3)),
        ("percent percentage pct", Span(0, 100, 1)),
        ("quantity qty count number num stock units", Span(1, 100, 0, is_skewed=True)),
        ("views likes followers clicks downloads visits population", Span(0, 100_000, 0, is_skewed=True)),
        ("year", Span(1990, 2025)),
        ("month", Span(1, 12)),
        ("day", Span(1, 28)),
        ("hour", Span(0, 23)),
        ("minute minutes second seconds", Span(0, 59)),
        ("timestamp epoch", Span(1_577_836_800, 1_767_225_600)),
        ("duration latency latency_ms duration_ms response_time", Span(5, 5_000, 0, is_skewed=True)),
        ("latitude lat", Span(-60, 70, 5)),
        ("longitude lon lng long", Span(-180, 180, 5)),
        ("temperature temp", Span(-15, 40, 1)),
        ("humidity", Span(10, 100, 1)),
        ("height", Span(140, 205)),
        ("weight", Span(45, 130, 1)),
        ("width length depth distance", Span(1, 200, 1, is_skewed=True)),
        ("port", Span(1_024, 65_535)),
        ("status_code http_status", Span(200, 503)),
        ("id identifier", Span(1, 999_999)),
        ("priority level rank", Span(1, 5)),
    )
    for name in names.split()
}


_RATINGS = frozenset({"rating", "stars", "satisfaction", "nps", "csat"})
_SCORES = frozenset({"score", "review_score", "sentiment_score", "overall_score"})


def is_rating(name: str) -> bool:
    """Whether the field called *name* tells how content somebody is."""
    words = words_of(name)
    return bool(words) and (words[-1] in _RATINGS or "_".join(words) in _SCORES)


def span_of(name: str) -> Span | None:
    """Where the numbers of a field called *name* usually lie; None if the name says nothing."""
    tokens = words_of(name)
    for suffix in ("_".join(tokens[-2:]), *tokens[:-3:-1]):
        span = _SPANS.get(suffix) or _SPANS.get(singular(suffix))
        if span:
            return span
    return None
