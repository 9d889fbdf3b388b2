"""What every sink promises, and what it is told about the columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import msgspec

from agentic_synth.errors import OutputError

__all__ = ["OutputClosed", "Row", "Sink", "SinkColumn"]

Row: TypeAlias = dict[str, Any]
"""One row; values are JSON values, dates, datetimes, UUIDs, Decimals or bytes."""


class OutputClosed(OutputError):
    """The reader of stdout went away, as ``head`` does; a command line stops without a word."""


class SinkColumn(msgspec.Struct, frozen=True):
    """A column of the output; *schema* is the JSON Schema of its values, None where nothing is known."""

    name: str
    schema: dict[str, Any] | None = None


class Sink(Protocol):
    """Takes rows in order, and makes a whole file of them.

    One writer at a time. An error of the disk is raised by the first call after it, and by every ``write`` and
    ``flush`` from then on.
    """

    async def write(self, rows: Sequence[Row]) -> None:
        """Take *rows*; returning late is how a slow disk or reader slows its writer.

        A cancelled call has taken all of its rows or, for Parquet, all but those of a value that did not fit.

        Raises:
            OutputClosed: nobody reads stdout any more.
            OutputError: the disk refuses, or a value does not fit the format; the message names row and column.
        """
        ...

    async def flush(self) -> None:
        """Wait until what can leave this process has left it; Parquet holds back an unfinished row group."""
        ...

    async def close(self, *, deliver: bool) -> None:
        """Finish the file, and with *deliver* give it its final name in one step that a crash cannot halve.

        Without *deliver* the whole, readable file stays at ``<name>.partial``. Closing twice is allowed.
        """
        ...
