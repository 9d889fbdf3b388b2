"""The texts of one partition as an index in memory, loaded from the store and kept abreast of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agentic_synth.cache.ledger import Journal
from agentic_synth.cache.vectors import texts
from agentic_synth.cache.vectors.index import Format, Neighbour
from agentic_synth.cache.vectors.layered import LayeredIndex

if TYPE_CHECKING:
    from agentic_synth.cache.vectors.index import Vector

__all__ = ["Partition", "vectors_of"]

_SLICE = 256  # rows read in one turn of the loop: half a millisecond
_SCANNED_AT_ONCE = 12_000  # rows looked at one by one on the loop: beyond a quarter of a millisecond, in a thread
_MERGED = 2_048  # recent rows that are worth a new file once there is one


class Partition:
    """One partition's index; *last* is the id of the store up to which it knows of everything."""

    def __init__(self, digest: bytes, index: LayeredIndex, graph_from: int) -> None:
        self.digest = digest
        self.last = index.last
        self.index = index
        self.saving = False
        self._graph_from = graph_from

    @classmethod
    async def open(
        cls, journal: Journal, digest: bytes, dimensions: int, layout: tuple[Format, Path, bytes], graph_from: int
    ) -> Partition:
        """Load the partition: its file, then what the store has had since."""
        format_, path, identity = layout

        def opened() -> LayeredIndex:
            return LayeredIndex(format_, dimensions, path, identity + digest)

        # Only a large partition has a file, and only a file is worth a thread.
        index = await asyncio.to_thread(opened) if path.exists() else opened()
        partition = cls(digest, index, graph_from)
        while True:
            if partition._read_on(journal):
                break
            await asyncio.sleep(0)
        return partition

    def _read_on(self, journal: Journal) -> bool:
        rows = journal.read(lambda connection: texts.of_partition(connection, self.digest, self.last, _SLICE))
        self.take(rows)
        return len(rows) < _SLICE

    def take(self, rows: Sequence[tuple[int, bytes]]) -> None:
        """Learn of *rows*, ids ascending with their vectors; those known already are passed over."""
        new = [row for row in rows if row[0] > self.last]
        if new:
            self.index.add(
                [identity for identity, _ in new], vectors_of([blob for _, blob in new], self.index.dimensions)
            )
            self.last = new[-1][0]

    async def search(self, vector: Vector, k: int) -> list[Neighbour]:
        """The *k* nearest."""
        if self.index.unsaved <= _SCANNED_AT_ONCE:
            return self.index.search(vector, k)
        return await asyncio.to_thread(self.index.search, vector, k)

    @property
    def outgrown(self) -> bool:
        """Whether so much came that a new file pays."""
        saved = self.index.saved
        return self.index.unsaved >= (max(_MERGED, saved // 64) if saved else self._graph_from)

    async def save(self) -> bool:
        """Merge what came into the file, beside the loop; False if that is under way already."""
        if self.saving:
            return False
        self.saving = True
        try:
            return await asyncio.to_thread(self.index.save, self.last)
        finally:
            self.saving = False


def vectors_of(blobs: Sequence[bytes], dimensions: int) -> Vector:
    """Vectors as the store keeps them, as 32-bit floats."""
    return np.frombuffer(b"".join(blobs), "<f2").reshape(len(blobs), dimensions).astype(np.float32)
