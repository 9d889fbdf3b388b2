"""Free text has the form that its prompt names, and speaks of what the prompt speaks of."""

import ast
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentic_synth.offline.answer import answer
from agentic_synth.offline.topic import read_topic
from agentic_synth.types import Draw, Message, Request


def told(prompt: str, sample: int = 0) -> str:
    return answer(Request(model="offline", messages=(Message("user", prompt),), draw=Draw("test", sample)))


def all_told(prompt: str, count: int = 30) -> list[str]:
    return [told(prompt, sample) for sample in range(count)]


def sentences_of(text: str) -> int:
    return len(re.findall(r"[.?!]\"?(?:\s|$)", text))


def test_a_text_speaks_of_the_prompt_s_words() -> None:
    assert all("red kettle" in text.lower() for text in all_told("Write one sentence about a red kettle."))


def test_proper_names_stay_as_they_are_written() -> None:
    phrases = read_topic("Volcanoes erupt in Iceland. NASA with volcanoes.").phrases
    assert phrases == ("volcanoes erupt", "Iceland", "NASA", "volcanoes")


def test_texts_vary_between_draws() -> None:
    assert len(set(all_told("Why is the sea salty?", 200))) > 190


@pytest.mark.parametrize(
    ("prompt", "count"),
    [("Write one sentence about tea.", 1), ("Write three sentences about tea.", 3), ("Give me 12 sentences.", 12)],
)
def test_sentences_are_counted(prompt: str, count: int) -> None:
    for text in all_told(prompt):
        assert text[0].isupper() or text[0] == '"'
        assert sentences_of(text.replace('," said', " said")) == count


def test_words_paragraphs_lines_and_lists_are_counted() -> None:
    assert len(told("Describe tea in 50 words.").split()) == 50
    assert len(told("In one word, how is tea?").split()) == 1
    assert told("Write two paragraphs on tea.").count("\n\n") == 1
    assert [line[:2] for line in told("List 4 kinds of tea.").splitlines()] == ["1.", "2.", "3.", "4."]
    assert all(line.startswith("- ") for line in told("Give five bullet points on tea.").splitlines())
    assert len(told("Suggest 3 names for a cat.").splitlines()) == 3


def test_a_bound_is_kept() -> None:
    assert all(12 <= len(text.split()) < 20 for text in all_told("Describe tea in under 20 words."))
    assert {sentences_of(text) for text in all_told("Describe tea in two or three sentences.")} == {2, 3}


def test_a_word_problem_is_a_problem_and_no_word() -> None:
    for text in all_told("Write a word problem about trains."):
        assert text.endswith("?")
        assert "trains" in text


def test_a_review_has_the_feeling_that_its_prompt_tells() -> None:
    bad = set(" ".join(all_told("Write a negative review of a hotel.")).split())
    good = set(" ".join(all_told("Write a review of a hotel that deserves 5 of 5 stars.")).split())
    assert {"disappointed", "annoyed"} <= bad - good
    assert {"gladly", "enjoy"} <= good - bad


def test_advice_is_a_list() -> None:
    assert all(text.startswith("1. ") and "\n3. " in text for text in all_told("Suggest some games for a wedding."))


@pytest.mark.parametrize(
    ("prompt", "choices"),
    [
        ("Is a whale a fish? Answer yes or no.", {"yes", "no"}),
        ('Say whether it is right. Output "ethical" or "not ethical".', {"ethical", "not ethical"}),
        ("Classify the mood of the sentence into glad, sad or mixed.", {"glad", "sad", "mixed"}),
    ],
)
def test_choices_are_found_in_each_spelling(prompt: str, choices: set[str]) -> None:
    assert set(all_told(prompt, 60)) == choices


def test_an_absurd_length_is_bounded() -> None:
    assert len(told("Write 9999 words about tea.").split()) == 4_000
    assert len(told("List 999 teas.").splitlines()) == 200


def test_a_haiku_has_three_lines() -> None:
    assert all(len(text.splitlines()) == 3 for text in all_told("Write a haiku about rain."))


def test_one_of_the_offered_choices_is_taken() -> None:
    prompt = "Classify the sentiment as positive, negative, or neutral: the kettle leaks."
    assert set(all_told(prompt, 60)) == {"positive", "negative", "neutral"}


def test_code_parses() -> None:
    for text in all_told("Write a Python function that sorts numbers."):
        ast.parse(text)


def test_a_letter_has_a_subject_a_greeting_and_a_name() -> None:
    text = told("Write an email to the landlord about the heating.")
    assert text.startswith("Subject: ")
    assert "\n\nDear " in text
    assert "heating" in text.lower() or "landlord" in text.lower()


@pytest.mark.parametrize("prompt", ["Give a title for a talk on bees.", "Write a headline about bees."])
def test_a_title_is_short(prompt: str) -> None:
    assert all(len(text) < 90 and not text.endswith(".") for text in all_told(prompt))


def test_a_long_prompt_is_read_at_both_ends() -> None:
    topic = read_topic("Review of turbines. " + "the and of " * 5_000 + "Say three sentences on glaciers.")
    assert topic.length == ("sentence", 3, 3)
    assert {"turbines", "glaciers"} <= {word for phrase in topic.phrases for word in phrase.split()}


@given(st.text(max_size=400))
def test_any_prompt_gets_a_text(prompt: str) -> None:
    assert told(prompt)


def test_percent_signs_and_braces_in_a_prompt_are_mere_text() -> None:
    assert told("Tell me about {noun} and 100%s growth %d.")
