"""Server-sent events, read as they come.

The grammar is the WHATWG's (https://html.spec.whatwg.org/multipage/server-sent-events.html): lines end in CR, LF or
CRLF, a byte order mark may lead, ``:`` begins a comment, several ``data`` lines join with a newline, a blank line ends
an event.
"""

from __future__ import annotations

from agentic_synth.errors import BadReply

__all__ = ["SseParser"]

_BOM = b"\xef\xbb\xbf"


class SseParser:
    """Turns pieces of a byte stream, cut anywhere, into the data of its events.

    Names and ids of events are dropped: every wire format we read says in the data what it is. Time is linear in the
    bytes fed, whatever the size of the pieces. Memory is bounded by *max_event_bytes*.
    """

    __slots__ = ("_after_cr", "_data", "_max_event_bytes", "_size", "_started", "_tail")

    def __init__(self, max_event_bytes: int = 16 * 1024 * 1024) -> None:
        self._max_event_bytes = max_event_bytes
        self._tail = bytearray()
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
        lines = piece.splitlines()
        last = piece[-1:]
        self._after_cr = last == b"\r"
        unfinished = b"" if last in b"\r\n" else lines.pop()
        events: list[bytes] = []
        if lines and self._tail:
            self._tail += lines[0]
            lines[0] = bytes(self._tail)
            self._tail.clear()
        for line in lines:
            self._take(line, events)
        self._tail += unfinished
        if self._size + len(self._tail) > self._max_event_bytes:
            raise BadReply(f"one event of the stream is larger than {self._max_event_bytes:,} bytes")
        return events

    def end(self) -> list[bytes]:
        """The data of a last event whose closing blank line never came; empty where nothing is pending."""
        events: list[bytes] = []
        if self._tail:
            self._take(bytes(self._tail), events)
            self._tail.clear()
        self._take(b"", events)
        return events

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
            value = line[6:] if line[5:6] == b" " else line[5:]
            self._data.append(value)
            self._size += len(value)
        elif line == b"data":
            self._data.append(b"")
