"""What is being asked right now, in words: who comes with another wording waits for that answer."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING

from agentic_synth.cache.vectors.rows import Rows
from agentic_synth.cache.wording import Wording

if TYPE_CHECKING:
    from agentic_synth.cache.vectors.index import Vector

__all__ = ["Asking", "Flight"]


class Flight:
    """A prompt on its way; it lands with or without an answer."""

    __slots__ = ("_landed", "number", "wording")

    def __init__(self, number: int, wording: Wording) -> None:
        self.number = number
        self.wording = wording
        self._landed = asyncio.Event()

    async def landed(self) -> None:
        """Wait until it is over, however it ends."""
        await self._landed.wait()

    def land(self) -> None:
        """Let go whoever waits."""
        self._landed.set()


class Asking:
    """The flights of one process, as many as there are requests in flight."""

    def __init__(self) -> None:
        self._numbers = count()
        self._flights: dict[int, Flight] = {}
        self._rows: dict[bytes, Rows] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def begin(self, wording: Wording, vector: Vector) -> Flight:
        """*wording* is asked now; :meth:`end` must follow."""
        flight = Flight(next(self._numbers), wording)
        rows = self._rows.get(wording.partition)
        if rows is None:
            rows = self._rows[wording.partition] = Rows(len(vector))
        rows.add([flight.number], vector[None])
        self._flights[flight.number] = flight
        return flight

    def end(self, flight: Flight) -> None:
        """Its answer is stored, or there is none."""
        rows = self._rows[flight.wording.partition]
        rows.remove(flight.number)
        if not len(rows):
            del self._rows[flight.wording.partition]
        del self._flights[flight.number]
        flight.land()

    def nearest(self, wording: Wording, vector: Vector, k: int) -> list[tuple[Flight, float]]:
        """The *k* flights nearest to *vector*, the nearest first, with their cosines."""
        rows = self._rows.get(wording.partition)
        return [(self._flights[number], near) for number, near in rows.search(vector, k)] if rows else []
