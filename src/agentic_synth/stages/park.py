"""Write a request down for a provider's batch instead of sending it, if it may wait that long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from agentic_synth.cache.key import key_of
from agentic_synth.cache.parked import Parked as Waiting
from agentic_synth.cache.parked import Parking
from agentic_synth.errors import Parked, StoreError, SynthError
from agentic_synth.stage import Handler
from agentic_synth.types import Request, Response

__all__ = ["Lot", "Park"]

_MOST_REFUSED = 10_000


class Park:
    """What the store cannot answer and what says ``parked`` is written down, durably, and ends with :class:`Parked`.

    Nothing of it stays in memory, so fifty thousand requests that wait are rows on the disk. A request that streams, or
    whose upstream has no lot here, passes by.
    """

    def __init__(self) -> None:
        self._lots: dict[str, Lot] = {}

    def open(self, lot: Lot) -> None:
        """Let requests for the lot's upstream be parked there."""
        self._lots[lot.upstream] = lot

    def __call__(self, request: Request, proceed: Handler[Request, Response], /) -> Coroutine[Any, Any, Response]:
        if not request.parked or request.stream or (lot := self._lots.get(request.model)) is None:
            return proceed(request)
        return self._park(request, lot)

    async def _park(self, request: Request, lot: Lot) -> Response:
        batch = await lot.park(request)
        raise Parked("this waits for a provider's batch", batch=batch, mend="the same command fetches its answer")


class Lot:
    """Where requests for one upstream wait. Those that come while others are being written are written together."""

    def __init__(
        self,
        upstream: str,
        origin: str,
        parking: Parking,
        size: Callable[[str, Request], int],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        """*size* tells the bytes that a request of this name takes of a batch, *spawn* starts a task of the engine."""
        self.upstream = upstream
        self.origin = origin
        self._parking = parking
        self._size = size
        self._spawn = spawn
        self._fresh: list[tuple[Waiting, asyncio.Future[int | None]]] = []
        self._writing = False
        self._refused: dict[bytes, SynthError] = {}

    def refuse(self, key: bytes, error: SynthError) -> None:
        """Batches have failed the request of this key: from now on it ends with *error*, and is not parked again.

        Raises:
            SynthError: *error*, where so many were refused that no run can be meant to go on.
        """
        if len(self._refused) >= _MOST_REFUSED:
            raise error
        self._refused[key] = error

    def forgive(self) -> None:
        """Let everything be parked again that was refused."""
        self._refused.clear()

    async def park(self, request: Request) -> int | None:
        """Write *request* down, but for one that waits already; the number of the batch that it is in, if it is.

        Raises:
            SynthError: what its batches failed with.
            InvalidRequest: no batch can hold it.
            StoreError: it cannot be written.
        """
        key = key_of(request, self.origin).draw
        if (error := self._refused.get(key)) is not None:
            raise error.with_traceback(None)
        bare = msgspec.structs.replace(request, parked=False, ahead=False)
        written: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        waiting = Waiting(key, bare, self.upstream, self.origin, self._size(key.hex(), bare))
        self._fresh.append((waiting, written))
        if not self._writing:
            self._writing = True
            self._spawn(self._write())
        return await written

    async def _write(self) -> None:
        try:
            while self._fresh:
                some, self._fresh = self._fresh, []
                await self._write_down(some)
        finally:
            self._writing = False
            for _, written in self._fresh:
                written.cancel()

    async def _write_down(self, some: list[tuple[Waiting, asyncio.Future[int | None]]]) -> None:
        try:
            new = await self._parking.park([waiting for waiting, _ in some])
        except StoreError as error:
            for _, written in some:
                if not written.done():
                    written.set_exception(error)
            return
        except BaseException:
            for _, written in some:
                written.cancel()
            raise
        for waiting, written in some:
            # Only what waited before can be in a batch.
            found = self._parking.look(waiting.custom_id) if new < len(some) else None
            if not written.done():
                written.set_result(found.batch if found is not None else None)
