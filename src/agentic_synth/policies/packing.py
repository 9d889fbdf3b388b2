"""Several rows asked in one call: one prompt that holds their values, and one answer taken apart again.

Each row has an id that says nothing of its place, and the rows stand in a drawn order, so that an answer which counts
instead of reading ids is noticed (BatchPrompt, https://arxiv.org/abs/2309.00384). What system prompt, task, examples
and schema cost is paid once a call instead of once a row (Batch Prompting, https://arxiv.org/abs/2301.08721).
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from random import Random
from typing import Any

import msgspec

from agentic_synth.types import Call, Json, Message, Reply, Request, Response, Usage

__all__ = ["Packing", "packable"]

_canonical = msgspec.json.Encoder(order="sorted").encode
_LENGTHS = ("max_tokens", "max_completion_tokens")
_NOT_SHARED = frozenset({"stop", "n", "logprobs", "top_logprobs"})
_FRAME_TOKENS = 16
_FIRST_ID, _LAST_ID = 101, 999

_TASK = """\
Do the task below once for each of the {count} items. In the task, {{name}} stands for the item's own value of it.
Treat every item by itself, as if it were the only one: nothing in an answer may come from another item.

Task:
{task}
{examples}
Items, in no particular order:
{items}

Answer with one JSON object: {{"answers": [{{"id": "...", "answer": {answer}}}, ...]}}.
Every id stands there exactly once, beside the answer to the item with that id."""


def packable(request: Request) -> bool:
    """Whether *request* may share a call: it says how, and asks for nothing that cannot be shared."""
    return (
        request.pack is not None
        and request.pack.size != 1
        and not request.stream
        and not request.tools
        and _NOT_SHARED.isdisjoint(request.parameters)
        and not _refers_to_root(request.schema)
        and all(isinstance(message.content, str) for message in request.messages)
    )


class Packing:
    """Joins calls that ask the same of different values, and gives each its part of the answer."""

    def __init__(self, rng: Random) -> None:
        """*rng* draws ids and order."""
        self._rng = rng

    def lane(self, request: Request) -> bytes | None:
        """What must be equal for requests to share a call; None for a request that goes alone."""
        if not packable(request):
            return None
        assert request.pack is not None
        shared = (request.messages[:-1], request.pack.task, request.parameters, request.schema, request.namespace)
        return blake2b(_canonical(shared), digest_size=16).digest()

    def join(self, calls: Sequence[Call]) -> Call:
        """One call for them all."""
        first = calls[0]
        requests = tuple([call.request for call in calls])
        ids = [str(number) for number in self._rng.sample(range(_FIRST_ID, _LAST_ID + 1), len(requests))]
        rows = list(zip(ids, requests, strict=True))
        self._rng.shuffle(rows)
        system, examples = _examples(requests[0].messages[:-1])
        prompt = _TASK.format(
            count=len(rows),
            task=_pack(requests[0]).task,
            examples=examples,
            items="\n".join([msgspec.json.encode({"id": name, **_pack(row).values}).decode() for name, row in rows]),
            answer='"..."' if requests[0].schema is None else "{...}",
        )
        request = msgspec.structs.replace(
            requests[0],
            messages=(*system, Message("user", prompt)),
            parameters=_lengthened(requests[0].parameters, len(rows)),
            schema=_schema(requests[0].schema),
            deadline=None,
            pack=None,
        )
        return msgspec.structs.replace(first, request=request, joined=requests, ids=tuple(ids))

    def parts(self, joined: Call, reply: Reply) -> list[Response | None]:
        """The answer to each of ``joined.joined``; None where it is missing, came twice, or is cut.

        What the call cost is split over the answers, each token exactly once.
        """
        whole = reply.response
        found = _read(whole)
        texts = [found.get(name) for name in joined.ids]
        schema = joined.joined[0].schema
        answers = [_as_text(answer, schema) if answer is not None else None for answer in texts]
        shares = _split(whole, [len(answer) if answer is not None else None for answer in answers])
        return [
            None if answer is None else _part(whole, answer, usage)
            for answer, usage in zip(answers, shares, strict=True)
        ]


def _pack(request: Request) -> Any:
    return request.pack


def _examples(messages: Sequence[Message]) -> tuple[tuple[Message, ...], str]:
    """The system prompt as it is, and turns that show an answer as examples of a single item."""
    system = tuple([message for message in messages if message.role == "system"])
    shown = [message for message in messages if message.role != "system"]
    if not shown:
        return system, ""
    lines = [f"{'Answer' if message.role == 'assistant' else 'Item'}: {message.content}" for message in shown]
    return system, "\nExamples of single items and their answers:\n" + "\n".join(lines) + "\n"


def _lengthened(parameters: dict[str, Json], rows: int) -> dict[str, Json]:
    """Room for the answers of all *rows*, where the room of one is bounded."""
    room = {name: (parameters[name] + _FRAME_TOKENS) * rows for name in _LENGTHS if parameters.get(name)}
    return {**parameters, **room} if room else parameters


def _schema(schema: dict[str, Json] | None) -> dict[str, Json]:
    answer: dict[str, Json] = dict(schema) if schema is not None else {"type": "string"}
    # References are read from the root, so that is where definitions must stand.
    definitions: dict[str, Json] = {name: answer.pop(name) for name in ("$defs", "definitions") if name in answer}
    answer.pop("$schema", None)
    item = {
        "type": "object",
        "properties": {"id": {"type": "string"}, "answer": answer},
        "required": ["id", "answer"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"answers": {"type": "array", "items": item}},
        "required": ["answers"],
        "additionalProperties": False,
        **definitions,
    }


def _refers_to_root(schema: Json) -> bool:
    """Whether a reference in *schema* means another place once the schema stands inside another."""
    if isinstance(schema, dict):
        target = schema.get("$ref")
        if isinstance(target, str) and not target.startswith(("#/$defs/", "#/definitions/")):
            return True
        return any(_refers_to_root(value) for value in schema.values())
    return isinstance(schema, list) and any(_refers_to_root(value) for value in schema)


def _read(whole: Response) -> dict[str, Json]:
    """The answers by id; an id that came twice with different answers has none."""
    try:
        value = msgspec.json.decode(whole.text)
    except msgspec.DecodeError:
        import json_repair  # noqa: PLC0415 - only for an answer that is broken

        value = json_repair.loads(whole.text)
    if isinstance(value, dict):
        value = value.get("answers")
    if not isinstance(value, list):
        return {}
    if whole.finish == "length":
        value = value[:-1]  # who knows what it would have become
    found: dict[str, Json] = {}
    twice: set[str] = set()
    for item in value:
        if not isinstance(item, dict) or item.get("answer") is None:
            continue
        name = str(item.get("id")).strip()
        if found.setdefault(name, item["answer"]) != item["answer"]:
            twice.add(name)
    return {name: answer for name, answer in found.items() if name not in twice}


def _as_text(answer: Json, schema: dict[str, Json] | None) -> str | None:
    """The answer as it would have come alone."""
    if schema is None:
        return answer if isinstance(answer, str) and answer.strip() else None
    return msgspec.json.encode(answer).decode()


def _split(whole: Response, lengths: Sequence[int | None]) -> list[Usage]:
    """Tokens for each answer (nothing where there is none): the prompt's evenly, the answers' by their length."""
    evenly = [0 if length is None else 1 for length in lengths]
    by_length = [0 if length is None else length + 1 for length in lengths]
    usage = whole.usage
    columns = (
        _shares(usage.input_tokens, evenly),
        _shares(usage.output_tokens, by_length),
        _shares(usage.cached_tokens, evenly),
        _shares(usage.reasoning_tokens, by_length),
    )
    return [Usage(*tokens, estimated=usage.estimated) for tokens in zip(*columns, strict=True)]


def _shares(total: int, weights: Sequence[int]) -> list[int]:
    """Whole shares of *total* in proportion to *weights*, which add up to it exactly."""
    weight_sum, given, passed = sum(weights), 0, 0
    shares = []
    for weight in weights:
        passed += weight
        upto = total * passed // weight_sum if weight_sum else 0
        shares.append(upto - given)
        given = upto
    return shares


def _part(whole: Response, answer: str, usage: Usage) -> Response:
    tokens = whole.usage.input_tokens + whole.usage.output_tokens
    cost = whole.cost
    if cost is not None and tokens:
        cost *= (usage.input_tokens + usage.output_tokens) / tokens
    return msgspec.structs.replace(whole, text=answer, reasoning="", finish="stop", usage=usage, cost=cost)
