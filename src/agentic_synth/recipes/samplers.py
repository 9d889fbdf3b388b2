"""Columns drawn without a model, compiled to one call a cell.

A value depends only on the generator that is passed in and on the row's index, so the same seed gives the same rows at
any concurrency. Samplers whose values belong together over the rows (a random walk, a stream of arrivals) take theirs
from *stream* and the index instead.
"""

from __future__ import annotations

import bisect
import datetime as dt
import itertools
import math
import random
import uuid
from collections.abc import Callable
from statistics import NormalDist
from typing import Any, Final

from agentic_synth.errors import RecipeError
from agentic_synth.recipes import model_samplers as drawn
from agentic_synth.recipes import model_series as serial
from agentic_synth.recipes.model import SamplerColumn
from agentic_synth.recipes.samplers_kinds import Draw, Sampler, schema_of_values
from agentic_synth.recipes.samplers_series import compile_arrivals, compile_ticks, compile_timeseries
from agentic_synth.recipes.samplers_shape import shaped

__all__ = ["Sampler", "compile_sampler"]

_NUMBER: Final = {"type": "number"}
_INTEGER: Final = {"type": "integer"}
_STRING: Final = {"type": "string"}
_POISSON_BY_INVERSION: Final = 30.0


def compile_sampler(column: SamplerColumn, *, stream: str = "") -> Sampler:
    """Make *column* ready to draw; *stream* tells its walk and its arrivals apart from other columns' and other seeds'.

    Raises:
        RecipeError: nothing can be drawn this way.
    """
    match column:
        case drawn.FakeColumn() | drawn.PersonColumn():
            from agentic_synth.recipes.samplers_fake import compile_made_up  # noqa: PLC0415 - Mimesis takes 0.2 s

            return compile_made_up(column)
        case serial.TimeseriesColumn():
            return compile_timeseries(column.timeseries, stream)
        case serial.TicksColumn():
            return compile_ticks(column.ticks)
        case serial.ArrivalsColumn():
            return compile_arrivals(column.arrivals, stream)
        case _:
            return _COMPILERS[type(column)](column)


def _choice(column: drawn.ChoiceColumn) -> Sampler:
    values, schema = column.choice, schema_of_values(column.choice, enum=True)
    count = len(values)
    if column.weights is None:
        return Sampler(lambda rng, index: values[int(rng.random() * count)], schema)
    bounds = list(itertools.accumulate(column.weights))
    total = bounds[-1]
    last = max(place for place, weight in enumerate(column.weights) if weight > 0)
    find = bisect.bisect_right
    return Sampler(lambda rng, index: values[find(bounds, rng.random() * total, 0, last)], schema)


def _int(column: drawn.IntColumn) -> Sampler:
    low, above = column.bounds.min, column.bounds.max + 1
    return Sampler(lambda rng, index: rng.randrange(low, above), _INTEGER)


def _float(column: drawn.FloatColumn) -> Sampler:
    low, high = column.bounds.min, column.bounds.max

    def draw(rng: random.Random, index: int) -> float:
        share = rng.random()
        return low * (1.0 - share) + high * share

    shape = shaped(low, high, column.decimals)
    return Sampler(lambda rng, index: shape(draw(rng, index)), _schema_of(column.decimals))


def _schema_of(decimals: int | None) -> dict[str, Any]:
    return _INTEGER if decimals == 0 else _NUMBER


def _bell(mean: float, std: float, low: float | None, high: float | None) -> Callable[[random.Random], float]:
    """A normal law cut off at *low* and *high*, by inversion: one draw, however narrow the window."""
    if std == 0:
        return lambda rng: mean
    if low is None and high is None:
        return lambda rng: rng.normalvariate(mean, std)
    law = NormalDist()
    start = -math.inf if low is None else (low - mean) / std
    end = math.inf if high is None else (high - mean) / std
    mirrored = start > 0  # the upper tail is computed in the lower one, where a float still tells its shares apart
    if mirrored:
        start, end = -end, -start
    floor, ceiling = law.cdf(start), law.cdf(end)
    if not ceiling > floor:
        message = f"a normal law with mean {mean:g} and std {std:g} never falls between {low} and {high}"
        raise RecipeError(message, mend="Move min and max nearer to the mean, or widen std.")
    sign, inverse = (-std if mirrored else std), law.inv_cdf

    def draw(rng: random.Random) -> float:
        share = floor + (ceiling - floor) * rng.random()
        return mean + sign * inverse(share) if 0.0 < share < 1.0 else mean + sign * start

    return draw


def _normal(column: drawn.NormalColumn) -> Sampler:
    law = column.normal
    draw, shape = _bell(law.mean, law.std, law.min, law.max), shaped(law.min, law.max, law.decimals)
    return Sampler(lambda rng, index: shape(draw(rng)), _schema_of(law.decimals))


