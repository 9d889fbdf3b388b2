"""In a conversation ``customer`` is what the customer says; in a record it is who the customer is."""

import re
from typing import Any

import pytest

from tests.offline.offline_schemas import ask, asked, record

TEXT = {"type": "string"}
NAME = re.compile(r"[A-Z]\w+ [A-Z]\w+")


def is_speech(text: str) -> bool:
    return len(text) > 15 and not NAME.fullmatch(text) and text[-1] in ".?"


@pytest.mark.parametrize("name", ["turns", "messages", "dialogue", "conversation"])
def test_sides_of_a_turn_speak(name: str) -> None:
    turns = {"type": "array", "items": record(customer=TEXT, agent=TEXT)}
    for value in asked(record(**{name: turns})):
        assert all(is_speech(text) for turn in value[name] for text in turn.values())


def test_roles_alternate_and_the_asking_one_begins() -> None:
    message = record(role={"enum": ["assistant", "system", "user"]}, content=TEXT)
    for value in asked(record(messages={"type": "array", "items": message, "minItems": 3})):
        roles = [message["role"] for message in value["messages"]]
        assert roles == (["user", "assistant"] * 3)[: len(roles)]
        assert all(is_speech(message["content"]) for message in value["messages"])


def test_two_named_speakers_take_turns() -> None:
    lines = {"type": "array", "items": record(speaker=TEXT, text=TEXT), "minItems": 4}
    for value in asked(record(dialogue=lines)):
        speakers = [line["speaker"] for line in value["dialogue"]]
        assert speakers[:2] == speakers[2:4]


def test_turns_may_be_mere_texts_and_a_conversation_one_text() -> None:
    value = ask(record(turns={"type": "array", "items": TEXT}, conversation=TEXT))
    assert all(is_speech(text) for text in value["turns"])
    assert re.match(r"Customer: .+\nAgent: ", value["conversation"])


def test_there_are_as_many_turns_as_the_prompt_says_and_the_schema_lets() -> None:
    turns = {"type": "array", "maxItems": 8, "items": record(customer=TEXT, agent=TEXT)}
    prompt = "Write a conversation of exactly {} turns about a bill."
    assert len(ask(record(turns=turns), prompt=prompt.format("five"))["turns"]) == 5
    assert len(ask(record(turns=turns), prompt=prompt.format(20))["turns"]) == 8


@pytest.mark.parametrize(
    "properties",
    [
        {"user": TEXT, "assistant": TEXT},
        {"customer": {**TEXT, "description": "What the customer says"}},
        {"agent": {**TEXT, "maxLength": 500}},
        {"customer": {**TEXT, "minLength": 40}},
    ],
)
def test_outside_of_a_list_the_context_tells_speech(properties: dict[str, Any]) -> None:
    for value in asked(record(**properties)):
        assert all(is_speech(text) for text in value.values())


def test_without_such_context_a_customer_is_a_person() -> None:
    for value in asked(record(customer=TEXT, agent={**TEXT, "maxLength": 80}, issue=TEXT)):
        assert NAME.fullmatch(value["customer"])
        assert NAME.fullmatch(value["agent"])
