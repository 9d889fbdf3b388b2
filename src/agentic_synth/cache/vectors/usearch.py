"""A graph of 8-bit vectors by usearch, searched where it is mapped."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from collections.abc import Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from agentic_synth.cache.vectors.index import Neighbour, Segment
from agentic_synth.cache.vectors.usearch_merge import Graph, Merge, merge

if TYPE_CHECKING:
    from agentic_synth.cache.vectors.index import Ids, Vector

__all__ = ["UsearchFormat"]

_BINARY = getattr(os, "O_BINARY", 0)  # where text files differ
_WORTH_A_PROCESS = 2_000  # vectors: below, the lock is held for a millisecond or two, and a process costs 300


class _UsearchSegment:
    def __init__(self, index: Any, mapped: mmap.mmap, descriptor: int, ids: Ids) -> None:
        self._index = index  # stands before what it looks at: what is set first goes first
        self._mapped = mapped
        self.descriptor = descriptor
        self.ids = ids  # ascending

    def __del__(self) -> None:
        os.close(self.descriptor)

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, identity: int) -> bool:
        place = int(np.searchsorted(self.ids, identity))
        return place < len(self.ids) and bool(self.ids[place] == identity)

    def search(self, vector: Vector, k: int) -> list[Neighbour]:
        if not len(self.ids):
            return []
        found = self._index.search(vector, k, threads=1)
        return list(zip(found.keys.tolist(), (1.0 - found.distances).tolist(), strict=True))


class UsearchFormat:
    """What usearch saves, then the ids, ascending.

    *number* is how it holds a number: ``i8``, ``bf16``, ``f16`` or ``f32``.
    """

    def __init__(self, number: str = "i8", connectivity: int = 16) -> None:
        self.name = f"usearch-{number}-{connectivity}"
        self._number = number
        self._connectivity = connectivity

    def write(self, path: Path, base: Segment | None, hidden: Set[int], ids: Ids, vectors: Vector) -> int:
        """See :class:`~agentic_synth.cache.vectors.index.Format`; half a millisecond a vector, in another process."""
        assert base is None or isinstance(base, _UsearchSegment)
        gone = np.fromiter(hidden, np.int64, len(hidden))
        kept = base.ids[~np.isin(base.ids, gone)] if base is not None else ids[:0]
        everything = np.sort(np.concatenate([kept, ids]))
        news = path.with_name(f"{path.name}.news")
        try:
            with os.fdopen(os.open(news, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o600), "wb") as file:
                for array in (gone, ids, vectors):
                    np.save(file, array)
            graph = Graph(vectors.shape[1], self._number, self._connectivity)
            _merge(Merge(graph, str(path), str(news), base.descriptor if base is not None else None), len(everything))
        finally:
            news.unlink(missing_ok=True)
        with path.open("ab") as file:
            file.write(everything.tobytes())
        return len(everything)

    def open(self, path: Path, count: int, dimensions: int, payload_bytes: int) -> Segment:
        """See :class:`~agentic_synth.cache.vectors.index.Format`."""
        index = Graph(dimensions, self._number, self._connectivity).index(key_lookups=False)
        ids = np.fromfile(path, np.int64, count, offset=payload_bytes - 8 * count)
        descriptor = os.open(path, os.O_RDONLY | _BINARY)
        mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        index.view(memoryview(mapped))
        return _UsearchSegment(index, mapped, descriptor, ids)


def _merge(work: Merge, count: int) -> None:
    if count >= _WORTH_A_PROCESS and sys.executable and os.name == "posix":
        command = [sys.executable, "-m", merge.__module__, msgspec.json.encode(work).decode()]
        inherited = () if work.base is None else (work.base,)
        if subprocess.run(command, pass_fds=inherited, capture_output=True, check=False).returncode == 0:  # noqa: S603
            return
    # No other process can be had, or it was ended: better the lock is held for a while than no file is made.
    merge(work)
