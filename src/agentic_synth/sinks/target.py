"""Where the bytes of an output end up: a file that is named when it is whole, or stdout."""

from __future__ import annotations

import errno
import io
import os
import select
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol

from agentic_synth.errors import OutputError
from agentic_synth.sinks.sink import OutputClosed

__all__ = ["PARTIAL_SUFFIX", "PartialFile", "Stdout", "Target", "explained"]

PARTIAL_SUFFIX = ".partial"

_PIPE_BYTES = 4096
"""POSIX's least PIPE_BUF: a pipe that polls writable takes this much without blocking."""
_POLL_MS = 100
_GONE = getattr(select, "POLLERR", 0) | getattr(select, "POLLHUP", 0)
"""What poll tells of the writing end of a pipe or socket whose reader has closed."""


class Target(Protocol):
    """Takes bytes, on a thread that may block."""

    name: str

    def check(self) -> None:
        """Raise OutputClosed if nobody is there any more to read what would be written; never waits."""
        ...

    def write(self, data: bytes) -> None:
        """Take all of *data*."""
        ...

    def hurry(self) -> None:
        """Wait for a reader that does not read a second more and then give up; called from any thread."""
        ...

    def close(self, *, deliver: bool) -> None:
        """Make what was written durable, and with *deliver* give it its final name."""
        ...


class PartialFile:
    """A file that grows at ``<name>.partial`` and takes its final name only when it is whole.

    A lock keeps a second writer out as long as the file is open. A partial file left by a killed process is begun
    anew: its rows come from the response store.
    """

    def __init__(self, path: str, *, replace: bool = True) -> None:
        self.name = path
        self.final = Path(os.path.realpath(path))
        self.partial = self.final.with_name(self.final.name + PARTIAL_SUFFIX)
        with explained(self.name):
            _check_place(self.name, self.final, replace=replace)
            self._file = _open_locked(self.partial, self.name)

    def check(self) -> None:
        """A disk needs no reader."""

    def write(self, data: bytes) -> None:
        with memoryview(data) as view:
            done = 0
            while done < len(view):
                done += self._file.write(view[done:]) or 0

    def duplicate(self) -> BinaryIO:
        """A second, buffered handle, for a library that insists on closing the file it was given."""
        return os.fdopen(os.dup(self._file.fileno()), "wb")

    def hurry(self) -> None:
        """A disk needs no reader."""

    def close(self, *, deliver: bool) -> None:
        with self._file:
            os.fsync(self._file.fileno())
            if deliver and sys.platform != "win32":
                # Renamed before it is closed, so that the lock outlives the partial name.
                self.partial.replace(self.final)
                _sync_directory(self.final.parent)
        if deliver and sys.platform == "win32":
            self.partial.replace(self.final)


class Stdout:
    """Standard output, by its descriptor, so that no half-written buffer is left to fail at exit.

    *patience* is how many seconds a hurried write waits for a reader that does not read.
    """

    name = "stdout"

    def __init__(self, stream: BinaryIO | None = None, *, patience: float = 1.0) -> None:
        if stream is None:
            if sys.stdout is None or sys.stdout.closed:
                raise OutputError("stdout is closed", mend="Name an output file with --out FILE.")
            sys.stdout.flush()
            stream = sys.stdout.buffer
        self._stream = stream
        self._poll = _poll_of(stream)
        self._look = _poll_of(stream)  # a poll of its own, since two threads may not share one
        self._patience = patience
        self._polls_left: int | None = None

    def check(self) -> None:
        if self._look is not None and any(events & _GONE for _, events in self._look.poll(0)):
            raise OutputClosed("nobody reads stdout any more")

    def write(self, data: bytes) -> None:
        with memoryview(data) as view:
            done = 0
            while done < len(view):
                done += self._write_some(view[done:])
        self._stream.flush()

    def hurry(self) -> None:
        self._polls_left = round(self._patience * 1000 / _POLL_MS)

    def close(self, *, deliver: bool) -> None:
        """Stdout is not ours to close."""

    def _write_some(self, view: memoryview) -> int:
        if self._poll is None:
            return self._stream.write(view)
        while not self._poll.poll(_POLL_MS):
            if self._polls_left is not None:
                self._polls_left -= 1
                if self._polls_left < 0:
                    raise OutputClosed("the reader of stdout does not read; the last rows are not written to it")
        return os.write(self._stream.fileno(), view[:_PIPE_BYTES])


def _poll_of(stream: BinaryIO) -> select.poll | None:
    """A poll on *stream*, or None where there is no descriptor (a captured stdout) or no poll (Windows)."""
    try:
        poll = select.poll()
        poll.register(stream.fileno(), select.POLLOUT)
    except (AttributeError, io.UnsupportedOperation):
        return None
    return poll


def _check_place(name: str, final: Path, *, replace: bool) -> None:
    if final.is_dir():
        raise OutputError(f"{name} is a directory", mend=f"Name a file in it, such as {name.rstrip('/')}/rows.jsonl.")
    if not final.parent.is_dir():
        raise OutputError(f"{name}: there is no directory {final.parent}", mend=f"Make it: mkdir -p {final.parent}")
    if not final.exists():
        return
    if not stat.S_ISREG(final.stat().st_mode):
        raise OutputError(f"{name} is not a regular file", mend="Name a regular file, or - for stdout.")
    if not replace:
        raise OutputError(f"{name} exists already", mend="Name another file, or allow it to be replaced.")


def _open_locked(path: Path, name: str) -> io.FileIO:
    """Open *path* empty for this process alone."""
    while True:
        file = io.FileIO(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666), "r+")
        try:
            _lock(file, name)
            # The writer before us may have renamed what we opened while we waited for nothing: look again.
            if _is_still(file, path):
                file.truncate(0)
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def _is_still(file: io.FileIO, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


def _lock(file: io.FileIO, name: str) -> None:
    if sys.platform == "win32":
        return
    import fcntl  # noqa: PLC0415 - POSIX only

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputError(
            f"{name}: another run is writing this file", mend="Wait for it, or name another file."
        ) from None
    except OSError as error:
        # Some network file systems have no locks; two writers there are the user's to avoid.
        if error.errno not in {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}:
            raise


def _sync_directory(path: Path) -> None:
    """Make a rename in *path* survive power loss, where the file system can."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


_MENDS = {
    errno.ENOSPC: "Free some space and run again: answers already paid for are in the store.",
    errno.EFBIG: "The file would be larger than this system allows.",
    errno.EDQUOT: "Your disk quota is used up. Free some space and run again: what was paid for is in the store.",
    errno.EACCES: "Choose a place you may write to, or change its permissions.",
    errno.EPERM: "Choose a place you may write to, or change its permissions.",
    errno.EROFS: "The file system is read-only: choose another place.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
}


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn what the system says about the output *name* into an OutputError with a mend."""
    try:
        yield
    except BrokenPipeError as error:
        raise OutputClosed(f"nobody reads {name} any more") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OutputError(f"cannot write {name}: {reason}", mend=_MENDS.get(error.errno or 0, "")) from error
