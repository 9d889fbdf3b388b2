"""The exact cache: what it serves, what it stores, and that nobody uses an answer before it is durable."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agentic_synth.cache.key import Key, key_of
from agentic_synth.cache.memory import MemoryStore
from agentic_synth.cache.sqlite import SqliteStore
from agentic_synth.cache.store import ResponseStore, Status
from agentic_synth.errors import BadReply, NotCached, Overloaded, StoreError
from agentic_synth.stages.cache import Cache
from agentic_synth.types import Delta, Draw, Finish, Message, Request, Response, Reuse, Usage
from tests.cache.cache_examples import held

ORIGIN = "https://api.example.com/v1"
END = Delta(finish="stop", usage=Usage(3, 2), model="small-1")


def request(text: str = "hello", **fields: Any) -> Request:
    return Request(model="acme/small", messages=(Message("user", text),), **fields)


class Upstream:
    """The next handler: gives *answers* in turn, the last one for ever, and counts."""

    def __init__(self, *answers: Response | Exception) -> None:
        self.answers = answers
        self.asked: list[Request] = []

    async def __call__(self, asked: Request) -> Response:
        self.asked.append(asked)
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Body:
    """A streamed answer on its way; says whether it was closed."""

    def __init__(self, deltas: Sequence[Delta], error: Exception | None = None) -> None:
        self.closed = 0
        self.running = False
        self._deltas = self._run(deltas, error)

    def __aiter__(self) -> AsyncGenerator[Delta, None]:
        return self._deltas

    async def aclose(self) -> None:
        self.closed += 1
        await self._deltas.aclose()

    async def _run(self, deltas: Sequence[Delta], error: Exception | None) -> AsyncGenerator[Delta, None]:
        self.running = True
        try:
            for delta in deltas:
                yield delta
            if error is not None:
                raise error
        finally:
            self.running = False


class SlowStore(MemoryStore):
    """A disk under the test's hand: nothing is durable before *disk* is set."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = asyncio.Event()
        self.begun = asyncio.Event()

    async def put(
        self, key: Key, response: Response, status: Status, reason: str = "", *, created: float | None = None
    ) -> None:
        self.begun.set()
        await self.disk.wait()
        await super().put(key, response, status, reason, created=created)


class FullDisk(MemoryStore):
    """A disk that takes nothing."""

    async def put(
        self, key: Key, response: Response, status: Status, reason: str = "", *, created: float | None = None
    ) -> None:
        raise StoreError("the disk is full")


def cache(store: ResponseStore, origin: str | None = ORIGIN) -> Cache:
    return Cache(store, lambda _: origin)


async def deltas_of(response: Response) -> list[Delta]:
    assert response.body is not None
    return [delta async for delta in response.body]


async def streamed(*deltas: Delta, store: MemoryStore, error: Exception | None = None) -> tuple[Response, Body]:
    body = Body(deltas, error)
    subject = cache(store)
    response = await subject(request(stream=True), Upstream(Response(finish="other", upstream="acme", body=body)))
    return response, body


LOOKS_UP: dict[Reuse, bool] = {
    "exact": True,
    "replay": True,
    "only_if_cached": True,
    "refresh": False,
    "no_store": False,
    "never": False,
}


@pytest.mark.parametrize("reuse", LOOKS_UP)
async def test_who_is_served_what_is_stored(reuse: Reuse) -> None:
    upstream = Upstream(Response(text="first"), Response(text="second"))
    subject = cache(MemoryStore())
    await subject(request(), upstream)
    again = await subject(request(reuse=reuse), upstream)
    assert (again.text, again.stored) == (("first", True) if LOOKS_UP[reuse] else ("second", False))
    assert len(upstream.asked) == (1 if LOOKS_UP[reuse] else 2)


@pytest.mark.parametrize("reuse", [reuse for reuse in LOOKS_UP if reuse != "only_if_cached"])
async def test_who_stores_what_was_asked(reuse: Reuse) -> None:
    upstream = Upstream(Response(text="first"), Response(text="second"))
    store = MemoryStore()
    subject = cache(store)
    await subject(request(), upstream)
    await subject(request("other", reuse=reuse), upstream)
    served = subject.recall(request("other"))
    assert (served is None) == (reuse in {"no_store", "never"})
    assert len(list(store.export())) == (1 if reuse == "no_store" else 2)


