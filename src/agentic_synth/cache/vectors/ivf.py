"""An inverted file: the vectors in lists by nearness, of which a search looks at the nearest few.

Jégou, Douze, Schmid, "Product quantization for nearest neighbor search" (2011), with 8 bits a number instead of product
codes. Numpy is all it needs.
"""

from __future__ import annotations

import os
from collections.abc import Set
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agentic_synth.cache.vectors.aside import BINARY, merge_aside, news
from agentic_synth.cache.vectors.index import Neighbour, Segment
from agentic_synth.cache.vectors.ivf_merge import Lists, Merge, mapped, merge
from agentic_synth.cache.vectors.rows import cosines

if TYPE_CHECKING:
    from agentic_synth.cache.vectors.index import Ids, Vector

__all__ = ["IvfFormat"]

_LOOKED_AT = 1_000  # vectors a search
_EACH = 8  # of them for each neighbour that is asked for
_LISTS = 64  # to begin with; a thousand vectors are mostly in a fifth of these


class _IvfSegment:
    def __init__(self, lists: Lists, descriptor: int) -> None:
        self.lists = lists
        self.descriptor = descriptor  # for a merge in another process: the file may have lost its name by then

    def __del__(self) -> None:
        os.close(self.descriptor)

    def __len__(self) -> int:
        return len(self.lists.ids)

    def __contains__(self, identity: int) -> bool:
        known = self.lists.sorted_ids
        place = int(np.searchsorted(known, identity))
        return place < len(known) and bool(known[place] == identity)

    def search(self, vector: Vector, k: int) -> list[Neighbour]:
        lists = self.lists
        if not len(lists.ids):
            return []
        begins, ends = self._looked_at(vector, max(_LOOKED_AT, _EACH * k))
        spans = list(zip(begins.tolist(), ends.tolist(), strict=True))
        codes = np.concatenate([lists.codes[begin:end] for begin, end in spans]).astype(np.float32)
        found = cosines(codes, vector, np.empty(len(codes), np.float32))
        found *= np.concatenate([lists.scales[begin:end] for begin, end in spans])
        best = np.argpartition(found, len(found) - k)[len(found) - k :] if k < len(found) else np.arange(len(found))
        best = best[np.argsort(-found[best])]
        sizes = np.cumsum(ends - begins)
        which = np.searchsorted(sizes, best, side="right")
        places = best - sizes[which] + ends[which]
        return list(zip(lists.ids[places].tolist(), found[best].tolist(), strict=True))

    def _looked_at(self, vector: Vector, most: int) -> tuple[Ids, Ids]:
        """Where the lists nearest to *vector* begin and end, *most* vectors in all."""
        lists = self.lists
        near = cosines(lists.centroids, vector, np.empty(len(lists.centroids), np.float32))
        near -= lists.biases
        count = min(_LISTS, len(near))
        while True:
            chosen = np.argpartition(near, len(near) - count)[len(near) - count :]
            chosen = chosen[np.argsort(-near[chosen])]
            begins, ends = lists.bounds[chosen], lists.bounds[chosen + 1]
            until = np.cumsum(ends - begins)
            if until[-1] >= most or count == len(near):
                break
            count = len(near)
        last = int(np.searchsorted(until, most)) + 1
        if last <= len(until):  # the last one is cut, so that a search never takes longer, however uneven the lists
            ends[last - 1] -= until[last - 1] - most
        return begins[:last], ends[:last]


class IvfFormat:
    """See :class:`~agentic_synth.cache.vectors.ivf_merge.Lists` for what is in a file."""

    name = "ivf-i8"

    def write(self, path: Path, base: Segment | None, hidden: Set[int], ids: Ids, vectors: Vector) -> int:
        """See :class:`~agentic_synth.cache.vectors.index.Format`; 60 us a vector where the lists are made anew."""
        assert base is None or isinstance(base, _IvfSegment)
        count = len(ids)
        if base is not None:
            count += int((~np.isin(base.lists.sorted_ids, np.fromiter(hidden, np.int64, len(hidden)))).sum())
        inherited = () if base is None else (base.descriptor,)
        with news(path, hidden, ids, vectors) as news_path:
            merge_aside(merge, Merge(str(path), news_path, *inherited), inherited, count)
        return count

    def open(self, path: Path, count: int, dimensions: int, payload_bytes: int) -> Segment:
        """See :class:`~agentic_synth.cache.vectors.index.Format`."""
        descriptor = os.open(path, os.O_RDONLY | BINARY)
        return _IvfSegment(mapped(descriptor), descriptor)
