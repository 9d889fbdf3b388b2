"""From the name of a seeds file, or an object, to its rows."""

from __future__ import annotations

import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from agentic_synth.errors import OutputError
from agentic_synth.sources.csv import CsvSeeds
from agentic_synth.sources.files import check_file, reading
from agentic_synth.sources.json import JsonArraySeeds, JsonLinesSeeds
from agentic_synth.sources.memory import MemorySeeds
from agentic_synth.sources.seeds import Seed, Seeds

__all__ = ["Seed", "Seeds", "open_seeds", "seeds_from"]

_TEXT: dict[str, Callable[[Path], Seeds]] = {
    ".jsonl": JsonLinesSeeds,
    ".ndjson": JsonLinesSeeds,
    ".json": JsonArraySeeds,
    ".csv": CsvSeeds,
    ".tsv": CsvSeeds,
}
_KNOWN = ".jsonl, .ndjson, .json, .csv, .tsv (each also with .gz or .zst) and .parquet"


def open_seeds(path: str, *, stdin: BinaryIO | None = None) -> Seeds:
    """The seeds at *path*, in the format that its name says; ``-`` is JSON Lines on stdin, ``hf:`` a dataset.

    The first row is read at once, so that a wrong file is told before a run begins.

    Raises:
        OutputError: there is nothing to read; the message says why.
    """
    if path.startswith("hf:"):
        from agentic_synth.sources.hub import HubSeeds  # noqa: PLC0415 - rare

        seeds: Seeds = HubSeeds(path)
    elif path == "-":
        seeds = _spooled(stdin or sys.stdin.buffer)
    else:
        seeds = _open_file(Path(path))
    if next(iter(seeds), None) is None:
        raise OutputError(f"{seeds.name} has no rows", mend="Seeds need at least one row.")
    return seeds


def seeds_from(source: str | Path | Seeds | Iterable[Seed]) -> Seeds:
    """Seeds from whatever a caller has: a path, rows, or something that is Seeds already.

    An iterator is read to its end and held, as it cannot be read again; a data set too large for that wants a file.
    """
    if isinstance(source, str | Path):
        return open_seeds(str(source))
    if isinstance(source, Seeds):
        return source
    rows = source if isinstance(source, Sequence) else list(source)
    return MemorySeeds(cast("Sequence[Seed]", rows))


def _open_file(path: Path) -> Seeds:
    check_file(path)
    unpacked = path.with_suffix("") if path.suffix.lower() in {".gz", ".zst"} else path
    extension = unpacked.suffix.lower()
    if path.suffix.lower() == ".parquet":
        from agentic_synth.sources.parquet import ParquetSeeds  # noqa: PLC0415 - Arrow is heavy

        return ParquetSeeds(path)
    if extension not in _TEXT:
        raise OutputError(f"{path}: no format is called {extension!r}", mend=f"Known are {_KNOWN}.")
    return _TEXT[extension](path)


def _spooled(stdin: BinaryIO) -> Seeds:
    """Stdin in a temporary file, which goes when the seeds do: a pipe can be read only once."""
    if stdin.isatty():
        raise OutputError("nothing is piped into stdin", mend="Pipe JSON Lines in, or name a file instead of -.")
    with tempfile.NamedTemporaryFile("wb", prefix="seeds-", suffix=".jsonl", delete=False) as file:
        path = Path(file.name)
        with reading("stdin"):
            shutil.copyfileobj(stdin, file)
    seeds = JsonLinesSeeds(path, name="stdin")
    weakref.finalize(seeds, path.unlink, missing_ok=True)
    return seeds
