"""What belongs to one kind of seeds: lines that are broken, delimiters, stdin, objects, datasets."""

import gc
import importlib.util
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentic_synth.errors import OutputError
from agentic_synth.sources import files
from agentic_synth.sources.hub import HubSeeds
from agentic_synth.sources.json import JsonArraySeeds
from agentic_synth.sources.open import open_seeds, seeds_from

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    LEAVES, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(), v, max_size=3), max_leaves=5
)


def read(path: Path, text: str | bytes) -> list[dict[str, Any]]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(open_seeds(str(path)))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.jsonl", '{"a": 1}\n\n{"a": 2', r"a\.jsonl:3: broken JSON"),
        ("a.jsonl", '{"a": 1}\n[1]\n', r"a\.jsonl:2: .* this is a JSON array"),
        ("a.jsonl", '{"a": 1}\n{}\n', r"a\.jsonl:2: .* an empty object"),
        ("a.jsonl", '[\n{"a": 1}\n]', "ends in .json"),
        ("a.jsonl", b'{"a": 1}\n{"a": "caf\xe9"}\n', r"a\.jsonl:2: this is not UTF-8 text \(byte 0xe9\)"),
        ("a.jsonl", "\n \n", "has no rows"),
        ("a.json", '[{"a": 1},\n {"a" 2}, {"a": "' + "x" * 100 + '"}]', r"a\.json:2: broken JSON: Expecting ':'"),
        ("a.json", '[{"a": 1}\n {"a": 2}]', r"a\.json:2: expected a comma"),
        ("a.json", '[{"a": 1},\n{"a": "xxxx', r"a\.json:2: the file ends inside a row"),
        ("a.json", '[{"a": 1}', r"a\.json:1: expected a comma or the end of the array, the file ends"),
        ("a.json", '[{"a": 1},\n\n7]', r"a\.json:3: .* a JSON number"),
        ("a.json", '{"a": 1}', r"expected an array of objects, found '\{'"),
        ("a.json", "[]", "has no rows"),
        ("a.csv", "a,b\n1,2\n1,2,3\n", r"a\.csv:3: 3 fields, and the header has 2"),
        ("a.csv", "a,b\n1,2\n1\n", r"a\.csv:3: 1 fields"),
        ("a.csv", 'a,b\n1,"x" y\n', r"a\.csv:2: broken CSV"),
        ("a.csv", 'a,b\n1,"x\n', r"a\.csv:2: broken CSV"),
        ("a.csv", "a,a\n1,2\n", "names 'a' twice"),
        ("a.csv", "a,\n1,2\n", "without a name"),
        ("a.csv", "a,b\n", "has no rows"),
        ("a.csv", "\n\n", "has no header"),
        ("a.csv", b"a,b\n1,caf\xe9\n", r"a\.csv:2: this is not UTF-8"),
        ("a.xlsx", "x", r"no format is called '\.xlsx'"),
    ],
)
def test_a_broken_file_is_told_with_its_line(tmp_path: Path, name: str, text: str | bytes, said: str) -> None:
    with pytest.raises(OutputError, match=said):
        read(tmp_path / name, text)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a,b\n1,2\n", [{"a": "1", "b": "2"}]),
        ("a;b\n1,5;2\n", [{"a": "1,5", "b": "2"}]),
        ("a\tb\n1, 2\t3\n", [{"a": "1, 2", "b": "3"}]),
        ("a|b\n1|2\n", [{"a": "1", "b": "2"}]),
        ("\ufeffa,b\r\n007,\r\n\r\n", [{"a": "007", "b": ""}]),
        ('"a;x",b\n"1;2",3\n', [{"a;x": "1;2", "b": "3"}]),
        ("only\none\n", [{"only": "one"}]),
        (
            "a,b\n" + "1,2\n" * 2 + '3,"' + "x" * 200_000 + '"\n',
            [{"a": "1", "b": "2"}] * 2 + [{"a": "3", "b": "x" * 200_000}],
        ),
    ],
)
def test_csv_dialects(tmp_path: Path, text: str, rows: list[dict[str, str]]) -> None:
    assert read(tmp_path / "a.csv", text) == rows


def test_json_lines_take_what_python_writes(tmp_path: Path) -> None:
    text = b'\xef\xbb\xbf{"a": NaN, "b": 123456789012345678901234567890}\r\n\r\n{"a": "\\ud83d"}'
    first, second = read(tmp_path / "a.jsonl", text)
    assert first["a"] != first["a"]
    assert first["b"] == 123456789012345678901234567890
    assert second == {"a": "\ud83d"}


@given(
    st.lists(st.dictionaries(st.text(), VALUES, min_size=1, max_size=4), min_size=1, max_size=6),
    st.integers(1, 40),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_a_json_array_reads_the_same_in_any_pieces(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], chars: int, indent: int | None, escaped: bool
) -> None:
    path = tmp_path_factory.mktemp("json") / "a.json"
    try:
        path.write_text(json.dumps(rows, indent=indent, ensure_ascii=escaped), encoding="utf-8")
    except UnicodeEncodeError:
        path.write_text(json.dumps(rows, indent=indent), encoding="utf-8")
    assert list(JsonArraySeeds(path, read_chars=chars)) == rows


