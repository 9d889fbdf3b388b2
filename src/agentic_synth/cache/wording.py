"""Which words of a request a semantic match may compare, and what must be equal beside them."""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

import msgspec

from agentic_synth.types import Request

__all__ = ["Wording", "wording_of"]

_canonical = msgspec.json.Encoder(order="sorted").encode


class Wording(NamedTuple):
    """What of a request may be worded otherwise: *text*; *partition* stands for everything that must be equal."""

    partition: bytes
    text: str


def wording_of(request: Request, origin: str) -> Wording | None:
    """What a semantic match may compare of *request*; None where nothing in it is said freely.

    A recipe knows its values (``Request.meaning``). Of any other prompt it is the last message, all of it.
    """
    if request.kind != "chat" or not request.messages:
        return None
    *before, last = request.messages
    if request.meaning is not None:
        text, fixed = request.meaning.text, request.meaning.fixed
    elif isinstance(last.content, str) and last.role == "user":
        text, fixed = last.content, ()
    else:
        return None
    same = (
        request.model, origin, before, last.role, last.name, fixed, request.parameters, request.schema, request.tools,
        request.tool_choice, request.namespace,
    )  # fmt: skip
    partition = blake2b(_canonical(same), digest_size=16, person=b"synth.part.1").digest()
    return Wording(partition, text) if text.strip() else None
