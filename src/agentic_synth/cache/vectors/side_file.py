"""Files that can be made again: written whole or not at all, and never trusted without looking.

A file is what a format wrote, then a trailer that says whose it is, how long it is, and the checksum of it all.
"""

from __future__ import annotations

import os
import secrets
import struct
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

__all__ = ["Stamp", "read_stamp", "replace_file"]

T = TypeVar("T")

_MAGIC = b"synthvec"
_END = struct.Struct("<II8s")  # bytes of the stamp, its checksum, the magic
_LARGEST_STAMP = 4_096
_CHUNK = 1 << 20
_ABANDONED_SECONDS = 86_400.0


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """What the trailer tells: the file holds *count* vectors of *owner*, up to the id *last* of its store."""

    format: str
    owner: bytes
    dimensions: int
    count: int
    last: int
    payload_bytes: int
    payload_crc: int


def read_stamp(path: Path, *, format: str, owner: bytes, dimensions: int) -> Stamp | None:  # noqa: A002 - as in Stamp
    """The stamp of the file at *path*, None where there is no sound file of this format and owner."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            stamp = _stamp_at_end(file, size)
            mine = stamp is not None and (stamp.format, stamp.owner, stamp.dimensions) == (format, owner, dimensions)
            if stamp is None or not mine or _crc(file, stamp.payload_bytes) != stamp.payload_crc:
                return None
            return stamp
    except OSError:
        return None


def _stamp_at_end(file: BinaryIO, size: int) -> Stamp | None:
    if size < _END.size:
        return None
    file.seek(size - _END.size)
    length, crc, magic = _END.unpack(file.read(_END.size))
    if magic != _MAGIC or length > min(_LARGEST_STAMP, size - _END.size):
        return None
    file.seek(size - _END.size - length)
    written = file.read(length)
    if zlib.crc32(written) != crc:
        return None
    try:
        stamp = msgspec.msgpack.decode(written, type=Stamp)
    except msgspec.DecodeError:
        return None
    return stamp if stamp.payload_bytes == size - _END.size - length else None


def replace_file(path: Path, fill: Callable[[Path], Stamp], opened: Callable[[Path, Stamp], T]) -> T:
    """Put what *fill* writes in the place of the file at *path*; return what *opened* makes of it before it is there.

    Readable by its owner only. Whenever the process or the machine stops, the old file or the new one is there, whole.
    *fill* leaves size and checksum of the stamp open.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _sweep(path)
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        os.close(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        stamp = fill(temporary)
        with temporary.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            stamp = msgspec.structs.replace(stamp, payload_bytes=size, payload_crc=_crc(file, size))
            file.seek(size)
            written = msgspec.msgpack.encode(stamp)
            file.write(written + _END.pack(len(written), zlib.crc32(written), _MAGIC))
            file.flush()
            os.fsync(file.fileno())
        made = opened(temporary, stamp)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    _sync_directory(path.parent)
    return made


def _crc(file: BinaryIO, length: int) -> int:
    file.seek(0)
    crc = 0
    while length > 0 and (chunk := file.read(min(_CHUNK, length))):
        crc = zlib.crc32(chunk, crc)
        length -= len(chunk)
    return crc


def _sweep(path: Path) -> None:
    # What processes that died in the middle left behind; nobody writes for a day.
    for left in path.parent.glob(f"{path.name}.*.tmp*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _ABANDONED_SECONDS:
                left.unlink()


def _sync_directory(path: Path) -> None:
    with suppress(OSError):  # some systems cannot open a directory, and need no such call
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
