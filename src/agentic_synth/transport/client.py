"""The HTTP client as the transport sees it: one whole exchange, or one whose body is read piece by piece."""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping
from typing import Protocol, TypeAlias

import msgspec

from agentic_synth.errors import BadReply

__all__ = [
    "MAX_ANSWER_BYTES",
    "MEND_CONNECT",
    "MEND_FIRST_TOKEN",
    "MEND_TOTAL",
    "Answer",
    "Body",
    "Content",
    "HttpClient",
    "HttpStatistics",
    "read_all",
    "too_long",
]

MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""A longer plain answer is cut and refused: no model writes that much, and a broken server may write for ever."""

MEND_CONNECT = "check base_url, the network, and the proxy"
MEND_TOTAL = "raise timeouts.total if answers are that long"
MEND_FIRST_TOKEN = "raise timeouts.first_token if the model thinks for that long"  # noqa: S105


Content: TypeAlias = bytes | AsyncIterable[bytes]
"""A request's body: whole, or in pieces (with a ``content-length`` header) where it is too large to be held."""


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A complete reply.

    *body* is whatever bytes-like object the client has at hand. *seconds* is the time on the wire: it begins when a
    connection may be used, so that waiting for one is not part of it.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float


class HttpStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot of a client.

    *waiting* exchanges have no connection yet. *shards* are independent connection pools; over HTTP/2 each is one
    connection. *protocol* is empty until the first exchange.
    """

    requests: int = 0
    in_flight: int = 0
    waiting: int = 0
    shards: int = 0
    protocol: str = ""


class Body(Protocol):
    """A reply whose head has come and whose body is read on request, so that a slow reader slows the sender."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> dict[str, str]: ...

    @property
    def started(self) -> float:
        """When the exchange went to the wire, in the event loop's time."""
        ...

    async def read(self) -> bytes | None:
        """The next piece as it came, or None at the end."""
        ...

    async def aclose(self) -> None:
        """Give the connection back, or cut it if the body is not read to its end; closing twice is allowed."""
        ...


class HttpClient(Protocol):
    """Sends requests to one upstream over kept-alive connections.

    Waiting for a connection counts against ``Timeouts.pool`` alone. Cancelling a caller at any point gives its room
    back and ends the exchange upstream, both at once. Redirects are answers, never followed:
    a key goes to no other place than it was given for.

    Raises:
        ConnectFailed: no connection, or it broke before the answer was complete.
        AttemptTimeout: the exchange took longer than ``Timeouts.total``, or the head of an opened one longer than
            ``Timeouts.first_token``.
        BadReply: the peer does not speak HTTP, or a plain answer is longer than ``MAX_ANSWER_BYTES``.
        QueueFull: no connection became free within ``Timeouts.pool``.
    """

    async def send(
        self, method: str, url: str, body: Content | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One exchange, returned when the whole body is there."""
        ...

    async def open(self, method: str, url: str, body: bytes | None = None) -> Body:
        """One exchange, returned when the head of the reply is there."""
        ...

    def statistics(self) -> HttpStatistics: ...

    async def aclose(self) -> None: ...


def too_long(host: str | None) -> BadReply:
    """A plain answer of *host* was longer than any may be."""
    return BadReply(f"the reply of {host} is longer than {MAX_ANSWER_BYTES:,} bytes", mend="check base_url")


async def read_all(body: Body, limit_bytes: int) -> bytes:
    """The rest of *body*, at most about *limit_bytes* of it; the body is closed afterwards."""
    pieces: list[bytes] = []
    size = 0
    try:
        while size < limit_bytes and (piece := await body.read()) is not None:
            pieces.append(piece)
            size += len(piece)
    finally:
        await body.aclose()
    return b"".join(pieces)
