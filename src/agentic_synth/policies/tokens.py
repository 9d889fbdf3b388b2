"""How many tokens a prompt is likely, and at most, to have, without a tokenizer."""

from __future__ import annotations

import math

from agentic_synth.types import Call, Json, Message, Request

__all__ = [
    "call_bound",
    "call_tokens",
    "estimate_tokens",
    "on_the_wire",
    "output_bound",
    "prompt_bound",
    "prompt_tokens",
    "text_of",
]

MESSAGE_TOKENS = 4
"""What a chat format adds to each message: role and separators (OpenAI cookbook: 3 to 4)."""

HIDDEN_TOKENS = 64
"""What a chat format adds to each prompt at most; for tools and schemas it is eight times that (Anthropic: 346)."""

IMAGE_TOKENS = 1_600
"""What one image or file part is taken for; providers charge 85 to 1,600 tokens at ordinary sizes."""

_SAMPLE = 512
_LATIN, _OTHER_ALPHABET, _IDEOGRAPH = 4.0, 2.2, 1.1
_IDEOGRAPHS_FROM = 0x2E80


def estimate_tokens(text: str) -> int:
    """The likely number of tokens of *text*, by script: 4 characters a token in English, about one in Chinese."""
    if not text:
        return 0
    if text.isascii():
        return math.ceil(len(text) / _LATIN)
    sample = text[:_SAMPLE]
    tokens = 0.0
    for character in sample:
        code = ord(character)
        if code < 0x80:
            tokens += 1 / _LATIN
        else:
            tokens += 1 / (_IDEOGRAPH if code >= _IDEOGRAPHS_FROM else _OTHER_ALPHABET)
    return math.ceil(tokens * len(text) / len(sample))


def prompt_tokens(request: Request) -> int:
    """The likely number of input tokens of *request*: the messages, the schema and the tools."""
    if request.kind == "embedding":
        return sum([estimate_tokens(text_of(message)) for message in request.messages])
    total = _attached(request, 4)
    for message in request.messages:
        content = message.content
        total += MESSAGE_TOKENS + (estimate_tokens(content) if isinstance(content, str) else _parts(message, 4))
    return total


def prompt_bound(request: Request) -> int:
    """No fewer input tokens than *request* can have: a token of any byte-level tokenizer is at least one byte."""
    if request.kind == "embedding":
        return sum([MESSAGE_TOKENS + _bytes(text_of(message)) for message in request.messages])
    total = HIDDEN_TOKENS + _attached(request, 1)
    if request.tools or request.schema is not None:
        total += 8 * HIDDEN_TOKENS
    for message in request.messages:
        content = message.content
        total += 2 * MESSAGE_TOKENS + (_bytes(content) if isinstance(content, str) else _parts(message, 1))
    return total


def output_bound(request: Request) -> int | None:
    """The most output tokens *request* may be answered with, where it says so."""
    if request.kind == "embedding":
        return 0
    parameters = request.parameters
    if not parameters:
        return None
    bound = parameters.get("max_completion_tokens") or parameters.get("max_tokens")
    if not isinstance(bound, int | float) or bound <= 0:
        return None
    answers = parameters.get("n") or 1
    return math.ceil(bound) * (answers if isinstance(answers, int) and answers > 1 else 1)


def on_the_wire(call: Call) -> tuple[Request, ...]:
    """The requests that are sent: those joined in an array; of a packed prompt, the one that holds them all."""
    return call.joined if call.joined and not call.ids else (call.request,)


def call_tokens(call: Call) -> int:
    """:func:`prompt_tokens` of all the requests in *call*."""
    return sum(map(prompt_tokens, on_the_wire(call)))


def call_bound(call: Call) -> int:
    """:func:`prompt_bound` of all the requests in *call*."""
    return sum(map(prompt_bound, on_the_wire(call)))


def text_of(message: Message) -> str:
    """The text of *message*, if that is all it is."""
    return message.content if isinstance(message.content, str) else ""


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _parts(message: Message, characters: int) -> int:
    total = 0
    for part in message.content or ():
        text = part.get("text") if isinstance(part, dict) else None
        total += math.ceil(_bytes(text) / characters) if isinstance(text, str) else IMAGE_TOKENS
    return total + (_weight(message.tool_calls) // characters if message.tool_calls else 0)


def _attached(request: Request, characters: int) -> int:
    total = 0
    if request.schema is not None:
        total += _weight(request.schema) // characters
    for tool in request.tools:
        total += _weight(tool) // characters
    return total


def _weight(value: Json) -> int:
    """About how many bytes *value* is as JSON, never fewer; cheaper than writing it."""
    if isinstance(value, str):
        return _bytes(value) + 3
    if isinstance(value, dict):
        return 2 + sum(_bytes(str(key)) + 4 + _weight(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return 2 + sum(_weight(item) + 1 for item in value)
    return 24
