"""How a simulated model answers a prompt that holds several items: each for itself, and some of them badly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from agentic_synth.testing.behaviour import Faults
from agentic_synth.testing.simulation import chances
from agentic_synth.types import Draw, Json, Message, Request

__all__ = ["Item", "items_of", "together"]

_TASK, _ITEMS = "\nTask:\n", "\nItems, in no particular order:\n"
_ENDS = ("\nExamples of single items", "\n\nItems,")
_UNKNOWN_ID = "000"


class Item(msgspec.Struct, frozen=True):
    """One item of a packed prompt, as the request it would have been alone."""

    id: str
    request: Request


def items_of(request: Request) -> list[Item]:
    """What is asked in a packed prompt; empty for any other."""
    schema = _answer_schema(request.schema)
    prompt = request.messages[-1].content if request.messages else None
    if schema is None or not isinstance(prompt, str) or _TASK not in prompt or _ITEMS not in prompt:
        return []
    task = prompt.partition(_TASK)[2]
    for end in _ENDS:
        task = task.partition(end)[0]
    seen: Counter[str] = Counter()
    items = []
    for values in _lines(prompt.partition(_ITEMS)[2]):
        name, text = str(values.pop("id")), task
        for place, value in values.items():
            text = text.replace("{" + place + "}", str(value))
        alone = msgspec.structs.replace(
            request,
            messages=(*request.messages[:-1], Message("user", text)),
            schema=None if schema == {"type": "string"} else schema,
            parameters={},
            draw=Draw("", seen[text]),
        )
        seen[text] += 1
        items.append(Item(name, alone))
    return items


def together(answers: list[tuple[str, Json]], faults: Faults, seed: int, key: int) -> str:
    """The answer to a packed prompt: *answers* by id, of which some are left out, doubled, or given a wrong id."""
    said: list[dict[str, Json]] = []
    for place, (name, answer) in enumerate(answers):
        omits, doubles, mistakes, _ = chances(seed, key, -1_000 - place)
        if omits < faults.omitted:
            continue
        said.append({"id": _UNKNOWN_ID if mistakes < faults.misnamed else name, "answer": answer})
        if doubles < faults.doubled:
            other = answers[place - 1][1]
            said.append({"id": name, "answer": other})
    return msgspec.json.encode({"answers": said}).decode()


def _answer_schema(schema: Json) -> dict[str, Json] | None:
    try:
        properties = schema["properties"]["answers"]["items"]["properties"]
        answer: dict[str, Json] = dict(properties["answer"])
    except (KeyError, TypeError):
        return None
    definitions = {name: schema[name] for name in ("$defs", "definitions") if name in schema}
    return {**answer, **definitions} if set(properties) == {"id", "answer"} else None


def _lines(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        if not line.startswith('{"id":'):
            return
        yield msgspec.json.decode(line)
