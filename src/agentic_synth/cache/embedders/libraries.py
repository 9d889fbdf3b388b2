"""Embedders of other libraries: sentence-transformers, fastembed, model2vec.

Each adapter takes a model that the caller has made, so where its weights come from is the caller's to say;
:mod:`agentic_synth.cache.embedders.open` makes one from a name or a directory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from agentic_synth.cache.embedders.embedder import LocalEmbedder, unit

if TYPE_CHECKING:
    from agentic_synth.cache.embedders.embedder import Vectors

__all__ = ["fastembed", "model2vec", "sentence_transformers"]

_BATCH = 32


def model2vec(name: str, model: Any) -> LocalEmbedder:
    """A ``model2vec.StaticModel``; quick, yet not known to let others run meanwhile, so it has its thread."""
    return _local(f"model2vec-{name}", lambda texts: model.encode(texts, max_length=None, use_multiprocessing=False))


def sentence_transformers(name: str, model: Any) -> LocalEmbedder:
    """A ``sentence_transformers.SentenceTransformer``: milliseconds a text, on its own thread."""
    return _local(
        f"sentence-transformers-{name}",
        lambda texts: model.encode(texts, batch_size=_BATCH, show_progress_bar=False, convert_to_numpy=True),
    )


def fastembed(name: str, model: Any) -> LocalEmbedder:
    """A ``fastembed.TextEmbedding``: ONNX on the CPU, on its own thread."""
    return _local(f"fastembed-{name}", lambda texts: list(model.embed(texts, batch_size=_BATCH)))


def _local(name: str, encode: Callable[[Sequence[str]], Any]) -> LocalEmbedder:
    dimensions = _matrix(encode(["how long a vector is"]), 1).shape[1]

    def vectors_of(texts: Sequence[str]) -> Vectors:
        vectors = np.zeros((len(texts), dimensions), np.float32)
        # Blank texts are kept back: what a model makes of nothing depends on its special tokens alone.
        sent = [place for place, text in enumerate(texts) if text.strip()]
        if sent:
            vectors[sent] = _matrix(encode([texts[place] for place in sent]), len(sent))
        return unit(vectors)

    return LocalEmbedder(name, dimensions, vectors_of, at_once=0)


def _matrix(encoded: Any, rows: int) -> Vectors:
    return np.array(encoded, np.float32).reshape(rows, -1)