async def test_answers_that_are_never_used_again_are_all_kept_for_audit() -> None:
    store = MemoryStore()
    for text in ("first", "second"):
        await cache(store)(request(reuse="never"), Upstream(Response(text=text)))
    assert sorted(record["response"]["text"] for record in store.export()) == ["first", "second"]


async def test_a_refresh_takes_the_place_of_the_old_answer() -> None:
    upstream = Upstream(Response(text="old"), Response(text="new"))
    subject = cache(MemoryStore())
    await subject(request(), upstream)
    await subject(request(reuse="refresh"), upstream)
    assert (await subject(request(), upstream)).text == "new"


async def test_a_failed_refresh_costs_nothing_that_was_paid_for() -> None:
    upstream = Upstream(Response(text="old"), Response(text="I", finish="length"))
    subject = cache(MemoryStore())
    await subject(request(), upstream)
    await subject(request(reuse="refresh"), upstream)
    assert (await subject(request(), upstream)).text == "old"


async def test_only_if_cached_never_asks() -> None:
    upstream = Upstream(Response(text="paid"))
    with pytest.raises(NotCached, match="acme/small") as caught:
        await cache(MemoryStore())(request(reuse="only_if_cached"), upstream)
    assert upstream.asked == []
    assert caught.value.mend


async def test_another_draw_or_origin_is_another_answer() -> None:
    store, upstream = MemoryStore(), Upstream(*(Response(text=str(number)) for number in range(9)))
    draws = [Draw(), Draw(sample=1), Draw(attempt=1), Draw(lineage="run")]
    texts = [(await cache(store)(request(draw=draw), upstream)).text for draw in draws]
    texts.append((await cache(store, "https://elsewhere.example.com/v1")(request(), upstream)).text)
    assert texts == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize(("finish", "status"), [("length", Status.TRUNCATED), ("refusal", Status.REFUSED)])
async def test_an_unusable_answer_is_kept_but_served_to_a_replay_alone(finish: Finish, status: Status) -> None:
    store, upstream = MemoryStore(), Upstream(Response(text="no", finish=finish), Response(text="yes"))
    subject = cache(store)
    await subject(request(), upstream)
    stored = store.get(key_of(request(), ORIGIN).draw)
    assert stored is not None
    assert stored.status is status
    assert (await subject(request(reuse="replay"), upstream)).text == "no"
    with pytest.raises(NotCached):
        await subject(request(reuse="only_if_cached"), upstream)
    assert (await subject(request(), upstream)).text == "yes"
    assert (await subject(request(), upstream)).text == "yes"
    assert len(upstream.asked) == 2


async def test_a_marked_answer_is_served_to_a_replay_alone() -> None:
    store, upstream = MemoryStore(), Upstream(Response(text="bad"), Response(text="good"))
    subject = cache(store)
    await subject(request(), upstream)
    subject.mark(request(), Status.INVALID, "it does not fit")
    assert subject.recall(request()) is None
    replayed = subject.recall(request(reuse="replay"))
    assert replayed is not None
    assert (replayed.text, replayed.stored) == ("bad", True)
    assert (await subject(request(), upstream)).text == "good"


async def test_marking_what_is_not_stored_changes_nothing() -> None:
    store, upstream = MemoryStore(), Upstream(Response(text="mine"))
    subject = cache(store)
    subject.mark(request(), Status.INVALID, "nobody asked")
    await subject(request(), upstream)
    subject.mark(request(reuse="no_store"), Status.INVALID, "of an answer that was not stored")
    subject.mark(request(draw=Draw(sample=1)), Status.INVALID, "of another draw")
    assert (await subject(request(), upstream)).text == "mine"
    assert len(upstream.asked) == 1


@pytest.mark.parametrize("reuse", LOOKS_UP)
async def test_recall_tells_what_would_be_served(reuse: Reuse) -> None:
    subject = cache(MemoryStore())
    await subject(request(), Upstream(Response(text="stored")))
    recalled = subject.recall(request(reuse=reuse))
    assert (recalled is not None) == LOOKS_UP[reuse]


async def test_the_answer_is_durable_before_the_caller_has_it() -> None:
    store = SlowStore()
    asking = asyncio.create_task(cache(store)(request(), Upstream(Response(text="paid"))))
    await store.begun.wait()
    assert not asking.done()
    store.disk.set()
    assert (await asking).text == "paid"
    assert store.get(key_of(request(), ORIGIN).draw) is not None


