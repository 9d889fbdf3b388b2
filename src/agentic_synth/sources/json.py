"""Seed rows from JSON text: one object a line, or one array of objects."""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from agentic_synth.errors import OutputError
from agentic_synth.sources.files import fingerprint_file, is_small, open_unpacked, reading
from agentic_synth.sources.seeds import Seed, keys_of

__all__ = ["JsonArraySeeds", "JsonLinesSeeds"]

READ_CHARS = 1 << 18
_ROW_CHARS = 64 << 20
_TOKEN_CHARS = 32
"""More than the longest piece of JSON, texts and numbers apart, that a read can cut in two."""


class JsonLinesSeeds:
    """One JSON object a line; empty lines are skipped, and so is a byte order mark."""

    def __init__(self, path: Path, *, name: str | None = None) -> None:
        self.name = name or str(path)
        self._path = path

    def __iter__(self) -> Iterator[Seed]:
        with reading(self.name, self._path), open_unpacked(self._path) as file:
            for number, line in enumerate(file, 1):
                text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
                if not text.isspace():
                    yield self._row(text, number)

    def columns(self) -> list[str]:
        return keys_of(self)

    def count(self) -> int | None:
        return self._count

    def fingerprint(self) -> str:
        return fingerprint_file(self._path)

    @cached_property
    def _count(self) -> int | None:
        if not is_small(self._path):
            return None
        with reading(self.name, self._path), open_unpacked(self._path) as file:
            return sum(not line.isspace() for line in file)

    def _row(self, line: bytes, number: int) -> Seed:
        try:
            row = msgspec.json.decode(line)
        except msgspec.DecodeError:
            # The standard library takes what Python and pandas write beyond JSON: NaN, lone surrogates.
            row = self._lenient(line, number)
        return as_row(row, f"{self.name}:{number}")

    def _lenient(self, line: bytes, number: int) -> Any:
        try:
            return json.loads(line)
        except json.JSONDecodeError as error:
            mend = "Each line must be one whole JSON object."
            if line.lstrip().startswith(b"[") and number == 1:
                mend = "This looks like one JSON array: give the file a name that ends in .json."
            raise OutputError(
                f"{self.name}:{number}: broken JSON: {error.msg} (column {error.colno})", mend=mend
            ) from None


class JsonArraySeeds:
    """One JSON array of objects, read *read_chars* at a time."""

    def __init__(self, path: Path, *, read_chars: int = READ_CHARS) -> None:
        self.name = str(path)
        self._path = path
        self._read_chars = read_chars

    def __iter__(self) -> Iterator[Seed]:
        with reading(self.name, self._path), io.TextIOWrapper(open_unpacked(self._path), "utf-8-sig") as file:
            yield from _Array(self.name, file, self._read_chars).rows()

    def columns(self) -> list[str]:
        return keys_of(self)

    def count(self) -> int | None:
        return self._count

    def fingerprint(self) -> str:
        return fingerprint_file(self._path)

    @cached_property
    def _count(self) -> int | None:
        return sum(1 for _ in self) if is_small(self._path) else None


class _Array:
    """The rows of a JSON array whose text arrives in pieces."""

    def __init__(self, name: str, file: io.TextIOWrapper, read_chars: int) -> None:
        self._name = name
        self._file = file
        self._read_chars = read_chars
        self._decoder = json.JSONDecoder()
        self._text = ""
        self._at = 0
        self._line = 1
        self._counted = 0
        self._ended = False

    def rows(self) -> Iterator[Seed]:
        self._expect("[", "an array of objects")
        separator = ""
        while self._peek() != "]":
            if separator:
                self._expect(",", "a comma or the end of the array")
                self._peek()
            row, line = self._row()
            yield as_row(row, f"{self._name}:{line}")
            separator = ","

    def _row(self) -> tuple[Any, int]:
        line = self._line_at(self._at)
        while True:
            try:
                row, self._at = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                self._more_or_fail(error)
            else:
                return row, line

    def _more_or_fail(self, error: json.JSONDecodeError) -> None:
        cut = error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - _TOKEN_CHARS
        if not cut or self._ended or len(self._text) - self._at > _ROW_CHARS:
            said = "the file ends inside a row" if cut and self._ended else f"broken JSON: {error.msg}"
            raise OutputError(
                f"{self._name}:{self._line_at(error.pos)}: {said}", mend="Mend the file at this line."
            ) from None
        # As much again as there is, so that a long row is not scanned from its start at every read.
        self._read(max(self._read_chars, len(self._text) - self._at))

    def _peek(self) -> str:
        """The next character that is no space, ``""`` at the end."""
        while True:
            while self._at < len(self._text):
                if not self._text[self._at].isspace():
                    return self._text[self._at]
                self._at += 1
            if self._ended:
                return ""
            self._read(self._read_chars)

    def _expect(self, char: str, said: str) -> None:
        found = self._peek()
        if found != char:
            what = f"found {found!r}" if found else "the file ends"
            raise OutputError(
                f"{self._name}:{self._line_at(self._at)}: expected {said}, {what}",
                mend="A .json file of seeds is one array of objects; one object a line is .jsonl.",
            )
        self._at += 1

    def _read(self, chars: int) -> None:
        self._line_at(self._at)
        piece = self._file.read(chars)
        self._text, self._at, self._counted = self._text[self._at :] + piece, 0, 0
        self._ended = not piece

    def _line_at(self, at: int) -> int:
        """The line of the file that position *at* lies on; positions never go back."""
        self._line += self._text.count("\n", self._counted, at)
        self._counted = at
        return self._line


def as_row(row: Any, where: str) -> Seed:
    """*row*, if it is an object with keys."""
    if not isinstance(row, dict) or not row:
        kind = "an empty object" if row == {} else f"a JSON {_KINDS.get(type(row), 'value')}"
        raise OutputError(f"{where}: a seed row must be an object with keys, this is {kind}")
    return row


_KINDS = {list: "array", str: "string", int: "number", float: "number", bool: "boolean", type(None): "null"}
