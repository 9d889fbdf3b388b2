"""The canonical key of a request: equal for the same draw, different for everything that can change the answer.

The *specification* is what is asked: requested model, origin, messages, every parameter, schema, tools, namespace. The
*draw* adds which of its many possible answers is meant. How the request is carried (stream, deadline, priority, reuse)
is in neither. Two requests that are the same JSON on the wire are the same specification: a tuple and a list, NaN and
null.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from agentic_synth.errors import InvalidRequest
from agentic_synth.types import Draw, Kind, Message, Request

__all__ = ["AUDIT", "Key", "key_of", "lineage_of", "redraw", "request_of"]

AUDIT = "audit"
"""The lineage of answers that are kept to be looked at and never used again."""

_DIGEST_BYTES = 16
# The domains carry the version: a change of what is hashed changes them, so that old keys miss instead of lying.
_SPEC_DOMAIN = b"synth.spec.1"
_DRAW_DOMAIN = b"synth.draw.1"

# Sorted at every level: neither the order of a caller's dict nor that of the fields below changes a key.
_canonical = msgspec.json.Encoder(order="sorted").encode


class _Specification(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    model: str
    origin: str
    messages: tuple[Message, ...]
    parameters: dict[str, Any] = {}
    schema: dict[str, Any] | None = None
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: Any = None
    namespace: str = ""
    kind: Kind = "chat"


_read = msgspec.json.Decoder(_Specification).decode
_CARRIED = tuple(name for name in _Specification.__struct_fields__ if name != "origin")


class Key(NamedTuple):
    """What an answer is stored under: *draw* is the full key, *spec* the same for every draw of one specification.

    *canonical* is the specification as JSON, kept beside the answer for audit and export; *lineage* names the run that
    draws.
    """

    draw: bytes
    spec: bytes
    canonical: bytes
    lineage: str = ""


def key_of(request: Request, origin: str) -> Key:
    """The key of *request* when it is asked at *origin*, the base URL of the requested model.

    Raises:
        InvalidRequest: the request holds what JSON cannot say, such as half a surrogate pair.
    """
    specification = _Specification(
        request.model,
        origin,
        request.messages,
        request.parameters,
        request.schema,
        request.tools,
        request.tool_choice,
        request.namespace,
        request.kind,
    )
    try:
        canonical = _canonical(specification)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(
            f"the request cannot be written as JSON: {error}",
            mend="look for broken Unicode or objects that are not JSON in the prompt, the parameters or the schema",
        ) from error
    spec = blake2b(canonical, digest_size=_DIGEST_BYTES, person=_SPEC_DOMAIN).digest()
    return Key(_draw_of(spec, request.draw), spec, canonical, _run_of(request.draw))


def request_of(canonical: bytes, lineage: str) -> tuple[Request, str]:
    """The request that was written as ``Key.canonical``, and its origin: the first draw of *lineage*.

    Raises:
        msgspec.DecodeError: it was written by another version.
    """
    asked = _read(canonical)
    fields = {name: getattr(asked, name) for name in _CARRIED}
    return Request(**fields, draw=Draw(lineage)), asked.origin


def redraw(key: Key, draw: Draw) -> Key:
    """The key of another *draw* of the same specification, a quarter of the cost of :func:`key_of`."""
    return Key(_draw_of(key.spec, draw), key.spec, key.canonical, _run_of(draw))


def lineage_of(seed: int, epoch: int) -> str:
    """What the draws of a run are named after: runs of one seed and epoch share them, plain requests those of 0, 0."""
    return "" if seed == epoch == 0 else f"{seed}.{epoch}"


def _run_of(draw: Draw) -> str:
    return draw.lineage.partition("/")[0]


def _draw_of(spec: bytes, draw: Draw) -> bytes:
    # The lineage stands last, after two numbers of its own alphabet, so no two draws spell the same bytes. Its text
    # may be anything a user gives; surrogates pass as they are, since nothing but the hash ever reads them.
    text = f"{draw.sample:d}:{draw.attempt:d}:{draw.lineage}".encode(errors="surrogatepass")
    return blake2b(spec + text, digest_size=_DIGEST_BYTES, person=_DRAW_DOMAIN).digest()
