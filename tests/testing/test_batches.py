"""The simulated batch APIs over real sockets, driven by the clients their users have: ``openai`` and ``anthropic``."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anthropic
import openai
import pytest

from agentic_synth.errors import ConfigError
from agentic_synth.testing.behaviour import BatchBehaviour, Behaviour
from agentic_synth.testing.flags import parse_batches, parse_behaviour
from agentic_synth.testing.serve import SimulatorProcess, simulated_server

KEY = "sk-simulated"


def asked(text: str) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}]}


def line(name: str, text: str, **fields: Any) -> bytes:
    wanted = {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": asked(text)}
    return json.dumps(wanted | fields).encode()


def params(text: str) -> dict[str, Any]:
    return {**asked(text), "max_tokens": 4_000}


class Bench:
    """A simulated provider, both official clients, and a hand on its clock and books."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        root = url.removesuffix("/v1")
        self.url = url
        self.openai = openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0, timeout=10)
        self.anthropic = anthropic.AsyncAnthropic(base_url=root, api_key=KEY, max_retries=0, timeout=10)
        self._root = root
        self._session = session

    async def advance(self, seconds: float) -> None:
        async with self._session.post(f"{self._root}/advance", json={"seconds": seconds}) as reply:
            assert reply.status == 200

    async def books(self) -> dict[str, Any]:
        async with self._session.get(f"{self._root}/stats") as reply:
            found: dict[str, Any] = await reply.json()
            return found

    async def submit(self, *lines: bytes, **fields: Any) -> openai.types.Batch:
        file = await self.openai.files.create(file=("in.jsonl", b"\n".join(lines)), purpose="batch")
        return await self.openai.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", **fields
        )

    async def lines(self, file: str | None) -> dict[str, Any]:
        assert file is not None
        content = await self.openai.files.content(file)
        return {found["custom_id"]: found for found in map(json.loads, content.text.splitlines())}


@asynccontextmanager
async def bench(seed: int = 3, **texts: str) -> AsyncIterator[Bench]:
    behaviour = parse_behaviour({"api_key": KEY, **texts})
    async with simulated_server(behaviour, seed=seed) as url, aiohttp.ClientSession() as session:
        opened = Bench(url, session)
        async with opened.openai, opened.anthropic:
            yield opened


async def test_openai_answers_what_the_online_call_would() -> None:
    async with bench() as at:
        online = await at.openai.chat.completions.create(**asked("Write about rivers."))
        batch = await at.submit(line("a", "Write about rivers."), line("b", "Write about hills."), metadata={"k": "v"})
        assert batch.metadata == {"k": "v"}
        done = await at.openai.batches.retrieve(batch.id)
        assert (done.status, done.error_file_id) == ("completed", None)
        assert done.request_counts is not None
        assert (done.request_counts.total, done.request_counts.completed) == (2, 2)
        found = await at.lines(done.output_file_id)
        assert set(found) == {"a", "b"}
        body = found["a"]["response"]["body"]
        assert body["choices"][0]["message"]["content"] == online.choices[0].message.content
        assert body["usage"]["prompt_tokens"] == online.usage.prompt_tokens if online.usage else 0
        books = await at.books()
    assert books["batches"] == {"requests": 2, "repeated": 1, "finished": 2, "batches": 1, "files": 1}
    assert (books["answered"], books["answered_again"]) == (3, 1)


async def test_anthropic_answers_and_tells_its_counts_at_the_end() -> None:
    async with bench(batches="processing=1h") as at:
        batches = at.anthropic.messages.batches
        asks = [{"custom_id": name, "params": params(f"Write about {name}.")} for name in "abc"]
        batch = await batches.create(requests=asks)  # type: ignore[arg-type]
        await at.advance(1_800)
        half = await batches.retrieve(batch.id)
        assert (half.processing_status, half.request_counts.processing, half.results_url) == ("in_progress", 3, None)
        await at.advance(1_801)
        done = await batches.retrieve(batch.id)
        assert (done.processing_status, done.request_counts.succeeded) == ("ended", 3)
        found = {one.custom_id: one async for one in await batches.results(batch.id)}
        assert set(found) == {"a", "b", "c"}
        result = found["b"].result
        assert result.type == "succeeded"
        assert result.message.stop_reason == "end_turn"
        assert result.message.content[0].type == "text"
        await batches.delete(batch.id)
        with pytest.raises(anthropic.NotFoundError):
            await batches.retrieve(batch.id)


