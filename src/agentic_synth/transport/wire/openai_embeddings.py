"""OpenAI embeddings: an array of texts in, a vector each out (https://platform.openai.com/docs/api-reference/embeddings)."""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Mapping, Sequence

import msgspec

from agentic_synth.config import UpstreamConfig
from agentic_synth.transport.wire import gemini
from agentic_synth.transport.wire.openai_chat import base_of
from agentic_synth.types import Json, Usage

__all__ = ["Embeddings", "decode", "encode", "url"]


class Embeddings(msgspec.Struct, frozen=True, kw_only=True):
    """One vector of 32-bit floats a text, in the order of the texts."""

    vectors: tuple[array[float], ...]
    usage: Usage = Usage()
    model: str = ""


class _Item(msgspec.Struct):
    index: int
    embedding: str | list[float]


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None


class _Reply(msgspec.Struct):
    data: list[_Item]
    model: str | None = None
    usage: _Usage | None = None


_reply = msgspec.json.Decoder(_Reply)


def url(config: UpstreamConfig) -> str:
    """Gemini serves the same format beside its own."""
    if config.wire == "gemini":
        return f"{gemini.base_of(config)}/openai/embeddings"
    return f"{base_of(config)}/embeddings"


def encode(model: str, texts: Sequence[str], parameters: Mapping[str, Json]) -> bytes:
    """Vectors are asked for in base64: a quarter of the bytes, and no decimal digits to read."""
    return msgspec.json.encode({"model": model, "input": texts, "encoding_format": "base64", **parameters})


def decode(body: bytes, expected: int) -> Embeddings:
    """Join the vectors by index, whatever the order of the reply and whichever encoding the server chose.

    Raises:
        msgspec.ValidationError: not every text has exactly one vector.
    """
    reply = _reply.decode(body)
    vectors: list[array[float] | None] = [None] * expected
    for item in reply.data:
        if not 0 <= item.index < expected or vectors[item.index] is not None:
            raise msgspec.ValidationError(f"vector {item.index} was not asked for, or came twice")
        vectors[item.index] = _floats(item.embedding)
    whole = tuple(vector for vector in vectors if vector is not None)
    if len(whole) != expected:
        raise msgspec.ValidationError(f"{expected} vectors were asked for and {len(whole)} came")
    usage = Usage(input_tokens=(reply.usage.prompt_tokens if reply.usage is not None else None) or 0)
    return Embeddings(vectors=whole, usage=usage, model=reply.model or "")


def _floats(embedding: str | list[float]) -> array[float]:
    if isinstance(embedding, list):
        return array("f", embedding)
    floats = array("f")
    floats.frombytes(base64.b64decode(embedding, validate=True))
    if sys.byteorder == "big":
        floats.byteswap()
    return floats
