"""The shape of a wire format: from our types to bytes and back, without I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from agentic_synth.config import UpstreamConfig
from agentic_synth.policies.joined import Joined
from agentic_synth.types import Call, Delta, Json, Request, Response, Usage

__all__ = [
    "DeltaDecoder",
    "WireFault",
    "WireFormat",
    "assemble",
    "data_url",
    "estimate_tokens",
    "estimated",
    "input_estimate",
    "text_of",
]


class WireFault(Exception):
    """An ``error`` value where an answer should be, inside a reply of status 200."""

    def __init__(self, error: Json) -> None:
        super().__init__("error in the reply")
        self.error = error


class DeltaDecoder(Protocol):
    """The state of one streamed answer.

    Raises:
        WireFault: the upstream reports an error inside the stream.
        msgspec.DecodeError: an event is not what the format says.
    """

    def push(self, data: bytes | bytearray) -> Delta | None:
        """The delta in one event's data, the last one with ``finish``; None where the event brings nothing."""
        ...

    def end(self) -> Delta | None:
        """The last delta, if the end of the stream completes the answer; None means that the stream was cut."""
        ...


class WireFormat(Protocol):
    """One provider's dialect; the modules beside this one."""

    def headers(self, key: str | None) -> dict[str, str]:
        """What goes with every request: the key, the version."""
        ...

    def url(self, config: UpstreamConfig, model: str, *, stream: bool) -> str: ...

    def schema_part(self, config: UpstreamConfig, schema: dict[str, Json]) -> Json:
        """The fields that ask for *schema*; they go into the request already encoded, which is done once a schema."""
        ...

    def encode(
        self, config: UpstreamConfig, call: Call, *, stream: bool, schema_part: Mapping[str, msgspec.Raw] | None
    ) -> bytes: ...

    def decode(self, body: bytes) -> Response:
        """The whole answer; raises as :class:`DeltaDecoder` does."""
        ...

    def decoder(self) -> DeltaDecoder: ...

    def models_url(self, config: UpstreamConfig) -> str: ...

    def decode_models(self, body: bytes) -> list[str]: ...


def estimate_tokens(characters: int) -> int:
    """About four characters a token, which is what providers tell their users to reckon with."""
    return (characters + 3) // 4


def input_estimate(request: Request) -> int:
    """The tokens of a request's messages, estimated."""
    return estimate_tokens(sum(len(text_of(message.content)) for message in request.messages))


def estimated(response: Response, request: Request) -> Response:
    """*response* with its usage estimated, where the upstream counted nothing."""
    if response.usage.input_tokens or response.usage.output_tokens:
        return response
    sent = input_estimate(request)
    received = estimate_tokens(len(response.text) + len(response.reasoning))
    return msgspec.structs.replace(response, usage=Usage(sent, received, estimated=True))


def text_of(content: str | Sequence[dict[str, Json]] | None) -> str:
    """The text of a message's content; parts that are not text are left out."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(str(part.get("text") or "") for part in content if part.get("type", "text") == "text")


def data_url(address: str) -> tuple[str, str] | None:
    """Media type and base64 text of a ``data:`` URL (RFC 2397), None for any other address."""
    head, comma, data = address.partition(",")
    if not (comma and head.startswith("data:") and head.endswith(";base64")):
        return None
    return head[5:-7], data


def assemble(deltas: Sequence[Delta]) -> Response:
    """The answer that *deltas* add up to."""
    joined = Joined()
    for delta in deltas:
        joined.add(delta)
    return joined.response(Response(finish="other"))
