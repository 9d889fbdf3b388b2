"""What we ask of Gemini generateContent (https://ai.google.dev/api/generate-content): our request as its body."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from agentic_synth.config import UpstreamConfig
from agentic_synth.transport.wire.format import data_url, text_of
from agentic_synth.types import Call, Json, Message

__all__ = ["encode"]

_CONFIG_NAMES = {
    "max_tokens": "maxOutputTokens",
    "max_completion_tokens": "maxOutputTokens",
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "n": "candidateCount",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
}
_MODES = {"none": "NONE", "auto": "AUTO", "required": "ANY"}


def encode(config: UpstreamConfig, call: Call, *, stream: bool, schema_part: Mapping[str, msgspec.Raw] | None) -> bytes:
    """Parameters in OpenAI's spelling move into ``generationConfig``; unknown ones stay at the top as they are."""
    request = call.request
    system, contents = _contents(request.messages)
    body: dict[str, Json] = {"contents": contents}
    if system:
        body["systemInstruction"] = {"parts": [{"text": text} for text in system]}
    if request.tools:
        body["tools"] = [_tools(request.tools)]
    if request.tool_choice is not None:
        body["toolConfig"] = _tool_config(request.tool_choice)
    generation = _generation(request.parameters, body)
    if schema_part is not None:
        fields = msgspec.json.decode(schema_part["generationConfig"], type=dict[str, msgspec.Raw])
        generation = {**fields, **generation}
    if generation:
        body["generationConfig"] = generation
    return msgspec.json.encode(body)


def _generation(parameters: Mapping[str, Json], body: dict[str, Json]) -> dict[str, Json]:
    generation: dict[str, Json] = {}
    for name, value in parameters.items():
        if name in _CONFIG_NAMES:
            generation[_CONFIG_NAMES[name]] = value
        elif name == "stop":
            generation["stopSequences"] = [value] if isinstance(value, str) else value
        elif name == "reasoning_effort":
            generation["thinkingConfig"] = {"thinkingLevel": value}
        elif name == "generationConfig":
            generation.update(value)
        else:
            body[name] = value
    return generation


def _contents(messages: tuple[Message, ...]) -> tuple[list[str], list[dict[str, Json]]]:
    """System texts, and the turns; a tool's result is named after the function, so calls are remembered by id."""
    system: list[str] = []
    turns: list[dict[str, Json]] = []
    functions: dict[Json, str] = {}
    for message in messages:
        if message.role in {"system", "developer"}:
            system.append(text_of(message.content))
            continue
        for call in message.tool_calls or ():
            functions[call.get("id")] = (call.get("function") or {}).get("name", "")
        role = "model" if message.role == "assistant" else "user"
        parts = _parts(message, functions)
        if turns and turns[-1]["role"] == role:
            turns[-1]["parts"] += parts
        else:
            turns.append({"role": role, "parts": parts})
    return system, turns


def _parts(message: Message, functions: Mapping[Json, str]) -> list[dict[str, Json]]:
    if message.role == "tool":
        name = functions.get(message.tool_call_id) or message.name or ""
        result = {"name": name, "response": {"result": text_of(message.content)}}
        return [{"functionResponse": result}]
    if isinstance(message.content, list):
        parts = [_part(part) for part in message.content]
    else:
        parts = [{"text": message.content}] if message.content else []
    for call in message.tool_calls or ():
        function = call.get("function") or {}
        arguments = msgspec.json.decode(function.get("arguments") or "{}")
        parts.append({"functionCall": {"name": function.get("name"), "args": arguments}})
    return parts or [{"text": ""}]


def _part(part: dict[str, Json]) -> dict[str, Json]:
    """OpenAI's parts as Gemini's; parts in Gemini's own shape pass."""
    if part.get("type") == "text":
        return {"text": part.get("text", "")}
    if part.get("type") != "image_url":
        return part
    address = part["image_url"]["url"]
    inline = data_url(address)
    if inline is None:
        return {"fileData": {"fileUri": address}}
    return {"inlineData": {"mimeType": inline[0], "data": inline[1]}}


def _tools(tools: tuple[dict[str, Json], ...]) -> dict[str, Json]:
    declarations = []
    for tool in tools:
        function = tool.get("function", tool)
        declaration = {"name": function["name"]}
        if function.get("description"):
            declaration["description"] = function["description"]
        if function.get("parameters"):
            declaration["parametersJsonSchema"] = function["parameters"]
        declarations.append(declaration)
    return {"functionDeclarations": declarations}


def _tool_config(choice: Json) -> Json:
    if isinstance(choice, str):
        return {"functionCallingConfig": {"mode": _MODES.get(choice, choice)}}
    if isinstance(choice, dict) and "function" in choice:
        allowed = [choice["function"]["name"]]
        return {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": allowed}}
    return choice