async def test_an_answer_that_cannot_be_stored_is_an_error_and_not_a_silent_loss() -> None:
    with pytest.raises(StoreError):
        await cache(FullDisk())(request(), Upstream(Response(text="paid")))
    body = Body([Delta(text="paid"), END])
    response = await cache(FullDisk())(request(stream=True), Upstream(Response(body=body)))
    assert response.body is not None
    deltas = aiter(response.body)
    assert await anext(deltas) == Delta(text="paid")
    with pytest.raises(StoreError):
        await anext(deltas)
    await response.body.aclose()


async def test_a_failure_stores_nothing() -> None:
    store = MemoryStore()
    upstream = Upstream(Overloaded("down", upstream="acme"), Response(text="up"))
    with pytest.raises(Overloaded):
        await cache(store)(request(), upstream)
    assert store.contents().entries == {}
    assert (await cache(store)(request(), upstream)).text == "up"


async def test_where_answers_cost_nothing_the_store_is_left_alone() -> None:
    store, upstream = MemoryStore(), Upstream(Response(text="free"))
    subject = cache(store, origin=None)
    for reuse in LOOKS_UP:
        assert (await subject(request(reuse=reuse), upstream)).stored is False
    subject.mark(request(), Status.INVALID, "whatever")
    assert subject.recall(request()) is None
    assert len(upstream.asked) == len(LOOKS_UP)
    assert store.contents().entries == {}
    assert (store.statistics().hits, store.statistics().misses) == (0, 0)


async def test_a_stream_passes_at_once_but_its_end_waits_for_the_store() -> None:
    store = SlowStore()
    usage = Delta(usage=Usage(3, 2))
    response, _ = await streamed(Delta(text="a"), Delta(text="b"), Delta(finish="stop"), usage, store=store)
    assert response.body is not None
    deltas = response.body.__aiter__()
    assert [await anext(deltas), await anext(deltas)] == [Delta(text="a"), Delta(text="b")]
    ending = asyncio.ensure_future(anext(deltas))
    await store.begun.wait()
    assert not ending.done()
    assert store.get(key_of(request(), ORIGIN).draw) is None
    store.disk.set()
    assert (await ending).finish == "stop"
    assert await anext(deltas) == usage
    with pytest.raises(StopAsyncIteration):
        await anext(deltas)


async def test_a_streamed_answer_is_stored_as_the_whole_that_it_is() -> None:
    store = MemoryStore()
    pieces = [Delta(text="Good "), Delta(reasoning="hm"), Delta(text="day", model="small-1"), END]
    response, _ = await streamed(*pieces, store=store)
    assert await deltas_of(response) == pieces
    plain = await cache(store)(request(), Upstream(BadReply("must not be asked", upstream="acme")))
    assert (plain.text, plain.reasoning, plain.finish) == ("Good day", "hm", "stop")
    assert (plain.usage, plain.model, plain.upstream) == (Usage(3, 2), "small-1", "acme")
    assert plain.stored
    assert plain.body is None


@pytest.mark.parametrize(("finish", "status"), [("length", Status.TRUNCATED), ("refusal", Status.REFUSED)])
async def test_a_streamed_answer_has_a_status_too(finish: Finish, status: Status) -> None:
    store = MemoryStore()
    response, _ = await streamed(Delta(text="no"), Delta(finish=finish), store=store)
    await deltas_of(response)
    stored = store.get(key_of(request(), ORIGIN).draw)
    assert stored is not None
    assert stored.status is status


async def test_tool_calls_are_joined_and_replayed_as_a_stream_that_joins_again() -> None:
    def piece(index: int, arguments: str, **more: str) -> Delta:
        name = {"name": more["name"]} if "name" in more else {}
        fragment = {"index": index, "function": {"arguments": arguments, **name}}
        return Delta(tool_calls=({**fragment, "id": more["id"]} if "id" in more else fragment,))

    store = MemoryStore()
    pieces = [
        piece(0, "", id="a", name="weather"),
        piece(0, '{"city": '),
        piece(7, '{"x"', id="b", name="sum"),
        piece(0, '"Rome"}'),
        piece(7, ": 1}"),
        Delta(finish="tool_calls"),
    ]
    response, _ = await streamed(*pieces, store=store)
    await deltas_of(response)
    replayed = await cache(store)(request(stream=True), Upstream())
    first, last = await deltas_of(replayed)
    assert [(call["index"], call["id"], call["function"]) for call in first.tool_calls] == [
        (0, "a", {"name": "weather", "arguments": '{"city": "Rome"}'}),
        (1, "b", {"name": "sum", "arguments": '{"x": 1}'}),
    ]
    assert last.finish == "tool_calls"


