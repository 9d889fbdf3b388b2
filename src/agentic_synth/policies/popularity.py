"""How much something is asked for: what counts fades with time, and every hour of the day has its own share.

What was asked *n* times at instant *t* adds ``n * 2 ** (t / half-life)``, and the rank is the binary logarithm of the
sum (Cormode et al., "Forward Decay", ICDE 2009). So ranks compare without a clock, and yet old fame fades: after one
half-life everything counts half as much as what is asked then.
"""

from __future__ import annotations

from math import log2
from typing import NamedTuple

__all__ = ["HALF_LIFE", "Popularity", "busyness", "expected", "rank_of", "score_of", "seen"]

HALF_LIFE = 7 * 86_400.0
_HALF = bytes(count >> 1 for count in range(256))
_NO_HOURS = bytes(24)
_DOUBT = 24.0  # sightings before half of the forecast is told by the hour
_FADED = -1_000.0


class Popularity(NamedTuple):
    """*lookups* in all, their *rank*, the instant of the *last* (unix seconds), and lately each hour's (UTC)."""

    lookups: int
    rank: float
    last: float
    hours: bytes


def rank_of(count: int, at: float) -> float:
    """The rank of what was asked *count* times at the instant *at*, and never before."""
    return log2(count) + at / HALF_LIFE


def seen(before: Popularity | None, count: int, at: float) -> Popularity:
    """What was *before*, asked *count* times more at the instant *at*."""
    rank, hours, total, last = rank_of(count, at), _NO_HOURS, count, at
    if before is not None:
        high, low = max(rank, before.rank), min(rank, before.rank)
        rank = high + log2(1.0 + 2.0 ** max(low - high, _FADED))
        hours, total, last = before.hours, count + before.lookups, max(at, before.last)
    return Popularity(total, rank, last, _counted(hours, int(at // 3_600) % 24, count))


def score_of(popularity: Popularity, now: float) -> float:
    """How many lookups there were, each counted half as much for every half-life since."""
    return float(2.0 ** max(popularity.rank - now / HALF_LIFE, _FADED))


def expected(popularity: Popularity, now: float) -> float:
    """The score, raised or lowered by how busy this hour of the day was so far."""
    return score_of(popularity, now) * busyness(popularity, now)


def busyness(popularity: Popularity, at: float) -> float:
    """How many times busier than the mean hour of the day the hour of the instant *at* was so far.

    The neighbouring hours count half, and few lookups say little about the hour.
    """
    hours, hour = popularity.hours, int(at // 3_600) % 24
    near = (hours[hour - 1] + 2 * hours[hour] + hours[(hour + 1) % 24]) / 4
    return 24 * (near + _DOUBT / 24) / (sum(hours) + _DOUBT)


def _counted(hours: bytes, hour: int, count: int) -> bytes:
    # The shares matter, not the sums: at 255 all are halved, which also forgets old habits.
    added = hours[hour] + min(count, 255)
    while added > 255:
        hours = hours.translate(_HALF)
        added >>= 1
    return hours[:hour] + bytes((added,)) + hours[hour + 1 :]
