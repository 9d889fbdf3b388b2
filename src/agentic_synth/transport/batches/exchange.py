"""The exchanges that both batch APIs consist of: a question with a small JSON answer, and results read line by line."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import TypeAlias, TypeVar

import msgspec

from agentic_synth.config import UpstreamConfig
from agentic_synth.errors import AttemptTimeout, BadReply, InvalidRequest, SynthError, UnknownModel
from agentic_synth.transport.batches.api import BatchLine, BatchResult
from agentic_synth.transport.client import Content, HttpClient, read_all
from agentic_synth.transport.encoding import CallEncoder, wire_of
from agentic_synth.transport.failures import failure_of, failure_of_event, host_of
from agentic_synth.transport.pycurl_client import PycurlClient
from agentic_synth.transport.wire.format import WireFault
from agentic_synth.types import Call, Json

__all__ = ["ClientFactory", "Exchange", "NewClient"]

T = TypeVar("T")

NewClient: TypeAlias = Callable[[UpstreamConfig, Mapping[str, str]], HttpClient]
ClientFactory: NewClient = PycurlClient

_MAX_ERROR_BYTES = 64 * 1024
_MAX_LINE_BYTES = 64 * 1024 * 1024
_CUSTOM_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Exchange:
    """What is asked of one upstream's batch API, with every failure one of our classes."""

    def __init__(self, config: UpstreamConfig, client: NewClient) -> None:
        self.config = config
        self._wire = wire_of(config)
        self._encode = CallEncoder(config)
        key = config.api_key.reveal() if config.api_key is not None else None
        self._client = client(config, {**self._wire.headers(key), **config.headers})

    def body_of(self, line: BatchLine) -> bytes:
        """The very bytes that the request's own call would send.

        Raises:
            InvalidRequest: batches of this kind of request, or results under this name, cannot be had.
        """
        custom_id, request = line
        if request.kind != "chat":
            raise InvalidRequest("only chat requests go by batch", mend="use --mode online for embeddings")
        if _CUSTOM_ID.fullmatch(custom_id) is None:
            raise InvalidRequest(f"{custom_id!r} cannot name a request of a batch")
        return self._encode(Call(request=request, model=self.config.model), stream=False)

    async def ask(
        self,
        kind: type[T],
        method: str,
        url: str,
        body: Content | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> T:
        """One exchange whose answer is a small JSON value."""
        answer = await self._client.send(method, url, body, headers)
        if not 200 <= answer.status < 300:
            raise self._failure(answer.status, answer.headers, answer.body)
        try:
            return msgspec.json.decode(answer.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self.unreadable(error) from None

    async def lines(self, url: str) -> AsyncGenerator[bytes, None]:
        """The lines of a reply, each as soon as it is there; what is not read is not fetched."""
        body = await self._client.open("GET", url)
        if not 200 <= body.status < 300:
            raise self._failure(body.status, body.headers, await read_all(body, _MAX_ERROR_BYTES))
        timeout = self.config.timeouts.inter_token
        parts: list[bytes] = []
        size = 0
        try:
            while True:
                async with asyncio.timeout(timeout):
                    piece = await body.read()
                if piece is None:
                    break
                first, *others = piece.split(b"\n")
                parts.append(first)
                size += len(first)
                for other in others:
                    if size:
                        yield b"".join(parts)
                    parts, size = [other], len(other)
                if size > _MAX_LINE_BYTES:
                    raise BadReply(f"{self.config.reference}: a result is longer than {_MAX_LINE_BYTES:,} bytes")
        except TimeoutError:
            raise AttemptTimeout(f"{self.config.reference}: the results stopped for {timeout:g} s") from None
        finally:
            await body.aclose()
        if size:
            yield b"".join(parts)

    def answered(self, custom_id: str, body: msgspec.Raw) -> BatchResult:
        """The result that a reply's body means; one that cannot be read is this request's error alone."""
        try:
            response = self._wire.decode(bytes(body))
        except WireFault as fault:
            return self.failed(custom_id, fault.error)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return BatchResult(custom_id, error=self.unreadable(error))
        return BatchResult(custom_id, msgspec.structs.replace(response, upstream=self.config.reference))

    def failed(self, custom_id: str, error: Json) -> BatchResult:
        """The result that an ``error`` value means."""
        return BatchResult(custom_id, error=failure_of_event(self.config, error))

    def refused(self, custom_id: str, status: int, body: msgspec.Raw) -> BatchResult:
        """The result that a reply with an error status means."""
        return BatchResult(custom_id, error=failure_of(self.config, status, {}, bytes(body)))

    def unreadable(self, error: Exception) -> BadReply:
        """The error of a reply that is not what the API's documentation says."""
        where = host_of(self.config.base_url)
        return BadReply(
            f"{self.config.reference}: the reply of the batch API cannot be read: {error}",
            upstream=self.config.name,
            mend=f"check that {where} is the API's base URL, or use --mode online",
        )

    def _failure(self, status: int, headers: Mapping[str, str], body: bytes) -> SynthError:
        error = failure_of(self.config, status, headers, body)
        if isinstance(error, UnknownModel) and status == 404:
            error.mend = f"does {host_of(self.config.base_url)} have a batch API? Without one, use --mode online"
        return error

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()
