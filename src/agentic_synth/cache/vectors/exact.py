"""The exact scan in a mapped file: every vector is looked at, none is missed."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agentic_synth.cache.vectors.index import Neighbour, Segment
from agentic_synth.cache.vectors.rows import cosines, nearest

if TYPE_CHECKING:
    from agentic_synth.cache.vectors.index import Ids, Vector

__all__ = ["ExactFormat"]

_COPIED = 4_096  # rows at a time


class _ExactSegment:
    def __init__(self, ids: Ids, matrix: Vector) -> None:
        self.ids = ids  # ascending
        self.matrix = matrix

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, identity: int) -> bool:
        place = int(np.searchsorted(self.ids, identity))
        return place < len(self.ids) and bool(self.ids[place] == identity)

    def search(self, vector: Vector, k: int) -> list[Neighbour]:
        return nearest(self.ids, cosines(self.matrix, vector, np.empty(len(self.ids), np.float32)), k)


class ExactFormat:
    """The ids, ascending, then the vectors as 32-bit floats."""

    name = "exact"

    def write(self, path: Path, base: Segment | None, hidden: Set[int], ids: Ids, vectors: Vector) -> int:
        """See :class:`~agentic_synth.cache.vectors.index.Format`."""
        assert base is None or isinstance(base, _ExactSegment)
        parts = [(ids, vectors)]
        if base is not None:
            kept = ~np.isin(base.ids, np.fromiter(hidden, np.int64, len(hidden)))
            parts.insert(0, (base.ids[kept], base.matrix[:0]))
            places = np.flatnonzero(kept)
        everything = np.concatenate([part for part, _ in parts])
        order = np.argsort(everything)
        first_new = len(everything) - len(ids)
        with path.open("wb") as file:
            file.write(everything[order].tobytes())
            for start in range(0, len(order), _COPIED):
                chosen = order[start : start + _COPIED]
                rows = np.empty((len(chosen), vectors.shape[1]), np.float32)
                new = chosen >= first_new
                rows[new] = vectors[chosen[new] - first_new]
                if base is not None:
                    rows[~new] = base.matrix[places[chosen[~new]]]
                file.write(rows.tobytes())
        return len(everything)

    def open(self, path: Path, count: int, dimensions: int, payload_bytes: int) -> Segment:
        """See :class:`~agentic_synth.cache.vectors.index.Format`."""
        if count == 0:  # nothing cannot be mapped
            return _ExactSegment(np.zeros(0, np.int64), np.zeros((0, dimensions), np.float32))
        ids = np.memmap(path, np.int64, "r", 0, (count,))
        return _ExactSegment(
            np.asarray(ids), np.asarray(np.memmap(path, np.float32, "r", count * 8, (count, dimensions)))
        )
