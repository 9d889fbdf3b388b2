"""The columns whose value belongs to the row's place in the table: series, instants, events."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from agentic_synth.recipes.model_parts import CONFIG, ColumnSpec, Decimals, Duration, Moment, fault

__all__ = ["Arrivals", "ArrivalsColumn", "Season", "Series", "Ticks", "TicksColumn", "TimeseriesColumn"]


class Season(BaseModel):
    """A wave: *period* in steps of the series, *amplitude* in its unit, *phase* as a share of the period."""

    model_config = CONFIG

    period: Annotated[float, Field(gt=0)]
    amplitude: float
    phase: float = 0.0


class Series(BaseModel):
    """A series by step: *start* + *trend* x step + seasons + a random walk + noise, kept within *min* and *max*.

    *noise* and *walk* are standard deviations, the walk's of each step. *series* says how many series take turns, row
    by row.
    """

    model_config = CONFIG

    start: float = 0.0
    trend: float = 0.0
    season: Annotated[
        list[Season],
        BeforeValidator(
            lambda value: [value] if isinstance(value, (Mapping, Season)) else value,
            json_schema_input_type=Season | list[Season],
        ),
    ] = []
    walk: Annotated[float, Field(ge=0)] = 0.0
    noise: Annotated[float, Field(ge=0)] = 0.0
    min: float | None = None
    max: float | None = None
    decimals: Decimals | None = None
    series: Annotated[int, Field(ge=1)] = 1


class TimeseriesColumn(ColumnSpec):
    """The value of a time series at the row's step."""

    timeseries: Series


class Ticks(BaseModel):
    """Instants at a fixed *step* from *start*; *series* rows share an instant."""

    model_config = CONFIG

    start: Moment
    step: Duration
    series: Annotated[int, Field(ge=1)] = 1


class TicksColumn(ColumnSpec):
    """Regular instants, in ISO format."""

    ticks: Ticks


class Arrivals(BaseModel):
    """Events by a Poisson process from *start*, *per_hour* on average; *hours* weighs the 24 hours of the day."""

    model_config = CONFIG

    start: Moment
    per_hour: Annotated[float, Field(gt=0)]
    hours: Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=24, max_length=24)] | None = None

    @model_validator(mode="after")
    def _alive(self) -> Arrivals:
        if self.hours is not None and not 0 < math.fsum(self.hours) < math.inf:
            raise fault("no hour of the day has any weight", mend="Make one above 0.", key="hours")
        return self


class ArrivalsColumn(ColumnSpec):
    """The instant of the row's event, later than that of the row before."""

    arrivals: Arrivals
