"""An answer depends on what is asked and on which draw is meant, and on nothing else."""

import os
import subprocess
import sys
import time
from typing import Any

import msgspec
import pytest

from agentic_synth.errors import InvalidRequest
from agentic_synth.offline.answer import answer, tool_calls
from agentic_synth.types import Draw, Message, Request
from tests.offline.offline_schemas import record

RECORD = {
    **record(
        name={"type": "string"},
        email={"type": "string", "format": "email"},
        age={"type": "integer", "minimum": 18, "maximum": 90},
        city={"type": "string"},
        subject={"type": "string", "maxLength": 80},
        priority={"enum": ["low", "mid", "high"]},
    ),
    "additionalProperties": False,
}
TOOLS: tuple[dict[str, Any], ...] = (
    {"type": "function", "function": {"name": "find_flight", "parameters": record(city={"type": "string"})}},
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Tells the weather of a city",
            "parameters": record(city={"type": "string"}, unit={"enum": ["C", "F"]}),
        },
    },
)


def request(prompt: str = "Write a ticket about a router.", **fields: Any) -> Request:
    return Request(model="offline", messages=(Message("user", prompt),), **fields)


@pytest.mark.parametrize("schema", [None, RECORD])
def test_the_same_request_gets_the_same_answer_in_any_order(schema: dict[str, Any] | None) -> None:
    requests = [request(schema=schema, draw=Draw("run", sample)) for sample in range(50)]
    assert [answer(one) for one in requests] == [answer(one) for one in reversed(requests)][::-1]


def test_the_answer_is_the_same_in_another_process() -> None:
    script = (
        "import msgspec, sys\n"
        "from agentic_synth.offline.answer import answer\n"
        "from agentic_synth.types import Request\n"
        "for line in sys.stdin.buffer: print(answer(msgspec.json.decode(line, type=Request)))"
    )
    requests = [request(schema=schema, draw=Draw("run", 3)) for schema in (RECORD, {"type": "object"})]
    lines = b"\n".join(msgspec.json.encode(one) for one in requests)
    environment = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": os.pathsep.join(sys.path)}
    told = subprocess.run([sys.executable, "-c", script], input=lines, capture_output=True, check=True, env=environment)
    assert told.stdout.decode().splitlines() == [answer(one) for one in requests]


@pytest.mark.parametrize("schema", [None, RECORD])
def test_every_part_of_a_draw_and_the_seeds_change_the_answer(schema: dict[str, Any] | None) -> None:
    base = request(schema=schema)
    others = [
        request(schema=schema, draw=Draw("other")),
        request(schema=schema, draw=Draw(sample=1)),
        request(schema=schema, draw=Draw(attempt=1)),
        request(schema=schema, parameters={"seed": 1}),
        request("Write a ticket about a phone.", schema=schema),
    ]
    assert len({answer(one) for one in (base, *others)} | {answer(base, seed=9)}) == 7


def test_what_does_not_change_the_question_does_not_change_the_answer() -> None:
    plain = answer(request())
    assert answer(request(deadline=3.0, priority=7, stream=True, parameters={"max_tokens": 3})) == plain


def test_ten_thousand_draws_are_nearly_all_different() -> None:
    answers = {answer(request(schema=RECORD, draw=Draw("run", sample))) for sample in range(10_000)}
    assert len(answers) == 10_000


def test_an_answer_can_be_asked_for_in_the_wire_s_spelling() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": RECORD}}
    told = msgspec.json.decode(answer(request(parameters={"response_format": wanted})))
    assert told.keys() == RECORD["properties"].keys()
    free = answer(request(parameters={"response_format": {"type": "json_object"}}))
    assert isinstance(msgspec.json.decode(free), dict)


def test_a_message_in_parts_is_read() -> None:
    content: list[dict[str, Any]] = [
        {"type": "text", "text": "Tell me about volcanoes."},
        {"type": "image_url", "image_url": {"url": "x"}},
    ]
    texts = [
        answer(Request(model="offline", messages=(Message("user", content),), draw=Draw("", sample)))
        for sample in range(10)
    ]
    assert all("volcanoes" in text.lower() for text in texts)


@pytest.mark.parametrize("message", [None, Message("system"), Message("user", ""), Message("user", "日本語で?")])
def test_an_empty_or_foreign_prompt_still_gets_a_text(message: Message | None) -> None:
    messages = () if message is None else (message,)
    assert len(answer(Request(model="offline", messages=messages))) > 10


def test_a_forced_tool_is_called_with_valid_arguments() -> None:
    choice = {"type": "function", "function": {"name": "get_weather"}}
    (called,) = tool_calls(request(tools=TOOLS, tool_choice=choice))
    assert called["function"]["name"] == "get_weather"
    assert msgspec.json.decode(called["function"]["arguments"])["unit"] in {"C", "F"}
    assert called == tool_calls(request(tools=TOOLS, tool_choice=choice))[0]


@pytest.mark.parametrize(
    ("prompt", "choice", "called"),
    [
        ("Anything", "required", "find_flight"),
        ("Anything", {"type": "tool", "name": "get_weather"}, "get_weather"),
        ("How is the weather in Oslo?", "auto", "get_weather"),
        ("How is the weather in Oslo?", None, "get_weather"),
        ("How is the weather in Oslo?", "none", None),
        ("Tell me a joke", "auto", None),
    ],
)
def test_the_tool_choice_is_obeyed(prompt: str, choice: Any, called: str | None) -> None:
    calls = tool_calls(request(prompt, tools=TOOLS, tool_choice=choice))
    assert [call["function"]["name"] for call in calls] == ([called] if called else [])


def test_after_a_tool_s_result_text_answers() -> None:
    messages = (Message("user", "How is the weather?"), Message("tool", "12 C", tool_call_id="1"))
    assert tool_calls(Request(model="offline", messages=messages, tools=TOOLS)) == ()


def test_an_unknown_forced_tool_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="not among the tools"):
        tool_calls(request(tools=TOOLS, tool_choice={"type": "function", "function": {"name": "nope"}}))


@pytest.mark.parametrize("schema", [None, RECORD])
def test_answers_are_cheap(schema: dict[str, Any] | None, record_property: Any) -> None:
    requests = [request(schema=schema, draw=Draw("run", sample)) for sample in range(2_000)]
    started = time.process_time()
    for one in requests:
        answer(one)
    seconds = time.process_time() - started
    record_property("answers_per_second", round(2_000 / seconds))
    assert seconds / 2_000 < 0.000_5