def _lognormal(column: drawn.LognormalColumn) -> Sampler:
    law = column.lognormal
    low, high = (None if end is None else math.log(end) if end > 0 else -math.inf for end in (law.min, law.max))
    if high == -math.inf:
        raise RecipeError("a log-normal value is above 0, so max must be", mend="Raise max above 0.")
    draw = _bell(math.log(law.median), law.sigma, None if low == -math.inf else low, high)
    shape = shaped(law.min, law.max, law.decimals)
    return Sampler(lambda rng, index: shape(math.exp(draw(rng))), _schema_of(law.decimals))


def _bernoulli(column: drawn.BernoulliColumn) -> Sampler:
    share = column.bernoulli
    return Sampler(lambda rng, index: rng.random() < share, {"type": "boolean"})


def _poisson(column: drawn.PoissonColumn) -> Sampler:
    mean = column.poisson
    if mean > _POISSON_BY_INVERSION:
        return Sampler(_poisson_by_rejection(mean), _INTEGER)
    none = math.exp(-mean)

    def draw(rng: random.Random, index: int) -> int:
        share, count, mass = rng.random(), 0, none
        while share > mass and count < 1_000:
            share -= mass
            count += 1
            mass *= mean / count
        return count

    return Sampler(draw, _INTEGER)


def _poisson_by_rejection(mean: float) -> Draw:
    """Hörmann's PTRS (Insurance: Mathematics and Economics 12, 1993): constant time for any mean above 10."""
    log_mean, spread = math.log(mean), math.sqrt(mean)
    b = 0.931 + 2.53 * spread
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    ratio = 0.9277 - 3.6224 / (b - 2.0)

    def draw(rng: random.Random, index: int) -> int:
        while True:
            u, v = rng.random() - 0.5, 1.0 - rng.random()
            us = 0.5 - abs(u)
            count = math.floor((2.0 * a / us + b) * u + mean + 0.43) if us > 0 else -1
            if us >= 0.07 and v <= ratio:
                return count
            if count < 0 or (us < 0.013 and v > us):
                continue
            bound = count * log_mean - mean - math.lgamma(count + 1)
            if math.log(v) + math.log(inverse_alpha) - math.log(a / (us * us) + b) <= bound:
                return count

    return draw


def _date(column: drawn.DateColumn) -> Sampler:
    low, above = column.date.start.toordinal(), column.date.end.toordinal() + 1
    day = dt.date.fromordinal
    return Sampler(lambda rng, index: day(rng.randrange(low, above)).isoformat(), {"type": "string", "format": "date"})


def _datetime(column: drawn.DatetimeColumn) -> Sampler:
    start = column.datetime.start
    above = int((column.datetime.end - start).total_seconds()) + 1
    zoned = start.tzinfo is not None
    schema = {"type": "string", "format": "date-time"} if zoned else _STRING

    def draw(rng: random.Random, index: int) -> str:
        moment = start + dt.timedelta(seconds=rng.randrange(above))
        return moment.isoformat().replace("+00:00", "Z") if zoned else moment.isoformat()

    return Sampler(draw, schema)


def _uuid(column: drawn.UuidColumn) -> Sampler:
    make = uuid.UUID
    return Sampler(
        lambda rng, index: str(make(int=rng.getrandbits(128), version=4)), {"type": "string", "format": "uuid"}
    )


def _sequence(column: drawn.SequenceColumn) -> Sampler:
    start, step, text = column.sequence.start, column.sequence.step, column.sequence.format
    if text is None:
        return Sampler(lambda rng, index: start + step * index, _INTEGER)
    return Sampler(lambda rng, index: text.format(start + step * index), _STRING)


def _cycle(column: drawn.CycleColumn) -> Sampler:
    values = column.cycle
    count = len(values)
    return Sampler(lambda rng, index: values[index % count], schema_of_values(values, enum=True))


def _constant(column: drawn.ConstantColumn) -> Sampler:
    value = column.constant
    return Sampler(lambda rng, index: value, schema_of_values([value]))


_COMPILERS: Final[dict[type, Callable[[Any], Sampler]]] = {
    drawn.ChoiceColumn: _choice,
    drawn.IntColumn: _int,
    drawn.FloatColumn: _float,
    drawn.NormalColumn: _normal,
    drawn.LognormalColumn: _lognormal,
    drawn.BernoulliColumn: _bernoulli,
    drawn.PoissonColumn: _poisson,
    drawn.DateColumn: _date,
    drawn.DatetimeColumn: _datetime,
    drawn.UuidColumn: _uuid,
    drawn.SequenceColumn: _sequence,
    drawn.CycleColumn: _cycle,
    drawn.ConstantColumn: _constant,
}
