"""A request's body that is too large to be held: read piece by piece, no faster than it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable

import pycurl

__all__ = ["Upload"]


class Upload:
    """Feeds one transfer; *size* is the whole body's. At most one piece waits here."""

    def __init__(self, curl: pycurl.Curl, pieces: AsyncIterable[bytes], size: int) -> None:
        self._curl = curl
        self._pieces = pieces
        self._piece = memoryview(b"")
        self._taken = asyncio.Event()
        self._paused = False
        self._over = False
        self.error: Exception | None = None
        curl.setopt(pycurl.POST, 1)
        curl.setopt(pycurl.POSTFIELDSIZE_LARGE, size)
        curl.setopt(pycurl.READFUNCTION, self._give)

    async def feed(self) -> None:
        """Bring all pieces to the transfer, which must have been started; ends early if they fail."""
        try:
            async for piece in self._pieces:
                self._piece = memoryview(piece)
                self._taken.clear()
                self._resume()
                await self._taken.wait()
        except Exception as error:  # noqa: BLE001 - whatever the pieces' source raises is the caller's to see
            self.error = error
        self._over = True
        self._resume()

    def _give(self, size: int) -> bytes | int:
        """Called by libcurl when it can send up to *size* bytes."""
        if self._piece:
            part, self._piece = self._piece[:size], self._piece[size:]
            if not self._piece:
                self._taken.set()
            return bytes(part)
        if self._over:
            return int(pycurl.READFUNC_ABORT) if self.error is not None else b""
        self._paused = True
        return int(pycurl.READFUNC_PAUSE)

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self._curl.pause(pycurl.PAUSE_CONT)
