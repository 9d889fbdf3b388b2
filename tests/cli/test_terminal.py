"""Tables fit the terminal, values are shown in full where that is promised."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentic_synth.cli.check import type_name
from agentic_synth.cli.preview import in_full
from agentic_synth.cli.terminal import clipped, message_lines, table

cells = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**9), 10**9), st.text(max_size=40), st.lists(st.text(max_size=5))
)


@given(st.lists(st.tuples(cells, cells, cells), max_size=6), st.integers(30, 120))
def test_a_table_fits_its_width_and_has_a_line_a_row(rows: list[tuple[object, ...]], width: int) -> None:
    lines = table(["a", "b", "c"], rows, width=width, whole=0).split("\n")
    assert len(lines) == len(rows) + 2
    assert all(len(line) <= width for line in lines)


@given(st.lists(st.tuples(st.text("abc-", min_size=1, max_size=60), cells, cells), max_size=6), st.integers(1, 120))
def test_names_are_whole_whatever_the_width(rows: list[tuple[object, ...]], width: int) -> None:
    lines = table(["name", "b", "c"], rows, width=width).split("\n")
    longest = max([4, *(len(str(name)) for name, *_ in rows)])
    assert [line[:longest].rstrip() for line in lines[2:]] == [name for name, *_ in rows]
    assert all(len(line) <= max(width, longest) for line in lines)


def test_the_last_columns_go_where_there_is_no_room() -> None:
    rows = [("gpt-4.1-mini", "a value that is long", "another one")]
    assert table(["name", "one", "two"], rows, width=32).split("\n")[2] == "gpt-4.1-mini  a value…  another…"
    assert table(["name", "one", "two"], rows, width=24).split("\n")[2] == "gpt-4.1-mini  a value t…"
    assert table(["name", "one", "two"], rows, width=10).split("\n")[2] == "gpt-4.1-mini"


def test_numbers_stand_to_the_right_and_what_is_nested_is_json() -> None:
    shown = table(["name", "count", "value"], [("a", 7, {"x": [1]}), ("bb", 12_345, None)], width=80)
    assert shown.split("\n") == [
        "name   count  value",
        "----  ------  ---------",
        'a          7  {"x":[1]}',
        "bb    12,345",
    ]


def test_clipped() -> None:
    assert [clipped("abcdef", size) for size in (6, 5, 1)] == ["abcdef", "abcd…", "…"]


def test_everything_is_shown_in_full() -> None:
    value = {"name": "A", "text": "one\ntwo", "none": None, "list": [1, {"deep": True}], "empty": []}
    assert list(in_full(value)) == [
        "name: A",
        "text:",
        "  one",
        "  two",
        "none: null",
        "list:",
        "  - 1",
        "  -",
        "    deep: true",
        "empty: []",
    ]


def test_messages_name_parts_that_are_no_text() -> None:
    content = [{"type": "text", "text": "one\ntwo"}, {"type": "image_url", "image_url": {}}]
    assert list(message_lines("user", content)) == [
        "  user:      one",
        "             two",
        "             [image_url]",
    ]
    assert list(message_lines("assistant", None)) == ["  assistant:"]


def test_types_in_a_few_words() -> None:
    assert type_name({"enum": ["a", "b"]}) == "a | b"
    assert type_name({"enum": list(range(9))}) == "0 | 1 | 2 | 3 | 4 | 5 | ..."
    assert type_name({"type": "array", "items": {"type": "string"}}) == "list of string"
    assert type_name({"type": "object", "properties": {"a": {"type": ["integer", "null"]}}}) == "{a: integer | null}"
    assert type_name({"anyOf": [{"type": "string", "format": "date"}, {"const": 3}]}) == "date | 3"
    assert type_name(None) == type_name({}) == "any"
