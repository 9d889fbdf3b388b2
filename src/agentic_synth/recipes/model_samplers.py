"""The columns that are drawn without a model, as a recipe writes them; `samplers` makes them run."""

from __future__ import annotations

import datetime as dt
import math
import re
import string
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, Field, JsonValue, model_validator

from agentic_synth.recipes.model_parts import CONFIG, ColumnSpec, Decimals, Moment, ends, fault, ordered, under
from agentic_synth.recipes.model_series import ArrivalsColumn, TicksColumn, TimeseriesColumn

__all__ = [
    "BernoulliColumn",
    "ChoiceColumn",
    "ConstantColumn",
    "CycleColumn",
    "DateColumn",
    "DatetimeColumn",
    "FakeColumn",
    "FloatColumn",
    "IntColumn",
    "Lognormal",
    "LognormalColumn",
    "Normal",
    "NormalColumn",
    "PersonColumn",
    "PoissonColumn",
    "SamplerColumn",
    "Sequence",
    "SequenceColumn",
    "UuidColumn",
]

_COUNTER = re.compile(r"[+ ]?0?\d{0,2},?[dxXob]?")


class IntRange(BaseModel):
    """Whole numbers from *min* to *max*, both included."""

    model_config = CONFIG

    min: int
    max: int

    @model_validator(mode="after")
    def _check(self) -> IntRange:
        return ordered(self, self.min, self.max)


class FloatRange(BaseModel):
    """Numbers from *min* to *max*."""

    model_config = CONFIG

    min: float
    max: float

    @model_validator(mode="after")
    def _check(self) -> FloatRange:
        return ordered(self, self.min, self.max)


class DateRange(BaseModel):
    """Days from *from* to *to*, both included."""

    model_config = CONFIG

    start: dt.date = Field(alias="from")
    end: dt.date = Field(alias="to")

    @model_validator(mode="after")
    def _check(self) -> DateRange:
        return ordered(self, self.start, self.end)


class DatetimeRange(BaseModel):
    """Instants from *from* to *to*, to the second; with a time zone if both ends have the same one."""

    model_config = CONFIG

    start: Moment = Field(alias="from")
    end: Moment = Field(alias="to")

    @model_validator(mode="after")
    def _check(self) -> DatetimeRange:
        if (self.start.tzinfo is None) != (self.end.tzinfo is None):
            raise fault("one end has a time zone and the other has none", mend="Write both with Z, or both without.")
        return ordered(self, self.start, self.end)


class ChoiceColumn(ColumnSpec):
    """One of the values, by weight if there are weights; a bare list means the same."""

    choice: Annotated[list[JsonValue], Field(min_length=1)]
    weights: list[Annotated[float, Field(ge=0)]] | None = None

    @model_validator(mode="after")
    def _weighed(self) -> ChoiceColumn:
        if self.weights is None:
            return self
        if len(self.weights) != len(self.choice):
            message = f"{len(self.choice)} choices but {len(self.weights)} weights"
            raise fault(message, mend="Write one weight a choice, in the same order.", key="weights")
        if not 0 < math.fsum(self.weights) < math.inf:
            raise fault("the weights add up to nothing that can be drawn", mend="Make one above 0.", key="weights")
        return self


class IntColumn(ColumnSpec):
    """A whole number of a range, each as likely."""

    bounds: Annotated[IntRange, ends("min", "max")] = Field(alias="int")