async def test_an_expired_batch_keeps_what_it_finished() -> None:
    async with bench(batches="processing=10h,expiry=5h") as at:
        batch = await at.submit(*(line(f"n{i}", f"Question {i}") for i in range(40)))
        asks = [{"custom_id": f"n{i}", "params": params(f"Question {i}")} for i in range(40)]
        other = await at.anthropic.messages.batches.create(requests=asks)  # type: ignore[arg-type]
        await at.advance(6 * 3_600)
        done = await at.openai.batches.retrieve(batch.id)
        assert done.status == "expired"
        answered, errors = await at.lines(done.output_file_id), await at.lines(done.error_file_id)
        assert len(answered) == len(errors) == 20
        assert not set(answered) & set(errors)
        assert {one["error"]["code"] for one in errors.values()} == {"batch_expired"}
        counts = (await at.anthropic.messages.batches.retrieve(other.id)).request_counts
        assert (counts.succeeded, counts.expired) == (20, 20)
        kinds = [one.result.type async for one in await at.anthropic.messages.batches.results(other.id)]
        assert (kinds.count("succeeded"), kinds.count("expired")) == (20, 20)
        assert (await at.books())["batches"]["finished"] == 40


async def test_a_cancelled_batch_keeps_what_it_finished_and_cannot_be_cancelled_again() -> None:
    async with bench(batches="processing=10h") as at:
        batch = await at.submit(*(line(f"n{i}", f"Question {i}") for i in range(40)))
        asks = [{"custom_id": f"n{i}", "params": params(f"Ask {i}")} for i in range(40)]
        other = await at.anthropic.messages.batches.create(requests=asks)  # type: ignore[arg-type]
        await at.advance(7_200)
        assert (await at.openai.batches.cancel(batch.id)).status == "cancelling"
        assert (await at.anthropic.messages.batches.cancel(other.id)).processing_status == "canceling"
        await at.advance(1)
        done = await at.openai.batches.retrieve(batch.id)
        assert done.status == "cancelled"
        assert len(await at.lines(done.output_file_id)) == 8
        assert (await at.anthropic.messages.batches.retrieve(other.id)).request_counts.canceled == 32
        with pytest.raises(openai.ConflictError):
            await at.openai.batches.cancel(batch.id)
        with pytest.raises(anthropic.BadRequestError):
            await at.anthropic.messages.batches.cancel(other.id)


async def test_results_come_in_an_order_of_their_own_and_the_same_each_time() -> None:
    async with bench() as at:
        batch = await at.submit(*(line(f"n{i}", f"Question {i}") for i in range(30)))
        file = (await at.openai.batches.retrieve(batch.id)).output_file_id
        first, second = await at.lines(file), await at.lines(file)
        assert list(first) == list(second)
        assert list(first) != [f"n{i}" for i in range(30)]
        told = await at.openai.files.retrieve(file or "")
        assert told.bytes > 30 * 100


async def test_a_share_of_the_requests_fails_and_wrong_ones_do_anyway() -> None:
    async with bench(batches="failed=0.3") as at:
        wrong = line("wrong", "x", body={"model": "m", "messages": []})
        batch = await at.submit(wrong, *(line(f"n{i}", f"Question {i}") for i in range(60)))
        done = await at.openai.batches.retrieve(batch.id)
        errors = await at.lines(done.error_file_id)
        assert done.request_counts is not None
        assert done.request_counts.failed == len(errors)
        assert 8 < len(errors) < 30
        assert errors.pop("wrong")["response"]["status_code"] == 400
        assert {one["response"]["status_code"] for one in errors.values()} == {500}


@pytest.mark.parametrize(
    ("lines", "code", "number"),
    [
        ([b"this is no JSON"], "invalid_json_line", 1),
        ([line("a", "x"), line("a", "y")], "duplicate_custom_id", 2),
        ([line("a", "x", url="/v1/embeddings")], "invalid_url", 1),
        ([b"\n"], "empty_file", None),
    ],
)
async def test_a_wrong_file_fails_as_a_whole(lines: list[bytes], code: str, number: int | None) -> None:
    async with bench() as at:
        batch = await at.submit(*lines)
        assert batch.status == "failed"
        assert batch.errors is not None
        assert batch.errors.data
        assert (batch.errors.data[0].code, batch.errors.data[0].line) == (code, number)
        assert (await at.books())["batches"]["requests"] == 0


async def test_lists_go_page_by_page_newest_first() -> None:
    async with bench() as at:
        names = [(await at.submit(line("a", f"Question {i}"))).id for i in range(5)]
        assert [one.id async for one in at.openai.batches.list(limit=2)] == names[::-1]
        others = []
        for i in range(5):
            asks = [{"custom_id": "a", "params": params(f"Ask {i}")}]
            others.append((await at.anthropic.messages.batches.create(requests=asks)).id)  # type: ignore[arg-type]
        listed = at.anthropic.messages.batches.list
        assert [one.id async for one in listed(limit=2)] == others[::-1]
        before = await listed(limit=2, before_id=others[0])
        assert [one.id for one in before.data] == [others[2], others[1]]
        assert before.has_more


