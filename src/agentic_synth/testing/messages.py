"""Anthropic's shapes as the simulated server speaks them: a body of messages in, a message out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from agentic_synth.testing.answers import Answer, pieces
from agentic_synth.testing.simulation import Fate
from agentic_synth.testing.wire import BadBody
from agentic_synth.types import Json, Message, Request

__all__ = ["message", "message_error", "message_events", "read_messages"]

_encode = msgspec.json.encode
_SHAPE = frozenset({"model", "messages", "system", "output_config", "tools", "tool_choice", "stream", "metadata"})
_STOP = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "refusal": "refusal"}


def read_messages(body: dict[str, Any]) -> Request:
    """The request that a body of the Messages API asks for.

    Raises:
        BadBody: a field is missing or of the wrong shape.
    """
    model, limit, messages = body.get("model"), body.get("max_tokens"), body.get("messages")
    if not isinstance(model, str) or not model:
        raise BadBody("model: field required", "model")
    if not isinstance(limit, int) or limit < 1:
        raise BadBody("max_tokens: field required, from 1 up", "max_tokens")
    if not isinstance(messages, list) or not messages:
        raise BadBody("messages: at least one message is required", "messages")
    try:
        system = _text(body.get("system") or "")
        turns = [turn for message in messages for turn in _turns(message)]
        tools = tuple(_tool(tool) for tool in body.get("tools") or ())
    except (AttributeError, KeyError, TypeError) as error:
        raise BadBody(f"system, messages or tools cannot be read: {error!r}", "messages") from error
    return Request(
        model=model,
        messages=(*((Message("system", system),) if system else ()), *turns),
        parameters={name: value for name, value in body.items() if name not in _SHAPE and value is not None},
        schema=_schema(body.get("output_config")),
        tools=tools,
        tool_choice=_tool_choice(body.get("tool_choice")),
        stream=bool(body.get("stream")),
    )


def _text(content: str | list[dict[str, Json]]) -> str:
    if isinstance(content, str):
        return content
    return "".join(str(part["text"]) for part in content if part["type"] == "text")


def _turns(message: dict[str, Json]) -> Iterator[Message]:
    content = message["content"]
    blocks = [] if isinstance(content, str) else content
    for block in blocks:
        if block["type"] == "tool_result":
            yield Message("tool", _text(block.get("content") or ""), tool_call_id=block["tool_use_id"])
    calls = [_call(block["id"], block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"]
    text = _text(content)
    if text or calls:
        yield Message(message["role"], text or None, tool_calls=calls or None)


def _call(identity: str, name: str, arguments: Json) -> dict[str, Json]:
    function = {"name": name, "arguments": _encode(arguments).decode()}
    return {"id": identity, "type": "function", "function": function}


def _tool(tool: dict[str, Json]) -> dict[str, Json]:
    function = {"name": tool["name"], "description": tool.get("description", ""), "parameters": tool["input_schema"]}
    return {"type": "function", "function": function}


def _tool_choice(choice: Json) -> Json:
    match choice:
        case {"type": "any"}:
            return "required"
        case {"type": "tool", "name": name}:
            return {"type": "function", "function": {"name": name}}
    return choice.get("type") if isinstance(choice, dict) else None


def _schema(config: Json) -> dict[str, Json] | None:
    match config:
        case {"format": {"type": "json_schema", "schema": dict() as schema}}:
            return schema
        case {"format": {}}:
            raise BadBody("output_config.format must be json_schema with a schema", "output_config")
    return None


def message(request: Request, fate: Fate, answer: Answer) -> bytes:
    """The body of a reply that is not streamed."""
    content: list[dict[str, Json]] = [{"type": "text", "text": answer.text}] if answer.text else []
    for call in answer.tool_calls:
        function = call["function"]
        arguments = msgspec.Raw(function["arguments"].encode())
        content.append({"type": "tool_use", "id": call["id"], "name": function["name"], "input": arguments})
    return _encode(_message(request, fate, content, _STOP[answer.finish], answer.output_tokens))


def _message(
    request: Request, fate: Fate, content: list[dict[str, Json]], stop_reason: str | None, output_tokens: int
) -> dict[str, Json]:
    return {
        "id": f"msg_{fate.key:016x}_{fate.occurrence}",
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {"input_tokens": fate.input_tokens, "output_tokens": output_tokens},
    }


def message_events(request: Request, fate: Fate, answer: Answer) -> list[bytes]:
    """The server-sent events of a streamed reply: a head, one a token, and the end, each in one piece."""
    head = _event("message_start", message=_message(request, fate, [], None, 1)) + _event("ping")
    middle: list[bytes] = []
    end = b""
    blocks: list[tuple[dict[str, Json], str, str, str]] = []
    if answer.text:
        blocks.append(({"type": "text", "text": ""}, "text_delta", "text", answer.text))
    for call in answer.tool_calls:
        function = call["function"]
        block = {"type": "tool_use", "id": call["id"], "name": function["name"], "input": {}}
        blocks.append((block, "input_json_delta", "partial_json", function["arguments"]))
    for index, (block, kind, field, text) in enumerate(blocks):
        start = end + _event("content_block_start", index=index, content_block=block)
        if middle:
            middle.append(start)
        else:
            head += start
        deltas: list[dict[str, Json]] = [{"type": kind, field: piece} for piece in pieces(text)]
        middle += [_event("content_block_delta", index=index, delta=delta) for delta in deltas]
        end = _event("content_block_stop", index=index)
    delta = {"stop_reason": _STOP[answer.finish], "stop_sequence": None}
    end += _event("message_delta", delta=delta, usage={"output_tokens": answer.output_tokens})
    return [head, *middle, end + _event("message_stop")]


def _event(kind: str, **fields: Json) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _encode({"type": kind, **fields}))


def message_error(message: str, kind: str) -> bytes:
    """An error in Anthropic's shape."""
    return _encode({"type": "error", "error": {"type": kind, "message": message}})
