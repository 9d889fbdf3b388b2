"""Embeddings over real sockets: many texts a call, each with its own vector and its own share of the tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from struct import pack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentic_synth.errors import BadReply, InvalidRequest, RateLimited, UnknownModel
from agentic_synth.testing.embeddings import embed
from agentic_synth.testing.flags import parse_behaviour
from agentic_synth.testing.serve import simulated_server
from agentic_synth.transport.upstream import HttpUpstream
from agentic_synth.transport.wire import openai_embeddings
from agentic_synth.types import Call, Message, Request, Usage
from tests.transport.loopback import Loopback, Script, config_of, serving


def asking(*texts: str, **fields: Any) -> Call:
    requests = tuple(
        Request(**{"model": "p/e", "messages": (Message("user", text),), "kind": "embedding", **fields})
        for text in texts
    )
    return Call(request=requests[0], model="embed-1", joined=requests if len(texts) > 1 else ())


@asynccontextmanager
async def facing(script: Script, **changes: Any) -> AsyncIterator[tuple[HttpUpstream, Loopback]]:
    async with serving(script) as loopback:
        upstream = HttpUpstream(config_of(loopback.url, **changes))
        try:
            yield upstream, loopback
        finally:
            await upstream.aclose()


async def test_vectors_are_joined_by_index_in_either_encoding() -> None:
    reply = {
        "data": [{"index": 1, "embedding": [0.5, 1.0]}, {"index": 0, "embedding": "AACAPwAAAMA="}],
        "model": "embed-1",
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }
    async with facing(lambda e: e.answer(reply, x_ratelimit_remaining_requests="41")) as (upstream, loopback):
        result = await upstream(asking("a", "b", parameters={"dimensions": 2}))
    assert [part.vector for part in result.parts] == [pack("<2f", 1.0, -2.0), pack("<2f", 0.5, 1.0)]
    assert [part.usage for part in result.parts] == [Usage(2), Usage(2)]
    assert (result.response.usage, result.response.vector) == (Usage(4), None)
    assert (result.parts[0].model, result.parts[0].upstream) == ("embed-1", upstream.name)
    assert result.parts[0].seconds > 0.0
    assert result.headers["x-ratelimit-remaining-requests"] == "41"
    assert loopback.exchanges[0].path == "/v1/embeddings"
    assert loopback.exchanges[0].asked["dimensions"] == 2
    assert loopback.exchanges[0].asked["input"] == ["a", "b"]


async def test_one_text_alone_is_an_answer_of_its_own() -> None:
    reply = {"data": [{"index": 0, "embedding": [0.5]}]}
    async with facing(lambda e: e.answer(reply)) as (upstream, _):
        result = await upstream(asking("a word"))
    assert (result.response.vector, result.parts) == (pack("<f", 0.5), ())
    assert result.response.usage == Usage(2, estimated=True)


@pytest.mark.parametrize(
    "data",
    [
        [{"index": 0, "embedding": [1.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [2.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 2, "embedding": [2.0]}],
        [{"index": 0, "embedding": "?"}, {"index": 1, "embedding": [2.0]}],
        [{"index": 0, "embedding": "AAAA"}, {"index": 1, "embedding": [2.0]}],
    ],
    ids=["too few", "twice", "out of range", "not base64", "no floats"],
)
async def test_vectors_that_do_not_match_the_texts_are_a_bad_reply(data: list[object]) -> None:
    async with facing(lambda e: e.answer({"data": data})) as (upstream, _):
        with pytest.raises(BadReply):
            await upstream(asking("a", "b"))


async def test_a_wire_without_embeddings_says_so() -> None:
    upstream = HttpUpstream(config_of("http://127.0.0.1:9", wire="anthropic"))
    with pytest.raises(InvalidRequest, match="no embeddings"):
        await upstream(asking("a"))
    await upstream.aclose()


async def test_failures_are_those_of_any_call() -> None:
    async with facing(lambda e: e.answer({"error": {"message": "slow down"}}, 429, retry_after="3")) as (upstream, _):
        with pytest.raises(RateLimited) as failure:
            await upstream(asking("a", "b"))
    assert failure.value.retry_after == 3.0
    async with facing(lambda e: e.answer({"error": {"message": "no such model"}}, 404)) as (upstream, _):
        with pytest.raises(UnknownModel):
            await upstream(asking("a"))
    async with facing(lambda e: e.answer({"error": {"message": "input is empty"}}, 400)) as (upstream, _):
        with pytest.raises(InvalidRequest):
            await upstream(asking("a", ""))


async def test_the_simulator_answers_each_its_own() -> None:
    async with simulated_server(parse_behaviour({}), seed=3) as url:
        upstream = HttpUpstream(config_of(url.removesuffix("/v1")))
        try:
            result = await upstream(asking("one", "two", "three"))
        finally:
            await upstream.aclose()
    assert [part.vector for part in result.parts] == [
        pack("<256f", *embed(text, seed=3)) for text in ("one", "two", "three")
    ]


@given(st.lists(st.text(max_size=40), min_size=1, max_size=50), st.integers(1, 10**6))
def test_shares_add_up_to_what_was_counted(texts: list[str], tokens: int) -> None:
    requests = [asking(text).request for text in texts]
    shares = openai_embeddings.shares(requests, tokens)
    assert sum(share.input_tokens for share in shares) == tokens
    assert all(share.input_tokens >= 0 for share in shares)
