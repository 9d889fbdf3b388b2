"""Makes a graph of old and new vectors; run as a process of its own.

usearch holds the interpreter's lock while it loads and saves, a tenth of a second at 100,000 vectors, which the event
loop would feel. So does nobody wait for the copy of the old graph to be freed.
"""

from __future__ import annotations

import mmap
from typing import Any

import msgspec
from usearch.index import Index

from agentic_synth.cache.vectors.aside import read_news, run_merge

__all__ = ["Graph", "Merge", "merge"]

_ADDED = 64  # vectors at a time: others may run meanwhile, where this is not a process of its own
_BUILD_EFFORT = 128
_SEARCH_EFFORT = 96


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
    """What is merged into *path*: the graph in the file that *base* is open at, if any, and :func:`~.aside.news`."""

    graph: Graph
    path: str
    news: str
    base: int | None = None


def merge(work: Merge) -> None:
    """Do it; a fifth to half a millisecond a new vector."""
    hidden, ids, vectors = read_news(work.news)
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
    run_merge(merge, Merge)
