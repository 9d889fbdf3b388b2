"""The answer to a request, made from seeded chance and the request's own words; no model is asked.

It depends on what is asked (messages, schema, tools, ``seed``), on which draw of it is meant, and on nothing else: not
on the order of arrival, the process, or the machine.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec

from agentic_synth.errors import InvalidRequest
from agentic_synth.offline.compose import compose
from agentic_synth.offline.node import Unsatisfiable
from agentic_synth.offline.scene import Scene
from agentic_synth.offline.schema import compile_schema
from agentic_synth.offline.topic import Topic, read_topic
from agentic_synth.types import Json, Message, Request

__all__ = ["answer", "tool_calls"]

_encode = msgspec.json.encode
_encode_key = msgspec.msgpack.encode
_ANY_OBJECT: dict[str, Json] = {"type": "object"}


def answer(request: Request, seed: int = 0) -> str:
    """The text that answers *request*: JSON that fits its schema if it has one, prose otherwise.

    Raises :class:`InvalidRequest` for a schema that nothing fits.
    """
    schema = _asked_schema(request)
    topic = _topic(request.messages)
    if schema is None:
        return compose(_scene(request, seed, topic, b""), topic)
    encoded = _encode(schema)
    scene = _scene(request, seed, topic, encoded)
    return _encode(_make(encoded, scene)).decode()


def tool_calls(request: Request, seed: int = 0) -> tuple[dict[str, Json], ...]:
    """The tool call that answers *request*, or nothing where text is to answer.

    A forced choice is obeyed. Left to itself (``auto``) a tool is called if the last message is the user's and shares
    a word with the tool's name or description.
    """
    tool = _chosen_tool(request)
    if tool is None:
        return ()
    function = tool.get("function", tool)
    if not isinstance(function.get("name"), str):
        raise InvalidRequest("a tool has no name", upstream="offline", status=400, mend="Give each function a name.")
    schema = function.get("parameters") or function.get("input_schema") or _ANY_OBJECT
    topic = _topic(request.messages)
    encoded = _encode(schema)
    scene = _scene(request, seed, topic, encoded)
    arguments = _encode(_make(encoded, scene)).decode()
    called = {"name": function["name"], "arguments": arguments}
    return ({"id": f"call_{scene.below(1 << 96):024x}", "type": "function", "function": called},)


def _make(encoded: bytes, scene: Scene) -> Json:
    try:
        return compile_schema(encoded)(scene)
    except Unsatisfiable as why:
        raise InvalidRequest(
            f"no value can be made for the schema: {why}",
            upstream="offline",
            status=400,
            mend="Loosen or correct the schema; `oneOf`, `not` and `if` are the usual culprits.",
        ) from why


def _scene(request: Request, seed: int, topic: Topic, schema: bytes) -> Scene:
    draw = request.draw
    asked = (seed, draw.lineage, draw.sample, draw.attempt, request.parameters.get("seed"), request.messages, schema)
    digest = blake2b(_encode_key(asked), digest_size=16).digest()
    return Scene(int.from_bytes(digest, "big"), topic)


def _asked_schema(request: Request) -> Json:
    """The schema to answer by; that of ``response_format`` where a caller passed it in the wire's own spelling."""
    if request.schema is not None or not request.parameters:
        return request.schema
    wanted = request.parameters.get("response_format")
    if not isinstance(wanted, dict):
        return None
    match wanted.get("type"):
        case "json_schema":
            return wanted.get("json_schema", {}).get("schema", _ANY_OBJECT)
        case "json_object":
            return _ANY_OBJECT
    return None


def _topic(messages: tuple[Message, ...]) -> Topic:
    """What the last message of a user is about."""
    for message in reversed(messages):
        if message.role == "user":
            return read_topic(_text_of(message))
    return read_topic(_text_of(messages[-1]) if messages else "")


def _text_of(message: Message) -> str:
    content: Any = message.content
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join([part["text"] for part in content if isinstance(part.get("text"), str)])


def _chosen_tool(request: Request) -> dict[str, Json] | None:
    choice = request.tool_choice
    if not request.tools or choice == "none":
        return None
    if isinstance(choice, dict):
        wanted = choice.get("function", choice).get("name")
        if wanted is not None:
            return _tool_called(request, wanted)
        choice = choice.get("type")
    if choice in ("required", "any"):
        return request.tools[0]
    if choice not in (None, "auto") or not request.messages or request.messages[-1].role != "user":
        return None
    words = {word for phrase in _topic(request.messages).phrases for word in phrase.split()}
    return next((tool for tool in request.tools if _is_about(tool, words)), None)


def _tool_called(request: Request, name: str) -> dict[str, Json]:
    for tool in request.tools:
        if tool.get("function", tool).get("name") == name:
            return tool
    raise InvalidRequest(
        f"tool_choice names {name!r}, which is not among the tools",
        upstream="offline",
        status=400,
        mend="Name one of: " + ", ".join(str(tool.get("function", tool).get("name")) for tool in request.tools),
    )


def _is_about(tool: dict[str, Json], words: set[str]) -> bool:
    function = tool.get("function", tool)
    told = f"{function.get('name', '')} {function.get('description', '')}".lower().replace("_", " ")
    return not words.isdisjoint(told.split())
