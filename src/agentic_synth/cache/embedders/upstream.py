"""Vectors that an upstream makes; how they are asked for is the caller's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from agentic_synth.cache.embedders.embedder import unit
from agentic_synth.errors import BadReply

if TYPE_CHECKING:
    from agentic_synth.cache.embedders.embedder import Vectors

__all__ = ["AskVectors", "UpstreamEmbedder"]

AskVectors: TypeAlias = Callable[[Sequence[str]], Awaitable[Sequence[bytes]]]
"""Asks for the vectors of texts, each as little-endian 32-bit floats, in order."""


class UpstreamEmbedder:
    """An ``/embeddings`` upstream under its reference *name*.

    *dimensions* may be left open: then the first answer tells, and every later one must agree.
    """

    def __init__(self, name: str, ask: AskVectors, dimensions: int = 0) -> None:
        self.name = name
        self.dimensions = dimensions
        self._ask = ask

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """See :meth:`~agentic_synth.cache.embedders.embedder.Embedder.embed`; empty texts are not sent.

        Raises:
            BadReply: the upstream answered another number of vectors, or vectors of another length.
        """
        sent = [place for place, text in enumerate(texts) if text.strip()]
        answered = await self._ask([texts[place] for place in sent]) if sent else ()
        if len(answered) != len(sent):
            raise self._bad(f"{len(answered)} vectors for {len(sent)} texts")
        self.dimensions = self.dimensions or (len(answered[0]) // 4 if answered else 0)
        if odd := next((len(one) for one in answered if len(one) != self.dimensions * 4), 0):
            raise self._bad(f"a vector of {odd / 4:g} numbers instead of {self.dimensions}")
        vectors = np.zeros((len(texts), self.dimensions), np.float32)
        if sent:
            vectors[sent] = np.frombuffer(b"".join(answered), "<f4").reshape(len(sent), self.dimensions)
        return unit(vectors)

    async def aclose(self) -> None:
        """There is nothing of this embedder's own to close."""

    def _bad(self, what: str) -> BadReply:
        mend = "name a model that makes embeddings, with the dimensions it really has"
        return BadReply(f"the embedder {self.name} answered {what}", upstream=self.name, mend=mend)
