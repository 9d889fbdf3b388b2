"""Server-sent events, cut anywhere."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentic_synth.errors import BadReply
from agentic_synth.transport.sse import SseParser


def parse(data: bytes, size: int | None = None) -> list[bytes | bytearray]:
    parser = SseParser()
    size = size or max(1, len(data))
    events = [event for start in range(0, len(data), size) for event in parser.feed(data[start : start + size])]
    return events + parser.end()


@pytest.mark.parametrize(
    ("data", "events"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data:a\n\ndata:  b\n\n", [b"a", b" b"]),
        (b"data\n\n", [b""]),
        (b"data:\ndata:\n\n", [b"\n"]),
        (b": comment\n\n:\n\ndata: a\n\n", [b"a"]),
        (b"event: message\nid: 7\nretry: 10\ndata: a\n\n", [b"a"]),
        (b"event: ping\n\ndata: a\n\n", [b"a"]),
        (b"datax: a\n\nnonsense\n\n", []),
        (b"\n\n\n", []),
        (b"data: [DONE]", [b"[DONE]"]),
        (b"data: a\x0b\x0c\x1c b\xc2\x85\n\n", [b"a\x0b\x0c\x1c b\xc2\x85"]),
        (b"", []),
    ],
)
@pytest.mark.parametrize("size", [None, 1, 2, 3])
def test_the_grammar(data: bytes, events: list[bytes], size: int | None) -> None:
    assert parse(data, size) == events


def naive(data: bytes) -> list[bytes]:
    """The grammar, said as directly as can be, over the whole text at once."""
    text = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    events: list[bytes] = []
    pending: list[bytes] = []
    for line in [*text.split(b"\n"), b""]:
        name, _, value = line.partition(b":")
        if not line:
            events += [b"\n".join(pending)] if pending else []
            pending = []
        elif name == b"data":
            pending.append(value.removeprefix(b" "))
    return events


@given(
    st.lists(st.sampled_from([b"data:", b"data: ", b"data", b"x", b"\r", b"\n", b"\r\n", b":", b" ", b"id: 1"])),
    st.lists(st.integers(1, 9), min_size=1),
)
def test_any_split_gives_what_the_whole_gives(parts: list[bytes], sizes: list[int]) -> None:
    data = b"".join(parts)
    parser, events, start, turn = SseParser(), [], 0, 0
    while start < len(data):
        size = sizes[turn % len(sizes)]
        events += parser.feed(data[start : start + size])
        start, turn = start + size, turn + 1
    assert events + parser.end() == naive(data)


@pytest.mark.parametrize("data", [b"data: " + b"x" * 200, b"data: xxxxxxxxx\n" * 20], ids=["one line", "many lines"])
@pytest.mark.parametrize("size", [1, 7, 4096])
def test_an_event_without_end_is_refused(data: bytes, size: int) -> None:
    parser = SseParser(max_event_bytes=100)
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    with pytest.raises(BadReply, match="100 bytes"):
        list(map(parser.feed, pieces))


def test_many_events_of_the_largest_size_pass() -> None:
    parser = SseParser(max_event_bytes=100)
    assert sum(len(parser.feed(b"data: " + b"x" * 90 + b"\n\n")) for _ in range(50)) == 50


MIB = 1 << 20
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}\n\n'


def cpu_of(data: bytes, size: int) -> float:
    parser = SseParser(1 << 30)
    begun = time.thread_time()
    for start in range(0, len(data), size):
        parser.feed(data[start : start + size])
    return time.thread_time() - begun


def growth(small: bytes, large: bytes, size: int) -> float:
    """How many times the CPU time the larger of two inputs takes; the best of five, measured in turns."""
    times = [(cpu_of(small, size), cpu_of(large, size)) for _ in range(5)]
    before, after = (min(column) for column in zip(*times, strict=True))
    return float(after / before)


@pytest.mark.parametrize("one", [False, True], ids=["many events", "one event"])
@pytest.mark.parametrize(("size", "scale"), [(1, 64), (7, 32), (16, 16), (256, 4), (4_096, 1), (65_536, 1)])
def test_sixteen_times_the_bytes_take_at_most_twenty_times_the_time(size: int, scale: int, one: bool) -> None:
    """At every size of the pieces; very small ones, which any Python is slow with, over less in all."""
    small, large = (
        b"data: " + b"x" * (total // scale) + b"\n\n" if one else EVENT * (total // scale // len(EVENT))
        for total in (MIB, 16 * MIB)
    )
    assert growth(small, large, size) <= 20
