"""What we ask of Anthropic Messages (https://docs.anthropic.com/en/api/messages): our request as its body."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from agentic_synth.config import UpstreamConfig
from agentic_synth.transport.wire.format import data_url, text_of
from agentic_synth.types import Call, Json, Message

__all__ = ["encode"]

_MAX_TOKENS = 8_192
_EFFORTS = {"minimal": "low"}


def encode(config: UpstreamConfig, call: Call, *, stream: bool, schema_part: Mapping[str, msgspec.Raw] | None) -> bytes:
    """Parameters in OpenAI's spelling are translated; ``seed``, which Anthropic has not, is left out."""
    request = call.request
    system, messages = _turns(request.messages)
    body: dict[str, Json] = {"model": call.model, "max_tokens": _MAX_TOKENS, "messages": messages}
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    if request.tool_choice is not None:
        body["tool_choice"] = _tool_choice(request.tool_choice)
    if stream:
        body["stream"] = True
    _translate(request.parameters, body)
    for name, value in (schema_part or {}).items():
        if name == "system":
            system.append(msgspec.json.decode(value, type=str))
        elif isinstance(body.get(name), dict):
            body[name] = {**msgspec.json.decode(value, type=dict[str, msgspec.Raw]), **body[name]}
        else:
            body[name] = value
    if system:
        body["system"] = "\n\n".join(system)
    return msgspec.json.encode(body)


def _translate(parameters: Mapping[str, Json], body: dict[str, Json]) -> None:
    for name, value in parameters.items():
        if name in {"max_tokens", "max_completion_tokens"}:
            body["max_tokens"] = value
        elif name == "stop":
            body["stop_sequences"] = [value] if isinstance(value, str) else value
        elif name == "reasoning_effort":
            body["output_config"] = {"effort": _EFFORTS.get(value, value)}
        elif name == "user":
            body["metadata"] = {"user_id": value}
        elif name == "parallel_tool_calls":
            choice = body.get("tool_choice") or {"type": "auto"}
            body["tool_choice"] = {**choice, "disable_parallel_tool_use": not value}
        elif name != "seed":
            body[name] = value


def _turns(messages: tuple[Message, ...]) -> tuple[list[str], list[dict[str, Json]]]:
    """System texts, and the turns; neighbours of one role are one turn, as tool results must be."""
    system: list[str] = []
    turns: list[dict[str, Json]] = []
    for message in messages:
        if message.role in {"system", "developer"}:
            system.append(text_of(message.content))
            continue
        role = "assistant" if message.role == "assistant" else "user"
        if not turns or turns[-1]["role"] != role:
            turns.append({"role": role, "content": []})
        turns[-1]["content"] += _blocks(message)
    return system, turns


def _blocks(message: Message) -> list[Json]:
    if message.role == "tool":
        result = {"type": "tool_result", "tool_use_id": message.tool_call_id, "content": text_of(message.content)}
        return [result]
    content = message.content
    if isinstance(content, list):
        blocks: list[Json] = [_part(part) for part in content]
    else:
        blocks = [{"type": "text", "text": content}] if content else []
    return blocks + [_tool_use(call) for call in message.tool_calls or ()]


def _tool_use(call: dict[str, Json]) -> dict[str, Json]:
    function = call.get("function") or {}
    arguments = msgspec.json.decode(function.get("arguments") or "{}")
    return {"type": "tool_use", "id": call.get("id"), "name": function.get("name"), "input": arguments}


def _part(part: dict[str, Json]) -> dict[str, Json]:
    """OpenAI's picture part as Anthropic's; parts in Anthropic's own shape pass."""
    if part.get("type") != "image_url":
        return part
    address = part["image_url"]["url"]
    inline = data_url(address)
    if inline is None:
        return {"type": "image", "source": {"type": "url", "url": address}}
    return {"type": "image", "source": {"type": "base64", "media_type": inline[0], "data": inline[1]}}


def _tool(tool: dict[str, Json]) -> dict[str, Json]:
    function = tool.get("function")
    if function is None:
        return tool
    described = {"description": function["description"]} if function.get("description") else {}
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    return {"name": function["name"], **described, "input_schema": schema}


def _tool_choice(choice: Json) -> Json:
    if isinstance(choice, str):
        return {"type": {"required": "any"}.get(choice, choice)}
    if isinstance(choice, dict) and "function" in choice:
        return {"type": "tool", "name": choice["function"]["name"]}
    return choice
