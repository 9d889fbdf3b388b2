"""What the command line says: results on stdout, everything else on stderr, plain tables that fit the terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from agentic_synth.errors import OutputError

__all__ = ["clipped", "message_lines", "say", "table", "write", "write_json"]

_NARROWEST = 8
"""A column that is clipped further tells nothing."""


def say(text: str = "") -> None:
    """Tell the user something beside the result, after what was written of it."""
    if sys.stdout is not None:
        sys.stdout.flush()
    if sys.stderr is not None:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def write(text: str = "") -> None:
    """Write a line of the result."""
    if sys.stdout is None:
        raise OutputError("stdout is closed", mend="leave it open, or send it to a file")
    sys.stdout.write(f"{text}\n")


def write_json(value: Any) -> None:
    """Write *value* as readable JSON to stdout."""
    import msgspec  # noqa: PLC0415 - keeps --help fast

    write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def table(header: Sequence[str], rows: Sequence[Sequence[Any]], *, width: int | None = None, whole: int = 1) -> str:
    """Aligned columns that fit the terminal: the widest is clipped first, and then the last ones go.

    The first *whole* columns, which name things that one may want to copy, are never clipped.
    """
    room = width or shutil.get_terminal_size((120, 24)).columns
    cells = [[_flat(cell) for cell in row] for row in [header, *rows]]
    widths = _fitted([max(len(row[place]) for row in cells) for place in range(len(header))], room, whole)
    numeric = [_is_numeric([row[place] for row in rows]) for place in range(len(header))]
    lines = []
    for row in cells:
        parts = [
            clipped(cell, size).rjust(size) if right else clipped(cell, size).ljust(size)
            for cell, size, right in zip(row, widths, numeric, strict=False)
        ]
        lines.append("  ".join(parts).rstrip())
    return "\n".join([lines[0], "  ".join("-" * size for size in widths), *lines[1:]])


def _fitted(widths: list[int], room: int, whole: int) -> list[int]:
    """How wide the columns become that have room."""
    for count in range(len(widths), whole, -1):
        fitted = widths[:count]
        while sum(fitted) + 2 * (count - 1) > room and max(fitted[whole:]) > _NARROWEST:
            fitted[fitted.index(max(fitted[whole:]), whole)] -= 1
        if sum(fitted) + 2 * (count - 1) <= room:
            return fitted
    return widths[: max(whole, 1)]


def message_lines(role: str, content: Any) -> Iterator[str]:
    """A chat message, its role before the first line; parts that are no text are named."""
    if not isinstance(content, str):
        content = "\n".join(str(part.get("text", f"[{part.get('type', 'part')}]")) for part in content or ())
    for number, line in enumerate(content.splitlines() or [""]):
        yield f"  {'' if number else role + ':':<10} {line}".rstrip()


def clipped(text: str, width: int) -> str:
    """*text*, with an ellipsis where it is longer than *width*."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def _flat(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, str):
        return " ".join(cell.split())
    if isinstance(cell, dict | list):
        import msgspec  # noqa: PLC0415 - keeps --help fast

        return msgspec.json.encode(cell, enc_hook=str).decode()
    if isinstance(cell, int) and not isinstance(cell, bool):
        return f"{cell:,}"
    return str(cell)


def _is_numeric(column: Sequence[Any]) -> bool:
    said = [cell for cell in column if cell is not None]
    return bool(said) and all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in said)
