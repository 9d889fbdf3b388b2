"""Embeddings of a simulated model: unit vectors of hashed words, so that texts that share words lie near."""

from __future__ import annotations

import base64
import math
import re
from hashlib import blake2b
from struct import Struct as Packing
from typing import Any

import msgspec

from agentic_synth.testing.answers import count_tokens
from agentic_synth.testing.wire import BadBody

__all__ = ["DIMENSIONS", "embed", "embeddings_reply", "read_inputs"]

DIMENSIONS = 256
_MOST_DIMENSIONS = 4096
_MOST_INPUTS = 2048
_WORD = re.compile(r"\w+")
_PLACES = Packing("<8Q")


def embed(text: str, dimensions: int = DIMENSIONS, seed: int = 0) -> list[float]:
    """The unit vector of *text*: each word adds or takes at eight places, and the whole text a little at eight more."""
    vector = [0.0] * dimensions
    for word in _WORD.findall(text.lower()):
        _add(vector, word, 1.0, seed)
    _add(vector, f"whole {text}", 0.25, seed)
    norm = math.sqrt(sum(value * value for value in vector)) or 1.0
    return [value / norm for value in vector]


def _add(vector: list[float], word: str, weight: float, seed: int) -> None:
    key = seed.to_bytes(8, "little", signed=True)
    digest = blake2b(word.encode("utf-8", "surrogatepass"), digest_size=64, key=key).digest()
    for place in _PLACES.unpack(digest):
        vector[(place >> 1) % len(vector)] += weight if place & 1 else -weight


def read_inputs(body: dict[str, Any]) -> list[str]:
    """The texts to embed; token arrays are taken as texts of numbers.

    Raises:
        BadBody: there is no input, too much of it, or it is of the wrong shape.
    """
    match body.get("input"):
        case str() as text if text:
            return [text]
        case [int(), *_] as tokens:
            return [" ".join(map(str, tokens))]
        case [_, *_] as inputs if len(inputs) <= _MOST_INPUTS:
            texts = [" ".join(map(str, item)) if isinstance(item, list) else item for item in inputs]
            if all(isinstance(text, str) and text for text in texts):
                return texts
    raise BadBody(f"input must be a text, a list of tokens, or up to {_MOST_INPUTS} of them; none empty", "input")


def embeddings_reply(body: dict[str, Any], texts: list[str], seed: int) -> bytes:
    """The body of a reply to ``POST /v1/embeddings``; floats, or base64 of little-endian float32 if asked for.

    Raises:
        BadBody: *dimensions* is out of range.
    """
    dimensions = body.get("dimensions") or DIMENSIONS
    if not isinstance(dimensions, int) or not 1 <= dimensions <= _MOST_DIMENSIONS:
        raise BadBody(f"dimensions must be between 1 and {_MOST_DIMENSIONS}", "dimensions")
    packed = body.get("encoding_format") == "base64"
    data = []
    for index, text in enumerate(texts):
        vector: list[float] | str = embed(text, dimensions, seed)
        if packed:
            vector = base64.b64encode(_little_endian(vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector})
    tokens = sum(count_tokens(text) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return msgspec.json.encode({"object": "list", "data": data, "model": body.get("model"), "usage": usage})


def _little_endian(vector: list[float] | str) -> bytes:
    return Packing(f"<{len(vector)}f").pack(*vector)
