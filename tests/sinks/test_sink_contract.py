"""What every sink promises, on every format."""

import csv
import gzip
import io
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agentic_synth.errors import OutputError
from agentic_synth.sinks.open import Row, Sink, SinkColumn, open_sink

NAMES = ["rows.jsonl", "rows.ndjson", "rows.json", "rows.csv", "rows.parquet"]
NAMES += [f"{name}.{packed}" for name in NAMES[:4] for packed in ("gz", "zst")]
COLUMNS = [
    SinkColumn("number", {"type": "integer"}),
    SinkColumn("text", {"type": "string"}),
    SinkColumn("seen"),
    SinkColumn("parts", {"type": "array", "items": {"type": "string"}}),
]


def make_rows(count: int) -> list[Row]:
    return [
        {"number": i, "text": f'row "{i}",\nof, many', "seen": i % 3 == 0, "parts": ["a", str(i)][: i % 3]}
        for i in range(count)
    ]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of an output by other people's readers; what CSV cannot type is compared as text."""
    name = path.name.removesuffix(".partial")
    if name.endswith(".parquet"):
        return list(pq.read_table(path).to_pylist())
    data = path.read_bytes()
    if name.endswith(".gz"):
        data = gzip.decompress(data)
    elif name.endswith(".zst"):
        data = pa.CompressedInputStream(pa.BufferReader(data), "zstd").read()
    text = data.decode()
    if ".csv" in name:
        return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    if ".json." in f"{name}.":
        return list(json.loads(text))
    return [json.loads(line) for line in text.splitlines()]


def as_text(rows: Sequence[Row]) -> list[dict[str, str]]:
    """How CSV spells *rows*."""
    return [
        {
            "number": str(row["number"]),
            "text": row["text"],
            "seen": str(row["seen"]).lower(),
            "parts": json.dumps(row["parts"], separators=(",", ":")),
        }
        for row in rows
    ]


async def write_file(path: Path, rows: Sequence[Row], *, batch: int = 7, deliver: bool = True) -> None:
    sink = open_sink(str(path), COLUMNS)
    for start in range(0, len(rows), batch):
        await sink.write(rows[start : start + batch])
    await sink.close(deliver=deliver)


async def write_and_close(sink: Sink, rows: Sequence[Row]) -> None:
    for start in range(0, len(rows), 100):
        await sink.write(rows[start : start + 100])
    await sink.close(deliver=True)


@pytest.fixture(params=NAMES)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / str(request.param)


