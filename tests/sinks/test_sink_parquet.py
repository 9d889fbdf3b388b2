"""Parquet: which type a column gets, and that no value is bent to fit it."""

import datetime as dt
import json
import math
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentic_synth.errors import OutputError
from agentic_synth.sinks.arrow import Misfit, infer_shape
from agentic_synth.sinks.open import SinkColumn, open_sink
from agentic_synth.sinks.parquet import ParquetSink
from agentic_synth.sinks.schema import shape_of
from agentic_synth.sinks.target import PartialFile

TICKET = {
    "type": "object",
    "required": ["subject"],
    "properties": {
        "subject": {"type": "string"},
        "priority": {"enum": ["low", "high"]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "score": {"type": ["number", "null"]},
    },
}
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
VALUES = st.recursive(LEAVES, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=3), v, max_size=3))


async def write(path: Path, schema: dict[str, Any] | None, values: Sequence[Any]) -> pa.Table:
    sink = open_sink(str(path), [SinkColumn("c", schema)])
    await sink.write([{"c": value} for value in values])
    await sink.close(deliver=True)
    return pq.read_table(path)


@pytest.mark.parametrize(
    ("schema", "want"),
    [
        ({"type": "string"}, pa.string()),
        ({"type": "string", "maxLength": 3, "format": "email"}, pa.string()),
        ({"type": "integer"}, pa.int64()),
        ({"type": "number"}, pa.float64()),
        ({"type": ["integer", "number"]}, pa.float64()),
        ({"type": "boolean"}, pa.bool_()),
        ({"enum": ["a", "b", None]}, pa.string()),
        ({"enum": [1, 2]}, pa.int64()),
        ({"const": True}, pa.bool_()),
        ({"enum": ["a", 1]}, pa.string()),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, pa.int64()),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, pa.string()),
        ({"type": "array", "items": {"type": "integer"}}, pa.list_(pa.int64())),
        ({"type": "array"}, pa.string()),
        ({"type": "object"}, pa.string()),
        ({"type": "object", "properties": {}}, pa.string()),
        ({"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": True}, pa.string()),
        ({"properties": {"a": {"type": "integer"}, "b": {}}}, pa.struct([("a", pa.int64()), ("b", pa.string())])),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "boolean"}}}, pa.bool_()),
        (
            {
                "$ref": "#/$defs/N",
                "$defs": {"N": {"properties": {"v": {"type": "integer"}, "n": {"$ref": "#/$defs/N"}}}},
            },
            pa.struct([("v", pa.int64()), ("n", pa.string())]),
        ),
        ({"$ref": "elsewhere.json"}, None),
        ({"type": "string", "format": "date"}, None),
        ({"description": "anything"}, None),
        (None, None),
    ],
)
def test_the_type_of_a_schema(schema: Any, want: pa.DataType | None) -> None:
    shape = shape_of(schema)
    assert (shape and shape.type) == want


