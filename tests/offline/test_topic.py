"""A prompt's topics are its nouns, not the verbs of its task or the words of its form."""

import pytest

from agentic_synth.offline.topic import read_topic


@pytest.mark.parametrize(
    ("prompt", "subjects"),
    [
        ("Say three things about the phone.", ("the phone",)),
        ("Note the phone.", ("the phone",)),
        ("Zblorf the phone in English.", ("the phone",)),
        ("Write an angry support ticket about a broken router.", ("the broken router",)),
        ("Describe the plan of a house.", ("the plan", "the house")),
        ("I plan to order a new review of the design costs.", ("the design costs",)),
        ("Why is the sea salty?", ("the sea",)),
        ("Explain clearly how volcanoes work.", ("volcanoes",)),
        ("Field: travel. Style: short and direct. Level: school.", ("travel",)),
        ('Invent a product of the category "kitchen" for a customer from St. Charles.', ("kitchen",)),
        ("Tell me about Geoffrey Hinton and St. Moritz.", ("Geoffrey Hinton", "St. Moritz")),
        ("George Washington wrote a letter.", ("George Washington",)),
        ("It is about a cancelled booking and ends solved.", ("the cancelled booking",)),
        ("Write a one-sentence description of the following idiom.", ("the idiom",)),
        ("Write a talk between a customer and an agent, about a bill.", ("the bill",)),
    ],
)
def test_topics_are_nouns(prompt: str, subjects: tuple[str, ...]) -> None:
    assert read_topic(prompt).subjects == subjects


@pytest.mark.parametrize(
    ("prompt", "genre"),
    [
        ("Write a math word problem.", "puzzle"),
        ("What is tea?", "explain"),
        ("Answer the following question.", "explain"),
        ("Write one question about tea.", "question"),
        ("Write a message that a child would send to an assistant.", "request"),
        ("Generate a prompt for a writer.", "request"),
        ("You are a helpful assistant. Write a story.", "story"),
        ("Summarise it: " + "the sea and " * 40 + "a story " + "of the sea " * 40, "explain"),
    ],
)
def test_the_genre_is_told_by_name_or_by_form(prompt: str, genre: str) -> None:
    assert read_topic(prompt).genre == genre


@pytest.mark.parametrize(
    ("prompt", "feeling"),
    [
        ("A furious review", (0.0, 0.4)),
        ("A delighted customer", (0.6, 1.0)),
        ("somebody gives 3 of 5 stars", (0.4, 0.6)),
        ("a two-star review", (0.2, 0.4)),
        ("Is it positive or negative?", None),
        ("A review", None),
    ],
)
def test_the_feeling_is_told_by_words_or_stars(prompt: str, feeling: tuple[float, float] | None) -> None:
    assert read_topic(prompt).feeling == (None if feeling is None else pytest.approx(feeling))
