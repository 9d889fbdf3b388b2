"""One suite for both providers' batch APIs, on both HTTP clients, against the simulated provider over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest

from agentic_synth.config import UpstreamConfig
from agentic_synth.errors import (
    AuthFailed,
    BadReply,
    ConfigError,
    ConnectFailed,
    InvalidRequest,
    Overloaded,
    SynthError,
    UnknownModel,
)
from agentic_synth.testing.flags import parse_behaviour
from agentic_synth.testing.serve import simulated_server
from agentic_synth.transport.aiohttp_client import AiohttpClient
from agentic_synth.transport.batches.api import BatchApi, BatchLine, BatchResult, BatchState, ProviderBatch, Submission
from agentic_synth.transport.batches.exchange import NewClient
from agentic_synth.transport.batches.finding import in_doubt, resolve
from agentic_synth.transport.batches.open import batch_api
from agentic_synth.transport.pycurl_client import PycurlClient
from agentic_synth.transport.upstream import HttpUpstream
from agentic_synth.types import Call, Message, Request
from tests.transport.loopback import KEY, Exchange, config_of, serving

WIRES = ("openai", "anthropic")
CLIENTS: dict[str, NewClient] = {"pycurl": PycurlClient, "aiohttp": AiohttpClient}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


class Bench:
    """One batch API of a simulated provider, and a hand on the provider's clock and books."""

    def __init__(self, api: BatchApi, root: str, session: aiohttp.ClientSession) -> None:
        self.api = api
        self._root = root
        self._session = session

    async def advance(self, seconds: float) -> None:
        async with self._session.post(f"{self._root}/advance", json={"seconds": seconds}) as reply:
            assert reply.status == 200

    async def books(self) -> dict[str, Any]:
        async with self._session.get(f"{self._root}/stats") as reply:
            found: dict[str, Any] = await reply.json()
            return found

    async def results(self, batch: ProviderBatch) -> dict[str, BatchResult]:
        return {result.custom_id: result async for result in self.api.results(batch)}


class SharedClock:
    """A clock that is ours and the provider's at once: whoever sleeps lets time pass for both."""

    def __init__(self, at: Bench) -> None:
        self._at = at
        self._now = 0.0

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        self._now += seconds
        await self._at.advance(seconds)


def config(wire: str, url: str) -> UpstreamConfig:
    return config_of(url, wire=wire, max_connections=4)


@asynccontextmanager
async def bench(wire: str, client: NewClient = PycurlClient, **texts: str) -> AsyncIterator[Bench]:
    behaviour = parse_behaviour({"api_key": KEY, **texts})
    async with simulated_server(behaviour, seed=5) as url, aiohttp.ClientSession() as session:
        api = batch_api(config(wire, url), client)
        try:
            yield Bench(api, url.removesuffix("/v1"), session)
        finally:
            await api.aclose()


def ask(text: str, **fields: Any) -> Request:
    return Request(model="openai/test-1", messages=(Message("user", text),), **fields)


def lines(count: int, topic: str = "Question") -> list[BatchLine]:
    return [BatchLine(f"{topic}-{i}", ask(f"{topic} {i}")) for i in range(count)]


def submission(count: int, name: str = "mine", **fields: Any) -> Submission:
    return Submission(name=name, requests=count, began=0.0, **fields)


