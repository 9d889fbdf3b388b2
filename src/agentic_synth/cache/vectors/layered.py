"""An index of two layers: a segment in a file that never changes, and what came since, in memory.

What never changes needs no lock to be searched, can be mapped from the file, and cannot be torn. What came since is
looked at row by row, so it is kept small: a save merges both into a new segment beside the old one and then changes
over. Nothing is thus ever built on the event loop.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING

from agentic_synth.cache.vectors.index import Format, Neighbour, Segment
from agentic_synth.cache.vectors.rows import Rows
from agentic_synth.cache.vectors.side_file import Stamp, read_stamp, replace_file

if TYPE_CHECKING:
    from agentic_synth.cache.vectors.index import Vector

__all__ = ["LayeredIndex"]


class _Layer:
    """A segment, and which of its ids are not served any more: removed, or replaced by something later."""

    __slots__ = ("hidden", "segment")

    def __init__(self, segment: Segment, hidden: set[int]) -> None:
        self.segment = segment
        self.hidden = hidden

    def __len__(self) -> int:
        return len(self.segment) - len(self.hidden)

    def __contains__(self, identity: int) -> bool:
        return identity not in self.hidden and identity in self.segment

    def search(self, vector: Vector, k: int) -> list[Neighbour]:
        """The *k* nearest that are served; looks further until there are so many."""
        count, hidden = len(self.segment), self.hidden
        asked = k + min(len(hidden), k)
        while True:
            found = self.segment.search(vector, min(asked, count))
            served = [one for one in found if one[0] not in hidden] if hidden else found
            if len(served) >= k or asked >= count or len(found) < asked:
                return served[:k]
            asked *= 4


class LayeredIndex:
    """A :class:`~agentic_synth.cache.vectors.index.VectorIndex` whose segments are of *format*, in the file *path*.

    *owner* says whose vectors these are: a file of another owner, a torn or a damaged one is passed over, and the
    next save replaces it. Opening reads the file once, for its checksum, so not on the event loop where there is one.
    *last* is the id up to which the file holds what the store had, 0 where there was none. Add and remove belong to
    one thread; search and save to any.
    """

    def __init__(self, format: Format, dimensions: int, path: Path, owner: bytes) -> None:  # noqa: A002 - what it is
        self.dimensions = dimensions
        self.last = 0
        self._format = format
        self._path = path
        self._owner = owner
        self._layers: list[_Layer] = []  # the file's, then what a save is merging into it
        self._recent = Rows(dimensions)
        self._lock = threading.Lock()  # held for microseconds
        self._saving = threading.Lock()
        if stamp := read_stamp(path, format=format.name, owner=owner, dimensions=dimensions):
            self._layers = [_Layer(format.open(path, stamp.count, dimensions, stamp.payload_bytes), set())]
            self.last = stamp.last

    def __len__(self) -> int:
        with self._lock:
            return sum(map(len, self._layers)) + len(self._recent)

    def __contains__(self, identity: int) -> bool:
        with self._lock:
            return identity in self._recent or any(identity in layer for layer in self._layers)

    @property
    def unsaved(self) -> int:
        """How many vectors came or went since the file was written; each costs every search a little."""
        with self._lock:
            return len(self._recent) + sum(len(layer.hidden) for layer in self._layers)

    @property
    def saved(self) -> int:
        """How many vectors the file holds."""
        with self._lock:
            return len(self._layers[0].segment) if self._layers else 0

    def add(self, ids: Sequence[int], vectors: Vector) -> None:
        """Put each row of *vectors* under its id, in place of what was there."""
        with self._lock:
            for layer in self._layers:
                layer.hidden.update(identity for identity in ids if identity in layer.segment)
            self._recent.add(ids, vectors)

    def remove(self, identity: int) -> bool:
        """Take one out; whether it was there."""
        with self._lock:
            there = self._recent.remove(identity)
            for layer in self._layers:
                if identity in layer:
                    layer.hidden.add(identity)
                    there = True
            return there

    def search(self, vector: Vector, k: int) -> list[Neighbour]:
        """The *k* nearest, the nearest first."""
        if k <= 0:
            return []
        with self._lock:
            layers, recent = list(self._layers), self._recent
        found = recent.search(vector, k)
        for layer in layers:
            found += layer.search(vector, k)
        if layers:
            found.sort(key=_by_similarity)
        return found[:k]

    def save(self, last: int) -> bool:
        """Merge everything into a new file; see :meth:`~agentic_synth.cache.vectors.index.VectorIndex.save`."""
        if not self._saving.acquire(blocking=False):
            return False
        try:
            with self._lock:
                base = self._layers[0] if self._layers else None
                hidden = frozenset(base.hidden) if base is not None else frozenset()
                sealed = _Layer(self._recent, set())
                self._layers, self._recent = [*self._layers, sealed], Rows(self.dimensions)
            try:
                merged = self._write(base, hidden, sealed, last)
            except BaseException:
                self._unseal(base, sealed)
                raise
            with self._lock:
                since = sealed.hidden.union(base.hidden - hidden if base is not None else ())
                self._layers = [_Layer(merged, {identity for identity in since if identity in merged})]
                self.last = last
        finally:
            self._saving.release()
        return True

    def close(self) -> None:
        """Let go of the memory; nothing is saved."""
        with self._lock:
            self._layers, self._recent = [], Rows(self.dimensions)

    def _write(self, base: _Layer | None, hidden: Set[int], sealed: _Layer, last: int) -> Segment:
        assert isinstance(sealed.segment, Rows)
        ids, vectors = sealed.segment.arrays()

        def fill(path: Path) -> Stamp:
            return Stamp(
                format=self._format.name,
                owner=self._owner,
                dimensions=self.dimensions,
                count=self._format.write(path, base.segment if base is not None else None, hidden, ids, vectors),
                last=last,
                payload_bytes=0,
                payload_crc=0,
            )

        def opened(path: Path, stamp: Stamp) -> Segment:
            return self._format.open(path, stamp.count, self.dimensions, stamp.payload_bytes)

        return replace_file(self._path, fill, opened)

    def _unseal(self, base: _Layer | None, sealed: _Layer) -> None:
        assert isinstance(sealed.segment, Rows)
        with self._lock:
            for identity in sealed.hidden:
                sealed.segment.remove(identity)
            sealed.segment.add(*_listed(self._recent))
            self._layers, self._recent = [base] if base is not None else [], sealed.segment


def _listed(rows: Rows) -> tuple[list[int], Vector]:
    ids, vectors = rows.arrays()
    return ids.tolist(), vectors


def _by_similarity(neighbour: Neighbour) -> float:
    return -neighbour[1]
