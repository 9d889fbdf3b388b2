"""What a vector index is, and what each kind of one has to bring."""

from __future__ import annotations

from collections.abc import Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector: TypeAlias = NDArray[np.float32]
    Ids: TypeAlias = NDArray[np.int64]

__all__ = ["Format", "Neighbour", "Segment", "VectorIndex"]

Neighbour: TypeAlias = tuple[int, float]
"""The id of a vector, and its cosine with the one that was searched."""


class VectorIndex(Protocol):
    """Vectors of length one under 64-bit ids, found by nearness.

    It is rebuilt from the store at any time, so it may forget and never lies: what was removed is not found.
    """

    def __len__(self) -> int: ...

    def __contains__(self, identity: int, /) -> bool: ...

    def add(self, ids: Sequence[int], vectors: Vector) -> None:
        """Put each row of *vectors* under its id, in place of what was there."""
        ...

    def remove(self, identity: int) -> bool:
        """Take one out; whether it was there."""
        ...

    def search(self, vector: Vector, k: int) -> list[Neighbour]:
        """The *k* nearest, the nearest first."""
        ...

    def save(self, last: int) -> bool:
        """Write everything to the file, so that it holds what the store had up to the id *last*.

        Not for the event loop, while everything else may go on there. False if a save is under way already. A crash
        in the middle leaves the file as it was.
        """
        ...

    def close(self) -> None:
        """Let go of the memory; nothing is saved."""
        ...


class Segment(Protocol):
    """Vectors in a file, which never change."""

    def __len__(self) -> int: ...

    def __contains__(self, identity: int, /) -> bool: ...

    def search(self, vector: Vector, k: int) -> list[Neighbour]:
        """The *k* nearest; fewer where the search found no more."""
        ...


class Format(Protocol):
    """One way to lay vectors out in a file, and to search it there."""

    @property
    def name(self) -> str:
        """Written into every file: what another format wrote is never read."""
        ...

    def write(self, path: Path, base: Segment | None, hidden: Set[int], ids: Ids, vectors: Vector) -> int:
        """Fill the file at *path* with *base* without the *hidden* ids, and with *vectors*; return how many these are.

        *base* is a segment of this format, or None.
        """
        ...

    def open(self, path: Path, count: int, dimensions: int, payload_bytes: int) -> Segment:
        """The segment in the first *payload_bytes* of the file; the file may lose its name afterwards."""
        ...
