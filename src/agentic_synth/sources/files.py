"""Files of seed rows: finding them, unpacking them, naming their contents."""

from __future__ import annotations

import difflib
import gzip
import hashlib
import io
import itertools
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from agentic_synth.errors import OutputError

__all__ = ["WHOLE_BYTES", "check_file", "fingerprint_file", "is_small", "open_unpacked", "reading"]

WHOLE_BYTES = 64 << 20
"""A file up to this size is read through once to be counted or hashed: well under a second."""
_EDGE_BYTES = 1 << 20
_NAMES_SEEN = 10_000
_EXPANSION = 8
"""About how much larger text is than its compressed file."""


def check_file(path: Path) -> None:
    """Say what is wrong with *path* as a place to read from, before anything else does."""
    if path.is_dir():
        raise OutputError(f"{path} is a directory", mend="Name a file in it.")
    if not path.exists():
        raise OutputError(f"{path}: there is no such file", mend=_suggestion(path))
    if not path.is_file():
        raise OutputError(f"{path} is not a regular file", mend="Pipe JSON Lines into stdin and name -.")
    with reading(str(path)), path.open("rb") as file:
        if not file.read(1):
            raise OutputError(f"{path} is empty", mend="Seeds need at least one row.")


def open_unpacked(path: Path) -> BinaryIO:
    """The bytes of *path*, unpacked where its name ends in ``.gz`` or ``.zst``."""
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return cast("BinaryIO", gzip.GzipFile(path, "rb"))
    if suffix == ".zst":
        import pyarrow as pa  # noqa: PLC0415 - heavy

        return io.BufferedReader(pa.input_stream(str(path), compression="zstd"))
    return path.open("rb")


def is_small(path: Path) -> bool:
    """Reading all of *path* takes well under a second."""
    packed = path.suffix.lower() in {".gz", ".zst"}
    return path.stat().st_size * (_EXPANSION if packed else 1) <= WHOLE_BYTES


def fingerprint_file(path: Path) -> str:
    """The hash of the contents; above 64 MiB of the size, the time of change, and a MiB at either end."""
    digest = hashlib.blake2b(digest_size=16)
    with reading(str(path)), path.open("rb") as file:
        status = os.fstat(file.fileno())
        if status.st_size <= WHOLE_BYTES:
            for block in iter(lambda: file.read(_EDGE_BYTES), b""):
                digest.update(block)
        else:
            digest.update(f"{status.st_size} {status.st_mtime_ns}".encode())
            digest.update(file.read(_EDGE_BYTES))
            file.seek(-_EDGE_BYTES, os.SEEK_END)
            digest.update(file.read(_EDGE_BYTES))
    return digest.hexdigest()


@contextmanager
def reading(name: str, path: Path | None = None) -> Iterator[None]:
    """Turn what goes wrong while *name* is read, the text file at *path*, into an OutputError."""
    try:
        yield
    except UnicodeDecodeError as error:
        where = f":{_undecodable_line(path)}" if path else ""
        raise OutputError(
            f"{name}{where}: this is not UTF-8 text (byte 0x{error.object[error.start]:02x})",
            mend=f"Convert it: iconv -f WINDOWS-1252 -t UTF-8 {name} > utf8-{Path(name).name}",
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise OutputError(f"{name} is cut off or damaged: {error}", mend="Compress or copy it again.") from error
    except OSError as error:
        raise OutputError(f"cannot read {name}: {(error.strerror or str(error)).lower()}") from error


def _undecodable_line(path: Path) -> int:
    """The first line that is not UTF-8; decoders read ahead and cannot tell."""
    with open_unpacked(path) as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 0


def _suggestion(path: Path) -> str:
    """The names in the directory that look like what was meant."""
    if not path.parent.is_dir():
        return f"There is no directory {path.parent} either."
    with reading(str(path.parent)):
        names = [entry.name for entry in itertools.islice(path.parent.iterdir(), _NAMES_SEEN)]
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(near)}?" if near else "Check the name; paths are relative to where you are."
