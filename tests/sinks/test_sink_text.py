"""Text sinks: what the bytes are, and when they leave."""

import asyncio
import csv
import datetime as dt
import io
import json
import os
import subprocess
import sys
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentic_synth.errors import OutputError
from agentic_synth.sinks.formats import Csv, JsonArray, JsonLines
from agentic_synth.sinks.open import OutputClosed, SinkColumn, open_sink
from agentic_synth.sinks.target import PartialFile, Stdout
from agentic_synth.sinks.text import TextSink

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


class GatedTarget:
    """Keeps what is written, and lets a write through only while its gate is open."""

    name = "gated"

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.written = b""
        self.delivered: bool | None = None

    def check(self) -> None:
        """It is always there."""

    def write(self, data: bytes) -> None:
        self.entered.set()
        self.gate.wait(30)
        self.written += data

    def hurry(self) -> None:
        self.gate.set()

    def close(self, *, deliver: bool) -> None:
        self.delivered = deliver


def jsonl(rows: list[dict[str, Any]], columns: list[str]) -> list[Any]:
    return [json.loads(line) for line in JsonLines("x.jsonl", columns).encode(rows).splitlines()]


def test_json_takes_every_value_that_a_row_may_hold() -> None:
    values = {
        "date": (dt.date(2024, 2, 29), "2024-02-29"),
        "local": (dt.datetime(2024, 2, 29, 1, 2, 3, 4), "2024-02-29T01:02:03.000004"),  # noqa: DTZ001
        "instant": (dt.datetime(2024, 2, 29, tzinfo=dt.UTC), "2024-02-29T00:00:00Z"),
        "uuid": (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        "price": (Decimal("12.50"), "12.50"),
        "bytes": (b"ab", "YWI="),
        "big": (2**70, 2**70),
        "nan": (float("nan"), None),
        "infinite": (float("-inf"), None),
        "half": ("a\ud83db", "a\ufffdb"),
        "whole": ("\ud83d\ude00", "\U0001f600"),
        "nested": ({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}),
    }
    row = {name: given for name, (given, _) in values.items()}
    assert jsonl([row], list(values)) == [{name: want for name, (_, want) in values.items()}]


def test_json_puts_columns_first_and_loses_nothing() -> None:
    lines = JsonLines("x.jsonl", ["a", "b"]).encode([{"extra": 1, "b": 2}, {"a": 1, "b": 2}])
    assert lines == b'{"a":null,"b":2,"extra":1}\n{"a":1,"b":2}\n'


def test_json_without_columns_takes_rows_as_they_are() -> None:
    assert JsonLines("x.jsonl", []).encode([{"z": 1, "a": 2}, {}]) == b'{"z":1,"a":2}\n{}\n'


@given(st.lists(st.lists(st.dictionaries(TEXTS, TEXTS), max_size=4), max_size=4))
def test_a_json_array_is_json_whatever_the_batches(batches: list[list[dict[str, str]]]) -> None:
    rows = JsonArray("x.json", [])
    text = rows.header() + b"".join(rows.encode(batch) for batch in batches) + rows.trailer()
    assert json.loads(text) == [row for batch in batches for row in batch]


@given(st.lists(st.tuples(TEXTS, TEXTS)))
def test_csv_text_comes_back_as_it_was(pairs: list[tuple[str, str]]) -> None:
    rows = Csv("x.csv", ["a,b", "c\nd"])
    text = (rows.header() + rows.encode([{"a,b": a, "c\nd": b} for a, b in pairs])).decode()
    assert list(csv.reader(io.StringIO(text, newline=""), strict=True)) == [["a,b", "c\nd"], *map(list, pairs)]


def test_csv_spells_values_and_tells_null_from_empty() -> None:
    rows = Csv("x.csv", ["a", "b", "c", "d", "e", "f"])
    row = {"a": None, "b": "", "c": True, "d": 1.5, "e": dt.date(2024, 1, 2), "f": {"x": [1, "y"]}}
    assert rows.encode([row]) == b',"",true,1.5,2024-01-02,"{""x"":[1,""y""]}"\n'
    assert Csv("x.csv", ["only"]).encode([{"only": None}]) == b'""\n'
    assert rows.encode([{"a": "\ud83d", "b": ["\ud83d"]}]) == '\ufffd,"[""\ufffd""]",,,,\n'.encode()


def test_csv_refuses_a_key_without_a_column() -> None:
    with pytest.raises(OutputError, match="row 1 has no column for extra"):
        Csv("x.csv", ["a"]).encode([{"a": 1, "extra": 2}])


async def test_a_full_buffer_waits_for_the_block_before_it() -> None:
    target = GatedTarget()
    sink = TextSink(target, JsonLines("x", []), block_bytes=100)
    row = {"text": "x" * 200}
    await sink.write([row])
    waiting = asyncio.ensure_future(sink.write([row]))
    await asyncio.to_thread(target.entered.wait, 30)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    target.gate.set()
    await waiting
    await sink.close(deliver=True)
    assert target.written.count(b"\n") == 2
    assert target.delivered


async def test_a_cancelled_write_has_taken_its_rows() -> None:
    target = GatedTarget()
    sink = TextSink(target, JsonLines("x", []), block_bytes=10)
    await sink.write([{"n": 1, "text": "longer than a block"}])
    waiting = asyncio.ensure_future(sink.write([{"n": 2, "text": "longer than a block"}]))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    target.gate.set()
    await sink.write([{"n": 3}])
    await sink.close(deliver=True)
    assert [json.loads(line)["n"] for line in target.written.splitlines()] == [1, 2, 3]


async def test_the_first_rows_leave_at_once(tmp_path: Path) -> None:
    sink = TextSink(PartialFile(str(tmp_path / "rows.jsonl")), JsonLines("x", []), linger=3_600.0)
    await sink.write([{"n": 1}])
    partial = tmp_path / "rows.jsonl.partial"
    async with asyncio.timeout(30):
        while not partial.read_bytes():
            await asyncio.sleep(0)
    await sink.write([{"n": 2}])
    assert partial.read_bytes() == b'{"n":1}\n', "what follows is gathered"
    await sink.close(deliver=True)
    assert (tmp_path / "rows.jsonl").read_bytes() == b'{"n":1}\n{"n":2}\n'


async def test_a_few_rows_leave_after_the_linger(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    sink = TextSink(PartialFile(str(path)), JsonLines("x", []), linger=0.0)
    await sink.write([{"n": 1}])
    await sink.write([{"n": 2}])
    partial = tmp_path / "rows.jsonl.partial"
    async with asyncio.timeout(30):
        while partial.read_bytes().count(b"\n") < 2:
            await asyncio.sleep(0)
    await sink.close(deliver=True)


async def test_flush_brings_every_row_to_the_file(tmp_path: Path) -> None:
    sink = open_sink(str(tmp_path / "rows.jsonl"), [SinkColumn("n")])
    await sink.write([{"n": 1}])
    await sink.flush()
    assert (tmp_path / "rows.jsonl.partial").read_bytes() == b'{"n":1}\n'
    await sink.close(deliver=True)


async def test_stdout_gets_json_lines() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as end, os.fdopen(writer, "wb") as stream:
        sink = TextSink(Stdout(stream), JsonLines("stdout", ["n"]))
        rows = [{"n": n, "text": "x" * 90} for n in range(2_000)]
        reading = asyncio.get_running_loop().run_in_executor(None, lambda: [end.readline() for _ in rows])
        await sink.write(rows)
        await sink.close(deliver=True)
        assert [json.loads(line) for line in await reading] == rows


async def test_a_reader_that_goes_away_is_output_closed() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as stream:
        sink = TextSink(Stdout(stream), JsonLines("stdout", ["n"]))
        await sink.write([{"n": 1}])
        await sink.flush()
        os.close(reader)
        with pytest.raises(OutputClosed):
            await sink.write([{"n": 2}])
        await sink.close(deliver=False)


async def test_an_interrupted_run_does_not_wait_for_a_reader_that_sleeps() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb"), os.fdopen(writer, "wb") as stream:
        sink = TextSink(Stdout(stream, patience=0.0), JsonLines("stdout", ["n"]))
        await sink.write([{"n": "x" * 1_000_000}])
        with pytest.raises(OutputClosed):
            await sink.close(deliver=False)


async def test_captured_stdout_is_written_too() -> None:
    stream = io.BytesIO()
    sink = TextSink(Stdout(stream), JsonLines("stdout", ["n"]))
    await sink.write([{"n": 1}])
    await sink.close(deliver=True)
    assert stream.getvalue() == b'{"n":1}\n'


def test_head_ends_a_stream_without_noise() -> None:
    program = """
import asyncio, sys
from agentic_synth.sinks.open import OutputClosed, SinkColumn, open_sink
async def main():
    sink = open_sink(None, [SinkColumn("n")])
    try:
        for n in range(1_000_000):
            await sink.write([{"n": n}])
    except OutputClosed:
        await sink.close(deliver=False)
        sys.exit(7)
asyncio.run(main())
"""
    source = str(Path(__file__).parents[2] / "src")
    environment = {**os.environ, "PYTHONPATH": source}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline() == b'{"n":0}\n'
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait(30) == 7
