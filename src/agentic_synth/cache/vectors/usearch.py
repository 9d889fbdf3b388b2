"""A graph of 8-bit vectors by usearch, searched where it is mapped."""

from __future__ import annotations

import mmap
import os
from collections.abc import Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agentic_synth.cache.vectors.aside import BINARY, merge_aside, news
from agentic_synth.cache.vectors.index import Neighbour, Segment
from agentic_synth.cache.vectors.usearch_merge import Graph, Merge, merge

if TYPE_CHECKING:
    from agentic_synth.cache.vectors.index import Ids, Vector

__all__ = ["UsearchFormat"]


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
        kept = ids[:0]
        if base is not None:
            kept = base.ids[~np.isin(base.ids, np.fromiter(hidden, np.int64, len(hidden)))]
        everything = np.sort(np.concatenate([kept, ids]))
        inherited = () if base is None else (base.descriptor,)
        graph = Graph(vectors.shape[1], self._number, self._connectivity)
        with news(path, hidden, ids, vectors) as news_path:
            merge_aside(merge, Merge(graph, str(path), news_path, *inherited), inherited, len(everything))
        with path.open("ab") as file:
            file.write(everything.tobytes())
        return len(everything)

    def open(self, path: Path, count: int, dimensions: int, payload_bytes: int) -> Segment:
        """See :class:`~agentic_synth.cache.vectors.index.Format`."""
        index = Graph(dimensions, self._number, self._connectivity).index(key_lookups=False)
        ids = np.fromfile(path, np.int64, count, offset=payload_bytes - 8 * count)
        descriptor = os.open(path, os.O_RDONLY | BINARY)
        mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        index.view(memoryview(mapped))
        return _UsearchSegment(index, mapped, descriptor, ids)
