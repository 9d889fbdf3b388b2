"""What is read out of a prompt: canonical words, slots, how it opens."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentic_synth.policies.semantic.lexicon import LEXICON, NUMBERS
from agentic_synth.policies.semantic.reading import _TOKEN, fold, read, tokens
from agentic_synth.policies.semantic.slots import iso_dates, mine, names, plain


@pytest.mark.parametrize(
    ("text", "asks", "opened"),
    [
        ("How do I cook rice?", "how", "how do i"),
        ("what is the best way to cook rice", "how", "what is the best way to"),
        ("Could you please write a poem?", "write", "write"),
        ("I need a poem about rain", "write", "i need"),
        ("Give me a summary of the book", "summarize", "give me a summary of"),
        ("Tell me how to cook rice", "how", "how to"),
        ("Do you know why bees dance?", "why", "why"),
        ("Name 3 rivers", "list", "name"),
        ("Where is Oslo?", "", ""),
    ],
)
def test_how_a_prompt_opens(text: str, asks: str, opened: str) -> None:
    reading = read(text)
    assert (reading.asks, reading.opened) == (asks, opened)


def test_orders_are_told_from_questions() -> None:
    assert read("Write a poem about rain").order
    assert read("Could you outline a talk about rain?").order
    assert not read("How do I write a poem?").order
    assert not read("Can dogs write?").order


def test_what_a_prompt_is_filled_with() -> None:
    slots = mine('Send "the  red one" from AX-100 to ann@a.example, see https://b.example/c: now\nand 5 kg')
    assert slots.quoted == ('"the red one"',)
    assert slots.codes == ("ax-100",)
    assert slots.addresses == ("https://b.example/c:", "ann@a.example")
    assert slots.data == "now\nand 5 kg"
    assert slots.units == ("kg",)


@pytest.mark.parametrize(
    "text",
    ["on 5 January 2024.", "on January 5, 2024.", "on Jan 5th 2024.", "on 5th of January 2024.", "on 2024-01-05."],
)
def test_a_day_is_one_word_however_it_is_written(text: str) -> None:
    assert iso_dates(text) == "on 2024_01_05."


def test_names_are_capitals_within_a_sentence() -> None:
    assert names("Peter and Mary went to New York. Then I left Rome") == {"mary", "new", "york", "rome"}


def test_quotation_marks_and_thousands_are_made_plain() -> None:
    assert plain("“a” ‘b’ ``c'' 1,000,000 and 1,5") == '"a" \'b\' "c" 1000000 and 1,5'


def test_number_words_are_digits() -> None:
    for word, digits in NUMBERS.items():
        assert read(f"take {word} apples").words == read(f"take {digits} apples").words
    assert read("take twenty five apples").words == ("take", "25", "apples")
    assert read("take twenty apples five times").words == ("take", "20", "apples", "5", "times")


@given(st.text(string.ascii_lowercase + " ,.;:!?()\"-'\n", max_size=80))
def test_prose_is_taken_apart_alike_the_fast_way_and_the_slow(text: str) -> None:
    if "(" in text and "-" in text:
        text = text.replace("(", "")
    assert tokens(text) == _TOKEN.findall(text)


@given(st.text(max_size=200))
def test_any_text_can_be_read(text: str) -> None:
    reading = read(text)
    assert reading == read(text)
    assert all(reading.words)


@given(st.sampled_from(sorted(LEXICON)))
def test_a_canonical_word_stands_for_itself(word: str) -> None:
    for canonical in LEXICON[word]:
        assert LEXICON.get(canonical, (canonical,)) == (canonical,)


@pytest.mark.parametrize(
    ("word", "single"),
    [("cities", "city"), ("boxes", "box"), ("cars", "car"), ("bus", "bus"), ("glass", "glass"), ("is", "is")],
)
def test_a_plural_is_folded(word: str, single: str) -> None:
    assert fold(word) == single
