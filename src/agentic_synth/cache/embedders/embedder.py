"""What an embedder is, and the shell that keeps a local one off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors: TypeAlias = NDArray[np.float32]

__all__ = ["Embedder", "LocalEmbedder", "unit"]


class Embedder(Protocol):
    """Turns texts into vectors whose dot product says how near in meaning they are."""

    @property
    def name(self) -> str:
        """Which embedder, and which weights: vectors of different names are never compared."""
        ...

    @property
    def dimensions(self) -> int:
        """The length of a vector; 0 as long as an upstream has not told."""
        ...

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """One vector of length one for each text, in order, as float32 (texts x dimensions).

        A text without anything to go by, such as an empty one, has the zero vector, which is near to nothing.
        """
        ...

    async def aclose(self) -> None:
        """Let go of threads and models; what was asked before is still answered."""
        ...


class LocalEmbedder:
    """Runs *encode*, a function on this machine, without ever holding the event loop for long.

    Up to *at_once* characters are encoded where they are asked, since a thread costs more than that; the others wait
    their turn at one thread of this embedder's own.
    """

    def __init__(self, name: str, dimensions: int, encode: Callable[[Sequence[str]], Vectors], *, at_once: int) -> None:
        self.name = name
        self.dimensions = dimensions
        self._encode = encode
        self._at_once = at_once
        self._thread = ThreadPoolExecutor(1, "synth-embed")

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """See :meth:`Embedder.embed`."""
        if sum(map(len, texts)) <= self._at_once:
            return self._encode(texts)
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._encode, list(texts))

    async def aclose(self) -> None:
        """End the thread once it has encoded what it holds."""
        self._thread.shutdown(wait=False)


def unit(vectors: Vectors) -> Vectors:
    """Bring each row to length one, in place; a row of zeros, or one that is not finite, becomes zeros."""
    import numpy as np  # noqa: PLC0415 - this module is read by those without numpy too

    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        vectors /= lengths[:, None]
    vectors[~(np.isfinite(lengths) & (lengths > 0))] = 0.0
    return vectors
