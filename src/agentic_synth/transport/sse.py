"""Server-sent events, read as they come.

The grammar is the WHATWG's (https://html.spec.whatwg.org/multipage/server-sent-events.html): lines end in CR, LF or
CRLF, a byte order mark may lead, ``:`` begins a comment, several ``data`` lines join with a newline, a blank line ends
an event.
"""

from __future__ import annotations

from agentic_synth.errors import BadReply

__all__ = ["SseParser"]

_BOM = b"\xef\xbb\xbf"
_SMALL_BYTES = 1024
_TAIL_BYTES = 64 * 1024


class SseParser:
    """Turns pieces of a byte stream, cut anywhere, into the data of its events.

    Names and ids of events are dropped: every wire format we read says in the data what it is. Time is linear in the
    bytes fed, whatever the size of the pieces. Memory is bounded by *max_event_bytes*.
    """

    __slots__ = ("_after_cr", "_data", "_held", "_max_event_bytes", "_parts", "_size", "_started", "_tail")

    def __init__(self, max_event_bytes: int = 16 * 1024 * 1024) -> None:
        self._max_event_bytes = max_event_bytes
        self._parts: list[bytes] = []
        self._tail = bytearray()
        self._held = 0
        self._data: list[bytes] = []
        self._size = 0
        self._after_cr = False
        self._started = False

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of the events that *piece* completes.

        Raises:
            BadReply: one event is larger than ``max_event_bytes``.
        """
        if self._after_cr and piece[:1] == b"\n":
            piece = piece[1:]
        if not piece:
            return []
        if b"\n" not in piece and b"\r" not in piece:
            self._after_cr = False
            self._hold(piece)
            return []
        lines = piece.splitlines()
        last = piece[-1:]
        self._after_cr = last == b"\r"
        unfinished = b"" if last in b"\r\n" else lines.pop()
        events: list[bytes] = []
        if self._held:
            self._hold(lines[0])
            self._release(events)
            del lines[0]
        for line in lines:
            self._take(line, events)
        self._hold(unfinished)
        return events

    def end(self) -> list[bytes]:
        """The data of a last event whose closing blank line never came; empty where nothing is pending."""
        events: list[bytes] = []
        if self._held:
            self._release(events)
        self._take(b"", events)
        return events

    def _hold(self, part: bytes) -> None:
        """Keep a part of a line: a large one as it is, small ones gathered, so that no byte is copied often."""
        self._held += len(part)
        if self._size + self._held > self._max_event_bytes:
            raise BadReply(f"one event of the stream is larger than {self._max_event_bytes:,} bytes")
        if len(part) < _SMALL_BYTES:
            self._tail += part
            if len(self._tail) < _TAIL_BYTES:
                return
            part = b""
        if self._tail:
            self._parts.append(bytes(self._tail))
            self._tail.clear()
        if part:
            self._parts.append(part)

    def _release(self, events: list[bytes]) -> None:
        """Take the line whose parts were held; of a long one the name is cut off before it is copied together."""
        first, *others = *self._parts, bytes(self._tail)
        self._parts.clear()
        self._tail.clear()
        self._held = 0
        if self._started and first.startswith(b"data: "):
            self._add(b"".join((first[6:], *others)))
        else:
            self._take(b"".join((first, *others)), events)

    def _add(self, value: bytes) -> None:
        self._data.append(value)
        self._size += len(value)

    def _take(self, line: bytes, events: list[bytes]) -> None:
        if not self._started:
            self._started = True
            line = line.removeprefix(_BOM)
        if not line:
            if self._data:
                events.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                self._data = []
                self._size = 0
        elif line.startswith(b"data:"):
            self._add(line[6:] if line[5:6] == b" " else line[5:])
        elif line == b"data":
            self._data.append(b"")
