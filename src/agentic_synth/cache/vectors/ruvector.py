"""Ruvector's RabitqIndex: a scan of one bit a number, then exact distances for the best.

Of what its Python package has, it alone can be saved and loaded. It has no delete, so what is removed is left out at
the next save, and it counts in 32 bits, so it is given row numbers and the ids stand behind it in the file.
"""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ruvector import RabitqIndex

from agentic_synth.cache.vectors.index import Neighbour, Segment

if TYPE_CHECKING:
    from agentic_synth.cache.vectors.index import Ids, Vector

__all__ = ["RuvectorFormat"]

_RERANKED = 500  # candidates whose exact distance is taken, 20 a neighbour asked at least: one bit says little


class _RuvectorSegment:
    def __init__(self, index: Any, ids: Ids) -> None:
        self.index = index
        self.ids = ids
        self._known = set(ids.tolist())

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, identity: int) -> bool:
        return identity in self._known

    def search(self, vector: Vector, k: int) -> list[Neighbour]:
        if self.index is None:
            return []
        # Squared distances of vectors of length one.
        found = self.index.search(np.ascontiguousarray(vector), k, rerank_factor=max(20, _RERANKED // k))
        return [(int(self.ids[row]), 1.0 - distance / 2.0) for row, distance in found]


class RuvectorFormat:
    """What RabitqIndex saves, then the ids."""

    name = "ruvector-rabitq"

    def write(self, path: Path, base: Segment | None, hidden: Set[int], ids: Ids, vectors: Vector) -> int:
        """See :class:`~agentic_synth.cache.vectors.index.Format`; always built anew."""
        if base is not None:
            assert isinstance(base, _RuvectorSegment)
            old = base.index.export_items() if base.index is not None else []
            kept = [(int(base.ids[row]), row_vector) for row, row_vector in old if int(base.ids[row]) not in hidden]
            if kept:
                ids = np.concatenate([np.array([identity for identity, _ in kept], np.int64), ids])
                vectors = np.concatenate([np.stack([row_vector for _, row_vector in kept]), vectors])
        if len(ids):
            RabitqIndex.build(np.ascontiguousarray(vectors)).save(str(path))
        with path.open("ab") as file:
            file.write(ids.tobytes())
        return len(ids)

    def open(self, path: Path, count: int, dimensions: int, payload_bytes: int) -> Segment:
        """See :class:`~agentic_synth.cache.vectors.index.Format`."""
        ids = np.fromfile(path, np.int64, count, offset=payload_bytes - 8 * count)
        return _RuvectorSegment(RabitqIndex.load(str(path)) if count else None, ids)
