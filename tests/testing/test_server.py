"""The server over real sockets, read by the client its users have: the ``openai`` package."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import aiohttp
import openai
import pytest
from pydantic import BaseModel

from agentic_synth.testing.flags import parse_behaviour
from agentic_synth.testing.serve import simulated_server


class Ticket(BaseModel):
    subject: str
    priority: Literal["low", "mid", "high"]
    minutes: int


@asynccontextmanager
async def client(seed: int = 1, key: str = "any", **texts: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with (
        simulated_server(parse_behaviour(texts), seed=seed) as url,
        openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=0, timeout=10) as opened,
    ):
        yield opened


@asynccontextmanager
async def plain_client(**texts: str) -> AsyncIterator[Plain]:
    async with simulated_server(parse_behaviour(texts)) as url, aiohttp.ClientSession() as session:
        yield Plain(url, session)


class Plain:
    """A client without opinions: status and decoded body."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.root = url.removesuffix("/v1")
        self._session = session

    async def get(self, path: str) -> tuple[int, Any]:
        async with self._session.get(self.root + path) as reply:
            return reply.status, await reply.json()

    async def post(self, path: str, body: Any = None, data: bytes | None = None) -> tuple[int, Any]:
        async with self._session.post(self.root + path, json=body, data=data) as reply:
            streamed = reply.content_type == "text/event-stream"
            return reply.status, await (reply.text() if streamed else reply.json())


def ask(text: str, **fields: Any) -> Any:
    return {"model": "simulated", "messages": [{"role": "user", "content": text}], **fields}


async def stats(opened: openai.AsyncOpenAI) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session:
        found: dict[str, Any] = (await Plain(str(opened.base_url).rstrip("/"), session).get("/stats"))[1]
        return found


async def test_a_plain_completion() -> None:
    async with client() as opened:
        answer = await opened.chat.completions.create(**ask("Describe the sea in two sentences."))
        again = await opened.chat.completions.create(**ask("Describe the sea in two sentences."))
        other = await opened.chat.completions.create(**ask("Describe the sky in two sentences."))
    choice = answer.choices[0]
    assert choice.message.content
    assert choice.finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert again.choices[0].message.content == choice.message.content
    assert other.choices[0].message.content != choice.message.content


async def test_a_streamed_completion_is_the_plain_one_and_brings_usage() -> None:
    async with client() as opened:
        plain = await opened.chat.completions.create(**ask("Tell me of rain"))
        stream = await opened.chat.completions.create(
            **ask("Tell me of rain", stream=True, stream_options={"include_usage": True})
        )
        chunks = [chunk async for chunk in stream]
        books = await stats(opened)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == plain.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage == plain.usage
    assert books["answered_again"] == 1


async def test_tokens_come_one_by_one_when_they_take_time() -> None:
    async with client(latency="1ms+1ms/token", answers="brief") as opened:
        loop = asyncio.get_running_loop()
        start = loop.time()
        stream = await opened.chat.completions.create(**ask("hello", stream=True))
        chunks = [chunk async for chunk in stream]
        seconds = loop.time() - start
    tokens = sum(bool(chunk.choices[0].delta.content) for chunk in chunks)
    assert tokens > 10
    assert seconds >= 0.001 * tokens


async def test_a_schema_is_parsed_into_its_model() -> None:
    async with client() as opened:
        answer = await opened.chat.completions.parse(**ask("A ticket about a router", response_format=Ticket))
    assert isinstance(answer.choices[0].message.parsed, Ticket)


async def test_a_json_object_and_a_wrong_response_format() -> None:
    async with client() as opened:
        answer = await opened.chat.completions.create(**ask("as JSON", response_format={"type": "json_object"}))
        assert (answer.choices[0].message.content or "").startswith("{")
        with pytest.raises(openai.BadRequestError, match="response_format"):
            await opened.chat.completions.create(**ask("as XML", response_format={"type": "xml"}))


