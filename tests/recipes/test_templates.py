"""Templates and expressions: what they give, what they refuse, and how they say so."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentic_synth.errors import RecipeError
from agentic_synth.recipes.templates import RowError, compile_expression, compile_template


def value_of(text: str, **values: Any) -> Any:
    return compile_expression(text, "here").evaluate(values)


def test_a_template_renders_the_values_it_names() -> None:
    template = compile_template("{{ tone }} about {{ product.name }}\n", "here")
    assert template.names == {"tone", "product"}
    assert template.render({"tone": "calm", "product": {"name": "tv"}, "other": 1}) == "calm about tv\n"


def test_a_text_without_places_is_itself() -> None:
    template = compile_template("plain { text }\n", "here")
    assert template.names == frozenset()
    assert template.render({}) == "plain { text }\n"


@settings(deadline=None)
@given(st.text(alphabet=st.characters(exclude_characters="{\r", exclude_categories=["Cs"])))
def test_values_are_never_read_as_templates_or_escaped(text: str) -> None:
    assert compile_template("{{ a }}|{{ a }}").render({"a": text}) == f"{text}|{text}"
    assert compile_template("{{ a }}").render({"a": "{{ 7 * 7 }} <&>"}) == "{{ 7 * 7 }} <&>"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("price * 2", 5.0),
        ("ticket.body | length > 3", True),
        ("ticket.items", 4),
        ("ticket['body']", "hello"),
        ("[1, 2] | map('string')", ["1", "2"]),
        ("range(3)", [0, 1, 2]),
        ("(1, none)", [1, None]),
        ("nothing", None),
        ("price if price > 100 else 'cheap'", "cheap"),
        ("missing | default('x')", "x"),
        ("{'a': price}", {"a": 2.5}),
        ("ticket | tojson", '{"body": "hello", "items": 4}'),
        ("'<ä>' | tojson", '"<ä>"'),
    ],
)
def test_an_expression_gives_the_value_itself(text: str, value: object) -> None:
    assert value_of(text, price=2.5, ticket={"body": "hello", "items": 4}, nothing=None) == value


def test_an_expression_names_what_it_reads() -> None:
    assert compile_expression("a + b.c | default(d) + range(2)[0]").names == {"a", "b", "d"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ticket.boddy", "there is no `boddy`; did you mean `body`?"),
        ("ticket.zzz", "there is no `zzz`, only `body`"),
        ("nothing.body", "`body` was asked of a null value"),
        ("absent", "`absent` has no value"),
        ("price.x", "a number has no `x`"),
        ("1 / 0", "division by zero"),
        ("price + 'a'", "unsupported operand"),
        ("ticket.__class__", "unsafe"),
        ("''.__class__.__mro__", "unsafe"),
        ("range", "no JSON value"),
    ],
)
def test_what_a_row_cannot_give_is_said_in_its_words(text: str, words: str) -> None:
    with pytest.raises(RowError) as caught:
        value_of(text, ticket={"body": "hello"}, nothing=None, price=2)
    assert words in str(caught.value)
    assert str(caught.value).startswith("here: ")


def test_a_template_says_which_value_is_missing() -> None:
    with pytest.raises(RowError, match="`tone` has no value"):
        compile_template("{{ tone }}", "here").render({})


@pytest.mark.parametrize(
    "text",
    [
        "'a' * 10**9",
        "10**7 * [1]",
        "2 ** (10**8)",
        "'%999999999d' % 1",
        "'%*d' % (999999999, 1)",
        "'a'.ljust(10**9)",
        "'{:>999999999}'.format(1)",
        "'a' | center(10**9)",
        "'%999999999d' | format(1)",
        "range(10**9) | list",
        "[1] | batch(10**9, 0) | list",
    ],
)
def test_one_step_never_fills_the_memory(text: str) -> None:
    with pytest.raises(RowError):
        value_of(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{ price }}", "written without braces"),
        ("price price", "more after the end"),
        ("price | lenght", "did you mean `length`"),
        ("price is oddd", "did you mean `odd`"),
        ("[1] | random", "column of its own"),
        ("price +", "unexpected"),
        ("", "expected"),
    ],
)
def test_an_expression_that_cannot_be_read_is_a_recipe_error(text: str, words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        compile_expression(text, "t.yaml:3:4")
    assert words.lower() in str(caught.value).lower()
    assert caught.value.where == "t.yaml:3:4"
    assert not isinstance(caught.value, RowError)


def test_a_syntax_error_names_the_line_of_the_text() -> None:
    with pytest.raises(RecipeError, match="line 3 of the text"):
        compile_template("a\n\n{% fi %}", "here")


@pytest.mark.parametrize("text", ["{% include 'x' %}", "{% import 'x' as y %}", "{% extends 'x' %}"])
def test_a_template_reaches_no_other(text: str) -> None:
    with pytest.raises(RecipeError, match="include, import or extend"):
        compile_template(text)


def test_a_template_leaves_the_row_alone() -> None:
    values: dict[str, Any] = {"items": [1]}
    compile_template("{% set new = 3 %}{{ new }}{{ items }}").render(values)
    assert values == {"items": [1]}
    with pytest.raises(RowError):
        compile_expression("items.append(2)").evaluate(values)
    assert values == {"items": [1]}


def test_nothing_in_a_template_is_random() -> None:
    for text in ("{{ lipsum() }}", "{{ cycler(1) }}"):
        with pytest.raises(RowError, match="has no value"):
            compile_template(text).render({})
