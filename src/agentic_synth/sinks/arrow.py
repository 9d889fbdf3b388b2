"""Python values as Arrow arrays, without losing any of them silently."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

import pyarrow as pa

from agentic_synth.sinks.formats import json_text, whole_text

__all__ = [
    "BOOLEAN",
    "INTEGER",
    "JSON_TEXT",
    "NUMBER",
    "TEXT",
    "ListShape",
    "Misfit",
    "Shape",
    "StructShape",
    "infer_shape",
]

_NONE = type(None)
_ARROW_REFUSES = (ValueError, TypeError, ArithmeticError)
_MAX_FIELDS = 200
"""An object with more keys than this is a map rather than a record, and is kept as JSON text."""


class Misfit(Exception):
    """A value does not fit its column; the message says which and why."""


class Shape(Protocol):
    """How the values of a column are stored."""

    @property
    def type(self) -> pa.DataType: ...

    def build(self, values: Sequence[Any]) -> pa.Array:
        """An array of *values*, or Misfit if one of them cannot be stored without loss."""
        ...


@dataclass(frozen=True, slots=True)
class Leaf:
    """Values without parts: *exact* Python types go to Arrow as they are, others through *fit* one by one."""

    type: pa.DataType
    exact: frozenset[type]
    fit: Callable[[Any], Any]

    def build(self, values: Sequence[Any]) -> pa.Array:
        if self.exact.issuperset(map(type, values)):
            with suppress(*_ARROW_REFUSES):
                return pa.array(values, self.type)
        try:
            fitted = [None if value is None else self.fit(value) for value in values]
            return pa.array(whole_text(fitted) if self.type == pa.string() else fitted, self.type)
        except _ARROW_REFUSES as error:
            raise Misfit(str(error)) from error


@dataclass(frozen=True, slots=True)
class ListShape:
    """Lists of one kind of value."""

    item: Shape

    @property
    def type(self) -> pa.DataType:
        return pa.list_(self.item.type)

    def build(self, values: Sequence[Any]) -> pa.Array:
        flat: list[Any] = []
        offsets = [0]
        for value in values:
            if value is not None:
                if not isinstance(value, list | tuple):
                    raise Misfit(f"{_short(value)} is not a list")
                flat.extend(value)
            offsets.append(len(flat))
        items = self.item.build(flat)
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), items, type=self.type, mask=_nulls(values))


@dataclass(frozen=True, slots=True)
class StructShape:
    """Objects with known keys; a missing key is null, a key that is not known does not fit."""

    fields: dict[str, Shape]

    @property
    def type(self) -> pa.DataType:
        return pa.struct([(name, shape.type) for name, shape in self.fields.items()])

    def build(self, values: Sequence[Any]) -> pa.Array:
        known = self.fields.keys()
        objects: list[dict[str, Any]] = []
        for value in values:
            if value is not None:
                if not isinstance(value, dict):
                    raise Misfit(f"{_short(value)} is not an object")
                if not value.keys() <= known:
                    raise Misfit(f"the key {min(map(repr, value.keys() - known))} is not in the schema")
            objects.append(value or {})
        children = [shape.build([item.get(name) for item in objects]) for name, shape in self.fields.items()]
        return pa.StructArray.from_arrays(children, type=self.type, mask=_nulls(values))


def _nulls(values: Sequence[Any]) -> pa.Array:
    return pa.array([value is None for value in values], pa.bool_())


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _refuse(said: str) -> Callable[[Any], Any]:
    def fit(value: Any) -> Any:
        raise TypeError(f"{_short(value)} is not {said}")

    return fit


def _text(value: Any) -> str:
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, dt.date | dt.time | UUID | Decimal):
        return json_text(value)[1:-1]
    raise TypeError(f"{_short(value)} is not text")


def _loose_text(value: Any) -> str:
    try:
        return _text(value)
    except TypeError:
        return json_text(value)


def _integer(value: Any) -> int:
    whole = isinstance(value, int | float | Decimal) and not isinstance(value, bool) and value == int(value)
    if whole and -(2**63) <= value < 2**63:
        return int(value)
    raise TypeError(f"{_short(value)} is not an integer of 64 bits")


def _number(value: Any) -> float:
    if isinstance(value, float):
        return float(value)
    if isinstance(value, int | Decimal) and not isinstance(value, bool) and float(value) == value:
        return float(value)
    raise TypeError(f"{_short(value)} is not a number that 64 bits hold exactly")


def _decimal(value: Any) -> Decimal:
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return Decimal(value)
    raise TypeError(f"{_short(value)} is not a decimal number")


def _date(value: Any) -> dt.date:
    if isinstance(value, str) and dt.date.fromisoformat(value).isoformat() == value:
        return dt.date.fromisoformat(value)
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return value
    raise TypeError(f"{_short(value)} is not a date")


def _instant(aware: bool) -> Callable[[Any], dt.datetime]:
    def fit(value: Any) -> dt.datetime:
        if isinstance(value, dt.datetime) and (value.tzinfo is not None) == aware:
            return value
        raise TypeError(f"{_short(value)} is not a time {'with' if aware else 'without'} a zone")

    return fit


def _exact(*types: type) -> frozenset[type]:
    return frozenset({_NONE, *types})


TEXT = Leaf(pa.string(), _exact(str), _text)
"""Text; dates, UUIDs and Decimals in their usual spelling."""
LOOSE_TEXT = Leaf(pa.string(), _exact(str), _loose_text)
"""Text where it is text and JSON text where it is not: for a column of which nothing is known."""
JSON_TEXT = Leaf(pa.string(), frozenset({_NONE}), json_text)
"""Each value as JSON text; null stays null."""
INTEGER = Leaf(pa.int64(), _exact(int), _integer)
NUMBER = Leaf(pa.float64(), _exact(int, float), _number)
BOOLEAN = Leaf(pa.bool_(), _exact(bool), _refuse("true or false"))
_DATE = Leaf(pa.date32(), _exact(dt.date), _date)
_LOCAL_TIME = Leaf(pa.timestamp("us"), frozenset({_NONE}), _instant(aware=False))
_INSTANT = Leaf(pa.timestamp("us", tz="UTC"), frozenset({_NONE}), _instant(aware=True))
_BINARY = Leaf(pa.binary(), _exact(bytes), _refuse("bytes"))

_BY_TYPES: dict[frozenset[type], Leaf] = {
    frozenset({str}): TEXT,
    frozenset({UUID}): TEXT,
    frozenset({bool}): BOOLEAN,
    frozenset({int}): INTEGER,
    frozenset({float}): NUMBER,
    frozenset({int, float}): NUMBER,
    frozenset({dt.date}): _DATE,
    frozenset({bytes}): _BINARY,
}


def infer_shape(values: Sequence[Any]) -> Shape:
    """The narrowest shape that stores all of *values*: nothing but nulls is text, a mixture is JSON text."""
    values = [value for value in values if value is not None]
    types = frozenset(map(type, values))
    if not types:
        return LOOSE_TEXT
    if types <= {list, tuple}:
        return ListShape(infer_shape([item for value in values for item in value]))
    if types == {dict}:
        return _guess_struct(values)
    leaf = _guess_leaf(values, types)
    try:
        leaf.build(values)
    except Misfit:
        # An integer beyond 64 bits, say, or times with a zone among times without.
        return JSON_TEXT
    return leaf


def _guess_leaf(values: Sequence[Any], types: frozenset[type]) -> Leaf:
    if types == {dt.datetime}:
        return _INSTANT if values[0].tzinfo is not None else _LOCAL_TIME
    if types == {Decimal}:
        scale = max(-int(value.as_tuple().exponent) if value.is_finite() else 0 for value in values)
        return Leaf(pa.decimal128(38, min(max(scale, 0), 38)), _exact(Decimal), _decimal)
    return _BY_TYPES.get(types, JSON_TEXT)


def _guess_struct(values: Sequence[dict[Any, Any]]) -> Shape:
    names = dict.fromkeys(name for value in values for name in value)
    if not 0 < len(names) <= _MAX_FIELDS or not all(isinstance(name, str) for name in names):
        return JSON_TEXT
    return StructShape({name: infer_shape([value.get(name) for value in values]) for name in names})
