"""From the name of an output to its sink."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePath

from agentic_synth.errors import OutputError
from agentic_synth.sinks.compression import Compression, compressor
from agentic_synth.sinks.formats import Csv, Format, JsonArray, JsonLines
from agentic_synth.sinks.sink import OutputClosed, Row, Sink, SinkColumn
from agentic_synth.sinks.target import PartialFile, Stdout
from agentic_synth.sinks.text import TextSink

__all__ = ["OutputClosed", "Row", "Sink", "SinkColumn", "open_sink"]

_TEXT: dict[str, Callable[[str, Sequence[str]], Format]] = {
    ".jsonl": JsonLines,
    ".ndjson": JsonLines,
    ".json": JsonArray,
    ".csv": Csv,
}
_COMPRESSIONS: dict[str, Compression] = {".gz": "gz", ".zst": "zst"}
_KNOWN = ".jsonl, .ndjson, .json, .csv (each also with .gz or .zst) and .parquet"


def open_sink(path: str | None, columns: Sequence[SinkColumn], *, replace: bool = True) -> Sink:
    """A sink in the format that the name says; None and ``-`` are JSON Lines on stdout.

    What can be known at once fails at once: the format, the directory, another run on the same file. Without
    *replace* an existing file is left alone. A file needs no columns to be JSON, and then takes any rows.

    Raises:
        OutputError: nothing can be written there.
    """
    names = [column.name for column in columns]
    if path is None or path == "-":
        return TextSink(Stdout(), JsonLines("stdout", names))
    extension, compression = _kind(path)
    if extension == ".parquet":
        from agentic_synth.sinks.parquet import ParquetSink  # noqa: PLC0415 - Arrow is heavy

        if not names:
            raise OutputError(f"{path}: a Parquet file needs its columns named", mend="Write a .jsonl file instead.")
        return ParquetSink(PartialFile(path, replace=replace), columns)
    rows = _TEXT[extension](path, names)
    file = PartialFile(path, replace=replace)
    return TextSink(file, rows, compressor=compressor(compression, file) if compression else None)


def _kind(path: str) -> tuple[str, Compression]:
    """The format's extension and the compression around it."""
    name = PurePath(path.lower())
    compression = _COMPRESSIONS.get(name.suffix, "")
    extension = name.with_suffix("").suffix if compression else name.suffix
    if extension == ".parquet" and compression:
        raise OutputError(f"{path}: Parquet compresses by itself", mend=f"Leave out .{compression}.")
    if extension != ".parquet" and extension not in _TEXT:
        said = f"no format is called {extension!r}" if extension else "the name does not say the format"
        raise OutputError(f"{path}: {said}", mend=f"Known are {_KNOWN}.")
    return extension, compression