async def test_a_forced_tool_is_called_plain_and_streamed() -> None:
    tool = {
        "type": "function",
        "function": {
            "name": "escalate",
            "parameters": {"type": "object", "required": ["level"], "properties": {"level": {"enum": [1, 2, 3]}}},
        },
    }
    choice = {"type": "function", "function": {"name": "escalate"}}
    async with client() as opened:
        answer = await opened.chat.completions.create(**ask("help", tools=[tool], tool_choice=choice))
        calls = answer.choices[0].message.tool_calls
        assert calls is not None
        assert calls[0].type == "function"
        assert calls[0].function.name == "escalate"
        assert answer.choices[0].finish_reason == "tool_calls"
        async with opened.chat.completions.stream(**ask("help", tools=[tool], tool_choice=choice)) as stream:
            final = await stream.get_final_completion()
        streamed = final.choices[0].message.tool_calls
        assert streamed is not None
        assert streamed[0].function.arguments == calls[0].function.arguments
        assert (await opened.chat.completions.create(**ask("hi", tools=[tool]))).choices[0].message.content


async def test_a_refusal_is_a_refusal() -> None:
    async with client(faults="refusal=1") as opened:
        answer = await opened.chat.completions.create(**ask("no"))
        assert answer.choices[0].message.refusal
        assert answer.choices[0].message.content is None
        async with opened.chat.completions.stream(**ask("no")) as stream:
            final = await stream.get_final_completion()
        assert final.choices[0].message.refusal == answer.choices[0].message.refusal


async def test_max_tokens_cuts_the_answer() -> None:
    async with client() as opened:
        answer = await opened.chat.completions.create(**ask("a long story", max_tokens=5))
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5


async def test_embeddings_are_unit_vectors_and_near_where_words_are_shared() -> None:
    texts = ["the router is slow today", "today the router is very slow", "a poem about an old lighthouse"]
    async with client() as opened:
        reply = await opened.embeddings.create(model="embedder", input=texts)
        as_floats = await opened.embeddings.create(model="embedder", input=texts[0], encoding_format="float")
        short = await opened.embeddings.create(model="embedder", input=[1, 2, 3], dimensions=16)
        with pytest.raises(openai.BadRequestError, match="dimensions"):
            await opened.embeddings.create(model="embedder", input="x", dimensions=10**6)
        with pytest.raises(openai.BadRequestError, match="input"):
            await opened.embeddings.create(model="embedder", input=[""])
        assert (await stats(opened))["in_flight"] == 0
    vectors = [item.embedding for item in reply.data]
    assert all(math.hypot(*vector) == pytest.approx(1.0, abs=1e-5) for vector in vectors)
    assert as_floats.data[0].embedding == pytest.approx(vectors[0], abs=1e-6)
    assert len(short.data[0].embedding) == 16
    near, far = (sum(a * b for a, b in zip(vectors[0], other, strict=True)) for other in vectors[1:])
    assert near > 0.7
    assert far < 0.3


async def test_embeddings_meet_limits_and_faults_too() -> None:
    async with client(rate="60/min") as opened:
        await opened.embeddings.create(model="embedder", input="one")
        with pytest.raises(openai.RateLimitError):
            await opened.embeddings.create(model="embedder", input="two")
    async with plain_client(faults="malformed=1", models="other") as plain:
        assert (await plain.post("/v1/embeddings", {"model": "embedder", "input": "x"}))[0] == 404
        assert (await plain.post("/v1/embeddings", {"input": "x"}))[0] == 400
        with pytest.raises(ValueError, match="char"):
            await plain.post("/v1/embeddings", {"model": "other", "input": "x"})


async def test_models_are_listed_and_unknown_ones_are_not_found() -> None:
    async with client() as opened:
        assert [model.id async for model in opened.models.list()] == ["simulated"]
    async with client(models="a,b/c") as opened:
        assert [model.id async for model in opened.models.list()] == ["a", "b/c"]
        assert (await opened.models.retrieve("a")).id == "a"
        with pytest.raises(openai.NotFoundError, match="does not exist"):
            await opened.chat.completions.create(**ask("hi"))
        with pytest.raises(openai.NotFoundError):
            await opened.models.retrieve("z")


async def test_a_wrong_key_is_refused() -> None:
    async with client(key="wrong", api_key="right") as opened:
        with pytest.raises(openai.AuthenticationError):
            await opened.chat.completions.create(**ask("hi"))
    async with client(key="right", api_key="right") as opened:
        assert (await opened.chat.completions.create(**ask("hi"))).choices


