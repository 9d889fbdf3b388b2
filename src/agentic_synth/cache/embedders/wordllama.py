"""The default: wordllama's 256 dimensions, a table of token vectors that comes inside its wheel.

Its files are read directly. The package's own loader looks for the tokenizer in a directory that its wheel does not
have and then asks the network; importing it sets up logging for the whole process.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import safe_open
from tokenizers import Tokenizer

from agentic_synth.cache.embedders.embedder import LocalEmbedder, unit

if TYPE_CHECKING:
    from agentic_synth.cache.embedders.embedder import Vectors

__all__ = ["WordLlama"]

_DIMENSIONS = 256
_AT_ONCE = 1_500  # characters: 0.4 ms
_GATHERED = 2_048  # tokens at a time, two megabytes


class WordLlama(LocalEmbedder):
    """A static embedder of English text: the mean of its tokens' vectors."""

    def __init__(self) -> None:
        place = _package()
        with safe_open(place / "weights" / "l2_supercat_256.safetensors", "np") as weights:
            # As 16-bit floats: half the memory, and a short prompt costs 5 us more.
            self._table = weights.get_tensor("embedding.weight")
        self._tokenizer = Tokenizer.from_file(str(place / "tokenizers" / "l2_supercat_tokenizer_config.json"))
        weights_version = version("wordllama").split(".post", maxsplit=1)[0]
        super().__init__(f"wordllama-l2-256-{weights_version}", _DIMENSIONS, self._mean, at_once=_AT_ONCE)

    def _mean(self, texts: Sequence[str]) -> Vectors:
        vectors = np.zeros((len(texts), _DIMENSIONS), np.float32)
        for row, text in enumerate(texts):
            if not text.strip():
                continue
            # A batch, even of one, lets other threads run meanwhile; a single encode does not. The sum's length does
            # not matter, so it is never divided.
            readable = text.encode(errors="replace").decode()
            ids = self._tokenizer.encode_batch_fast([readable], add_special_tokens=False)[0].ids
            for start in range(0, len(ids), _GATHERED):
                vectors[row] += self._table[ids[start : start + _GATHERED]].sum(axis=0, dtype=np.float32)
        return unit(vectors)


def _package() -> Path:
    found = find_spec("wordllama")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("No module named 'wordllama'", name="wordllama")
    return Path(found.origin).parent