def test_a_large_file_is_not_counted_and_hashed_at_its_ends(tmp_path: Path) -> None:
    path = tmp_path / "large.jsonl"
    path.write_text('{"a": 1}\n')
    with path.open("r+b") as file:
        file.seek(files.WHOLE_BYTES)
        file.write(b'\n{"a": 2}\n')
    seeds = open_seeds(str(path))
    assert seeds.count() is None
    before = seeds.fingerprint()
    with path.open("r+b") as file:
        file.seek(files.WHOLE_BYTES)
        file.write(b'\n{"a": 3}\n')
    assert open_seeds(str(path)).fingerprint() != before


def test_stdin_is_read_once_and_served_again() -> None:
    seeds = open_seeds("-", stdin=io.BytesIO(b'{"a": 1}\n{"a": 2}\n'))
    assert list(seeds) == list(seeds) == [{"a": 1}, {"a": 2}]
    assert (seeds.name, seeds.count(), seeds.columns()) == ("stdin", 2, ["a"])


def test_a_broken_line_of_stdin_is_told_as_such() -> None:
    seeds = open_seeds("-", stdin=io.BytesIO(b'{"a": 1}\n{"a": 2'))
    with pytest.raises(OutputError, match=r"^stdin:2: broken JSON"):
        list(seeds)


def test_the_spool_of_stdin_goes_with_the_seeds(tmp_path: Path) -> None:
    program = """
import os, sys
from agentic_synth.sources.open import open_seeds
seeds = open_seeds("-")
print(len(list(seeds)), len(os.listdir(sys.argv[1])))
"""
    source = str(Path(__file__).parents[2] / "src")
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        input=b'{"a": 1}\n' * 3,
        env={"PYTHONPATH": source, "TMPDIR": str(tmp_path)},
        capture_output=True,
        check=True,
    )
    assert done.stdout.split() == [b"3", b"1"]
    assert not list(tmp_path.iterdir())


def test_rows_in_memory_are_seeds() -> None:
    rows: list[dict[str, Any]] = [{"a": 1, "when": object}, {"b": 2}]
    seeds = seeds_from(rows)
    assert list(seeds) == list(seeds) == rows
    assert (seeds.columns(), seeds.count()) == (["a", "when", "b"], 2)
    assert seeds.fingerprint() == seeds_from(list(rows)).fingerprint() != seeds_from(rows[:1]).fingerprint()
    assert seeds_from(seeds) is seeds


def test_an_iterator_is_read_once_and_held() -> None:
    def rows() -> Iterator[dict[str, int]]:
        yield {"a": 1}
        yield {"a": 2}

    seeds = seeds_from(rows())
    gc.collect()
    assert list(seeds) == list(seeds) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(("rows", "said"), [([], "no rows"), ([{"a": 1}, 2], "row 2 is int"), ([{}], "row 1")])
def test_what_is_no_row_is_told(rows: Any, said: str) -> None:
    with pytest.raises(OutputError, match=said):
        seeds_from(rows)


def test_a_directory_or_a_bad_reference_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a directory"):
        open_seeds(str(tmp_path))
    with pytest.raises(OutputError, match="no directory"):
        open_seeds(str(tmp_path / "none" / "a.csv"))
    with pytest.raises(OutputError, match="not a dataset"):
        open_seeds("hf:")


class Dataset(list[dict[str, Any]]):
    """As much of a streamed dataset as is asked of one."""

    column_names: list[str] | None = None
    info = SimpleNamespace(
        splits={"test": SimpleNamespace(num_examples=2)}, version="1.0.0", dataset_size=10, download_checksums=None
    )


def test_a_dataset_of_the_hub_is_loaded_as_its_reference_says() -> None:
    calls: list[Any] = []

    def load(*where: str | None, **options: Any) -> Dataset:
        calls.append((where, options))
        return Dataset([{"q": 1}, {"q": 2}])

    seeds = HubSeeds("hf:openai/gsm8k/main:test", load=load)
    assert list(seeds) == list(seeds) == [{"q": 1}, {"q": 2}]
    assert (seeds.columns(), seeds.count()) == (["q"], 2)
    changed = HubSeeds("hf:openai/gsm8k/main:test", load=lambda *where, **options: Dataset([{"q": 1}, {"q": 3}]))
    assert changed.fingerprint() != seeds.fingerprint()
    assert HubSeeds("hf:squad", load=load).count() is None
    options = {"split": "test", "streaming": True}
    assert calls == [(("openai/gsm8k", "main"), options), (("squad", None), {**options, "split": "train"})]


def test_a_dataset_that_cannot_be_loaded_is_told_plainly() -> None:
    def load(*where: str | None, **options: Any) -> Dataset:
        raise ConnectionError("no route to the hub")

    with pytest.raises(OutputError, match="cannot load hf:a/b: no route"):
        list(HubSeeds("hf:a/b", load=load))


@pytest.mark.skipif(importlib.util.find_spec("datasets") is not None, reason="the datasets package is installed")
def test_a_dataset_without_the_extra_says_what_to_install() -> None:
    with pytest.raises(OutputError, match="pip install"):
        open_seeds("hf:openai/gsm8k/main:test")
