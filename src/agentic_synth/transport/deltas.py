"""A streamed answer: bytes in, deltas out, read only as fast as they are consumed."""

from __future__ import annotations

import asyncio
from collections import deque

import msgspec

from agentic_synth.config import UpstreamConfig
from agentic_synth.errors import AttemptTimeout, BadReply, SynthError, UpstreamError
from agentic_synth.transport.client import MEND_FIRST_TOKEN, Body
from agentic_synth.transport.failures import failure_of_event
from agentic_synth.transport.sse import SseParser
from agentic_synth.transport.wire.format import DeltaDecoder, WireFault, estimate_tokens
from agentic_synth.types import Delta, Usage

__all__ = ["HttpDeltaStream"]

_DRAIN_S = 1.0


class HttpDeltaStream:
    """Implements :class:`~agentic_synth.types.DeltaStream` over one reply.

    Nothing is read from the socket while nobody iterates; then the client's read buffer fills, and the sender waits.
    The inter-token timeout runs only while we wait for the upstream, never while the consumer is busy. An answer that
    ends without its terminal marker is an error. Whatever ends the iteration gives the connection back.
    """

    def __init__(self, config: UpstreamConfig, body: Body, decoder: DeltaDecoder, input_tokens: int) -> None:
        self._config = config
        self._body = body
        self._decoder = decoder
        self._input_tokens = input_tokens
        self._parser = SseParser()
        self._ready: deque[Delta] = deque()
        self._received = 0
        self._finished = False
        self._closed = False

    def __aiter__(self) -> HttpDeltaStream:
        return self

    async def __anext__(self) -> Delta:
        while not self._ready:
            if self._finished or self._closed:
                await self.aclose()
                raise StopAsyncIteration
            try:
                await self._fill()
            except BaseException as error:
                await self._fail(error)
                raise
        return self._ready.popleft()

    async def first(self) -> None:
        """Wait until a first delta is there, without taking it.

        Raises:
            AttemptTimeout: none came within ``Timeouts.first_token``, counted from the start of the exchange.
        """
        timeout = self._config.timeouts.first_token
        try:
            async with asyncio.timeout_at(self._body.started + timeout):
                while not self._ready:
                    self._take(await self._body.read())
        except TimeoutError:
            await self.aclose()
            message = f"{self._config.reference}: no token within {timeout:g} s"
            raise AttemptTimeout(message, upstream=self._config.name, mend=MEND_FIRST_TOKEN) from None
        except BaseException as error:
            await self._fail(error)
            raise

    async def aclose(self) -> None:
        """Stop; an unfinished answer is cancelled upstream at once, a finished one leaves its connection for reuse."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._finished:
                await self._drain()
        finally:
            await self._body.aclose()

    async def _fail(self, error: BaseException) -> None:
        if isinstance(error, UpstreamError):
            error.upstream = self._config.name
        await self.aclose()

    async def _fill(self) -> None:
        timeout = self._config.timeouts.inter_token
        try:
            async with asyncio.timeout(timeout):
                piece = await self._body.read()
        except TimeoutError:
            raise AttemptTimeout(
                f"{self._config.reference}: the stream was silent for {timeout:g} s",
                upstream=self._config.name,
                mend="raise timeouts.inter_token if the model thinks for that long",
            ) from None
        self._take(piece)

    def _take(self, piece: bytes | None) -> None:
        events = self._parser.end() if piece is None else self._parser.feed(piece)
        try:
            for data in events:
                self._accept(self._decoder.push(data))
                if self._finished:
                    return
            if piece is None:
                self._accept(self._decoder.end())
        except WireFault as fault:
            raise failure_of_event(self._config, fault.error) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._bad(f"an event of the stream cannot be read: {error}") from None
        if piece is None and not self._finished:
            raise self._bad("the stream was cut before the answer was complete")

    def _accept(self, delta: Delta | None) -> None:
        if delta is None:
            return
        self._received += len(delta.text) + len(delta.reasoning)
        if delta.finish is not None:
            self._finished = True
            if delta.usage is None:
                usage = Usage(self._input_tokens, estimate_tokens(self._received), estimated=True)
                delta = msgspec.structs.replace(delta, usage=usage)
        self._ready.append(delta)

    def _bad(self, message: str) -> SynthError:
        return BadReply(f"{self._config.reference}: {message}", upstream=self._config.name)

    async def _drain(self) -> None:
        """Read past the terminal marker to the end of the body, or the connection could not be used again."""
        try:
            async with asyncio.timeout(_DRAIN_S):
                while await self._body.read() is not None:
                    pass
        except (TimeoutError, SynthError):
            return  # the answer is complete; only the connection is lost
