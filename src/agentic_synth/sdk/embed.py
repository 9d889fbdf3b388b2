"""Texts in, vectors out: how :meth:`Synth.embed` asks its engine."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Iterator
from contextlib import aclosing

import msgspec

from agentic_synth.engine.engine import Engine
from agentic_synth.errors import BadReply, InvalidRequest, SynthError
from agentic_synth.types import Message, Request

__all__ = ["embed_texts"]

_WINDOW = 4_096
"""Texts asked for at once: two of the largest batches, so that one fills while another is under way."""


async def embed_texts(engine: Engine, texts: Iterable[str], blank: Request) -> list[array[float]]:
    """The vectors of *texts*; *blank* is the request of each but for its text."""
    vectors: list[array[float]] = []
    async with aclosing(engine.map(_requests(texts, blank), window=_WINDOW)) as answers:
        async for answer in answers:
            if isinstance(answer, SynthError):
                answer.message = f"text {len(vectors):,}: {answer.message}"
                raise answer
            if answer.vector is None:
                raise BadReply(f"{blank.model} answered without a vector", upstream=answer.upstream)
            vectors.append(_floats(answer.vector))
    return vectors


def _requests(texts: Iterable[str], blank: Request) -> Iterator[Request]:
    if isinstance(texts, str):
        raise InvalidRequest("one text is given where several are meant", mend="write [text]")
    for text in texts:
        yield msgspec.structs.replace(blank, messages=(Message("user", text),))


def _floats(vector: bytes) -> array[float]:
    floats = array("f")
    floats.frombytes(vector)
    if sys.byteorder == "big":
        floats.byteswap()
    return floats
