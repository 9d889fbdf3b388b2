"""Server-sent events, read as they come.

The grammar is the WHATWG's (https://html.spec.whatwg.org/multipage/server-sent-events.html): lines end in CR, LF or
CRLF, a byte order mark may lead, ``:`` begins a comment, several ``data`` lines join with a newline, a blank line ends
an event.
"""

from __future__ import annotations

from typing import TypeAlias

from agentic_synth.errors import BadReply

__all__ = ["SseParser"]

_BOM = b"\xef\xbb\xbf"

Data: TypeAlias = bytes | bytearray


class SseParser:
    """Turns pieces of a byte stream, cut anywhere, into the data of its events.

    Names and ids of events are dropped: every wire format we read says in the data what it is. Time is linear in the
    bytes fed, whatever the size of the pieces. Memory is bounded by *max_event_bytes*.
    """

    __slots__ = ("_after_cr", "_data", "_held", "_max_event_bytes", "_size", "_started")

    def __init__(self, max_event_bytes: int = 16 * 1024 * 1024) -> None:
        self._max_event_bytes = max_event_bytes
        self._held = bytearray()  # a line whose end has not come; grows where it is, so that a long one stays linear
        self._data: list[Data] = []
        self._size = 0
        self._after_cr = False
        self._started = False

    def feed(self, piece: bytes) -> list[Data]:
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
        events: list[Data] = []
        if self._held:
            self._hold(lines[0])
            self._release(events)
            del lines[0]
        for line in lines:
            self._take(line, events)
        self._hold(unfinished)
        return events

    def end(self) -> list[Data]:
        """The data of a last event whose closing blank line never came; empty where nothing is pending."""
        events: list[Data] = []
        if self._held:
            self._release(events)
        self._take(b"", events)
        return events

    def _hold(self, part: bytes) -> None:
        self._held += part
        if self._size + len(self._held) > self._max_event_bytes:
            raise BadReply(f"one event of the stream is larger than {self._max_event_bytes:,} bytes")

    def _release(self, events: list[Data]) -> None:
        line, self._held = self._held, bytearray()
        self._take(line, events)

    def _take(self, line: Data, events: list[Data]) -> None:
        if not self._started:
            self._started = True
            line = line.removeprefix(_BOM)
        if not line:
            if self._data:
                events.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                self._data = []
                self._size = 0
        elif line.startswith(b"data:"):
            begin = 6 if line[5:6] == b" " else 5
            if isinstance(line, bytearray):
                del line[:begin]  # moves nothing, however long it is
            else:
                line = line[begin:]
            self._data.append(line)
            self._size += len(line)
        elif line == b"data":
            self._data.append(b"")