async def test_over_the_rate_the_headers_tell_the_truth() -> None:
    async with client(rate="60/min") as opened:
        first = await opened.chat.completions.with_raw_response.create(**ask("one"))
        assert first.headers["x-ratelimit-remaining-requests"] == "0"
        with pytest.raises(openai.RateLimitError) as caught:
            await opened.chat.completions.create(**ask("two"))
        headers = caught.value.response.headers
        assert headers["x-ratelimit-limit-requests"] == "60"
        assert 0 < int(headers["retry-after-ms"]) <= 1000
        assert caught.value.code == "rate_limit_exceeded"
        assert (await stats(opened))["statuses"] == {"200": 1, "429": 1}


async def test_an_error_is_a_server_error() -> None:
    async with client(faults="error=1") as opened:
        with pytest.raises(openai.InternalServerError):
            await opened.chat.completions.create(**ask("hi"))


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": [{"role": "user", "content": "x"}]}, "model"),
        ({"model": "m"}, "messages"),
        ({"model": "m", "messages": []}, "messages"),
        ({"model": "m", "messages": [{"content": "x"}]}, "messages"),
        ({"model": "m", "messages": [{"role": "user", "content": "x"}], "n": 3}, "n"),
        ({"model": "m", "messages": [{"role": "user", "content": "x"}], "tools": "hammer"}, "messages"),
    ],
)
async def test_a_wrong_body_is_told_what_is_wrong(body: dict[str, Any], param: str) -> None:
    async with plain_client() as plain:
        status, reply = await plain.post("/v1/chat/completions", body)
    assert status == 400
    assert (reply["error"]["param"], reply["error"]["type"]) == (param, "invalid_request_error")


async def test_an_unsatisfiable_schema_is_the_clients_fault_and_leaves_nothing_in_flight() -> None:
    schema = {"type": "integer", "minimum": 5, "maximum": 1}
    body = ask("x", response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema}})
    async with plain_client() as plain:
        assert (await plain.post("/v1/chat/completions", body))[0] == 400
        books = (await plain.get("/stats"))[1]
    assert (books["in_flight"], books["abandoned"], books["answered"]) == (0, 0, 0)


async def test_paths_methods_and_bodies_that_are_not_ours() -> None:
    async with plain_client() as plain:
        assert (await plain.post("/chat/completions", ask("x")))[0] == 200
        assert await plain.get("/health?x=1") == (200, {"status": "ok"})
        assert (await plain.get("/v1/chat/completions"))[0] == 405
        assert (await plain.get("/v1/nothing"))[0] == 404
        status, reply = await plain.post("/v1/chat/completions", data=b"[1")
        assert (status, reply["error"]["type"]) == (400, "invalid_request_error")


async def test_the_books_know_a_repeat_whatever_the_order_of_fields_and_the_way_it_is_sent() -> None:
    body = ask("same", temperature=0.5, user="alice")
    turned = dict(reversed(body.items())) | {"user": "bob", "stream": True}
    async with plain_client() as plain:
        for one in (body, turned, ask("same", temperature=0.6)):
            await plain.post("/v1/chat/completions", one)
        books = (await plain.get("/stats"))[1]
    assert (books["received"], books["distinct"], books["repeated"], books["answered_again"]) == (3, 2, 1, 1)
    assert [duplicate["answers"] for duplicate in books["duplicates"]] == [2]


async def test_reset_begins_anew_and_may_set_another_behaviour() -> None:
    async with plain_client(faults="error=1") as plain:
        assert (await plain.post("/v1/chat/completions", ask("x")))[0] >= 500
        await plain.post("/reset", {"latency": "1ms", "knee": 4, "seed": 9})
        assert (await plain.post("/v1/chat/completions", ask("x")))[0] == 200
        assert (await plain.get("/stats"))[1]["received"] == 1
        status, wrong = await plain.post("/reset", {"latncy": "1ms"})
        assert (status, "latency" in wrong["error"]["message"]) == (400, True)
        await plain.post("/reset", data=b"")
        assert (await plain.post("/v1/chat/completions", ask("x")))[0] >= 500
        assert (await plain.post("/reset", {"seed": "x"}))[0] == 400


async def test_a_hundred_at_once_are_counted_at_their_peak() -> None:
    async with client(latency="50ms", answers="brief") as opened:
        await asyncio.gather(*(opened.chat.completions.create(**ask(f"n {number}")) for number in range(100)))
        books = await stats(opened)
    assert books["peak_in_flight"] == 100
    assert (books["answered"], books["answered_again"], books["in_flight"]) == (100, 0, 0)