def owner(*batches: list[BatchLine]) -> Callable[[str], bool]:
    names = {line.custom_id for batch in batches for line in batch}
    return names.__contains__


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("wire", WIRES)
async def test_a_batch_from_submission_to_results(wire: str, client: str) -> None:
    asked = [*lines(50), BatchLine("schema", ask("How many?", schema=SCHEMA))]
    async with bench(wire, CLIENTS[client], batches="processing=1h") as at:
        sent = await at.api.submit("first", iter(asked))
        assert sent.state is BatchState.RUNNING
        assert not sent.results
        assert sent.expires is not None
        assert 80_000 < sent.expires - sent.created < 90_000
        await at.advance(3_601)
        done = await at.api.poll(sent.id)
        assert done.state is BatchState.COMPLETED
        assert done.state.final
        assert (done.counts.succeeded, done.counts.total) == (51, 51)
        found = await at.results(done)
        assert set(found) == {line.custom_id for line in asked}
        answers = [result.response for result in found.values()]
        assert all(answer is not None and answer.usage.output_tokens > 0 for answer in answers)
        structured = found["schema"].response
        assert structured is not None
        assert isinstance(msgspec.json.decode(structured.text)["n"], int)
        assert structured.upstream == "openai/test-1"
        assert await at.results(done) == found
        assert (await at.books())["batches"]["repeated"] == 0


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("structured", [True, False])
async def test_an_item_is_what_the_online_call_would_send(wire: str, structured: bool) -> None:
    sent: list[bytes] = []

    async def record(exchange: Exchange) -> None:
        sent.append(exchange.body)
        await exchange.answer({"error": {"message": "no"}}, status=400)

    request = ask("How many?", schema=SCHEMA, parameters={"temperature": 0.5, "max_tokens": 9})
    async with serving(record) as server:
        settings = msgspec.structs.replace(config(wire, server.url), structured=structured)
        online, api = HttpUpstream(settings), batch_api(settings)
        with pytest.raises(InvalidRequest):
            await online(Call(request=request, model=settings.model))
        with pytest.raises(InvalidRequest):
            await api.submit("b", [BatchLine("x", request)])
        await online.aclose()
        await api.aclose()
    assert sent[0] in sent[1]
    assert len(sent[0]) < api.size(BatchLine("x", request)) < len(sent[0]) + 100


async def test_openai_answers_as_online() -> None:
    async with simulated_server(parse_behaviour({}), seed=5) as url:
        online, api = HttpUpstream(config("openai", url)), batch_api(config("openai", url))
        request = ask("Tell of the sea.")
        reply = (await online(Call(request=request, model="test-1"))).response
        batch = await api.submit("b", [BatchLine("x", request)])
        (result,) = [one async for one in api.results(await api.poll(batch.id))]
        await online.aclose()
        await api.aclose()
    assert result.response is not None
    assert (result.response.text, result.response.usage) == (reply.text, reply.usage)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("end", ["expired", "cancelled"])
async def test_what_is_finished_stays_and_the_rest_can_be_asked_again(wire: str, end: str) -> None:
    texts = "processing=10h,expiry=5h" if end == "expired" else "processing=10h"
    async with bench(wire, batches=texts) as at:
        sent = await at.api.submit("first", lines(40))
        await at.advance(5 * 3_600)
        if end == "cancelled":
            assert (await at.api.cancel(sent.id)).state is BatchState.CANCELLING
            await at.advance(1)
        done = await at.api.poll(sent.id)
        assert done.state == end
        assert getattr(done.counts, end) == 20
        found = await at.results(done)
        assert sum(result.response is not None for result in found.values()) == 20
        assert sum(result.response is None and result.error is None for result in found.values()) == 20


@pytest.mark.parametrize("wire", WIRES)
async def test_cancelling_what_has_ended_says_how_it_ended(wire: str) -> None:
    async with bench(wire) as at:
        sent = await at.api.submit("first", lines(3))
        await at.api.poll(sent.id)
        assert (await at.api.cancel(sent.id)).state is BatchState.COMPLETED


@pytest.mark.parametrize("wire", WIRES)
async def test_requests_that_fail_bring_their_own_errors(wire: str) -> None:
    async with bench(wire, batches="failed=0.5") as at:
        wrong = BatchLine("wrong", Request(model="m", messages=()))
        sent = await at.api.submit("first", [wrong, *lines(30)])
        done = await at.api.poll(sent.id)
        found = await at.results(done)
        errors = {name: result.error for name, result in found.items() if result.error is not None}
        assert len(errors) == done.counts.failed
        assert isinstance(errors.pop("wrong"), InvalidRequest)
        assert errors
        assert all(isinstance(error, Overloaded) and error.retryable for error in errors.values())


@pytest.mark.parametrize("wire", WIRES)
async def test_a_list_is_read_page_by_page_newest_first(wire: str) -> None:
    async with bench(wire) as at:
        names = [(await at.api.submit(f"b{i}", lines(1, f"topic{i}"))).id for i in range(103)]
        assert [batch.id async for batch in at.api.list()] == names[::-1]


