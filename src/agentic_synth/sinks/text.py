"""Text outputs: buffered on the event loop, compressed and written from a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from agentic_synth.errors import OutputError
from agentic_synth.sinks.compression import Compressor
from agentic_synth.sinks.formats import Format
from agentic_synth.sinks.lane import Lane
from agentic_synth.sinks.sink import OutputClosed, Row
from agentic_synth.sinks.target import Target

__all__ = ["BLOCK_BYTES", "LINGER", "TextSink"]

BLOCK_BYTES = 65_536
LINGER = 0.25


class TextSink:
    """Buffers text and writes it from a thread, a block at a time.

    Uncompressed text is at most *linger* seconds or *block_bytes* behind the rows, so that a reader can follow it; the
    first rows, and any after a pause, go at once.
    Compressed text goes in blocks of exactly *block_bytes*, so that equal rows make equal files at any speed.
    """

    def __init__(
        self,
        target: Target,
        rows: Format,
        *,
        compressor: Compressor | None = None,
        block_bytes: int = BLOCK_BYTES,
        linger: float = LINGER,
    ) -> None:
        self._target = target
        self._format = rows
        self._compressor = compressor
        self._block_bytes = block_bytes
        self._linger = linger
        self._buffer = bytearray(rows.header())
        self._lane = Lane(target.name)
        self._timer: asyncio.TimerHandle | None = None
        self._refused: OutputError | None = None
        self._closed = False

    async def write(self, rows: Sequence[Row]) -> None:
        self._check()
        self._buffer += self._encode(rows)
        if len(self._buffer) >= self._block_bytes:
            await self._lane.settle()
            self._send()
        elif self._lane.error is not None:
            await self._lane.settle()
        elif self._timer is None and self._compressor is None:
            self._tick()

    async def flush(self) -> None:
        self._raise_refused()
        await self._lane.settle()
        self._send()
        await self._lane.settle()

    async def close(self, *, deliver: bool) -> None:
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if not deliver:
            self._target.hurry()
        await self._lane.finish(partial(self._finish, deliver), quiet=not deliver)

    def _check(self) -> None:
        try:
            self._target.check()
        except OutputClosed as closed:
            self._lane.fail(closed)
            raise

    def _encode(self, rows: Sequence[Row]) -> bytes:
        self._raise_refused()
        try:
            return self._format.encode(rows)
        except OutputError as error:
            self._refused = error
            raise

    def _raise_refused(self) -> None:
        """A row that could not be written leaves a gap, so no later row may follow it."""
        if self._refused is not None:
            raise self._refused

    def _send(self) -> None:
        data = self._take()
        if data:
            self._lane.start(partial(self._put, data))

    def _take(self) -> bytes:
        keep = len(self._buffer) % self._block_bytes if self._compressor else 0
        data = bytes(memoryview(self._buffer)[: len(self._buffer) - keep])
        del self._buffer[: len(data)]
        return data

    def _put(self, data: bytes) -> None:
        if self._compressor is None:
            self._target.write(data)
            return
        for start in range(0, len(data), self._block_bytes):
            self._compressor.write(data[start : start + self._block_bytes])

    def _tick(self) -> None:
        """Send what there is, unless the thread is busy yet, and look again later; rest when there is nothing."""
        self._timer = None
        if self._buffer:
            if not self._lane.busy:
                self._send()
            self._timer = asyncio.get_running_loop().call_later(self._linger, self._tick)

    def _finish(self, deliver: bool) -> None:
        whole = False
        try:
            if self._lane.error is None:
                self._put(bytes(self._buffer) + self._format.trailer())
                whole = self._refused is None
            if self._compressor is not None:
                self._compressor.close()
        finally:
            self._target.close(deliver=deliver and whole)
        if deliver:
            self._raise_refused()
