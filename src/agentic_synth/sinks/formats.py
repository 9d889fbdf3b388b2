"""Rows as text: JSON Lines, a JSON array, CSV."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from agentic_synth.errors import OutputError
from agentic_synth.sinks.sink import Row

__all__ = ["Csv", "Format", "JsonArray", "JsonLines", "json_text", "whole_text"]

encode_json = msgspec.json.Encoder(decimal_format="string", uuid_format="canonical").encode
"""One value as JSON: dates in ISO 8601, Decimals and UUIDs as strings, NaN and infinities as null."""
_encode_lines = msgspec.json.Encoder(decimal_format="string", uuid_format="canonical").encode_lines

_QUOTED = re.compile(r'[",\r\n]').search


class Format(Protocol):
    """Turns rows into bytes; the pieces laid end to end are the file."""

    def header(self) -> bytes: ...

    def encode(self, rows: Sequence[Row]) -> bytes: ...

    def trailer(self) -> bytes: ...


class JsonLines:
    """One JSON object a line.

    Keys come in the order of *columns*; what a row lacks is null, and keys beyond the columns follow them.
    """

    def __init__(self, name: str, columns: Sequence[str]) -> None:
        self._name = name
        self._columns = tuple(columns)
        self._rows = 0

    def header(self) -> bytes:
        return b""

    def encode(self, rows: Sequence[Row]) -> bytes:
        ordered = [row if tuple(row) == self._columns else self._in_order(row) for row in rows]
        try:
            lines = _encode_lines(ordered)
        except (TypeError, ValueError):
            lines = b"".join([self._line(row, number) for number, row in enumerate(ordered, self._rows + 1)])
        self._rows += len(rows)
        return lines

    def trailer(self) -> bytes:
        return b""

    def _in_order(self, row: Row) -> Row:
        return {**dict.fromkeys(self._columns), **row}

    def _line(self, row: Row, number: int) -> bytes:
        try:
            return encode_json(whole_text(row)) + b"\n"
        except (TypeError, ValueError) as error:
            raise unwritable(self._name, row, number, error) from error


class JsonArray:
    """One JSON array of objects, a row on each line."""

    def __init__(self, name: str, columns: Sequence[str]) -> None:
        self._lines = JsonLines(name, columns)
        self._before = b"\n"

    def header(self) -> bytes:
        return b"["

    def encode(self, rows: Sequence[Row]) -> bytes:
        if not rows:
            return b""
        # JSON text holds no bare line feed, so each one here ends a row.
        text = self._before + self._lines.encode(rows)[:-1].replace(b"\n", b",\n")
        self._before = b",\n"
        return text

    def trailer(self) -> bytes:
        return b"\n]\n"


class Csv:
    """Comma-separated values after RFC 4180, with a header and line feeds.

    Null is an empty field and empty text is ``""``; booleans are ``true`` and ``false``, dates ISO 8601, lists and
    objects JSON text.
    """

    def __init__(self, name: str, columns: Sequence[str]) -> None:
        if not columns:
            raise OutputError(f"{name}: a CSV file needs its columns named", mend="Write a .jsonl file instead.")
        self._name = name
        self._columns = tuple(columns)
        self._known = frozenset(columns)
        self._rows = 0

    def header(self) -> bytes:
        return (",".join([_csv_text(column) for column in self._columns]) + "\n").encode()

    def encode(self, rows: Sequence[Row]) -> bytes:
        text = "".join([self._line(row, number) for number, row in enumerate(rows, self._rows + 1)])
        self._rows += len(rows)
        try:
            return text.encode()
        except UnicodeEncodeError:
            return str(whole_text(text)).encode()

    def trailer(self) -> bytes:
        return b""

    def _line(self, row: Row, number: int) -> str:
        try:
            line = ",".join([_csv_field(row.get(column)) for column in self._columns])
        except (TypeError, ValueError) as error:
            raise unwritable(self._name, row, number, error) from error
        if not row.keys() <= self._known:
            extra = ", ".join(sorted(row.keys() - self._known))
            raise OutputError(
                f"{self._name}: row {number} has no column for {extra}", mend="Write a .jsonl file instead."
            )
        # The one empty field of a row would be an empty line, which readers skip.
        return (line or '""') + "\n"


def _csv_field(value: Any) -> str:
    kind = type(value)
    if kind is str:
        return _csv_text(value)
    if value is None:
        return ""
    if kind is int or kind is float:
        return repr(value)
    if kind is bool:
        return "true" if value else "false"
    json = json_text(value)
    return _csv_text(msgspec.json.decode(json) if json[0] == '"' else json)


def _csv_text(text: str) -> str:
    if not text or _QUOTED(text):
        return '"' + text.replace('"', '""') + '"'
    return text


def unwritable(name: str, row: Row, number: int, error: Exception) -> OutputError:
    """What to say of a row that holds something other than data."""
    column = next((key for key, value in row.items() if not _is_data(value)), "")
    return OutputError(
        f"{name}: row {number}, column {column}: {error}",
        mend="A row is made of text, numbers, booleans, dates, lists and objects.",
    )


def _is_data(value: Any) -> bool:
    try:
        json_text(value)
    except (TypeError, ValueError):
        return False
    return True


def json_text(value: Any) -> str:
    """*value* as JSON in a text cell."""
    try:
        return encode_json(value).decode()
    except UnicodeEncodeError:
        return encode_json(whole_text(value)).decode()


def whole_text(value: Any) -> Any:
    """*value* with each lone half of a surrogate pair, which no encoding can hold, replaced by U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        return {whole_text(key): whole_text(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [whole_text(item) for item in value]
    return value
