"""Merges beside the process that is served by it: they hold the interpreter's lock for longer than a loop may wait."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec
import numpy as np

if TYPE_CHECKING:
    from agentic_synth.cache.vectors.index import Ids, Vector

__all__ = ["BINARY", "merge_aside", "news", "read_news", "run_merge"]

W = TypeVar("W", bound=msgspec.Struct)

BINARY = getattr(os, "O_BINARY", 0)
"""Opens a file as bytes, where text files differ."""

_WORTH_A_PROCESS = 2_000  # vectors: below, the lock is held for a millisecond or two, and a process costs 300
_NICENESS = 5


@contextmanager
def news(path: Path, hidden: Set[int], ids: Ids, vectors: Vector) -> Iterator[str]:
    """A file beside *path*, for its owner alone, with the ids to leave out, the new ids and the new vectors."""
    file_path = path.with_name(f"{path.name}.news")
    try:
        with os.fdopen(os.open(file_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY, 0o600), "wb") as file:
            for array in (np.fromiter(hidden, np.int64, len(hidden)), ids, vectors):
                np.save(file, array)
        yield str(file_path)
    finally:
        file_path.unlink(missing_ok=True)


def read_news(path: str) -> tuple[Ids, Ids, Vector]:
    """What :func:`news` wrote."""
    with Path(path).open("rb") as file:
        hidden, ids, vectors = (np.load(file) for _ in range(3))
    return hidden, ids, vectors


def merge_aside(merge: Callable[[W], None], work: W, inherited: Sequence[int], count: int) -> None:
    """Do *work* on *count* vectors in a process of its own, which gets the *inherited* descriptors.

    The module of *merge* must hand it to :func:`run_merge` when it is run.
    """
    if count >= _WORTH_A_PROCESS and sys.executable and os.name == "posix":
        command = [sys.executable, "-m", merge.__module__, msgspec.json.encode(work).decode()]
        if subprocess.run(command, pass_fds=inherited, capture_output=True, check=False).returncode == 0:  # noqa: S603
            return
    # No other process can be had, or it was ended: better the lock is held for a while than no file is made.
    merge(work)


def run_merge(merge: Callable[[W], None], kind: type[W]) -> None:
    """The other process: do what the command line tells, out of everybody's way."""
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    merge(msgspec.json.decode(sys.argv[1], type=kind))
