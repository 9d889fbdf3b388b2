"""What every source of seeds promises, on every format."""

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agentic_synth.errors import OutputError
from agentic_synth.sinks.open import SinkColumn, open_sink
from agentic_synth.sources.open import Seeds, open_seeds, seeds_from

ROWS = [{"id": f"{n:03}", "text": f'Row {n}: "quoted", ünïcode\nand a new line'} for n in range(700)]
TEXT_NAMES = ["rows.jsonl", "rows.ndjson", "rows.json", "rows.csv", "rows.tsv"]
NAMES = ["rows.parquet", *TEXT_NAMES, *(f"{name}.{packed}" for name in TEXT_NAMES for packed in ("gz", "zst"))]
DATA = Path(__file__).parents[3] / "shared" / "data"


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_json(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text(json.dumps(rows, indent=1))


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writeheader()
        writer.writerows(rows)


WRITERS: dict[str, Callable[[Path, list[dict[str, Any]]], None]] = {
    ".jsonl": write_jsonl,
    ".ndjson": write_jsonl,
    ".json": write_json,
    ".csv": write_csv,
    ".tsv": write_csv,
}


def write_file(path: Path, rows: list[dict[str, Any]]) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
        return
    plain = path.with_suffix("") if path.suffix in {".gz", ".zst"} else path
    WRITERS[plain.suffix](plain, rows)
    if plain != path:
        pack(plain, path)


def pack(plain: Path, path: Path) -> None:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(plain.read_bytes()))
    else:
        with pa.CompressedOutputStream(str(path), "zstd") as stream:
            stream.write(plain.read_bytes())
    plain.unlink()


@pytest.fixture(params=NAMES)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / str(request.param)
    write_file(path, ROWS)
    return path


def test_the_rows_come_in_order_as_often_as_asked(path: Path) -> None:
    seeds = open_seeds(str(path))
    first, second = iter(seeds), iter(seeds)
    assert next(first) == next(second) == ROWS[0]
    assert [ROWS[0], *first] == ROWS
    assert list(seeds) == ROWS


def test_columns_and_count_are_told(path: Path) -> None:
    seeds = open_seeds(str(path))
    assert isinstance(seeds, Seeds)
    assert seeds.columns() == ["id", "text"]
    assert seeds.count() == len(ROWS)
    assert seeds.name == str(path)


def test_the_fingerprint_is_that_of_the_contents(path: Path) -> None:
    before = open_seeds(str(path)).fingerprint()
    assert open_seeds(str(path)).fingerprint() == before
    write_file(path, [*ROWS[:-1], {"id": "699", "text": "another"}])
    assert open_seeds(str(path)).fingerprint() != before


def test_a_cut_off_file_is_an_error_that_names_it(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(OutputError, match=path.name):
        list(open_seeds(str(path)))


def test_an_empty_file_is_an_error(path: Path) -> None:
    path.write_bytes(b"")
    with pytest.raises(OutputError, match="is empty") as caught:
        open_seeds(str(path))
    assert caught.value.mend


def test_a_file_that_is_not_text_is_an_error(path: Path) -> None:
    path.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xff")
    with pytest.raises(OutputError, match=path.name):
        open_seeds(str(path))


def test_a_missing_file_suggests_a_near_name(path: Path) -> None:
    with pytest.raises(OutputError, match=f"no such file\n  Did you mean {path.name}"):
        open_seeds(str(path.with_name("r0ws" + path.name[4:])))


@pytest.mark.parametrize(
    "name", ["rows.jsonl", "rows.json", "rows.csv", "rows.parquet", "rows.jsonl.gz", "rows.csv.zst"]
)
async def test_what_a_sink_wrote_a_source_reads(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    sink = open_sink(str(path), [SinkColumn("id"), SinkColumn("text")])
    await sink.write(ROWS)
    await sink.close(deliver=True)
    assert list(open_seeds(str(path))) == ROWS


def test_keys_that_the_first_row_lacks_are_columns_too(tmp_path: Path) -> None:
    rows = [{"a": 1}, {"a": 2, "b": 3}, {"c": 4}]
    lines, array = tmp_path / "rows.jsonl", tmp_path / "rows.json"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    array.write_text(json.dumps(rows), "utf-8")
    assert [seeds_from(source).columns() for source in (str(lines), str(array), rows)] == [["a", "b", "c"]] * 3


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the public data files are not at {DATA}")
@pytest.mark.parametrize(
    ("name", "count", "columns"),
    [
        ("alpaca_seed_tasks.jsonl", 175, ["id", "name", "instruction", "instances", "is_classification"]),
        ("gsm8k_test.jsonl", 1_319, ["question", "answer"]),
        ("paraphrase_pairs.tsv", 8_000, ["text_a", "text_b", "same"]),
        ("arrivals_conversation.csv", 19_366, ["TIMESTAMP", "ContextTokens", "GeneratedTokens"]),
    ],
)
def test_public_data_is_read_whole(name: str, count: int, columns: list[str]) -> None:
    seeds = open_seeds(str(DATA / name))
    assert seeds.columns() == columns
    assert seeds.count() == sum(1 for _ in seeds) == count


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the public data files are not at {DATA}")
async def test_public_nested_rows_go_through_parquet(tmp_path: Path) -> None:
    seeds = open_seeds(str(DATA / "alpaca_seed_tasks.jsonl"))
    path = tmp_path / "alpaca.parquet"
    sink = open_sink(str(path), [SinkColumn(name) for name in seeds.columns()])
    await sink.write(list(seeds))
    await sink.close(deliver=True)
    assert list(seeds_from(path)) == list(seeds)
