"""The plain way: vectors in memory, each of them looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from agentic_synth.cache.vectors.index import Neighbour

if TYPE_CHECKING:
    from agentic_synth.cache.vectors.index import Ids, Vector

__all__ = ["Rows", "cosines", "nearest"]

# A matrix-vector product from this size on is spread over threads, and waits for the slowest of them: faster
# where cores are free (.08 ms for 10,000 rows instead of .19), and 28 ms once in a hundred where they are not.
_SINGLE_THREADED = 9_000
_SMALLEST = 8
_CHUNK = 1_024  # rows


class Rows:
    """Vectors under their ids, in no order, in chunks: growing never copies more than one of them.

    Is a :class:`~agentic_synth.cache.vectors.index.Segment` too, as long as nobody changes it. A search in another
    thread than the changes is safe; what changes meanwhile it may see or not, or under the other's similarity.
    """

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions
        self._chunks: list[Vector] = []
        self._ids = np.zeros(0, np.int64)
        self._place: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._place)

    def __contains__(self, identity: int) -> bool:
        return identity in self._place

    def add(self, ids: Sequence[int], vectors: Vector) -> None:
        """Put each vector under its id, in place of what was there."""
        self._reserve(len(self._place) + len(ids))
        for identity, vector in zip(ids, vectors, strict=True):
            place = self._place.get(identity, len(self._place))
            self._put(place, int(identity), vector)

    def remove(self, identity: int) -> bool:
        """Take one out; the last takes its place."""
        place = self._place.pop(identity, None)
        if place is None:
            return False
        last = len(self._place)
        if place != last:
            self._put(place, int(self._ids[last]), self._chunks[last // _CHUNK][last % _CHUNK])
        return True

    def search(self, vector: Vector, k: int) -> list[Neighbour]:
        """The *k* nearest, the nearest first."""
        count = len(self._place)
        found = np.empty(count, np.float32)
        for number in range(-(-count // _CHUNK)):
            part = found[number * _CHUNK : (number + 1) * _CHUNK]
            cosines(self._chunks[number][: len(part)], vector, part)
        return nearest(self._ids[:count], found, k)

    def arrays(self) -> tuple[Ids, Vector]:
        """A copy of all ids and vectors."""
        count = len(self._place)
        matrix = np.concatenate([*self._chunks, np.zeros((0, self.dimensions), np.float32)])
        return self._ids[:count].copy(), matrix[:count]

    def _put(self, place: int, identity: int, vector: Vector) -> None:
        self._chunks[place // _CHUNK][place % _CHUNK] = vector
        self._ids[place] = identity
        self._place[identity] = place

    def _reserve(self, count: int) -> None:
        if count > len(self._ids):
            ids = np.zeros(max(_SMALLEST, 2 * len(self._ids), count), np.int64)
            ids[: len(self._ids)] = self._ids
            self._ids = ids
        if not self._chunks or (len(self._chunks) == 1 and len(self._chunks[0]) < min(count, _CHUNK)):
            held = len(self._chunks[0]) if self._chunks else 0
            first = np.zeros((min(_CHUNK, max(_SMALLEST, 2 * held, count)), self.dimensions), np.float32)
            first[:held] = self._chunks[0] if self._chunks else 0.0
            self._chunks[:1] = [first]
        while count > len(self._chunks) * _CHUNK:
            self._chunks.append(np.zeros((_CHUNK, self.dimensions), np.float32))


def cosines(matrix: Vector, vector: Vector, found: Vector) -> Vector:
    """The dot product of each row with *vector*, on one thread, put in *found*."""
    rows, dimensions = matrix.shape
    block = max(1, _SINGLE_THREADED // dimensions)
    whole = rows - rows % block
    if whole:
        np.matmul(matrix[:whole].reshape(-1, block, dimensions), vector, out=found[:whole].reshape(-1, block))
    np.matmul(matrix[whole:], vector, out=found[whole:])
    return found


def nearest(ids: Ids, similarities: Vector, k: int) -> list[Neighbour]:
    """The *k* most similar, the most similar first."""
    if k < len(ids):
        chosen = np.argpartition(similarities, len(ids) - k)[len(ids) - k :]
        ids, similarities = ids[chosen], similarities[chosen]
    order = np.argsort(-similarities)
    return list(zip(ids[order].tolist(), similarities[order].tolist(), strict=True))