@pytest.mark.parametrize("wire", WIRES)
async def test_a_lost_submission_is_found_and_not_sent_twice(wire: str) -> None:
    mine, others = lines(7), lines(7, "Other")
    async with bench(wire, batches="lost=1") as at:
        mark = await at.api.mark()
        with pytest.raises(ConnectFailed) as caught:
            await at.api.submit("mine", mine)
        assert in_doubt(caught.value)
        with pytest.raises(ConnectFailed):
            await at.api.submit("other", others)
        found = await at.api.find(submission(7, mark=mark), owner(mine))
        assert found.batch is not None
        assert set(await at.results(await at.api.poll(found.batch.id))) == {line.custom_id for line in mine}
        assert (await at.books())["batches"]["batches"] == 2


@pytest.mark.parametrize("wire", WIRES)
async def test_a_submission_that_was_refused_is_known_not_to_be_there_after_a_minute(wire: str) -> None:
    async with bench(wire, batches="submit=1") as at:
        other = lines(3, "Other")
        with pytest.raises(Overloaded) as caught:
            await at.api.submit("mine", lines(7))
        assert in_doubt(caught.value)
        clock = SharedClock(at)
        assert await resolve(at.api, submission(7), owner(other), clock) is None
        assert clock.now() == 60


async def test_anthropic_waits_for_the_end_of_a_batch_that_may_be_ours() -> None:
    mine, foreign = lines(7), lines(7, "Foreign")
    async with bench("anthropic", batches="processing=1h,lost=1") as at:
        for name, asked in (("mine", mine), ("foreign", foreign), ("small", lines(2))):
            with pytest.raises(ConnectFailed):
                await at.api.submit(name, asked)
        found = await at.api.find(submission(7), owner(mine))
        assert found.batch is None
        assert len(found.undecided) == 2
        known = frozenset({found.undecided[0].id})
        assert len((await at.api.find(submission(7, known=known), owner(mine))).undecided) == 1
        newest = await at.api.mark()
        assert await at.api.find(submission(7, mark=newest), owner(mine)) == (None, ())
        clock = SharedClock(at)
        batch = await resolve(at.api, submission(7), owner(mine), clock)
        assert clock.now() == 3_600
        assert batch is not None
        assert set(await at.results(batch)) == {line.custom_id for line in mine}


async def test_anthropic_passes_over_foreign_batches_that_have_ended() -> None:
    async with bench("anthropic") as at:
        await at.api.submit("foreign", lines(7, "Foreign"))
        assert await at.api.find(submission(7), owner(lines(7))) == (None, ())


async def test_openai_stops_looking_at_batches_that_are_too_old() -> None:
    async with bench("openai") as at:
        sent = await at.api.submit("mine", lines(1))
        late = Submission(name="other", requests=1, began=sent.created + 7_200)
        assert await at.api.find(late, owner()) == (None, ())


@pytest.mark.parametrize("wire", WIRES)
async def test_a_cut_download_is_an_error_and_can_be_begun_again(wire: str) -> None:
    async with bench(wire, batches="results=0.5") as at:
        sent = await at.api.submit("first", lines(200))
        done = await at.api.poll(sent.id)
        cuts = 0
        found: dict[str, BatchResult] = {}
        while len(found) < 200:
            try:
                async for result in at.api.results(done):
                    found[result.custom_id] = result
            except ConnectFailed:
                cuts += 1
        assert cuts
        assert set(found) == {line.custom_id for line in lines(200)}


@pytest.mark.parametrize("wire", WIRES)
async def test_too_much_for_one_batch_is_refused_before_it_is_sent(wire: str) -> None:
    async with bench(wire) as at:
        most = at.api.limits.requests

        def many() -> Iterator[BatchLine]:
            request = ask("x")
            yield from (BatchLine(f"n{i}", request) for i in range(most + 1))

        with pytest.raises(InvalidRequest, match="at most"):
            await at.api.submit("b", many())
        with pytest.raises(InvalidRequest, match="at least one"):
            await at.api.submit("b", [])
        with pytest.raises(InvalidRequest, match="cannot name"):
            await at.api.submit("b", [BatchLine("not a name", ask("x"))])
        with pytest.raises(InvalidRequest, match="chat"):
            await at.api.submit("b", [BatchLine("a", ask("x", kind="embedding"))])
        assert (await at.books())["batches"]["batches"] == 0


