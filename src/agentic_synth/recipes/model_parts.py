"""The pieces that every column of a recipe is written with."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

__all__ = ["CONFIG", "ColumnSpec", "Decimals", "Duration", "Moment", "ends", "fault", "ordered", "under"]

CONFIG = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
Decimals: TypeAlias = Annotated[int, Field(ge=0, le=15)]
Moment: TypeAlias = Annotated[dt.datetime, Field(description="an ISO date or datetime")]


def fault(message: str, *, mend: str = "", key: str = "") -> PydanticCustomError:
    """An error that keeps its *mend*, and the *key* it is about, on the way through pydantic to `load`."""
    return PydanticCustomError("recipe", "{fault}", {"fault": message, "mend": mend, "key": key})


Spec = TypeVar("Spec", bound=BaseModel)

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|[smhdw])")


def _duration(value: object) -> object:
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value.strip())
    if match is None:
        raise fault(f"{value!r} is no duration", mend="Write a number and a unit: 500ms, 30s, 5m, 1h, 1d or 1w.")
    return float(match[1]) * _UNITS[match[2]]


def ordered(spec: Spec, low: Any, high: Any) -> Spec:
    """*spec*, if its range does not end before it begins."""
    if low > high:
        raise fault(f"the range ends ({high}) before it begins ({low})", mend="Write the lower end first.")
    return spec


def ends(low: str, high: str) -> BeforeValidator:
    """Accept ``[low, high]`` beside ``{low: ..., high: ...}``."""

    def read(value: object) -> object:
        if not isinstance(value, (list, tuple)):
            return value
        if len(value) != 2:
            raise fault(f"a range has two ends, not {len(value)}", mend=f"Write [{low}, {high}].")
        return {low: value[0], high: value[1]}

    return BeforeValidator(read, json_schema_input_type=Any)


def under(key: str) -> BeforeValidator:
    """Accept ``{key: value}`` beside the bare value."""
    return BeforeValidator(
        lambda value: value[key] if isinstance(value, Mapping) and list(value) == [key] else value,
        json_schema_input_type=Any,
    )


Duration: TypeAlias = Annotated[
    float,
    BeforeValidator(_duration, json_schema_input_type=float | str),
    Field(gt=0, description="seconds, or a number with a unit: 500ms, 30s, 5m, 1h, 1d, 1w"),
]


class ColumnSpec(BaseModel):
    """What every column may say.

    *when* is an expression over the other columns: where it is false the cell is null and nothing is asked. *keep*
    false uses the column in the recipe but leaves it out of the output.
    """

    model_config = CONFIG

    when: str | None = None
    keep: bool = True
    description: str = ""
