"""OpenAI's shapes as the simulated server speaks them: request bodies in, replies and events out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from agentic_synth.testing.answers import Answer, pieces
from agentic_synth.testing.simulation import Fate
from agentic_synth.types import Json, Message, Request

__all__ = ["BadBody", "completion", "error_body", "events", "model_list", "read_chat"]

CREATED = 1_735_689_600
"""The one creation time of everything, so that equal requests have equal replies, byte for byte."""

_encode = msgspec.json.encode
_SHAPE = frozenset({"model", "messages", "response_format", "tools", "tool_choice", "stream", "stream_options", "n"})
_MESSAGES = tuple[Message, ...]
_TOOLS = tuple[dict[str, Json], ...]
_FINISH = {"stop": "stop", "length": "length", "tool_calls": "tool_calls", "refusal": "stop", "other": "stop"}


class BadBody(Exception):
    """The request is wrong; *param* is the field to blame."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


def read_chat(body: dict[str, Any]) -> Request:
    """The request that a chat completion's body asks for.

    Raises:
        BadBody: a field is missing or of the wrong shape.
    """
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise BadBody("you must provide a model parameter", "model")
    if body.get("n", 1) != 1:
        raise BadBody("this server gives one choice: n must be 1", "n")
    try:
        messages = msgspec.convert(body.get("messages"), _MESSAGES)
        tools = msgspec.convert(body["tools"], _TOOLS) if body.get("tools") else ()
    except msgspec.ValidationError as error:
        raise BadBody(f"messages or tools cannot be read: {error}", "messages") from error
    if not messages:
        raise BadBody("messages must hold at least one message", "messages")
    return Request(
        model=model,
        messages=messages,
        parameters={name: value for name, value in body.items() if name not in _SHAPE and value is not None},
        schema=_schema(body.get("response_format")),
        tools=tools,
        tool_choice=body.get("tool_choice"),
        stream=bool(body.get("stream")),
    )


def _schema(response_format: Json) -> dict[str, Json] | None:
    if response_format is None:
        return None
    match response_format:
        case {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return {"type": "object"}
        case {"type": "json_schema", "json_schema": {"schema": dict() as schema}}:
            return schema
    raise BadBody("response_format must be text, json_object or json_schema with a schema", "response_format")


def completion(request: Request, fate: Fate, answer: Answer) -> bytes:
    """The body of a reply that is not streamed."""
    message: dict[str, Json] = {"role": "assistant", "content": answer.text, "refusal": None}
    if answer.finish == "refusal":
        message |= {"content": None, "refusal": answer.text}
    elif answer.tool_calls:
        message |= {"content": None, "tool_calls": answer.tool_calls}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _FINISH[answer.finish]}
    return _encode(
        {
            "id": _identity(fate),
            "object": "chat.completion",
            "created": CREATED,
            "model": request.model,
            "choices": (choice,),
            "usage": _usage(fate, answer),
        }
    )


def events(request: Request, fate: Fate, answer: Answer, *, usage: bool) -> Iterator[bytes]:
    """The server-sent events of a streamed reply, one a token, the closing ``[DONE]`` included."""
    head = (
        b'data: {"id":"%b","object":"chat.completion.chunk","created":%d,"model":%b,'
        % (_identity(fate).encode(), CREATED, _encode(request.model))
    )  # fmt: skip
    tail = b',"usage":null}\n\n' if usage else b"}\n\n"

    def choice(delta: Json, finish: str | None = None) -> bytes:
        choices = ({"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish},)
        return head + b'"choices":' + _encode(choices) + tail

    if answer.tool_calls:
        yield choice({"role": "assistant", "content": None})
        for at, call in enumerate(answer.tool_calls):
            yield from (choice({"tool_calls": (part,)}) for part in _fragments(at, call))
    else:
        field = "refusal" if answer.finish == "refusal" else "content"
        yield choice({"role": "assistant", field: ""})
        before, after = choice({field: "\0"}).split(b'"\\u0000"')
        for piece in pieces(answer.text):
            yield before + _encode(piece) + after
    yield choice({}, _FINISH[answer.finish])
    if usage:
        yield head + b'"choices":[],"usage":' + _encode(_usage(fate, answer)) + b"}\n\n"
    yield b"data: [DONE]\n\n"


def _fragments(at: int, call: dict[str, Json]) -> Iterator[dict[str, Json]]:
    """A tool call as streams bring it: the name first, then the arguments bit by bit."""
    function = call["function"]
    yield {"index": at, **call, "function": {"name": function["name"], "arguments": ""}}
    for piece in pieces(function["arguments"]):
        yield {"index": at, "function": {"arguments": piece}}


def error_body(message: str, kind: str, code: str | None = None, param: str | None = None) -> bytes:
    """An error in OpenAI's shape."""
    return _encode({"error": {"message": message, "type": kind, "param": param, "code": code}})


def model_list(names: tuple[str, ...]) -> bytes:
    """The body of ``GET /v1/models``."""
    data = [{"id": name, "object": "model", "created": CREATED, "owned_by": "simulator"} for name in names]
    return _encode({"object": "list", "data": data})


def _identity(fate: Fate) -> str:
    return f"chatcmpl-{fate.key:016x}-{fate.occurrence}"


def _usage(fate: Fate, answer: Answer) -> dict[str, Json]:
    return {
        "prompt_tokens": fate.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": fate.input_tokens + answer.output_tokens,
    }
