"""OpenAI embeddings: an array of texts in, a vector each out (https://platform.openai.com/docs/api-reference/embeddings)."""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Sequence

import msgspec

from agentic_synth.config import UpstreamConfig
from agentic_synth.policies.tokens import prompt_tokens, text_of
from agentic_synth.transport.wire import gemini
from agentic_synth.transport.wire.openai_chat import base_of
from agentic_synth.types import Reply, Request, Response, Usage

__all__ = ["decode", "encode", "reply_of", "shares", "url"]


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


def encode(model: str, requests: Sequence[Request]) -> bytes:
    """Vectors are asked for in base64: a quarter of the bytes, and no decimal digits to read."""
    texts = [text_of(message) for request in requests for message in request.messages]
    parameters = requests[0].parameters
    return msgspec.json.encode({"model": model, "input": texts, "encoding_format": "base64", **parameters})


def decode(body: bytes, requests: Sequence[Request], upstream: str, seconds: float) -> tuple[Response, ...]:
    """The answer to each of *requests*, joined by index, whatever the order of the reply and its encoding.

    The provider counts the tokens of all texts together; each gets its likely share, and the shares add up.

    Raises:
        msgspec.ValidationError: not every text has exactly one vector.
    """
    reply = _reply.decode(body)
    vectors: list[bytes | None] = [None] * len(requests)
    for item in reply.data:
        if not 0 <= item.index < len(vectors) or vectors[item.index] is not None:
            raise msgspec.ValidationError(f"vector {item.index} was not asked for, or came twice")
        vectors[item.index] = _little_endian(item.embedding)
    usages = shares(requests, (reply.usage.prompt_tokens if reply.usage is not None else None) or 0)
    model = reply.model or ""
    answers = tuple(
        [
            Response(vector=vector, usage=usage, model=model, upstream=upstream, seconds=seconds)
            for vector, usage in zip(vectors, usages, strict=True)
            if vector is not None
        ]
    )
    if len(answers) != len(requests):
        raise msgspec.ValidationError(f"{len(requests)} vectors were asked for and {len(answers)} came")
    return answers


def reply_of(parts: tuple[Response, ...], headers: dict[str, str], *, joined: bool) -> Reply:
    """The reply to a call whose requests are answered by *parts*."""
    if not joined:
        return Reply(response=parts[0], headers=headers)
    tokens = sum([part.usage.input_tokens for part in parts])
    usage = Usage(tokens, estimated=parts[0].usage.estimated)
    return Reply(response=msgspec.structs.replace(parts[0], vector=None, usage=usage), headers=headers, parts=parts)


def shares(requests: Sequence[Request], tokens: int) -> list[Usage]:
    """*tokens* split in proportion to what the requests were estimated at, without a token lost to rounding."""
    likely = [max(1, prompt_tokens(request)) for request in requests]
    if not tokens:
        return [Usage(share, estimated=True) for share in likely]
    total, sum_, given = sum(likely), 0, 0
    usages = []
    for one in likely:
        sum_ += one
        share = round(tokens * sum_ / total) - given
        given += share
        usages.append(Usage(share))
    return usages


def _little_endian(embedding: str | list[float]) -> bytes:
    if isinstance(embedding, str):
        vector = base64.b64decode(embedding, validate=True)
        if len(vector) % 4:
            raise msgspec.ValidationError(f"{len(vector)} bytes are no vector of 32-bit floats")
        return vector
    floats = array("f", embedding)
    if sys.byteorder == "big":
        floats.byteswap()
    return floats.tobytes()
