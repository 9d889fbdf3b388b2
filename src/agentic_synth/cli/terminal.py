"""What the command line says: results on stdout, everything else on stderr, plain tables that fit the terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["clipped", "message_lines", "say", "table", "write", "write_json"]


def say(text: str = "") -> None:
    """Tell the user something beside the result."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def write(text: str = "") -> None:
    """Write a line of the result."""
    sys.stdout.write(f"{text}\n")


def write_json(value: Any) -> None:
    """Write *value* as readable JSON to stdout."""
    import msgspec  # noqa: PLC0415 - keeps --help fast

    write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def table(header: Sequence[str], rows: Sequence[Sequence[Any]], *, width: int | None = None) -> str:
    """Aligned columns; what is too wide for the terminal is clipped, the widest column first."""
    room = width or shutil.get_terminal_size((120, 24)).columns
    cells = [[_flat(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[place]) for row in cells) for place in range(len(header))]
    while sum(widths) + 2 * (len(widths) - 1) > room and max(widths) > 8:
        widths[widths.index(max(widths))] -= 1
    numeric = [_is_numeric([row[place] for row in rows]) for place in range(len(header))]
    lines = []
    for row in cells:
        parts = [
            clipped(cell, size).rjust(size) if right else clipped(cell, size).ljust(size)
            for cell, size, right in zip(row, widths, numeric, strict=True)
        ]
        lines.append("  ".join(parts).rstrip())
    return "\n".join([lines[0], "  ".join("-" * size for size in widths), *lines[1:]])


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