async def test_a_stored_answer_is_replayed_as_a_stream_and_as_often_as_asked() -> None:
    subject = cache(MemoryStore())
    answer = Response(text="hi", reasoning="why", usage=Usage(1, 1), model="small-1")
    await subject(request(), Upstream(answer))
    for _ in range(2):
        response = await subject(request(stream=True), Upstream())
        assert response.stored
        assert await deltas_of(response) == [
            Delta(text="hi", reasoning="why", model="small-1"),
            Delta(finish="stop", usage=Usage(1, 1), model="small-1"),
        ]
        assert response.body is not None
        await response.body.aclose()


async def test_an_abandoned_stream_is_closed_and_not_stored() -> None:
    store = MemoryStore()
    response, body = await streamed(Delta(text="a"), Delta(text="b"), END, store=store)
    assert response.body is not None
    async for _ in response.body:
        break
    assert body.running
    await response.body.aclose()
    await response.body.aclose()
    assert not body.running
    assert body.closed >= 1
    assert store.contents().entries == {}
    assert await deltas_of(response) == [], "nothing comes from a closed stream"


async def test_a_closed_stream_leaves_nothing_for_the_loop_to_finish() -> None:
    response, _ = await streamed(Delta(text="a"), Delta(text="b"), END, store=MemoryStore())
    assert response.body is not None
    await anext(aiter(response.body))
    await response.body.aclose()
    del response
    gc.collect()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_stream_that_was_never_begun_can_be_closed() -> None:
    store = MemoryStore()
    response, body = await streamed(END, store=store)
    assert response.body is not None
    await response.body.aclose()
    assert body.closed == 1
    assert store.contents().entries == {}


async def test_a_stream_that_breaks_is_not_stored() -> None:
    store = MemoryStore()
    response, _ = await streamed(Delta(text="a"), store=store, error=BadReply("cut", upstream="acme"))
    with pytest.raises(BadReply):
        await deltas_of(response)
    assert store.contents().entries == {}


async def test_a_stream_that_never_says_it_is_whole_is_not_stored() -> None:
    store = MemoryStore()
    response, _ = await streamed(Delta(text="a"), store=store)
    assert await deltas_of(response) == [Delta(text="a")]
    assert store.contents().entries == {}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_taker_that_is_cancelled_while_the_answer_is_stored_loses_it_not(tmp_path: Path, stream: bool) -> None:
    store = SqliteStore(tmp_path / "store.sqlite")
    upstream = Upstream(Response(body=Body([Delta(text="paid"), END])) if stream else Response(text="paid"))

    async def take() -> None:
        response = await cache(store)(request(stream=stream), upstream)
        await deltas_of(response)

    with held(store.path):
        taking = asyncio.create_task(take())
        while not store.statistics().waiting:
            await asyncio.sleep(0)
        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking
    await store.aclose()
    again = SqliteStore(tmp_path / "store.sqlite")
    assert (await cache(again)(request(), Upstream())).text == "paid"
    await again.aclose()


async def test_a_stream_that_asks_for_no_store_passes_untouched() -> None:
    store, body = MemoryStore(), Body([Delta(text="a"), END])
    response = Response(body=body)
    passed = await cache(store)(request(stream=True, reuse="no_store"), Upstream(response))
    assert passed is response
    await body.aclose()


async def test_the_stage_hands_the_request_on_as_it_is() -> None:
    upstream = Upstream(Response(text="x"))
    asked = request(priority=3, deadline=5.0)
    await cache(MemoryStore())(asked, upstream)
    assert upstream.asked[0] is asked
    later = msgspec.structs.replace(asked, priority=0, deadline=None)
    await cache(MemoryStore())(later, upstream)
    assert key_of(asked, ORIGIN) == key_of(later, ORIGIN)
