"""Rows as Parquet, in row groups that depend on nothing but the rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from agentic_synth.errors import OutputError
from agentic_synth.sinks.arrow import Misfit, Shape, infer_shape
from agentic_synth.sinks.lane import Lane
from agentic_synth.sinks.schema import shape_of
from agentic_synth.sinks.sink import Row, SinkColumn
from agentic_synth.sinks.target import PartialFile

__all__ = ["ParquetSink"]

_CHUNK_ROWS = 250
"""Converted at a time: about a millisecond of the event loop."""
GROUP_ROWS = 10_000
GROUP_BYTES = 64 << 20


class ParquetSink:
    """Turns rows into Arrow columns at once, and writes a row group from a thread when it is full.

    A group is full at *group_rows* rows or *group_bytes*, looked at every 250 rows, whatever the sizes of the writes.
    A column whose schema says nothing takes the type that its first row group shows. A value that does not fit its
    column is an error and is never bent: text stays text, 1.5 is no integer, an object has no key beyond its struct.
    """

    def __init__(
        self,
        target: PartialFile,
        columns: Sequence[SinkColumn],
        *,
        group_rows: int = GROUP_ROWS,
        group_bytes: int = GROUP_BYTES,
    ) -> None:
        self._target = target
        self._full_rows = group_rows
        self._full_bytes = group_bytes
        self._columns = [_Column(column.name, shape_of(column.schema)) for column in columns]
        self._names = {column.name for column in columns}
        self._pending: list[Row] = []
        self._rows = 0
        self._group_rows = 0
        self._group_bytes = 0
        self._lane = Lane(target.name)
        self._file = target.duplicate()
        self._writer: pq.ParquetWriter | None = None
        self._refused: OutputError | None = None
        self._closed = False

    async def write(self, rows: Sequence[Row]) -> None:
        self._raise_refused()
        self._pending.extend(rows)
        while len(self._pending) >= _CHUNK_ROWS:
            self._convert(_CHUNK_ROWS)
            if self._group_rows >= self._full_rows or self._group_bytes >= self._full_bytes:
                await self._send_group()
        if self._lane.error is not None:
            await self._lane.settle()

    async def flush(self) -> None:
        self._raise_refused()
        await self._lane.settle()

    async def close(self, *, deliver: bool) -> None:
        if self._closed:
            return
        self._closed = True
        await self._lane.finish(partial(self._finish, deliver), quiet=not deliver)

    async def _send_group(self) -> None:
        await self._lane.settle()
        typed = all(column.shape is not None for column in self._columns)
        self._lane.start(partial(self._put, *self._take()))
        if not typed:
            # The first group decides the types that the next rows are converted to.
            await self._lane.settle()

    def _convert(self, count: int) -> None:
        """Move *count* pending rows into the columns; if a value does not fit, no row moves any more."""
        rows = self._pending[:count]
        del self._pending[:count]
        try:
            chunks = [self._chunk(column, rows) for column in self._columns]
            for number, row in enumerate(rows, self._rows + 1):
                if not row.keys() <= self._names:
                    raise self._misfit(number, min(row.keys() - self._names), "there is no such column")
        except OutputError as error:
            self._pending.clear()
            self._refused = error
            raise
        for column, chunk in zip(self._columns, chunks, strict=True):
            self._group_bytes += column.add(chunk)
        self._rows += len(rows)
        self._group_rows += len(rows)

    def _chunk(self, column: _Column, rows: Sequence[Row]) -> _Chunk:
        values = [row.get(column.name) for row in rows]
        return values if column.shape is None else self._build(column, column.shape, values, self._rows)

    def _build(self, column: _Column, shape: Shape, values: list[Any], rows_before: int) -> pa.Array:
        try:
            return shape.build(values)
        except Misfit:
            for number, value in enumerate(values, rows_before + 1):
                try:
                    shape.build([value])
                except Misfit as misfit:
                    raise self._misfit(number, column.name, f"{misfit} (the column is {shape.type})") from misfit
            raise

    def _misfit(self, number: int, name: str, reason: str) -> OutputError:
        return OutputError(
            f"{self._target.name}: row {number}, column {name}: {reason}",
            mend="Give the column a schema that allows the value, or write a .jsonl file, which takes any; "
            "rows already answered come from the store and cost nothing again.",
        )

    def _raise_refused(self) -> None:
        if self._refused is not None:
            raise self._refused

    def _take(self) -> tuple[int, list[list[_Chunk]]]:
        """The columns of one row group, and how many rows came before it."""
        before = self._rows - self._group_rows
        self._group_rows = self._group_bytes = 0
        return before, [column.take() for column in self._columns]

    def _put(self, rows_before: int, columns: list[list[_Chunk]]) -> None:
        """Write one row group; runs on the lane."""
        arrays = []
        for column, chunks in zip(self._columns, columns, strict=True):
            if column.shape is None:
                values = [value for chunk in chunks for value in chunk]
                shape = infer_shape(values)
                chunks = [self._build(column, shape, values, rows_before)]  # noqa: PLW2901 - the same chunks, typed
                column.shape = shape
            arrays.append(pa.chunked_array(chunks, column.shape.type))
        table = pa.table(arrays, names=[column.name for column in self._columns])
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._file, table.schema, compression="zstd")
        if table.num_rows:
            self._writer.write_table(table, row_group_size=table.num_rows)

    def _finish(self, deliver: bool) -> None:
        whole = False
        try:
            if self._lane.error is None:
                self._convert(len(self._pending))
                self._put(*self._take())
                whole = self._refused is None
        finally:
            self._end(deliver=deliver and whole)
        if deliver:
            self._raise_refused()

    def _end(self, *, deliver: bool) -> None:
        whole = False
        try:
            with self._file:
                if self._writer is not None:
                    self._writer.close()
            whole = True
        finally:
            self._target.close(deliver=deliver and whole)


_Chunk: TypeAlias = pa.Array | list[Any]
"""Part of a column: an array, or the values themselves as long as their type is not known."""


class _Column:
    """A column of the row group in the making; *shape* is None until its first group is written."""

    def __init__(self, name: str, shape: Shape | None) -> None:
        self.name = name
        self.shape = shape
        self._chunks: list[_Chunk] = []

    def add(self, chunk: _Chunk) -> int:
        """Append *chunk*, and say about how many bytes it holds: the same for the same rows."""
        self._chunks.append(chunk)
        if isinstance(chunk, list):
            return sum(len(value) for value in chunk if isinstance(value, str)) + 8 * len(chunk)
        return int(chunk.nbytes)

    def take(self) -> list[_Chunk]:
        """The chunks so far; the next group starts without any."""
        chunks, self._chunks = self._chunks, []
        return chunks
