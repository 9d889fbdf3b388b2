"""Seed rows from delimited text."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from agentic_synth.errors import OutputError
from agentic_synth.sources.files import fingerprint_file, is_small, open_unpacked, reading
from agentic_synth.sources.seeds import Seed

if TYPE_CHECKING:
    from _csv import Reader as _Reader  # the standard library names the type nowhere else

__all__ = ["CsvSeeds"]

_DELIMITERS = ",;\t|"
_SNIFFED_CHARS = 1 << 16
_SNIFFED_RECORDS = 20
_FIELD_CHARS = 64 << 20


class CsvSeeds:
    """Comma, semicolon, tab or bar between the fields, told by the first records; quoting after RFC 4180.

    The first record names the columns. Every value stays the text it is, an empty field is ``""``: a recipe that needs
    a number says so (``{{ age | int }}``), and ``007`` stays what it is.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path

    def __iter__(self) -> Iterator[Seed]:
        with reading(self.name, self._path), self._open() as file:
            reader = self._reader(file)
            columns = self._columns_of(reader)
            for record in self._records(reader):
                if len(record) != len(columns):
                    raise OutputError(
                        f"{self.name}:{reader.line_num}: {len(record)} fields, and the header has {len(columns)}",
                        mend="Put a field that holds the delimiter or a line break in double quotes.",
                    )
                yield dict(zip(columns, record, strict=True))

    def columns(self) -> list[str]:
        with reading(self.name, self._path), self._open() as file:
            return self._columns_of(self._reader(file))

    def count(self) -> int | None:
        return self._count

    def fingerprint(self) -> str:
        return fingerprint_file(self._path)

    @cached_property
    def _count(self) -> int | None:
        return sum(1 for _ in self) if is_small(self._path) else None

    @cached_property
    def _delimiter(self) -> str:
        with reading(self.name), self._open(errors="replace") as file:
            head = file.read(_SNIFFED_CHARS)
        return max(_DELIMITERS, key=lambda delimiter: _fit(head, delimiter))

    def _open(self, errors: str = "strict") -> io.TextIOWrapper:
        return io.TextIOWrapper(open_unpacked(self._path), "utf-8-sig", errors, newline="")

    def _reader(self, file: io.TextIOWrapper) -> _Reader:
        # The limit belongs to the whole process, and its default is shorter than a long document.
        csv.field_size_limit(max(csv.field_size_limit(), _FIELD_CHARS))
        return csv.reader(file, delimiter=self._delimiter, strict=True)

    def _columns_of(self, reader: _Reader) -> list[str]:
        columns = next(self._records(reader), None)
        if columns is None:
            raise OutputError(f"{self.name} has no header", mend="The first line must name the columns.")
        twice = {column for column in columns if columns.count(column) > 1}
        if twice or "" in columns:
            said = f"names {min(twice)!r} twice" if twice and "" not in twice else "leaves a column without a name"
            raise OutputError(
                f"{self.name}:{reader.line_num}: the header {said}", mend="Give each column a name of its own."
            )
        return columns

    def _records(self, reader: _Reader) -> Iterator[list[str]]:
        """The records that are not empty lines."""
        while True:
            try:
                record = next(reader, None)
            except csv.Error as error:
                raise OutputError(
                    f"{self.name}:{reader.line_num}: broken CSV: {error}",
                    mend='A double quote inside a quoted field is written twice: "".',
                ) from error
            if record is None:
                return
            if record:
                yield record


def _fit(head: str, delimiter: str) -> tuple[bool, int]:
    """How well *delimiter* explains the first records: all of one width first, then the wider the better."""
    records = csv.reader(io.StringIO(head, newline=""), delimiter=delimiter)
    widths = [len(record) for record in itertools.islice(records, _SNIFFED_RECORDS) if record]
    return len(set(widths[:-1] or widths)) == 1 and widths[0] > 1, widths[0] if widths else 0
