"""Token counts without a tokenizer: near for the usual scripts, and a bound that holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentic_synth.policies.tokens import estimate_tokens, output_bound, prompt_bound, prompt_tokens
from agentic_synth.types import Message, Request

ENGLISH = "The quick brown fox jumps over the lazy dog, and nobody on the farm is surprised by it any more. " * 20
CHINESE = "今天天气很好我们去公园散步吧" * 20
RUSSIAN = "Съешь же ещё этих мягких французских булок да выпей чаю " * 20


def asked(text: str, **parameters: object) -> Request:
    return Request(model="a/b", messages=(Message("user", text),), parameters=parameters)


@pytest.mark.parametrize(("text", "least", "most"), [(ENGLISH, 3.5, 5.0), (RUSSIAN, 1.8, 3.5), (CHINESE, 0.8, 1.6)])
def test_characters_a_token_by_script(text: str, least: float, most: float) -> None:
    assert least <= len(text) / estimate_tokens(text) <= most


@given(st.text())
def test_the_bound_holds_for_any_text(text: str) -> None:
    request = asked(text)
    assert prompt_bound(request) >= len(text.encode("utf-8", "surrogatepass"))
    assert prompt_bound(request) >= prompt_tokens(request) >= (1 if text else 0)


def test_schema_tools_images_and_calls_count() -> None:
    plain = asked("hello")
    rich = Request(
        model="a/b",
        messages=(
            Message("user", [{"type": "text", "text": "hello"}, {"type": "image_url", "image_url": {"url": "x"}}]),
            Message("assistant", None, tool_calls=[{"id": "1", "function": {"name": "f", "arguments": "{}"}}]),
        ),
        schema={"type": "object", "properties": {"a": {"enum": ["x", 1, None]}}},
        tools=({"type": "function", "function": {"name": "f"}},),
    )
    assert prompt_tokens(rich) > prompt_tokens(plain) + 1_000
    assert prompt_bound(rich) > prompt_tokens(rich)


@pytest.mark.parametrize(
    ("parameters", "bound"),
    [
        ({}, None),
        ({"max_tokens": 100}, 100),
        ({"max_completion_tokens": 50, "max_tokens": 100}, 50),
        ({"max_tokens": 100, "n": 3}, 300),
        ({"max_tokens": 0}, None),
        ({"max_tokens": "many"}, None),
    ],
)
def test_how_long_an_answer_may_get(parameters: dict[str, object], bound: int | None) -> None:
    assert output_bound(asked("x", **parameters)) == bound
