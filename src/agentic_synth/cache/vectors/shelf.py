"""The partitions held in memory: opened when asked for, abreast of the store, let go when there are too many."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

from agentic_synth.cache.ledger import Journal
from agentic_synth.cache.vectors import texts
from agentic_synth.cache.vectors.index import Format
from agentic_synth.cache.vectors.partition import Partition

__all__ = ["Shelf"]

_SLICE = 256  # rows read in one turn of the loop: half a millisecond
_ROWS_IN_MEMORY = 32_768  # outside of files, in all partitions
_PARTITIONS = 1_024


class Shelf:
    """Partitions of one store by their digests; *directory* has the files of the large ones, of *graph_from* on."""

    def __init__(self, journal: Journal, directory: Path, format: Format, graph_from: int) -> None:  # noqa: A002
        self._journal = journal
        self._directory = directory
        self._format = format
        self._graph_from = graph_from
        self._identity = journal.read(texts.identity_of)
        self._seen = journal.read(texts.last_id)
        self._held: OrderedDict[bytes, Partition] = OrderedDict()
        self._opening = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Partition]:
        return iter(list(self._held.values()))

    async def get(self, digest: bytes, dimensions: int) -> Partition:
        """The partition, loaded where it is not held; that takes .2 us a text there, and at most .5 ms at a time."""
        if (held := self._held.get(digest)) is None:
            async with self._opening:
                if (held := self._held.get(digest)) is None:
                    path = self._directory / f"{digest.hex()}.{self._format.name}"
                    layout = (self._format, path, self._identity)
                    held = await Partition.open(self._journal, digest, dimensions, layout, self._graph_from)
                    self._held[digest] = held
                    self.shed()
        self._held.move_to_end(digest)
        return held

    def catch_up(self) -> bool:
        """Learn of the next rows of the store, whoever added them; True when there are no more."""
        rows = self._journal.read(lambda connection: texts.since(connection, self._seen, _SLICE))
        new: dict[bytes, list[tuple[int, bytes]]] = {}
        for identity, digest, blob in rows:
            new.setdefault(digest, []).append((identity, blob))
            self._seen = identity
        for digest, some in new.items():
            if (held := self._held.get(digest)) is not None:
                held.take(some)
        return len(rows) < _SLICE

    def drop(self, ids: Sequence[int]) -> None:
        """Never find *ids* again."""
        for held in self._held.values():
            for identity in ids:
                held.index.remove(identity)

    def shed(self) -> None:
        """Let go of the partitions that were used longest ago, where there are too many to hold."""
        rows = sum(held.index.unsaved for held in self._held.values())
        for digest, held in list(self._held.items())[:-1]:
            if rows <= _ROWS_IN_MEMORY and len(self._held) <= _PARTITIONS:
                break
            if not held.saving:
                rows -= held.index.unsaved
                del self._held[digest]

    def close(self) -> None:
        """Let go of all."""
        for held in self._held.values():
            held.index.close()
        self._held.clear()
