"""A body that is too large to be held: written to a temporary file, then sent from it piece by piece."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import IO

from agentic_synth.errors import InvalidRequest
from agentic_synth.transport.batches.api import BatchLimits

__all__ = ["Spool", "spooled"]

_PIECE_BYTES = 256 * 1024
_ITEMS_A_TURN = 32  # about half a millisecond of encoding, after which others have their turn on the loop


class Spool:
    """What was written: *items* pieces of a body of *size* bytes."""

    def __init__(self, file: IO[bytes], items: int, size: int) -> None:
        self._file = file
        self.items = items
        self.size = size

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body from its start; one reader at a time."""
        self._file.seek(0)
        while piece := self._file.read(_PIECE_BYTES):
            yield piece


@asynccontextmanager
async def spooled(
    items: Iterable[bytes], limits: BatchLimits, *, head: bytes = b"", between: bytes = b"", tail: bytes = b""
) -> AsyncIterator[Spool]:
    """Write *items* to a file that lives as long as the block; the event loop is held for no more than some of them.

    Raises:
        InvalidRequest: there are none, or more than *limits* allow.
    """
    with tempfile.TemporaryFile(buffering=_PIECE_BYTES) as file:
        size, count = file.write(head), 0
        for item in items:
            size += file.write(between + item if count else item)
            count += 1
            if count > limits.requests or size > limits.size_bytes:
                raise InvalidRequest(
                    f"a batch of this provider holds at most {limits.requests:,} requests"
                    f" and {limits.size_bytes:,} bytes",
                    mend="divide the requests over several batches",
                )
            if count % _ITEMS_A_TURN == 0:
                await asyncio.sleep(0)
        if not count:
            raise InvalidRequest("a batch needs at least one request")
        size += file.write(tail)
        yield Spool(file, count, size)