class FloatColumn(ColumnSpec):
    """A number of a range, each as likely; ``uniform`` is another word for it."""

    bounds: Annotated[FloatRange, ends("min", "max")] = Field(alias="float")
    decimals: Decimals | None = None

    @model_validator(mode="before")
    @classmethod
    def _synonym(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and "uniform" in value and "float" not in value:
            return {("float" if key == "uniform" else key): inner for key, inner in value.items()}
        return value


class Normal(BaseModel):
    """A normal law, cut off at *min* and *max* where they are given; *decimals* 0 gives whole numbers."""

    model_config = CONFIG

    mean: float
    std: Annotated[float, Field(ge=0)]
    min: float | None = None
    max: float | None = None
    decimals: Decimals | None = None


class NormalColumn(ColumnSpec):
    """A number by a normal law."""

    normal: Normal


class Lognormal(BaseModel):
    """A law with a long right tail: *median* in the output's unit, *sigma* the spread of its logarithm."""

    model_config = CONFIG

    median: Annotated[float, Field(gt=0)]
    sigma: Annotated[float, Field(ge=0, le=20)]
    min: float | None = None
    max: float | None = None
    decimals: Decimals | None = None


class LognormalColumn(ColumnSpec):
    """A positive number by a log-normal law: durations, prices, sizes."""

    lognormal: Lognormal


class BernoulliColumn(ColumnSpec):
    """True with this probability."""

    bernoulli: Annotated[float, under("p"), Field(ge=0, le=1)]


class PoissonColumn(ColumnSpec):
    """A count with this mean."""

    poisson: Annotated[float, under("mean"), Field(ge=0, le=1e9)]


class DateColumn(ColumnSpec):
    """A day of a range, as ``YYYY-MM-DD``."""

    date: Annotated[DateRange, ends("from", "to")]


class DatetimeColumn(ColumnSpec):
    """An instant of a range, in ISO format."""

    datetime: Annotated[DatetimeRange, ends("from", "to")]


class UuidColumn(ColumnSpec):
    """A version 4 UUID, drawn from the row's own randomness."""

    uuid: Literal[True, 4]


class Sequence(BaseModel):
    """*start*, *start + step* ... by row; *format* writes the number into a text (``INV-{:05d}``)."""

    model_config = CONFIG

    start: int = 1
    step: int = 1
    format: str | None = None

    @model_validator(mode="after")
    def _plain_format(self) -> Sequence:
        if self.format is None:
            return self
        mend = "Write one pair of braces, such as INV-{:05d} or {}."
        try:
            fields = [part for part in string.Formatter().parse(self.format) if part[1] is not None]
        except ValueError as error:
            raise fault(f"the format cannot be read: {error}", mend=mend, key="format") from None
        plain = [
            name == "" and conversion is None and _COUNTER.fullmatch(spec or "") for _, name, spec, conversion in fields
        ]
        if len(plain) != 1 or not plain[0]:
            raise fault(f"{self.format!r} is no format for one number", mend=mend, key="format")
        return self


class SequenceColumn(ColumnSpec):
    """A counter over the rows; a bare number is its start."""

    sequence: Annotated[
        Sequence,
        BeforeValidator(
            lambda value: {"start": value} if isinstance(value, int) else value, json_schema_input_type=Sequence | int
        ),
    ]


class CycleColumn(ColumnSpec):
    """The values in turn, row by row, so that each appears equally often."""

    cycle: Annotated[list[JsonValue], Field(min_length=1)]


class ConstantColumn(ColumnSpec):
    """The same value in every row."""

    constant: JsonValue


class FakeColumn(ColumnSpec):
    """A made-up value of the world: a name from the short list, or any ``provider.field`` of Mimesis.

    *arguments* are passed to the field; enumerations are written by name (``gender: female``).
    """

    fake: str
    locale: str = "en"
    arguments: dict[str, JsonValue] = Field(default={})


class PersonColumn(ColumnSpec):
    """A person whose fields agree with one another; a field's name gives that field alone."""

    person: Literal[True] | str
    locale: str = "en"


SamplerColumn: TypeAlias = (
    ChoiceColumn
    | IntColumn
    | FloatColumn
    | NormalColumn
    | LognormalColumn
    | BernoulliColumn
    | PoissonColumn
    | DateColumn
    | DatetimeColumn
    | UuidColumn
    | SequenceColumn
    | CycleColumn
    | ConstantColumn
    | FakeColumn
    | PersonColumn
    | TimeseriesColumn
    | TicksColumn
    | ArrivalsColumn
)
