"""Values that belong to the row's place: series, regular instants, arrivals.

A random walk and a stream of arrivals are sums over all rows before. Here any row's value is found by itself: the
process is fixed at the powers of two first and then halved (a Brownian bridge; for arrivals a gamma process, whose
halves follow a beta law), each point from a generator seeded by the stream and the point's number. So row 1,000,000 is
the same whether or not the rows before it were ever made, and costs a few dozen draws at most, two in order.
"""

from __future__ import annotations

import bisect
import datetime as dt
import functools
import itertools
import math
import random
from collections.abc import Callable
from hashlib import blake2b
from typing import Final

from agentic_synth.errors import RecipeError
from agentic_synth.recipes.model_series import Arrivals, Season, Series, Ticks
from agentic_synth.recipes.samplers_kinds import Sampler
from agentic_synth.recipes.samplers_shape import shaped

__all__ = ["compile_arrivals", "compile_ticks", "compile_timeseries"]

_POINTS: Final = 4_096
"""Points of a process that are remembered; any others are found again."""


def _process(
    stream: str, grow: Callable[[random.Random, int], float], split: Callable[[random.Random, float, float, int], float]
) -> Callable[[int], float]:
    """The process by its number of steps.

    *grow* draws what *n* more steps add; *split* draws the middle of two points that lie 2 *n* steps apart.
    """
    key = blake2b(stream.encode(), digest_size=32).digest()
    rng = random.Random()

    @functools.lru_cache(maxsize=_POINTS)
    def point(number: int) -> float:
        if number == 0:
            return 0.0
        half = number & -number
        if half == number:
            before, after = point(number >> 1), None
        else:
            before, after = point(number - half), point(number + half)
        seed = blake2b(number.to_bytes(16, "little"), key=key, digest_size=8).digest()
        rng.seed(int.from_bytes(seed, "little"))
        if after is None:
            return before + grow(rng, number - (number >> 1))
        return split(rng, before, after, half)

    return point


def _walk(stream: str, std: float) -> Callable[[int], float]:
    return _process(
        stream,
        lambda rng, steps: rng.gauss(0.0, std * math.sqrt(steps)),
        lambda rng, before, after, half: (before + after) / 2 + rng.gauss(0.0, std * math.sqrt(half / 2)),
    )


def _gamma(stream: str) -> Callable[[int], float]:
    """The instants of a Poisson process of rate 1, by the number of the event."""
    return _process(
        stream,
        lambda rng, events: rng.gammavariate(events, 1.0),
        lambda rng, before, after, half: before + (after - before) * rng.betavariate(half, half),
    )


def compile_timeseries(series: Series, stream: str) -> Sampler:
    """The value of *series* at a row's step; rows take turns between the series."""
    count, base, trend, noise = series.series, series.start, series.trend, series.noise
    shape = shaped(series.min, series.max, series.decimals)
    seasons = [_season(season) for season in series.season]
    walks = [_walk(f"{stream}/{number}", series.walk) for number in range(count)] if series.walk else []

    def draw(rng: random.Random, index: int) -> float:
        step, turn = divmod(index, count)
        value = base + trend * step
        for season in seasons:
            value += season(step)
        if walks:
            value += walks[turn](step)
        if noise:
            value += rng.normalvariate(0.0, noise)
        return shape(value)

    return Sampler(draw, {"type": "integer" if series.decimals == 0 else "number"})


def _season(season: Season) -> Callable[[int], float]:
    pace, phase, amplitude = math.tau / season.period, math.tau * season.phase, season.amplitude
    return lambda step: amplitude * math.sin(pace * step + phase)


def compile_ticks(ticks: Ticks) -> Sampler:
    """Regular instants, in ISO format."""
    text = _clock(ticks.start, fine=not ticks.step.is_integer())
    step, count = ticks.step, ticks.series
    return Sampler(lambda rng, index: text(step * (index // count)), _instant(ticks.start))


def compile_arrivals(arrivals: Arrivals, stream: str) -> Sampler:
    """The instants of a Poisson process whose rate may follow the hour of the day."""
    event, text = _gamma(stream), _clock(arrivals.start, fine=True)
    if arrivals.hours is None:
        pace = 3600.0 / arrivals.per_hour
        return Sampler(lambda rng, index: text(event(index + 1) * pace), _instant(arrivals.start))
    mean = math.fsum(arrivals.hours) / 24
    rates = [arrivals.per_hour * weight / mean for weight in arrivals.hours]
    edges = [0.0, *itertools.accumulate(rates)]
    day = edges[-1]
    midnight = arrivals.start.replace(hour=0, minute=0, second=0, microsecond=0)
    begun = (arrivals.start - midnight).total_seconds()
    hour, rest = divmod(begun, 3600.0)
    offset = edges[int(hour)] + rates[int(hour)] * rest / 3600.0

    def seconds(mass: float) -> float:
        days, within = divmod(mass, day)
        place = min(bisect.bisect_right(edges, within) - 1, 23)
        inside = (within - edges[place]) / rates[place] if rates[place] else 0.0
        return days * 86400.0 + (place + inside) * 3600.0 - begun

    return Sampler(lambda rng, index: text(seconds(offset + event(index + 1))), _instant(arrivals.start))


def _clock(start: dt.datetime, *, fine: bool) -> Callable[[float], str]:
    """Write the instant so many seconds after *start*, to the millisecond if *fine*."""
    zulu = start.tzinfo is not None and start.utcoffset() == dt.timedelta(0)
    spec = "milliseconds" if fine or start.microsecond else "seconds"

    def text(seconds: float) -> str:
        try:
            written = (start + dt.timedelta(seconds=seconds)).isoformat(timespec=spec)
        except OverflowError:
            message = f"the instants run past the year {dt.MAXYEAR}"
            raise RecipeError(message, mend="Make the step shorter, the rate higher, or fewer rows.") from None
        return written.replace("+00:00", "Z") if zulu else written

    return text


def _instant(start: dt.datetime) -> dict[str, str]:
    return {"type": "string"} if start.tzinfo is None else {"type": "string", "format": "date-time"}
