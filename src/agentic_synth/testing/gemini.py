"""Gemini's shapes as the simulated server speaks them: a body of contents in, candidates out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from agentic_synth.testing.answers import Answer, pieces
from agentic_synth.testing.simulation import Fate
from agentic_synth.testing.wire import BadBody
from agentic_synth.types import Json, Message, Request

__all__ = ["content", "content_error", "content_events", "content_models", "read_contents"]

_encode = msgspec.json.encode
_SHAPE = frozenset({"model", "contents", "systemInstruction", "generationConfig", "tools", "toolConfig"})
_SCHEMA = frozenset({"responseMimeType", "responseJsonSchema", "responseSchema"})
_NAMES = {"maxOutputTokens": "max_tokens", "topP": "top_p", "topK": "top_k", "stopSequences": "stop"}
_FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "refusal": "SAFETY"}
_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


def read_contents(body: dict[str, Any]) -> Request:
    """The request that a body of generateContent asks for; ``model``, which stands in the path, was added to it.

    Raises:
        BadBody: a field is missing or of the wrong shape.
    """
    contents = body.get("contents")
    if not isinstance(contents, list) or not contents:
        raise BadBody("contents is not specified", "contents")
    try:
        generation: dict[str, Json] = dict(body.get("generationConfig") or {})
        system = _text((body.get("systemInstruction") or {}).get("parts") or [])
        turns = [turn for content in contents for turn in _turns(content)]
        tools = tuple(_tool(one) for tool in body.get("tools") or () for one in tool.get("functionDeclarations") or ())
        choice = _choice((body.get("toolConfig") or {}).get("functionCallingConfig") or {})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadBody(f"the contents, tools or configuration cannot be read: {error!r}", "contents") from error
    named: dict[str, Json] = {
        _NAMES.get(name, name): value for name, value in generation.items() if name not in _SCHEMA
    }
    schema = generation.get("responseJsonSchema") or generation.get("responseSchema")
    if schema is None and generation.get("responseMimeType") == "application/json":
        schema = {"type": "object"}
    return Request(
        model=body["model"],
        messages=(*((Message("system", system),) if system else ()), *turns),
        parameters=named | {name: value for name, value in body.items() if name not in _SHAPE},
        schema=schema,
        tools=tools,
        tool_choice=choice,
    )


def _text(parts: list[dict[str, Json]]) -> str:
    return "".join(str(part.get("text", "")) for part in parts)


def _turns(content: dict[str, Json]) -> Iterator[Message]:
    parts = content["parts"]
    for part in parts:
        if result := part.get("functionResponse"):
            yield Message("tool", _encode(result["response"]).decode(), name=result["name"])
    asked = [part["functionCall"] for part in parts if "functionCall" in part]
    calls = [_call(f"call_{at}", call["name"], call.get("args") or {}) for at, call in enumerate(asked)]
    text = _text(parts)
    if text or calls:
        role = "assistant" if content.get("role") == "model" else "user"
        yield Message(role, text or None, tool_calls=calls or None)


def _call(identity: str, name: str, arguments: Json) -> dict[str, Json]:
    function = {"name": name, "arguments": _encode(arguments).decode()}
    return {"id": identity, "type": "function", "function": function}


def _tool(declaration: dict[str, Json]) -> dict[str, Json]:
    schema = declaration.get("parametersJsonSchema") or declaration.get("parameters")
    function = {"name": declaration["name"], "description": declaration.get("description", ""), "parameters": schema}
    return {"type": "function", "function": function}


def _choice(config: dict[str, Json]) -> Json:
    if config.get("mode") != "ANY":
        return str(config["mode"]).lower() if "mode" in config else None
    match config.get("allowedFunctionNames"):
        case [str() as name]:
            return {"type": "function", "function": {"name": name}}
    return "required"


def content(request: Request, fate: Fate, answer: Answer) -> bytes:
    """The body of a reply that is not streamed."""
    return _encode(_chunk(request, fate, answer, _parts(answer, answer.text), last=True))


def content_events(request: Request, fate: Fate, answer: Answer) -> list[bytes]:
    """The server-sent events of a streamed reply, one a token; the last has the finish reason and the usage."""
    texts = [] if answer.finish == "refusal" else pieces(answer.text)
    chunks = [_chunk(request, fate, answer, [{"text": text}]) for text in texts]
    if answer.tool_calls:
        chunks.append(_chunk(request, fate, answer, _parts(answer, "")))
    chunks.append(_chunk(request, fate, answer, [{"text": ""}], last=True))
    return [b"data: " + _encode(chunk) + b"\r\n\r\n" for chunk in chunks]


def _parts(answer: Answer, text: str) -> list[dict[str, Json]]:
    parts: list[dict[str, Json]] = [{"text": text}] if text else []
    for call in answer.tool_calls:
        function = call["function"]
        arguments = msgspec.Raw(function["arguments"].encode())
        parts.append({"functionCall": {"id": call["id"], "name": function["name"], "args": arguments}})
    return parts


def _chunk(
    request: Request, fate: Fate, answer: Answer, parts: list[dict[str, Json]], *, last: bool = False
) -> dict[str, Json]:
    candidate: dict[str, Json] = {"index": 0}
    if answer.finish != "refusal":
        candidate["content"] = {"role": "model", "parts": parts}
    if last:
        candidate["finishReason"] = _FINISH.get(answer.finish, "OTHER")
    received = answer.output_tokens if last else 0
    usage = {"promptTokenCount": fate.input_tokens, "candidatesTokenCount": received}
    return {
        "candidates": (candidate,),
        "usageMetadata": usage | {"totalTokenCount": fate.input_tokens + received},
        "modelVersion": request.model,
        "responseId": f"{fate.key:016x}-{fate.occurrence}",
    }


def content_error(status: int, message: str, retry_after: str | None) -> bytes:
    """An error in Google's shape; how long to wait stands in the body, not in a header."""
    error: dict[str, Json] = {"code": status, "message": message, "status": _STATUS.get(status, "UNKNOWN")}
    if retry_after is not None:
        error["details"] = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{retry_after}s"}]
    return _encode({"error": error})


def content_models(names: tuple[str, ...]) -> bytes:
    """The body of ``GET /v1beta/models``."""
    methods = ["generateContent", "streamGenerateContent"]
    return _encode({"models": [{"name": f"models/{name}", "supportedGenerationMethods": methods} for name in names]})
