"""Compressed text outputs whose bytes depend on nothing but the text."""

from __future__ import annotations

import gzip
from typing import BinaryIO, Literal, Protocol, TypeAlias

from agentic_synth.sinks.target import PartialFile

__all__ = ["Compression", "Compressor", "compressor"]

Compression: TypeAlias = Literal["", "gz", "zst"]

_GZIP_LEVEL = 6


class Compressor:
    """Compresses what is written to it into a file; closing writes the end and leaves the file itself open."""

    def __init__(self, stream: _Stream, file: BinaryIO) -> None:
        self._stream = stream
        self._file = file

    def write(self, data: bytes) -> None:
        self._stream.write(data)

    def close(self) -> None:
        # Arrow closes the handle it was given, gzip does not.
        with self._file:
            self._stream.close()


class _Stream(Protocol):
    def write(self, data: bytes, /) -> object: ...

    def close(self) -> None: ...


def compressor(compression: Literal["gz", "zst"], file: PartialFile) -> Compressor:
    """A compressor into *file*: neither a name nor a time is stored, and a ``.zst`` is one frame."""
    handle = file.duplicate()
    if compression == "gz":
        return Compressor(gzip.GzipFile("", "wb", _GZIP_LEVEL, handle, mtime=0), handle)
    import pyarrow as pa  # noqa: PLC0415 - heavy

    return Compressor(pa.CompressedOutputStream(pa.PythonFile(handle, mode="w"), "zstd"), handle)
