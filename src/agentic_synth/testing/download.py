"""Sends many lines as one streamed reply, some at a time, so that the server has ears for others meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice

from agentic_synth.testing.http import Exchange

__all__ = ["send_lines"]

_LINES_A_TURN = 32


def send_lines(
    loop: asyncio.AbstractEventLoop, exchange: Exchange, lines: Iterator[bytes], *, cut_after: int | None = None
) -> None:
    """Reply with *lines* at the pace of the client; hang up after *cut_after* of them, in the middle of the next."""
    _Download(loop, exchange, lines, cut_after).step()


class _Download:
    __slots__ = ("_exchange", "_gone", "_left", "_lines", "_loop")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, exchange: Exchange, lines: Iterator[bytes], cut_after: int | None
    ) -> None:
        self._loop = loop
        self._exchange = exchange
        self._lines = lines
        self._left = cut_after
        self._gone = False
        exchange.left = self._leave
        exchange.begin(content_type="application/jsonl")

    def _leave(self) -> None:
        self._gone = True

    def step(self) -> None:
        """Send some lines, and see to it that more follow."""
        if self._gone:
            return
        exchange, room = self._exchange, _LINES_A_TURN
        if self._left is not None:
            room = min(room, self._left)
            self._left -= room
        some = b"".join(islice(self._lines, room))
        flowing = exchange.write(some) if some else True
        if self._left == 0:
            exchange.write(next(self._lines, b"{}")[:20])
            exchange.hang_up()
        elif not some:
            exchange.end()
        elif flowing:
            self._loop.call_soon(self.step)
        else:
            exchange.resumed = self.step
