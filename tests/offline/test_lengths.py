"""A length is a count with its unit; a noun that has a unit in it is none."""

import pytest

from agentic_synth.offline.lengths import read_counts, read_length
from agentic_synth.offline.words import words_in


@pytest.mark.parametrize(
    ("prompt", "length"),
    [
        ("in one word, how is it", ("word", 1, 1)),
        ("in a word, why", ("word", 1, 1)),
        ("5 sentences on tea", ("sentence", 5, 5)),
        ("three short sentences", ("sentence", 3, 3)),
        ("two or three sentences", ("sentence", 2, 3)),
        ("describe it in 3-5 sentences", ("sentence", 3, 5)),
        ("a one-sentence description", ("sentence", 1, 1)),
        ("write a sentence that ends well", ("sentence", 1, 1)),
        ("under 50 words", ("word", 30, 49)),
        ("no more than 20 words", ("word", 12, 20)),
        ("at least 100 words", ("word", 100, 125)),
        ("between 50 and 100 words", ("word", 50, 100)),
        ("a 100-word essay", ("word", 100, 100)),
        ("a 50 word summary", ("word", 50, 50)),
        ("5-7 bullet points", ("bullet", 5, 7)),
        ("list of five teas", ("item", 5, 5)),
        ("the top 10 songs", ("item", 10, 10)),
        ("a haiku about rain", ("haiku", 1, 1)),
        ("tell me a short story", ("story", 1, 1)),
        ("write a story in 4 sentences", ("sentence", 4, 4)),
    ],
)
def test_a_count_with_its_unit_is_a_length(prompt: str, length: tuple[str, int, int]) -> None:
    assert read_length(prompt) == length


@pytest.mark.parametrize(
    "prompt",
    [
        "write a word problem about trains",
        "write three word problems",
        "one word problem for a child",
        "a sentence structure guide",
        "an email to a line manager",
        "three line managers met",
        "a point of view",
        "write a product name",
        "the history of rome",
        "summarize the article",
        "who wrote the poem",
        "given a sentence and a number, return both",
    ],
)
def test_a_noun_with_a_unit_in_it_is_no_length(prompt: str) -> None:
    assert read_length(prompt) == ("", 0, 0)


def test_what_a_prompt_counts() -> None:
    counts = read_counts(words_in("Exactly 3 turns between two noisy customers, 18.52 dollars, a hundred coins, 5 min"))
    assert counts == {"turn": 3, "customer": 2}
