"""Hashed character n-grams: no model at all, any language, weaker than wordllama on meaning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from agentic_synth.cache.embedders.embedder import LocalEmbedder, unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agentic_synth.cache.embedders.embedder import Vectors

__all__ = ["NGrams"]

_SIZES = (3, 4, 5)
_AT_ONCE = 1_500
_SLICE = 65_536  # characters looked at in one go, so that a long text takes bounded memory
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_MIXER = np.uint64(0xBF58476D1CE4E5B9)


class NGrams(LocalEmbedder):
    """Counts of the 3- to 5-character pieces of a text, damped, each added at a place its hash says.

    The hash is our own arithmetic on code points, so vectors are the same in every process and on every machine.
    """

    def __init__(self, dimensions: int = 512) -> None:
        super().__init__(f"ngrams-{dimensions}-1", dimensions, self._count, at_once=_AT_ONCE)

    def _count(self, texts: Sequence[str]) -> Vectors:
        vectors = np.zeros((len(texts), self.dimensions), np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            words = " ".join(text.lower().split())
            if not words:
                continue
            points = np.frombuffer(f" {words} ".encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
            for start in range(0, len(points), _SLICE):
                piece = points[start : start + _SLICE + max(_SIZES) - 1]
                for size in _SIZES:
                    self._place(vector, _hashes(piece, size, _SLICE))
        np.copyto(vectors, np.sign(vectors) * np.sqrt(np.abs(vectors)))
        return unit(vectors)

    def _place(self, vector: NDArray[np.float32], hashes: NDArray[np.uint64]) -> None:
        places = (hashes % np.uint64(self.dimensions)).astype(np.int64)
        # The sign keeps two pieces at one place from always looking alike.
        signs = 1.0 - 2.0 * ((hashes >> np.uint64(40)) & np.uint64(1)).astype(np.float64)
        vector += np.bincount(places, signs, self.dimensions).astype(np.float32)


def _hashes(points: NDArray[np.uint64], size: int, most: int) -> NDArray[np.uint64]:
    count = min(len(points) - size + 1, most)
    if count <= 0:
        return np.zeros(0, np.uint64)
    hashes = np.full(count, size, np.uint64)
    for offset in range(size):
        hashes = (hashes ^ points[offset : offset + count]) * _MULTIPLIER
        hashes ^= hashes >> np.uint64(29)
    hashes *= _MIXER
    mixed: NDArray[np.uint64] = hashes ^ (hashes >> np.uint64(32))
    return mixed
