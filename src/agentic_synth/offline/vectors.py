"""Embeddings without a model: hashed character pieces, so that texts which share spelling lie near each other.

They know no meaning: *car* and *automobile* have nothing in common. Enough to build and test on.
"""

from __future__ import annotations

import math
from array import array
from zlib import crc32

from agentic_synth.errors import InvalidRequest
from agentic_synth.types import Json

__all__ = ["DIMENSIONS", "dimensions_of", "vector_of"]

DIMENSIONS = 256
_MOST_DIMENSIONS = 4_096
_PIECES = (3, 4, 5)


def dimensions_of(parameters: dict[str, Json]) -> int:
    """How many numbers the vectors shall have.

    Raises:
        InvalidRequest: *dimensions* is no such number.
    """
    dimensions = parameters.get("dimensions", DIMENSIONS)
    if not isinstance(dimensions, int) or not 1 <= dimensions <= _MOST_DIMENSIONS:
        raise InvalidRequest(
            f"offline: {dimensions!r} is no number of dimensions", mend=f"take a number from 1 to {_MOST_DIMENSIONS}"
        )
    return dimensions


def vector_of(text: str, dimensions: int, seed: int = 0) -> array[float]:
    """The unit vector of *text*, the same on every machine: each piece adds or takes at a place that its hash says."""
    counts = [0.0] * dimensions
    words = f" {' '.join(text.lower().split())} ".encode("utf-8", "surrogatepass")
    for size in _PIECES:
        for start in range(max(1, len(words) - size + 1)):
            place = crc32(words[start : start + size], seed & 0xFFFFFFFF)
            counts[(place >> 1) % dimensions] += 1.0 if place & 1 else -1.0
    damped = [math.copysign(math.sqrt(abs(count)), count) for count in counts]
    norm = math.sqrt(sum([value * value for value in damped])) or 1.0
    return array("f", [value / norm for value in damped])
