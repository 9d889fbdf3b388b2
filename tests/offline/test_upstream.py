"""The upstream around the generator: its replies say what they are, and are cut and streamed as asked."""

from typing import Any

import msgspec
import pytest

from agentic_synth.errors import InvalidRequest
from agentic_synth.offline.answer import answer
from agentic_synth.offline.upstream import OfflineUpstream
from agentic_synth.types import Call, Delta, Message, Request, Response
from tests.offline.offline_schemas import record

LONG = "Write ten sentences about a lighthouse."


def request(prompt: str = LONG, **fields: Any) -> Request:
    return Request(model="offline", messages=(Message("user", prompt),), **fields)


async def reply(asked: Request, seed: int = 0) -> Response:
    upstream = OfflineUpstream(seed)
    try:
        return (await upstream(Call(request=asked, model="offline"))).response
    finally:
        await upstream.aclose()


async def deltas(asked: Request) -> list[Delta]:
    body = (await reply(asked)).body
    assert body is not None
    return [delta async for delta in body]


async def test_a_reply_says_who_answered_and_what_it_cost() -> None:
    response = await reply(request())
    assert response.text == answer(request())
    assert (response.model, response.upstream, response.cost, response.finish) == ("offline", "offline", 0.0, "stop")
    assert response.usage.estimated
    assert response.usage.input_tokens == -(-len(LONG) // 4)
    assert response.usage.output_tokens == -(-len(response.text) // 4)


async def test_the_upstream_s_seed_changes_the_answer() -> None:
    assert (await reply(request(), seed=1)).text == answer(request(), 1) != answer(request())


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_a_long_answer_is_cut_at_max_tokens(name: str) -> None:
    response = await reply(request(parameters={name: 5}))
    assert response.finish == "length"
    assert response.text == answer(request())[:20]
    assert response.usage.output_tokens == 5


async def test_an_answer_ends_before_its_stop_sequence() -> None:
    response = await reply(request(parameters={"stop": ["zzz", "."]}))
    assert response.text == answer(request()).partition(".")[0]
    assert response.finish == "stop"


async def test_a_schema_is_answered_with_json() -> None:
    response = await reply(request(schema=record(age={"type": "integer"})))
    assert isinstance(msgspec.json.decode(response.text)["age"], int)


async def test_a_stream_brings_the_same_answer_in_several_deltas() -> None:
    pieces = await deltas(request(stream=True))
    whole = await reply(request())
    assert len(pieces) > 3
    assert "".join(piece.text for piece in pieces) == whole.text
    assert [piece.finish for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    assert (pieces[-1].finish, pieces[-1].usage) == ("stop", whole.usage)


async def test_a_stream_can_be_closed_early_and_twice() -> None:
    body = (await reply(request(stream=True))).body
    assert body is not None
    iterator = aiter(body)
    await anext(iterator)
    await body.aclose()
    await body.aclose()
    assert [delta async for delta in body] == []


async def test_a_forced_tool_is_called_plain_and_streamed() -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": record(city={"type": "string"})}}
    fields: dict[str, Any] = {"tools": (tool,), "tool_choice": "required"}
    response = await reply(request(**fields))
    assert (response.text, response.finish) == ("", "tool_calls")
    pieces = await deltas(request(stream=True, **fields))
    (fragment,) = [call for piece in pieces for call in piece.tool_calls]
    assert fragment == {"index": 0, **response.tool_calls[0]}
    assert pieces[-1].finish == "tool_calls"


async def test_a_schema_that_nothing_fits_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="minimum 5") as refusal:
        await reply(request(schema={"type": "integer", "minimum": 5, "maximum": 4}))
    assert refusal.value.status == 400
