"""What a refused batch was refused for: something in it, or its size."""

from __future__ import annotations

from agentic_synth.policies.batch_size import BatchSize

__all__ = ["Bisection"]


class Bisection:
    """A batch of *items* that was refused as a whole and is sent again in halves, which may be halved in their turn.

    Whoever sends a half counts how many of its items *passed*, and how many stood alone and were *refused* all the
    same, and then ends it. *above* is the bisection whose half this batch was.
    """

    __slots__ = ("_above", "_items", "_pending", "passed", "refused")

    def __init__(self, items: int, above: Bisection | None = None) -> None:
        self._items = items
        self._above = above
        self._pending = 2
        self.passed = 0
        self.refused = 0

    def end(self, size: BatchSize) -> None:
        """One half is over; once both are, *size* is told what that shows.

        If every item passed, the batch was too large; if some were refused alone, they had failed it. What else became
        of an item (its caller left, the server failed) shows nothing.
        """
        self._pending -= 1
        if self._pending:
            return
        if self.passed == self._items:
            size.too_large(self._items)
        elif self.refused and self._above is None:
            size.record(0.0, self._items, None, failed=self.refused)
        if self._above is not None:
            self._above.passed += self.passed
            self._above.refused += self.refused
            self._above.end(size)