async def test_files_can_be_listed_read_and_deleted() -> None:
    async with bench() as at:
        file = await at.openai.files.create(file=("mine.jsonl", b'{"a": 1}'), purpose="batch")
        assert (file.filename, file.bytes, file.purpose) == ("mine.jsonl", 8, "batch")
        assert [one.id async for one in at.openai.files.list()] == [file.id]
        assert (await at.openai.files.content(file.id)).text == '{"a": 1}'
        assert (await at.openai.files.delete(file.id)).deleted
        with pytest.raises(openai.NotFoundError):
            await at.openai.files.retrieve(file.id)


async def test_every_exchange_can_fail() -> None:
    async with bench(batches="upload=1") as at:
        with pytest.raises(openai.InternalServerError):
            await at.submit(line("a", "x"))
    async with bench(batches="submit=1") as at:
        with pytest.raises(openai.InternalServerError):
            await at.submit(line("a", "x"))
        assert (await at.books())["batches"]["batches"] == 0
    async with bench(batches="poll=1") as at:
        batch = await at.submit(line("a", "x"))
        with pytest.raises(openai.InternalServerError):
            await at.openai.batches.retrieve(batch.id)
        with pytest.raises(anthropic.InternalServerError):
            await at.anthropic.messages.batches.list()
    async with bench(batches="results=1") as at:
        batch = await at.submit(*(line(f"n{i}", "x") for i in range(9)))
        done = await at.openai.batches.retrieve(batch.id)
        with pytest.raises(openai.APIConnectionError):
            await at.lines(done.output_file_id)


async def test_a_lost_submission_is_a_batch_all_the_same() -> None:
    async with bench(batches="lost=1") as at:
        with pytest.raises(openai.APIConnectionError):
            await at.submit(line("a", "x"), metadata={"name": "mine"})
        (batch,) = [one async for one in at.openai.batches.list()]
        assert batch.metadata == {"name": "mine"}
        assert (await at.books())["batches"]["batches"] == 1


@pytest.mark.parametrize("asks", [[], [{"custom_id": "a", "params": params("x")}] * 2, [{"custom_id": "a"}]])
async def test_anthropic_refuses_wrong_orders(asks: list[Any]) -> None:
    async with bench() as at:
        with pytest.raises(anthropic.BadRequestError) as caught:
            await at.anthropic.messages.batches.create(requests=asks)
    assert caught.value.body["type"] == "error"  # type: ignore[index]


async def test_a_wrong_key_is_refused() -> None:
    async with bench() as at:
        with pytest.raises(anthropic.AuthenticationError):
            await at.anthropic.with_options(api_key="other").messages.batches.list()
        with pytest.raises(openai.AuthenticationError):
            await at.openai.with_options(api_key="other").batches.list()


async def test_anthropic_reads_schemas_tools_and_blocks() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    blocks = [{"type": "text", "text": "Count."}]
    tool = {"name": "count", "description": "counts", "input_schema": schema}
    use = {"type": "tool_use", "id": "t", "name": "count", "input": {}}
    turns = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "4"}]},
    ]
    wanted: dict[str, dict[str, Any]] = {
        "schema": {"output_config": {"format": {"type": "json_schema", "schema": schema}}},
        "tool": {"tools": [tool], "tool_choice": {"type": "tool", "name": "count"}},
        "any": {"tools": [tool], "tool_choice": {"type": "any"}},
        "blocks": {"system": blocks, "messages": [{"role": "user", "content": blocks}]},
        "turns": {"messages": turns},
        "short": {"max_tokens": 1},
        "wrong": {"max_tokens": None},
    }
    asks = [{"custom_id": name, "params": {**params("Write a story."), **more}} for name, more in wanted.items()]
    async with bench() as at:
        batch = await at.anthropic.messages.batches.create(requests=asks)  # type: ignore[arg-type]
        found = {one.custom_id: one.result async for one in await at.anthropic.messages.batches.results(batch.id)}
    messages = {name: result.message for name, result in found.items() if result.type == "succeeded"}
    assert set(found) - set(messages) == {"wrong"}
    assert isinstance(json.loads(messages["schema"].content[0].text)["n"], int)  # type: ignore[union-attr]
    assert messages["tool"].content[0].name == messages["any"].content[0].name == "count"  # type: ignore[union-attr]
    assert messages["tool"].stop_reason == "tool_use"
    assert messages["short"].stop_reason == "max_tokens"
    assert messages["blocks"].usage.input_tokens > messages["short"].usage.output_tokens


def test_the_process_advances_its_clock() -> None:
    with SimulatorProcess(Behaviour(batches=BatchBehaviour(processing=60.0))) as simulator:
        simulator.advance(3_600)
        assert simulator.statistics()["batches"]["requests"] == 0
        simulator.reset(batches="processing=1s")
        with pytest.raises(ConfigError):
            simulator.advance(-1)


def test_flags() -> None:
    assert parse_batches("processing=1h, expiry=90s,failed=0.25") == BatchBehaviour(
        processing=3_600, expiry=90, failed=0.25
    )
    for wrong in ("processing=soon", "failed=2", "fail=0.1"):
        with pytest.raises(ConfigError):
            parse_batches(wrong)
