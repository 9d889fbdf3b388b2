"""Leases on draws: while one process asks for an answer, others that share the store wait for it.

A lease is a lock on one byte of a file beside the store, at an offset that the key gives. The kernel holds it: it costs
two system calls and no disk, it ends with its process however that dies, and so it needs neither renewal nor a clock.
"""

from __future__ import annotations

import os
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Protocol

if sys.platform != "win32":
    import fcntl

__all__ = ["FileLeases", "Leases", "NoLeases"]


class Leases(Protocol):
    """Who may ask for which draw."""

    def take(self, key: bytes) -> bool:
        """Claim the asking of this draw for this process; False while another process holds the claim.

        Never waits. A draw taken twice here must be released twice.
        """
        ...

    def release(self, key: bytes) -> None:
        """Give the claim back."""
        ...


class NoLeases:
    """For a store that no other process can see."""

    def take(self, key: bytes) -> bool:
        """Always granted."""
        return True

    def release(self, key: bytes) -> None:
        """Nothing is held."""


class FileLeases:
    """Leases between the processes of one machine that name the same *path*.

    Where the system has no such locks (Windows, some file systems) every lease is granted, and two processes that ask
    the same at the same time both pay.
    """

    def __init__(self, path: Path) -> None:
        """Nothing is opened before the first lease."""
        self._path = path
        self._file: int | None = None
        self._works = sys.platform != "win32"
        self._held: dict[bytes, int] = {}

    def take(self, key: bytes) -> bool:
        """Claim the asking of this draw; see :class:`Leases`."""
        times = self._held.get(key, 0)
        if not times and self._works:
            try:
                self._lock(key, hold=True)
            except (BlockingIOError, PermissionError):
                return False  # POSIX allows either of them for a lock that somebody holds
            except OSError:
                self._works = False
        self._held[key] = times + 1
        return True

    def release(self, key: bytes) -> None:
        """Give the claim back; the last of several lets other processes in."""
        times = self._held.pop(key)
        if times > 1:
            self._held[key] = times - 1
        elif self._file is not None:
            with suppress(OSError):
                self._lock(key, hold=False)

    def close(self) -> None:
        """Give back everything; closing twice is allowed."""
        file, self._file, self._works = self._file, None, False
        if file is not None:
            os.close(file)

    def _lock(self, key: bytes, *, hold: bool) -> None:
        if self._file is None:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        offset = int.from_bytes(key[:8], "little") >> 2  # a file's offsets are signed, and there must be room after it
        if sys.platform == "linux":
            # A lock of the open file, not of the process: two engines of one process exclude each other too, and
            # closing one leaves the other's locks alone.
            kind = fcntl.F_WRLCK if hold else fcntl.F_UNLCK
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, offset, 1, 0))
        elif sys.platform != "win32":
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB if hold else fcntl.LOCK_UN, 1, offset)


_FLOCK = struct.Struct("hhqqi")