@pytest.mark.parametrize("wire", WIRES)
async def test_failures_are_our_classes(wire: str) -> None:
    async with bench(wire, api_key="another") as at:
        with pytest.raises(AuthFailed) as refused:
            await at.api.poll("batch_1")
        assert not in_doubt(refused.value)
        with pytest.raises(AuthFailed):
            await at.api.submit("b", lines(1))
        with pytest.raises(AuthFailed):
            await at.results(ProviderBatch(id="x", state=BatchState.COMPLETED, results=("x",)))
    async with bench(wire) as at:
        with pytest.raises(UnknownModel) as caught:
            await at.api.poll("batch_404")
        assert "--mode online" in caught.value.mend
    async with bench(wire, batches="poll=1") as at:
        with pytest.raises(Overloaded):
            await anext(aiter(at.api.list()))


async def test_a_batch_whose_file_is_wrong_has_failed_and_says_why() -> None:
    async with bench("openai") as at:
        batch = await at.api.submit("b", [BatchLine("a", ask("x")), BatchLine("a", ask("y"))])
        assert batch.state is BatchState.FAILED
        assert "not unique" in batch.reason
        assert "line 2" in batch.reason
        assert await at.results(batch) == {}


LINES = {
    "openai": (
        b'{"custom_id":"a","response":{"status_code":200,"body":{"choices":[]}},"error":null}\n'
        b'{"custom_id":"b","response":{"status_code":200,"body":{"error":{"message":"m","code":"server_error"}}}}\n'
        b'\n{"custom_id":"c","response":null,"error":{"code":"server_error","message":"it broke"}}'
    ),
    "anthropic": (
        b'{"custom_id":"a","result":{"type":"succeeded","message":{"content":[]}}}\n'
        b'{"custom_id":"b","result":{"type":"succeeded","message":{"type":"error","error":{"type":"api_error"}}}}\n'
        b'\n{"custom_id":"c","result":{"type":"errored","error":{"error":{"type":"api_error","message":"it broke"}}}}'
    ),
}


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("size", [1, 7, 4_096])
async def test_lines_are_read_however_they_are_cut_and_a_bad_answer_is_its_own_error(wire: str, size: int) -> None:
    data = LINES[wire]

    async def drip(exchange: Exchange) -> None:
        await exchange.begin_stream()
        for at in range(0, len(data), size):
            await exchange.piece(data[at : at + size])
        await exchange.raw(b"0\r\n\r\n")

    async with serving(drip) as server:
        api = batch_api(config(wire, server.url))
        batch = ProviderBatch(id="x", state=BatchState.COMPLETED, results=("x",))
        found = {result.custom_id: result.error async for result in api.results(batch)}
        await api.aclose()
    assert isinstance(found["a"], BadReply)
    assert isinstance(found["b"], Overloaded)
    assert isinstance(found["c"], Overloaded)
    assert "it broke" in str(found["c"])


@pytest.mark.parametrize("wire", WIRES)
async def test_what_is_no_result_ends_the_reading(wire: str) -> None:
    async def nonsense(exchange: Exchange) -> None:
        await exchange.answer(b'{"custom_id": 1}\n<html>')

    async with serving(nonsense) as server:
        api = batch_api(config(wire, server.url))
        batch = ProviderBatch(id="x", state=BatchState.COMPLETED, results=("x",))
        with pytest.raises(BadReply, match="batch API cannot be read"):
            await anext(api.results(batch))
        with pytest.raises(BadReply):
            await api.poll("x")
        await api.aclose()


@pytest.mark.parametrize("wire", WIRES)
async def test_results_left_early_close_the_connection(wire: str) -> None:
    async with bench(wire) as at:
        sent = await at.api.submit("first", lines(3_000))
        results = at.api.results(await at.api.poll(sent.id))
        await anext(results)
        await results.aclose()
        assert (await at.api.poll(sent.id)).state.final


def test_other_wire_formats_have_no_batch_api() -> None:
    with pytest.raises(ConfigError, match="no batch API"):
        batch_api(config("gemini", "http://127.0.0.1:1"))


def test_only_a_plain_refusal_leaves_no_doubt() -> None:
    assert in_doubt(SynthError("who knows"))
    assert not in_doubt(InvalidRequest("no"))
