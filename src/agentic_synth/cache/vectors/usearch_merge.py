"""Makes a graph of old and new vectors; run as a process of its own.

usearch holds the interpreter's lock while it loads and saves, a tenth of a second at 100,000 vectors, which the event
loop would feel. So does nobody wait for the copy of the old graph to be freed.
"""

from __future__ import annotations

import mmap
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from usearch.index import Index

__all__ = ["Graph", "Merge", "merge"]

_ADDED = 64  # vectors at a time: others may run meanwhile, where this is not a process of its own
_BUILD_EFFORT = 128
_SEARCH_EFFORT = 96
_NICENESS = 5


class Graph(msgspec.Struct, frozen=True):
    """How a graph is laid out: *number* is how it holds one (``i8``, ``bf16``, ``f16``, ``f32``)."""

    dimensions: int
    number: str
    connectivity: int

    def index(self, *, key_lookups: bool) -> Any:
        """An empty one; without *key_lookups* it can be mapped ten times as fast, and only be searched."""
        return Index(
            ndim=self.dimensions,
            metric="cos",
            dtype=self.number,
            connectivity=self.connectivity,
            expansion_add=_BUILD_EFFORT,
            expansion_search=_SEARCH_EFFORT,
            enable_key_lookups=key_lookups,
        )


class Merge(msgspec.Struct, frozen=True):
    """What is merged: the graph in the file *base* is open at, if any, without some ids, and new vectors.

    *news* has the ids to leave out, the new ids and the new vectors; *path* is written.
    """

    graph: Graph
    path: str
    news: str
    base: int | None


def merge(work: Merge) -> None:
    """Do it; a fifth to half a millisecond a new vector."""
    with Path(work.news).open("rb") as file:
        hidden, ids, vectors = (np.load(file) for _ in range(3))
    index = work.graph.index(key_lookups=True)
    if work.base is not None:
        with mmap.mmap(work.base, 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as content:
            index.load(content)
        if len(hidden):
            index.remove(hidden)
    for start in range(0, len(ids), _ADDED):
        index.add(ids[start : start + _ADDED], vectors[start : start + _ADDED], threads=1)
    index.save(work.path)


if __name__ == "__main__":
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    merge(msgspec.json.decode(sys.argv[1], type=Merge))