@pytest.mark.parametrize(
    ("values", "want", "back"),
    [
        ([None, None], pa.string(), None),
        (["a", None], pa.string(), None),
        ([1, None, 2], pa.int64(), None),
        ([1, 2.5], pa.float64(), None),
        ([float("inf"), 0.1], pa.float64(), None),
        ([True, None], pa.bool_(), None),
        ([1, "a", None], pa.string(), ["1", '"a"', None]),
        ([1, 2**70], pa.string(), ["1", str(2**70)]),
        ([2**60 + 1, 0.5], pa.string(), [str(2**60 + 1), "0.5"]),
        ([dt.date(2024, 1, 2), None], pa.date32(), None),
        ([dt.datetime(2024, 1, 2, 3, 4, 5, 6)], pa.timestamp("us"), None),  # noqa: DTZ001
        ([dt.datetime(2024, 1, 2, tzinfo=dt.UTC)], pa.timestamp("us", "UTC"), None),
        (
            [dt.datetime(2024, 1, 2), dt.datetime(2024, 1, 2, tzinfo=dt.UTC)],  # noqa: DTZ001
            pa.string(),
            ['"2024-01-02T00:00:00"', '"2024-01-02T00:00:00Z"'],
        ),
        ([Decimal("1.5"), Decimal("22.25")], pa.decimal128(38, 2), None),
        ([Decimal("NaN"), Decimal(1)], pa.string(), ['"NaN"', '"1"']),
        ([b"a\xff"], pa.binary(), None),
        ([UUID(int=1)], pa.string(), [str(UUID(int=1))]),
        ([[1, 2], [], None], pa.list_(pa.int64()), None),
        ([[1], ["a"]], pa.list_(pa.string()), [["1"], ['"a"']]),
        ([{}, {}], pa.string(), ["{}", "{}"]),
        (
            [{"a": 1}, {"b": "x"}, None],
            pa.struct([("a", pa.int64()), ("b", pa.string())]),
            [{"a": 1, "b": None}, {"a": None, "b": "x"}, None],
        ),
    ],
)
async def test_the_first_rows_tell_the_type(tmp_path: Path, values: list[Any], want: Any, back: Any) -> None:
    table = await write(tmp_path / "x.parquet", None, values)
    assert table.schema.field("c").type == want
    assert table["c"].to_pylist() == (values if back is None else back)


@given(st.lists(VALUES, max_size=6))
def test_whatever_a_column_holds_comes_back(values: list[Any]) -> None:
    shape = infer_shape(values)
    stored = shape.build(values).to_pylist()
    for value, found in zip(values, stored, strict=True):
        assert is_same(value, found)


def is_same(value: Any, found: Any) -> bool:
    """*found* says *value*: itself, JSON text of it, or it with nulls for missing keys."""
    if value is None:
        return found is None
    if isinstance(found, str) and not isinstance(value, str):
        return bool(json.loads(found) == value)
    if isinstance(value, list):
        return len(value) == len(found) and all(map(is_same, value, found))
    if isinstance(value, dict):
        return all(is_same(value.get(key), part) for key, part in found.items()) and value.keys() <= found.keys()
    if isinstance(value, str) and value != found:
        return bool(json.loads(found) == value)
    return bool(value == found)


@pytest.mark.parametrize(
    ("schema", "good", "bad", "said"),
    [
        ({"type": "integer"}, [1, 2.0, None], 1.5, "1.5 is not an integer"),
        ({"type": "integer"}, [1], True, "True is not an integer"),
        ({"type": "integer"}, [1], 2**63, "not an integer of 64 bits"),
        ({"type": "number"}, [1, 2.5, 2**60], 2**60 + 1, "not a number"),
        ({"type": "number"}, [1], True, "not a number"),
        ({"type": "string"}, ["a", dt.date(2024, 1, 1), UUID(int=1)], 5, "5 is not text"),
        ({"type": "boolean"}, [True], 1, "not true or false"),
        ({"type": "array", "items": {"type": "integer"}}, [[1], None], [1, "a"], "'a' is not an integer"),
        ({"type": "array", "items": {"type": "integer"}}, [[1]], "ab", "not a list"),
        (TICKET, [{"subject": "a", "priority": None}], {"subject": "a", "extra": 1}, "'extra' is not in the schema"),
        (TICKET, [{"subject": "a"}], "text", "not an object"),
        (TICKET, [{"subject": "a"}], {"subject": ["a"]}, "not text"),
        (None, [dt.date(2024, 1, 1)], dt.datetime(2024, 1, 1), "not a date"),  # noqa: DTZ001
        (None, [dt.datetime(2024, 1, 1)], dt.datetime(2024, 1, 1, tzinfo=dt.UTC), "without a zone"),  # noqa: DTZ001
        (None, [Decimal("1.5")], Decimal("1.25"), "data loss"),
        (None, [{"a": 1}], {"b": 1}, "'b' is not in the schema"),
        (None, [1, 2], "three", "'three' is not an integer"),
    ],
)
async def test_a_value_that_does_not_fit_names_row_and_column(
    tmp_path: Path, schema: Any, good: list[Any], bad: Any, said: str
) -> None:
    path = tmp_path / "x.parquet"
    sink = ParquetSink(PartialFile(str(path)), [SinkColumn("c", schema)], group_rows=250)
    rows = [{"c": good[n % len(good)]} for n in range(250)]
    await sink.write(rows)
    with pytest.raises(OutputError, match=r"row 252, column c: ") as caught:
        await sink.write([rows[0], {"c": bad}, *rows[:248]])
    assert said in str(caught.value)
    with pytest.raises(OutputError, match="row 252"):
        await sink.close(deliver=True)
    assert not path.exists()
    assert pq.read_table(tmp_path / "x.parquet.partial").num_rows == 250