@pytest.fixture
def small_files() -> Iterator[None]:
    """A limit of 20 kB a file: the nearest thing to a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("count", [0, 1, 1_000])
async def test_a_delivered_file_holds_the_rows_in_order(path: Path, count: int) -> None:
    rows = make_rows(count)
    await write_file(path, rows)
    assert read_rows(path) == (as_text(rows) if ".csv" in path.name else rows)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


async def test_an_undelivered_file_is_whole_and_leaves_the_old_one(path: Path) -> None:
    path.write_text("the old one")
    rows = make_rows(300)
    await write_file(path, rows, deliver=False)
    partial = path.with_name(path.name + ".partial")
    assert read_rows(partial) == (as_text(rows) if ".csv" in path.name else rows)
    assert path.read_text() == "the old one"
    await write_file(path, rows[:5])
    assert len(read_rows(path)) == 5
    assert not partial.exists()


async def test_equal_rows_make_equal_files_whatever_the_batches(path: Path) -> None:
    rows = make_rows(3_000)
    other = path.with_name("other-" + path.name)
    await write_file(path, rows, batch=1)
    sink = open_sink(str(other), COLUMNS)
    for start in range(0, len(rows), 700):
        await sink.write(rows[start : start + 700])
        await sink.flush()
    await sink.close(deliver=True)
    assert path.read_bytes() == other.read_bytes()


async def test_the_order_of_a_rows_keys_does_not_matter(path: Path) -> None:
    rows = make_rows(10)
    other = path.with_name("other-" + path.name)
    await write_file(path, rows)
    await write_file(other, [dict(reversed(row.items())) for row in rows])
    assert path.read_bytes() == other.read_bytes()


async def test_a_torn_partial_file_is_begun_anew(path: Path) -> None:
    path.with_name(path.name + ".partial").write_bytes(b'{"number": 1, "te' * 10_000)
    rows = make_rows(20)
    await write_file(path, rows)
    assert len(read_rows(path)) == 20


async def test_a_second_run_on_the_same_file_is_refused(path: Path) -> None:
    sink = open_sink(str(path), COLUMNS)
    with pytest.raises(OutputError, match="another run is writing"):
        open_sink(str(path), COLUMNS)
    await sink.write(make_rows(3))
    await sink.close(deliver=True)
    await write_file(path, make_rows(4))
    assert len(read_rows(path)) == 4


async def test_closing_twice_is_allowed(path: Path) -> None:
    sink = open_sink(str(path), COLUMNS)
    await sink.write(make_rows(3))
    await sink.close(deliver=False)
    await sink.close(deliver=True)
    assert not path.exists()


async def test_a_file_that_exists_is_kept_when_it_must_not_be_replaced(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(OutputError, match="exists already"):
        open_sink(str(path), COLUMNS, replace=False)
    assert path.read_text() == "precious"


async def test_a_link_is_followed_rather_than_replaced(path: Path) -> None:
    real = path.with_name("real-" + path.name)
    path.symlink_to(real)
    await write_file(path, make_rows(2))
    assert path.is_symlink()
    assert len(read_rows(real)) == 2


async def test_a_row_that_is_not_data_names_row_and_column(path: Path) -> None:
    sink = open_sink(str(path), COLUMNS)
    await sink.write(make_rows(2))
    bad = {**make_rows(1)[0], "seen": object()}
    with pytest.raises(OutputError, match=r"row 3, column seen"):
        await write_and_close(sink, [bad])
    await sink.close(deliver=False)
    assert not path.exists()


async def test_after_a_bad_row_no_file_is_delivered(path: Path) -> None:
    sink = open_sink(str(path), COLUMNS)
    bad = {**make_rows(1)[0], "seen": object()}
    with suppress(OutputError):
        await sink.write([bad])
    with suppress(OutputError):
        await sink.write(make_rows(3))
    with pytest.raises(OutputError, match="row 1"):
        await sink.close(deliver=True)
    assert not path.exists()


async def test_a_full_disk_is_told_and_the_old_file_stays(path: Path, small_files: None) -> None:
    path.write_text("old")
    noise = [{**row, "text": os.urandom(200).hex()} for row in make_rows(4_000)]
    sink = open_sink(str(path), COLUMNS)
    with pytest.raises(OutputError, match="file too large"):
        await write_and_close(sink, noise)
    await sink.close(deliver=False)
    assert path.read_text() == "old"


async def test_a_full_disk_is_told_again_to_who_goes_on(tmp_path: Path, small_files: None) -> None:
    sink = open_sink(str(tmp_path / "rows.jsonl"), [SinkColumn("n")])
    await sink.write([{"n": "x" * 100_000}])
    for step in (sink.flush, partial(sink.write, [{"n": 1}]), partial(sink.close, deliver=True)):
        with pytest.raises(OutputError, match="file too large"):
            await step()
    assert not (tmp_path / "rows.jsonl").exists()


async def test_a_full_disk_that_nobody_heard_of_is_told_at_the_end(tmp_path: Path, small_files: None) -> None:
    sink = open_sink(str(tmp_path / "rows.jsonl"), [SinkColumn("n")])
    await sink.write([{"n": "x" * 100_000}])
    with pytest.raises(OutputError, match="file too large"):
        await sink.close(deliver=False)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rows", "does not say the format"),
        ("rows.xlsx", r"'\.xlsx'"),
        ("rows.gz", "does not say the format"),
        ("rows.parquet.gz", "compresses by itself"),
        ("none/rows.jsonl", "no directory"),
        ("directory.csv", "is a directory"),
        ("pipe.jsonl", "not a regular file"),
        ("x" * 300 + ".jsonl", "too long"),
    ],
)
async def test_what_cannot_be_written_fails_at_once(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "directory.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(OutputError, match=said) as caught:
        open_sink(str(tmp_path / name), COLUMNS)
    assert caught.value.mend


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
async def test_a_directory_without_permission_fails_at_once(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="permission denied"):
        open_sink(str(tmp_path / "rows.jsonl"), COLUMNS)


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
async def test_a_table_needs_its_columns(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="columns named"):
        open_sink(str(tmp_path / name), [])
    assert not list(tmp_path.iterdir())


def test_a_killed_run_leaves_nothing_at_the_final_name(path: Path) -> None:
    program = f"""
import asyncio, os, signal
from agentic_synth.sinks.open import SinkColumn, open_sink
async def main():
    sink = open_sink({str(path)!r}, [SinkColumn("n", {{"type": "integer"}})])
    for n in range(30_000):
        await sink.write([{{"n": n}}])
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    source = str(Path(__file__).parents[2] / "src")
    done = subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": source}, check=False)
    assert done.returncode == -9
    assert [file.name for file in path.parent.iterdir()] == [path.name + ".partial"]
