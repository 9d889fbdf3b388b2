"""Streamed answers on their way to the caller: passed through a generator, and known to be over however they end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable

import msgspec

from agentic_synth.types import Delta, DeltaStream, Reply, Usage

__all__ = ["Ending", "Relayed", "WatchedBody", "watch"]


class Relayed:
    """*body* as the generator *deltas* gives it out; closing closes both."""

    __slots__ = ("_body", "_deltas")

    def __init__(self, body: DeltaStream, deltas: AsyncGenerator[Delta, None]) -> None:
        self._body = body
        self._deltas = deltas

    def __aiter__(self) -> AsyncIterator[Delta]:
        return self._deltas

    async def aclose(self) -> None:
        await self._body.aclose()
        await self._deltas.aclose()


class Ending(msgspec.Struct, frozen=True):
    """How a body ended: what it used as far as it was told, the *characters* that came through, the *error* it broke
    with. Not *whole* and without an error, it was closed early or thrown away."""

    usage: Usage | None
    characters: int
    error: BaseException | None
    whole: bool


class WatchedBody:
    """*body*, and one call of *ended*: at its end, its failure, its close, or when it is thrown away.

    The delta that tells the usage gets the cost that *price* puts on it.
    """

    __slots__ = ("_body", "_characters", "_ended", "_price", "_source", "_usage")

    def __init__(
        self, body: DeltaStream, ended: Callable[[Ending], None], price: Callable[[Usage], float] | None = None
    ) -> None:
        self._body = body
        self._source: AsyncIterator[Delta] | None = None
        self._ended: Callable[[Ending], None] | None = ended
        self._price = price
        self._usage: Usage | None = None
        self._characters = 0

    def __aiter__(self) -> AsyncIterator[Delta]:
        return self

    async def __anext__(self) -> Delta:
        source = self._source
        if source is None:
            source = self._source = self._body.__aiter__()
        try:
            delta = await source.__anext__()
        except StopAsyncIteration:
            self._end(None, whole=True)
            raise
        except BaseException as error:
            self._end(error, whole=False)
            raise
        if delta.usage is not None:
            self._usage = delta.usage
            if self._price is not None:
                delta = msgspec.structs.replace(delta, cost=self._price(delta.usage))
        self._characters += len(delta.text) + len(delta.reasoning)
        return delta

    async def aclose(self) -> None:
        try:
            await self._body.aclose()
        finally:
            self._end(None, whole=False)

    def _end(self, error: BaseException | None, *, whole: bool) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(Ending(self._usage, self._characters, error, whole))

    def __del__(self) -> None:
        # A consumer that forgets to close must not take a permit with it.
        self._end(None, whole=False)


def watch(
    reply: Reply, body: DeltaStream, ended: Callable[[Ending], None], price: Callable[[Usage], float] | None = None
) -> Reply:
    """*reply* with its *body* watched."""
    watched = WatchedBody(body, ended, price)
    return msgspec.structs.replace(reply, response=msgspec.structs.replace(reply.response, body=watched))
