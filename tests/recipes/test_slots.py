"""A prompt taken apart is the prompt, and says which words are whose."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentic_synth.recipes.slots import Slots
from agentic_synth.types import Meaning


def test_values_have_the_names_of_the_template() -> None:
    slots = Slots("Write a {{ tone }} ticket about {{ product.name | upper }}.", "here")
    filled = slots.fill({"tone": "calm", "product": {"name": "tv"}})
    assert filled is not None
    assert filled.task == "Write a {tone} ticket about {product.name}."
    assert filled.values == {"tone": "calm", "product.name": "TV"}


def test_a_place_that_repeats_its_value_keeps_its_name_and_another_value_gets_a_number() -> None:
    filled = Slots("{% for x in xs %}{{ x }};{% endfor %}{{ x }}", "here").fill({"xs": ["a", "b"], "x": "a"})
    assert filled is not None
    assert filled.task == "{x};{x_2};{x}"
    assert filled.values == {"x": "a", "x_2": "b"}


def test_branches_make_different_tasks() -> None:
    slots = Slots("{% if old %}Praise{% else %}Explain{% endif %} {{ thing }}", "here")
    old, new = slots.fill({"old": True, "thing": "tea"}), slots.fill({"old": False, "thing": "tea"})
    assert (old and old.task, new and new.task) == ("Praise {thing}", "Explain {thing}")


@pytest.mark.parametrize(
    "template",
    ["{% macro m(x) %}{{ x }}{% endmacro %}{{ m(a) }}", "{% filter upper %}{{ a }}{% endfilter %}"],
)
def test_text_that_a_block_rewrites_cannot_be_taken_apart(template: str) -> None:
    assert Slots(template, "here").fill({"a": "x"}) is None


@given(st.text(), st.text())
def test_any_value_is_told_apart_or_nothing_is_said(first: str, second: str) -> None:
    filled = Slots("One: {{ first }} two: {{ second }}!", "here").fill({"first": first, "second": second})
    if filled is None:
        assert set(first + second) & {"\x02", "\x03", "\x1f"}
    else:
        assert filled.task == "One: {first} two: {second}!"
        assert filled.values == {"first": first, "second": second}


def test_where_one_value_ends_is_no_matter_of_wording() -> None:
    template = Slots("{{ a }}|{{ b }}", "columns.x")
    first = template.fill({"a": "one two three four\nfive six", "b": "seven eight nine ten"})
    other = template.fill({"a": "one two three four", "b": "five six\nseven eight nine ten"})
    assert first is not None
    assert other is not None
    assert first.meaning is not None
    assert other.meaning is not None
    assert first.meaning.text == other.meaning.text
    assert first.meaning.fixed != other.meaning.fixed


def test_the_meaning_is_what_is_said_freely_and_the_rest_is_fixed() -> None:
    slots = Slots("Classify in {{ language }}: {{ text }}", "here")
    filled = slots.fill({"language": "English", "text": "my router does not start"})
    assert filled is not None
    assert filled.meaning == Meaning("my router does not start", ("Classify in {language}: {text}", "language=English"))


def test_a_prompt_of_short_values_has_nothing_to_match_freely() -> None:
    filled = Slots("Write about {{ country }}", "here").fill({"country": "Peru"})
    assert filled is not None
    assert filled.meaning is None
