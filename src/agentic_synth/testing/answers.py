"""What a simulated model says: a function of the request and the seed, never of the order of arrival."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, TypeAlias

import msgspec

from agentic_synth.testing.behaviour import Behaviour, Faults
from agentic_synth.testing.packs import Item, items_of, together
from agentic_synth.testing.simulation import Fate, chances
from agentic_synth.types import Draw, Finish, Json, Request

__all__ = ["Answer", "AnswerLaw", "compose", "count_input", "count_tokens", "offline_law", "pieces", "request_key"]

AnswerLaw: TypeAlias = Callable[[Request, int], str]
"""Writes the answer to a request under a seed: JSON that fits the schema where there is one, else text."""

_TOKEN_CHARACTERS = 4
_REFUSAL = "I'm sorry, but I can't help with that."
_encode_key = msgspec.json.Encoder(order="deterministic").encode
_WRONG: dict[str, Json] = {"string": 12345, "array": "none", "object": "none", "null": "null"}


class Answer(msgspec.Struct, frozen=True, gc=False):
    """The whole of what the model says; *text* of a refusal is the refusal."""

    text: str
    finish: Finish = "stop"
    tool_calls: tuple[dict[str, Json], ...] = ()
    output_tokens: int = 0


def offline_law(request: Request, seed: int) -> str:
    """The local generator's answer; it is imported with the first one."""
    from agentic_synth.offline.answer import answer  # noqa: PLC0415

    return answer(request, seed)


def request_key(request: Request, model: str) -> int:
    """64 bits that name the request: all that decides its answer, its draw included."""
    parts = (
        model, request.messages, request.parameters, request.schema, request.tools, request.tool_choice,
        request.namespace, request.draw,
    )  # fmt: skip
    return int.from_bytes(blake2b(_encode_key(parts), digest_size=8).digest(), "little")


def count_tokens(text: str) -> int:
    """Tokens of *text* as this provider counts them: one for every four characters."""
    return (len(text) + _TOKEN_CHARACTERS - 1) // _TOKEN_CHARACTERS


def count_input(request: Request) -> int:
    """Tokens of the prompt as this provider counts them."""
    tokens = 0
    for message in request.messages:
        content = message.content
        if isinstance(content, str):
            tokens += count_tokens(content) + 4
        elif content is not None:
            tokens += sum(count_tokens(str(part.get("text", ""))) for part in content) + 4
    return tokens


def pieces(text: str) -> list[str]:
    """*text* token by token, the way a stream brings it; joined it is *text* again."""
    return [text[at : at + _TOKEN_CHARACTERS] for at in range(0, len(text), _TOKEN_CHARACTERS)]


def compose(request: Request, fate: Fate, behaviour: Behaviour, seed: int, law: AnswerLaw) -> Answer:
    """The model's answer to *request*: refused, spoilt, cut at ``max_tokens`` or a tool call where it must be."""
    faults, sample = behaviour.faults, 0
    if behaviour.resample and fate.answered:
        sample, draw = fate.answered, request.draw
        request = msgspec.structs.replace(request, draw=Draw(draw.lineage, draw.sample, draw.attempt + sample))
    refuses = spoils = which = 0.0
    if faults.refusal or faults.invalid:
        refuses, spoils, which, _ = chances(seed, fate.key, -1 - sample)
    if refuses < faults.refusal:
        return Answer(_REFUSAL, "refusal", output_tokens=count_tokens(_REFUSAL))
    function = _forced_function(request)
    if function is not None:
        return _tool_call(request, function, fate.key, seed, law)
    if items := items_of(request):
        answers = [(item.id, _item_answer(item, faults, seed, law)) for item in items]
        return _cut(together(answers, faults, seed, fate.key), request.parameters)
    if behaviour.answers == "brief" and request.schema is None:
        text = f"This is the short answer {fate.key:016x} of a simulated model."
    else:
        text = law(request, seed)
    if request.schema is not None and spoils < faults.invalid:
        text = _spoil(text, request.schema, which)
    return _cut(text, request.parameters)


def _item_answer(item: Item, faults: Faults, seed: int, law: AnswerLaw) -> Json:
    """What is said of one item of many: the value that would have come alone, or one of a wrong type."""
    text, schema = law(item.request, seed), item.request.schema
    if schema is None:
        return text
    spoils, *_ = chances(seed, request_key(item.request, ""), -1)
    spoilt = _with_wrong_type(text, schema) if spoils < faults.invalid else None
    return msgspec.json.decode(spoilt or text)


def _cut(text: str, parameters: dict[str, Json]) -> Answer:
    limit = parameters.get("max_completion_tokens") or parameters.get("max_tokens")
    tokens = count_tokens(text)
    if isinstance(limit, int) and tokens > limit:
        return Answer(text[: limit * _TOKEN_CHARACTERS], "length", output_tokens=limit)
    return Answer(text, output_tokens=tokens)


def _forced_function(request: Request) -> dict[str, Json] | None:
    """The function that ``tool_choice`` demands, if it demands one; ``auto`` is answered in text."""
    functions: list[dict[str, Json]] = [tool["function"] for tool in request.tools if "function" in tool]
    match request.tool_choice:
        case "required" if functions:
            return functions[0]
        case {"function": {"name": name}}:
            return next((function for function in functions if function.get("name") == name), None)
    return None


def _tool_call(request: Request, function: dict[str, Json], key: int, seed: int, law: AnswerLaw) -> Answer:
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    asked = msgspec.structs.replace(request, schema=schema, tools=(), tool_choice=None)
    arguments = law(asked, seed)
    call = {
        "id": f"call_{key:016x}",
        "type": "function",
        "function": {"name": function.get("name", ""), "arguments": arguments},
    }
    return Answer("", "tool_calls", (call,), count_tokens(arguments))


def _spoil(text: str, schema: dict[str, Json], which: float) -> str:
    """*text* made invalid in one of the five ways models do it; cut short where the schema leaves no other way."""
    match int(which * 5):
        case 0:
            return f"Here is the JSON you asked for:\n\n{text}\n\nLet me know if you need anything else."
        case 1:
            return f"```json\n{text}\n```"
        case 2:
            return _with_wrong_type(text, schema) or _truncated(text)
        case 3:
            return _without_a_field(text, schema) or _truncated(text)
    return _truncated(text)


def _truncated(text: str) -> str:
    return text[: max(1, len(text) * 2 // 3)]


def _with_wrong_type(text: str, schema: dict[str, Json]) -> str | None:
    """The first field whose schema names one type gets a value of another."""
    value: Any = msgspec.json.decode(text)
    if not isinstance(value, dict):
        return None
    for name, rule in schema.get("properties", {}).items():
        kind = rule.get("type") if isinstance(rule, dict) else None
        if name in value and isinstance(kind, str):
            return msgspec.json.encode(value | {name: _WRONG.get(kind, "not a value")}).decode()
    return None


def _without_a_field(text: str, schema: dict[str, Json]) -> str | None:
    value: Any = msgspec.json.decode(text)
    required = [name for name in schema.get("required", ()) if isinstance(value, dict) and name in value]
    if not required:
        return None
    del value[required[-1]]
    return msgspec.json.encode(value).decode()
