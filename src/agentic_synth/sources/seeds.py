"""What every source of seed rows promises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, TypeAlias, runtime_checkable

__all__ = ["Seed", "Seeds"]

Seed: TypeAlias = dict[str, Any]
"""One seed row, by column name."""


@runtime_checkable
class Seeds(Protocol):
    """Seed rows that can be read again from the start, one at a time, without holding them all."""

    name: str
    """What messages and reports call the source."""

    def __iter__(self) -> Iterator[Seed]:
        """The rows, from the first one each time.

        Raises:
            OutputError: the source cannot be read; the message names file and line.
        """
        ...

    def columns(self) -> list[str]:
        """The columns of the table, or the keys of the first row where every row has its own."""
        ...

    def count(self) -> int | None:
        """How many rows there are, None where finding out would take long."""
        ...

    def fingerprint(self) -> str:
        """A text that changes when the rows do."""
        ...
