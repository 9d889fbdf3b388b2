"""Each rule of the gate, by pairs that tell: what must be refused, and what must not."""

import pytest

from agentic_synth.policies.semantic.gate import compare
from agentic_synth.policies.semantic.reading import read


def refusal(first: str, second: str) -> str:
    one, other = compare(read(first), read(second)), compare(read(second), read(first))
    assert one.refusal == other.refusal, "the order of the two does not matter"
    return one.refusal


@pytest.mark.parametrize(
    ("first", "second", "rule"),
    [
        ("List 3 cities in Peru", "List 4 cities in Peru", "number"),
        ("List three cities in Peru", "List four cities in Peru", "number"),
        ("A list of twenty five cities", "A list of twenty six cities", "number"),
        ("Is -5 larger than zero?", "Is 5 larger than zero?", "number"),
        ("Is 1.5 a prime number?", "Is 15 a prime number?", "number"),
        ("Write a poem with rhymes", "Write a poem without rhymes", "negation"),
        ("Why can I sleep?", "Why can't I sleep?", "negation"),
        ("Why can't I sleep?", "Why don't I sleep?", "modality"),
        ("Name rivers longer than the Rhine", "Name rivers shorter than the Rhine", "comparative"),
        ("Which phone is more expensive?", "Which phone is less expensive?", "comparative"),
        ("What is the best school here?", "What is the worst school here?", "comparative"),
        ("Do all birds fly?", "Do some birds fly?", "quantifier"),
        ("Do all birds fly?", "Do many birds fly?", "quantifier"),
        ("Convert 5 km to miles", "Convert 5 kg to miles", "unit"),
        ("How far is 5 M from here", "How far is 5 m from here", "unit"),
        ("Write a note for 5 January 2024", "Write a note for 6 January 2024", "date"),
        ("Write a note for Monday", "Write a note for Tuesday", "date"),
        ('Translate "I am late" into French', 'Translate "I was late" into French', "quoted"),
        ("Summarize https://a.example/x", "Summarize https://a.example/y", "addresses"),
        ("Describe item AX-100", "Describe item AX-101", "codes"),
        ("Fix the grammar: he go home", "Fix the grammar: he goes home", "data"),
        ("Summarize\nThe sun rose.", "Summarize\nThe sun set.", "data"),
        ("Should I sell my house?", "Can I sell my house?", "modality"),
        ("How does the engine work?", "How did the engine work?", "tense"),
        ("Who won the cup?", "When was the cup won?", "tense"),
        ("Who won the cup?", "When won the cup?", "question"),
        ("Why is the sky blue?", "How is the sky blue?", "question"),
        ("Is smoke hot?", "Is smoke cold?", "antonym"),
        ("Does he love me?", "Does she love me?", "role"),
        ("Trains from Oslo", "Trains to Oslo", "direction"),
        ("Write a poem about Peru", "Write a poem about Chile", "name"),
        ("Describe a red router", "Describe a green router", "word"),
        ("Explain 5 < 7", "Explain 5 > 7", "symbol"),
        ("Explain (a + b) * c", "Explain a + (b * c)", "order"),
        ("Explain (a - b) - c", "Explain a - (b - c)", "order"),
        ("Is x != y true?", "Is x = y true?", "symbol"),
        ("What is 5! here?", "What is 5 here?", "word"),
        ("What does 🙂 mean?", "What does 🙁 mean?", "word"),
        ("Write an article on Monday", "Write an article about Monday", "direction"),
        ("Fix this:\n  if a:\n    b", "Fix this:\n  if a:\n  b", "data"),
        ("写一首关于雨的诗", "写一首关于雪的诗", "word"),
        ("Alice sold Bob a car", "Bob sold Alice a car", "order"),
        ("Can a dog bite a man?", "Can a man bite a dog?", "order"),
        ("Trains from Oslo to Rome", "Trains from Rome to Oslo", "order"),
        ("What rhymes with fast?", "What rhymes with quick?", "literal"),
        ("Write a poem about a bee", "Write poems about a bee", "inflection"),
        ("Write a review of the Quick router", "Write a review of the Rapid router", "name"),
        ("Is it fair to us?", "Is it fair to US?", "role"),
        ("Write a C function", "Write a C++ function", "name"),
    ],
)
def test_what_changes_the_answer_is_refused(first: str, second: str, rule: str) -> None:
    assert refusal(first, second) == rule


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("What is the capital of Peru?", "what's the capital of Peru"),
        ("What is the capital of Peru?", "Tell me the capital of Peru."),
        ("Write a short poem about rain.", "Could you please compose a brief poem about rain?"),
        ("Write a poem about rain", "Please write me a poem on rain, thanks!"),
        ("How do I lose weight?", "What's the best way to lose weight"),
        ("How can I lose weight?", "how to lose weight"),
        ("In Python, write a function that adds two numbers", "Write a function that adds 2 numbers in Python."),
        ("Give me a summary of the French Revolution", "Summarise the French Revolution"),
        ("Name five rivers", "Give me a list of 5 rivers"),
        ("A party on 5 January 2024", "A party on Jan 5th, 2024"),
        ("Ship it on January 5, 2024", "Ship it on 2024-01-05"),
        ("Sell 1,000 phones", "Sell 1000 phones"),
        ("Run 5km", "Run 5 kilometers"),
        ("A list of twenty-five books", "A list of 25 books"),
        ("I don't like bees", "I do not like bees"),
        ("Why won't my phone start?", "Why will not my phone begin?"),
        ("Which camera should I purchase?", "What camera should I buy?"),
        ("Translate “hello” into Dutch", 'translate "hello" into Dutch'),
        ("What is my favourite colour", "What  is my favorite color?"),
    ],
)
def test_another_wording_is_not_refused(first: str, second: str) -> None:
    assert refusal(first, second) == ""


def test_a_comparison_says_how_the_wordings_differ() -> None:
    found = compare(read("Could you write a short story about bees?"), read("Compose the brief tale about bees"))
    assert (found.refusal, found.frames, found.synonyms, found.articles, found.courtesy) == ("", 1, 2, 2, 1)
    assert found.shared == ("<write>", "short", "story", "about", "bees")


def test_words_without_a_counterpart_and_their_order() -> None:
    found = compare(read("red fish eat small green bugs"), read("small red fish chase bugs"))
    assert set(found.only_first) == {"eat", "green"}
    assert found.only_second == ("chase",)
    assert 0.0 < found.in_order < 1.0