async def test_a_key_without_a_column_is_an_error(tmp_path: Path) -> None:
    sink = open_sink(str(tmp_path / "x.parquet"), [SinkColumn("c")])
    await sink.write([{"c": 1, "d": 2}])
    with pytest.raises(OutputError, match="row 1, column d: there is no such column"):
        await sink.close(deliver=True)


async def test_a_column_unknown_for_long_takes_anything_later(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    sink = ParquetSink(PartialFile(str(path)), [SinkColumn("c")], group_rows=250)
    await sink.write([{}] * 250)
    await sink.write([{"c": "text"}, {"c": 5}, {"c": {"a": 1}}])
    await sink.close(deliver=True)
    assert pq.read_table(path)["c"].to_pylist()[250:] == ["text", "5", '{"a":1}']


async def test_text_of_half_surrogates_is_mended(tmp_path: Path) -> None:
    table = await write(tmp_path / "x.parquet", {"type": "string"}, ["a\ud83d", "b"])
    assert table["c"].to_pylist() == ["a\ufffd", "b"]


async def test_row_groups_go_by_count_and_by_bytes_of_the_rows_alone(tmp_path: Path) -> None:
    columns = [SinkColumn("known", {"type": "string"}), SinkColumn("unknown")]
    rows = [{"known": "x" * (n % 40), "unknown": "y" * (n % 50)} for n in range(3_000)]
    sizes = []
    for batch in (1, 999, 3_000):
        path = tmp_path / f"{batch}.parquet"
        sink = ParquetSink(PartialFile(str(path)), columns, group_rows=1_000, group_bytes=40_000)
        for start in range(0, len(rows), batch):
            await sink.write(rows[start : start + batch])
        await sink.close(deliver=True)
        metadata = pq.ParquetFile(path).metadata
        sizes.append([metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)])
        assert pq.read_table(path).to_pylist() == rows
        assert path.read_bytes() == (tmp_path / "1.parquet").read_bytes()
    assert sizes == [[750, 1_000, 1_000, 250]] * 3


async def test_the_default_row_group_is_ten_thousand_rows(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    sink = open_sink(str(path), [SinkColumn("n")])
    for start in range(0, 25_000, 100):
        await sink.write([{"n": n} for n in range(start, start + 100)])
    await sink.close(deliver=True)
    metadata = pq.ParquetFile(path).metadata
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [10_000, 10_000, 5_000]
    assert pq.read_table(path)["n"].to_pylist() == list(range(25_000))


def test_nan_in_a_double_column_stays_nan() -> None:
    [found] = infer_shape([float("nan")]).build([float("nan")]).to_pylist()
    assert math.isnan(found)


def test_a_mapping_with_many_keys_is_json_text() -> None:
    values = [{f"k{n}": n for n in range(300)}, {1: 2}]
    assert infer_shape(values[:1]).type == pa.string()
    assert infer_shape(values[1:]).build(values[1:]).to_pylist() == ['{"1":2}']


def test_a_misfit_says_what_does_not_fit() -> None:
    with pytest.raises(Misfit, match=r"^'x{56}\.\.\. is not an integer"):
        infer_shape([1]).build(["x" * 100])
