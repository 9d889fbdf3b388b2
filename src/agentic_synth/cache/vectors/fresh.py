"""Texts that are not durable yet, and are found all the same."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from agentic_synth.cache.vectors.rows import Rows
from agentic_synth.cache.vectors.texts import Text

if TYPE_CHECKING:
    from agentic_synth.cache.vectors.index import Vector

__all__ = ["Fresh"]


class Fresh:
    """Texts in the order they came, each with a number of its own; one that comes again takes its own place."""

    def __init__(self) -> None:
        self._numbers = count()
        self._texts: dict[int, Text] = {}
        self._number: dict[tuple[bytes, bytes], int] = {}  # of a partition and a key
        self._rows: dict[bytes, Rows] = {}

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, text: Text, vector: Vector) -> None:
        """Let *text* be found by *vector*."""
        if (old := self._number.get(text[:2])) is not None:
            self._remove(old)
        number = self._number[text[:2]] = next(self._numbers)
        self._texts[number] = text
        rows = self._rows.get(text.partition)
        if rows is None:
            rows = self._rows[text.partition] = Rows(len(vector))
        rows.add([number], vector[None])

    def search(self, partition: bytes, vector: Vector, k: int) -> list[tuple[Text, float]]:
        """The *k* nearest of *partition*."""
        rows = self._rows.get(partition)
        return [(self._texts[number], similarity) for number, similarity in rows.search(vector, k)] if rows else []

    def waiting(self) -> dict[int, Text]:
        """All of them, by their numbers."""
        return dict(self._texts)

    def settle(self, group: dict[int, Text]) -> None:
        """Let go of *group*; what came again in the meantime stays."""
        for number in group:
            self._remove(number)

    def forget(self, key: bytes) -> None:
        """Let go of what *key* answers."""
        for number in [number for number, text in self._texts.items() if text.key == key]:
            self._remove(number)

    def _remove(self, number: int) -> None:
        text = self._texts.pop(number, None)
        if text is None:
            return
        if self._number.get(text[:2]) == number:
            del self._number[text[:2]]
        rows = self._rows[text.partition]
        rows.remove(number)
        if not len(rows):
            del self._rows[text.partition]
