"""Time as an argument, so that an hour of backoff runs in milliseconds under test."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """A monotonic clock in seconds."""

    def now(self) -> float:
        """The present instant; only differences between instants mean anything."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after *seconds*, or at the next turn of the loop if that is not positive."""
        ...


class SystemClock:
    """The machine's monotonic clock."""

    now = staticmethod(time.monotonic)
    sleep = staticmethod(asyncio.sleep)
