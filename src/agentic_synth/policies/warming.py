"""Which requests to ask before anybody does: those likely asked soon, as far as a share of the spending goes.

What was asked often is expected again as often: the decayed score of a request is as good as a rate, and every hour of
the day has its own share of it. Asking ahead spares whoever comes first the wait. It saves no money, and wastes it
where nobody comes; so it is held to what is likely, and to a small share of what real requests cost.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import exp, log
from typing import NamedTuple

from agentic_synth.policies.popularity import HALF_LIFE, Popularity, busyness, score_of

__all__ = ["Allowance", "Candidate", "Spent", "allowance", "chance", "pick"]

_HOUR = 3_600.0
_LEAST_AGE = _HOUR
_TOLERANCE = 1e-9


class Candidate(NamedTuple):
    """A request that could be asked ahead.

    *chance* is the probability that somebody asks for it in time, *dollars* what it will about cost. *fresh* says that
    a valid answer is stored, *done* that it was asked ahead since it was last asked for.
    """

    key: bytes
    chance: float
    dollars: float
    fresh: bool = False
    done: bool = False


class Spent(NamedTuple):
    """What the calls of the last day cost that somebody waited for, and those that were asked ahead."""

    dollars: float = 0.0
    calls: int = 0
    ahead_dollars: float = 0.0
    ahead_calls: int = 0


class Allowance(NamedTuple):
    """What may still be asked ahead: both bounds hold, for a model without a price, or a free one, costs no dollars."""

    dollars: float
    calls: float

    def covers(self, dollars: float) -> bool:
        """Whether one call more for *dollars* may be made."""
        return dollars <= self.dollars + _TOLERANCE and self.calls >= 1.0 - _TOLERANCE

    def less(self, dollars: float) -> Allowance:
        """What is left after that call."""
        return Allowance(self.dollars - dollars, self.calls - 1.0)


def allowance(spent: Spent, share: float) -> Allowance:
    """What is left of *share* of the dollars and of the calls that real requests took."""
    return Allowance(share * spent.dollars - spent.ahead_dollars, share * spent.calls - spent.ahead_calls)


def chance(popularity: Popularity, now: float, horizon: float, age: float) -> float:
    """The probability that this is asked within *horizon* seconds, for all that a log of *age* seconds can tell.

    Lookups are taken to come independently, at the rate that the score and the hours of the day tell.
    """
    # A steady rate has gathered this much of its final score since the log began.
    gathered = 1.0 - 2.0 ** (-max(age, _LEAST_AGE) / HALF_LIFE)
    rate = score_of(popularity, now) * log(2) / HALF_LIFE / gathered
    lookups, at, end = 0.0, now, now + horizon
    while at < end:
        until = min(end, (at // _HOUR + 1) * _HOUR)
        lookups += rate * busyness(popularity, at) * (until - at)
        at = until
    return 1.0 - exp(-lookups)


def pick(candidates: Iterable[Candidate], left: Allowance, *, binds: bool, least: float = 0.5) -> list[Candidate]:
    """What to ask now, the most promising for its price first; nothing where a limiter *binds*.

    Nothing fresh, nothing that was done, nothing whose chance is below *least*, and in sum no more than is *left*.
    """
    if binds or left.calls < 1.0 - _TOLERANCE:
        return []
    worth: dict[bytes, tuple[float, Candidate]] = {}
    for one in candidates:
        if not one.fresh and not one.done and one.chance >= least and left.covers(one.dollars):
            # The share of the two bounds that it takes is its price.
            price = 1.0 / left.calls + (one.dollars / left.dollars if left.dollars > 0.0 else 0.0)
            worth[one.key] = (one.chance / price, one)
    picked = []
    for _, one in sorted(worth.values(), key=lambda pair: -pair[0]):
        if left.covers(one.dollars):
            left = left.less(one.dollars)
            picked.append(one)
    return picked
