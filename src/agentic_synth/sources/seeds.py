"""What every source of seed rows promises."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Protocol, TypeAlias, runtime_checkable

__all__ = ["Seed", "Seeds", "keys_of"]

_LOOKED_AT = 1_000

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
        """The columns of the table; where every row has keys of its own, those of the first thousand rows."""
        ...

    def count(self) -> int | None:
        """How many rows there are, None where finding out would take long."""
        ...

    def fingerprint(self) -> str:
        """A text that changes when the rows do."""
        ...


def keys_of(rows: Iterable[Seed]) -> list[str]:
    """The keys of the first thousand *rows*, in the order in which they first appear."""
    return list(dict.fromkeys([key for row in islice(rows, _LOOKED_AT) for key in row]))
