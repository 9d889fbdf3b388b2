"""From a row's values to a request, and from an answer to a cell."""

from __future__ import annotations

from typing import Any

import pytest

from agentic_synth.recipes.answers import Invalid, Read
from agentic_synth.recipes.asked import Asked
from agentic_synth.recipes.templates import RowError
from agentic_synth.types import Draw, Message, Request, Response
from tests.recipes.row_flow import planned

SCHEMA = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}


def asked_of(column: dict[str, Any], **recipe: Any) -> Asked:
    return planned({**recipe, "columns": {"cell": column}}, ["topic", "flag"]).asked["cell"]


def request_of(asked: Asked, **values: Any) -> Request:
    return asked.request({"topic": "rain", "flag": True, **values}, Draw("line", 3))


def test_a_prompt_with_its_system_and_examples() -> None:
    asked = asked_of(
        {
            "prompt": "Write of {{ topic }}.",
            "examples": [{"input": "{{ literally }}", "output": "yes"}, {"input": "two", "output": {"n": 2}}],
        },
        system="You write of {{ topic }}.",
    )
    assert request_of(asked).messages == (
        Message("system", "You write of rain."),
        Message("user", "{{ literally }}"),
        Message("assistant", "yes"),
        Message("user", "two"),
        Message("assistant", '{"n":2}'),
        Message("user", "Write of rain."),
    )
    assert asked.names == {"topic"}


def test_the_columns_own_system_wins_even_if_it_is_empty() -> None:
    assert request_of(asked_of({"prompt": "x", "system": ""}, system="never")).messages[0] == Message("system", "")


def test_every_text_of_a_conversation_is_a_template() -> None:
    parts = [{"type": "text", "text": "of {{ topic }}"}, {"type": "image_url", "image_url": {"url": "{{ topic }}.png"}}]
    asked = asked_of(
        {"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": "{# none #}ok"}]}
    )
    assert request_of(asked).messages == (
        Message(
            "user",
            [{"type": "text", "text": "of rain"}, {"type": "image_url", "image_url": {"url": "rain.png"}}],
        ),
        Message("assistant", "ok"),
    )


def test_parameters_are_laid_over_the_recipes() -> None:
    column = {"prompt": "x", "parameters": {"temperature": 0.5}, "extra_body": {"top_k": 3}}
    asked = asked_of(column, parameters={"temperature": 1.0, "max_tokens": 9})
    request = request_of(asked)
    assert request.parameters == {"temperature": 0.5, "max_tokens": 9, "top_k": 3}
    assert request.draw == Draw("line", 3)
    assert request.reuse == "replay"


@pytest.mark.parametrize(
    ("column", "shared"),
    [
        ({}, False),
        ({"parameters": {"temperature": 0.1}}, False),
        ({"parameters": {"temperature": 0}}, True),
        ({"parameters": {"temperature": 0.0}}, True),
        ({"parameters": {"seed": 5}}, True),
        ({"extra_body": {"seed": 5}}, True),
        ({"draws": "shared"}, True),
    ],
)
def test_whether_equal_requests_share_an_answer(column: dict[str, Any], shared: bool) -> None:
    assert asked_of({"prompt": "x", **column}).shared is shared


@pytest.mark.parametrize("reuse", ["refresh", "never"])
def test_a_row_that_is_made_again_takes_the_answer_it_had(reuse: str) -> None:
    asked = asked_of({"prompt": "x", "reuse": reuse})
    request = request_of(asked)
    assert request.reuse == reuse
    assert asked.recalled(request).reuse == "replay"


@pytest.mark.parametrize("reuse", ["exact", "only_if_cached", "no_store"])
def test_a_row_that_is_made_again_asks_as_it_did_where_that_costs_nothing(reuse: str) -> None:
    asked = asked_of({"prompt": "x", "reuse": reuse})
    assert asked.recalled(request_of(asked)).reuse == request_of(asked).reuse


def test_a_value_that_is_missing_is_told() -> None:
    with pytest.raises(RowError, match=r"columns\.cell: `topic` has no value"):
        asked_of({"prompt": "Of {{ topic }}."}).request({}, Draw())


def test_when_is_read_too() -> None:
    assert asked_of({"prompt": "x", "when": "flag and topic"}).names == {"flag", "topic"}


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (Response(text=" a text \n"), Read("a text")),
        (Response(text="  \n"), Invalid("the answer is empty")),
        (Response(text="a te", finish="length"), Invalid("the answer was cut at max_tokens")),
        (Response(text="I cannot", finish="refusal"), Invalid("the model refused to answer")),
    ],
)
def test_reading_a_text(response: Response, expected: Read | Invalid) -> None:
    assert asked_of({"prompt": "x"}).read(response) == expected


def test_reading_what_has_a_schema() -> None:
    asked = asked_of({"prompt": "x", "schema": SCHEMA})
    assert request_of(asked).schema == SCHEMA
    assert asked.read(Response(text='{"n": 3}')) == Read({"n": 3})
    assert asked.read(Response(text='{"n": "3"}')) == Read({"n": 3}, "coerced")
    wrong = asked.read(Response(text='{"n": "many"}'))
    assert isinstance(wrong, Invalid)
    assert "many" in wrong.reason
    # A whole value before the cut is no proof that it was meant to end there.
    assert asked.read(Response(text='{"n": 3}', finish="length")) == Invalid("the answer was cut at max_tokens")


def test_the_turn_that_corrects() -> None:
    asked = asked_of({"prompt": "Count.", "schema": SCHEMA})
    request = request_of(asked)
    corrected = asked.correction(request, Response(text="many"), "no JSON")
    assert corrected.messages[0] == request.messages[0]
    assert corrected.messages[1] == Message("assistant", "many")
    assert "no JSON" in str(corrected.messages[2].content)
    assert corrected.draw == Draw("line", 3, 1)
    assert asked.again(request).draw == Draw("line", 3, 1)
    assert asked.again(request).messages == request.messages
