"""Seed rows from Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from agentic_synth.errors import OutputError
from agentic_synth.sources.files import fingerprint_file, reading
from agentic_synth.sources.seeds import Seed

__all__ = ["ParquetSeeds"]

_BATCH_ROWS = 500


class ParquetSeeds:
    """The rows of a Parquet file, a batch at a time, as Python values."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path

    def __iter__(self) -> Iterator[Seed]:
        with self._open() as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                yield from batch.to_pylist()

    def columns(self) -> list[str]:
        with self._open() as file:
            return list(file.schema_arrow.names)

    def count(self) -> int | None:
        with self._open() as file:
            return int(file.metadata.num_rows)

    def fingerprint(self) -> str:
        return fingerprint_file(self._path)

    @contextmanager
    def _open(self) -> Iterator[pq.ParquetFile]:
        try:
            with reading(self.name), pq.ParquetFile(self._path) as file:
                yield file
        except pa.ArrowInvalid as error:
            raise OutputError(f"{self.name} is no whole Parquet file: {error}", mend="Write it again.") from error
