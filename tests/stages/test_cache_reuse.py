"""Answers that serve another draw than their own: from a pool, or from a stage further in; and waiting for others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agentic_synth.cache.key import key_of
from agentic_synth.cache.memory import MemoryStore
from agentic_synth.cache.pool import Pools
from agentic_synth.cache.sqlite import SqliteStore
from agentic_synth.cache.store import ResponseStore, Status
from agentic_synth.errors import DeadlinePassed, Overloaded
from agentic_synth.stages.cache import Cache
from agentic_synth.testing.clock import FakeClock
from agentic_synth.types import Delta, Draw, Hit, Message, Request, Response, Reuse, Usage

ORIGIN = "https://api.example.com/v1"


def request(text: str = "hello", **fields: Any) -> Request:
    return Request(**{"model": "acme/small", "messages": (Message("user", text),), "dedup": False, **fields})


def drawn(lineage: str, sample: int, **fields: Any) -> Request:
    return request(draw=Draw(lineage, sample), **fields)


class Upstream:
    """Gives another answer each time, and counts."""

    def __init__(self, **fields: Any) -> None:
        self.asked: list[Request] = []
        self.fields = fields

    async def __call__(self, asked: Request, /) -> Response:
        self.asked.append(asked)
        return Response(text=f"answer {len(self.asked)}", cost=0.5, usage=Usage(10, 20), **self.fields)


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ResponseStore]:
    opened: ResponseStore = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path)
    yield opened
    await opened.aclose()


def cache(store: ResponseStore, clock: FakeClock | None = None) -> Cache:
    return Cache(store, lambda _: ORIGIN, clock)


async def test_an_exact_hit_says_so_and_names_its_key(store: ResponseStore) -> None:
    subject = cache(store)
    assert (await subject(request(), Upstream())).hit is None
    again = await subject(request(), Upstream())
    assert again.hit == Hit(kind="exact", key=key_of(request(), ORIGIN).draw.hex())
    assert again.stored


async def test_a_pool_gives_each_answer_of_other_runs_once_and_only_what_is_missing_is_generated(
    store: ResponseStore,
) -> None:
    subject, upstream = cache(store), Upstream()
    for sample in range(3):
        await subject(drawn("1.0", sample), upstream)
    served = [await subject(drawn("2.0", sample, reuse="pool"), upstream) for sample in range(5)]
    assert [response.text for response in served] == [f"answer {number}" for number in (1, 2, 3, 4, 5)]
    kinds = [response.hit.kind if response.hit else "answered" for response in served]
    assert kinds == ["pool", "pool", "pool", "answered", "answered"]
    assert len(upstream.asked) == 5
    # A rerun finds every draw again, and says again where it is from.
    again = [await subject(drawn("2.0", sample, reuse="pool"), upstream) for sample in range(5)]
    assert [response.text for response in again] == [response.text for response in served]
    assert [response.hit for response in again[:3]] == [response.hit for response in served[:3]]
    assert [response.hit.kind for response in again[3:] if response.hit] == ["exact", "exact"]
    assert len(upstream.asked) == 5


async def test_who_comes_first_does_not_matter_to_a_pool(store: ResponseStore) -> None:
    subject, upstream = cache(store), Upstream()
    for sample in range(6):
        await subject(drawn("1.0", sample), upstream)
    order = [4, 1, 5, 0, 3, 2]
    served = await asyncio.gather(*(subject(drawn("2.0", n, reuse="pool"), upstream) for n in order))
    assert [response.text for response in served] == [f"answer {number + 1}" for number in order]


async def test_a_pool_that_is_asked_by_many_at_once_gives_nothing_twice(store: ResponseStore) -> None:
    subject, upstream = cache(store), Upstream()
    for sample in range(20):
        await subject(drawn("1.0", sample), upstream)
    draws = [Draw("2.0/x", sample, attempt) for sample in range(10) for attempt in range(3)]
    served = await asyncio.gather(*(subject(request(draw=draw, reuse="pool"), upstream) for draw in draws))
    assert len({response.text for response in served}) == 30
    assert sum(response.hit is not None for response in served) == 20


async def test_a_resumed_run_takes_nothing_from_the_pool_that_it_has_already(tmp_path: Path) -> None:
    upstream = Upstream()
    store = SqliteStore(tmp_path)
    for sample in range(4):
        await cache(store)(drawn("1.0", sample), upstream)
    first = [(await cache(store)(drawn("2.0", sample, reuse="pool"), upstream)).text for sample in (0, 2)]
    await store.aclose()
    store = SqliteStore(tmp_path)
    subject = cache(store)
    whole = [(await subject(drawn("2.0", sample, reuse="pool"), upstream)).text for sample in range(4)]
    assert whole == ["answer 1", "answer 2", "answer 3", "answer 4"]
    assert first == ["answer 1", "answer 3"]
    await store.aclose()


async def test_a_pool_takes_no_copies_no_rejects_nothing_of_its_own_run_and_no_audit(store: ResponseStore) -> None:
    subject, upstream = cache(store), Upstream()
    await subject(drawn("1.0", 0), upstream)
    await subject(drawn("1.0", 1), upstream)
    subject.mark(drawn("1.0", 1), Status.INVALID, "it does not fit")
    await subject(drawn("1.0/parent", 2), Upstream(finish="length"))
    await subject(drawn("2.0", 7), upstream)
    await subject(request(reuse="never"), upstream)
    await subject(drawn("3.0", 0, reuse="pool"), upstream)
    third = await subject(drawn("3.0", 1, reuse="pool"), upstream)
    assert third.text == "answer 3", "that of run 2"
    served = [await subject(drawn("2.0/x", sample, reuse="pool"), upstream) for sample in range(2)]
    assert [response.text for response in served] == ["answer 1", "answer 5"]
    assert len(upstream.asked) == 5


async def test_an_answer_found_invalid_since_the_pool_was_read_is_passed_over(store: ResponseStore) -> None:
    subject, upstream = cache(store), Upstream()
    for sample in range(3):
        await subject(drawn("1.0", sample), upstream)
    await subject(drawn("2.0", 0, reuse="pool"), upstream)
    subject.mark(drawn("1.0", 1), Status.INVALID, "it does not fit")
    assert (await subject(drawn("2.0", 1, reuse="pool"), upstream)).text == "answer 3"


async def test_a_rejected_copy_is_read_again_by_a_rerun_and_the_original_stays(store: ResponseStore) -> None:
    subject, upstream = cache(store), Upstream()
    await subject(drawn("1.0", 0), upstream)
    await subject(drawn("2.0", 0, reuse="pool"), upstream)
    subject.mark(drawn("2.0", 0, reuse="pool"), Status.INVALID, "this column wants more")
    again = await subject(drawn("2.0", 0, reuse="pool"), upstream)
    assert (again.text, again.hit and again.hit.kind) == ("answer 1", "pool")
    assert (await subject(drawn("1.0", 0), upstream)).stored
    recalled = subject.recall(drawn("2.0", 0, reuse="pool"))
    assert recalled == again


async def test_a_copy_counts_nothing_for_it_was_paid_once(store: ResponseStore) -> None:
    subject, upstream = cache(store), Upstream()
    await subject(drawn("1.0", 0), upstream)
    copy = await subject(drawn("2.0", 0, reuse="pool"), upstream)
    assert (copy.stored, copy.cost) == (True, 0.5), "what it saved"
    held = store.contents()
    assert (held.entries, held.cost, held.input_tokens, held.output_tokens) == ({"complete": 2}, 0.5, 10, 20)


async def test_a_hit_of_a_stage_further_in_is_stored_as_a_copy_so_that_a_rerun_needs_nobody(
    store: ResponseStore,
) -> None:
    hit = Hit(kind="semantic", key="00" * 16, asked="hi", similarity=0.97, probability=0.995)
    told: list[str] = []
    semantic = Upstream(hit=hit, stored=True, feedback=lambda: told.append("wrong"))
    subject = cache(store)
    first = await subject(request(reuse="semantic"), semantic)
    again = await subject(request(reuse="semantic"), semantic)
    assert len(semantic.asked) == 1
    assert again == msgspec.structs.replace(first, feedback=None)
    assert again.hit == hit
    assert store.contents().cost == 0
    first.reject_cache_hit()
    assert told == ["wrong"]
    streamed = await subject(request("other", reuse="semantic", stream=True), semantic)
    assert streamed.body is not None
    assert [delta.text async for delta in streamed.body] == ["answer 2", ""]
    # It is no original: another run's pool passes it over.
    assert (await subject(drawn("2.0", 0, reuse="pool"), Upstream())).hit is None


async def test_a_pool_of_many_answers_is_read_in_full(tmp_path: Path) -> None:
    store, upstream = SqliteStore(tmp_path), Upstream()
    subject = cache(store)
    await asyncio.gather(*(subject(drawn("1.0", sample), upstream) for sample in range(1_500)))
    served = await asyncio.gather(*(subject(drawn("2.0", n, reuse="pool"), upstream) for n in range(1_500)))
    assert len({response.text for response in served}) == 1_500
    assert len(upstream.asked) == 1_500
    await store.aclose()


async def test_a_pool_that_was_let_go_is_read_anew_and_gives_nothing_twice(store: ResponseStore) -> None:
    subject = cache(store)
    prompts = ["a", "b", "c"]
    for prompt in prompts:
        for sample in range(5):
            await subject(drawn("1.0", sample, text=prompt), Upstream())
    pools = Pools(store, most_kept=7)  # room for one of the three
    taken: list[bytes] = []
    for sample in range(6):
        for prompt in prompts:
            asked = drawn("2.0", sample, text=prompt)
            key = key_of(asked, ORIGIN)
            source = await pools.take(key, 0)
            assert (source is None) == (sample == 5)
            if source is not None:
                taken.append(source)
                await store.put(key, Response(hit=Hit(kind="pool", key=source.hex())), Status.COMPLETE)
    assert len(set(taken)) == 15


async def test_who_asks_the_same_in_another_process_is_waited_for(tmp_path: Path) -> None:
    mine, theirs = SqliteStore(tmp_path), SqliteStore(tmp_path)
    clock, upstream = FakeClock(), Upstream()
    asked = request(dedup=True)
    key = key_of(asked, ORIGIN)
    assert theirs.leases.take(key.draw)
    waiting = asyncio.create_task(cache(mine, clock)(asked, upstream))
    await clock.advance(60.0)
    assert not waiting.done()
    await theirs.put(key, Response(text="theirs"), Status.COMPLETE)
    theirs.leases.release(key.draw)
    await clock.advance(1.0)
    assert (await waiting).text == "theirs"
    assert upstream.asked == []
    # Nothing is left behind, on either side.
    assert theirs.leases.take(key.draw)
    await mine.aclose()
    await theirs.aclose()


async def test_nobody_waits_for_ever_nor_past_the_deadline(tmp_path: Path) -> None:
    mine, theirs = SqliteStore(tmp_path), SqliteStore(tmp_path)
    clock, upstream = FakeClock(), Upstream()
    asked = request(dedup=True)
    theirs.leases.take(key_of(asked, ORIGIN).draw)
    hasty = asyncio.create_task(cache(mine, clock)(msgspec.structs.replace(asked, deadline=clock.now() + 5), upstream))
    patient = asyncio.create_task(cache(mine, clock)(asked, upstream))
    await clock.advance(6.0)
    with pytest.raises(DeadlinePassed, match="another process"):
        await hasty
    await clock.advance(300.0)
    assert (await patient).text == "answer 1"
    await mine.aclose()
    await theirs.aclose()


async def test_what_is_there_already_is_served_whoever_holds_the_lease(tmp_path: Path) -> None:
    mine, theirs = SqliteStore(tmp_path), SqliteStore(tmp_path)
    asked = request(dedup=True)
    await cache(mine)(asked, Upstream())
    theirs.leases.take(key_of(asked, ORIGIN).draw)
    assert (await cache(mine)(asked, Upstream())).stored
    await mine.aclose()
    await theirs.aclose()


@pytest.mark.parametrize("asked", [request(), request(dedup=True, reuse="never"), request(dedup=True, reuse="refresh")])
async def test_who_shares_no_call_takes_no_lease(tmp_path: Path, asked: Request) -> None:
    store = SqliteStore(tmp_path)
    await cache(store)(asked, Upstream())
    assert not store.path.with_name(store.path.name + "-leases").exists()
    await store.aclose()


async def test_a_lease_ends_with_its_request_however_that_ends(tmp_path: Path) -> None:
    mine, theirs = SqliteStore(tmp_path), SqliteStore(tmp_path)
    asked = request(dedup=True)
    key = key_of(asked, ORIGIN).draw

    def free() -> bool:
        taken = theirs.leases.take(key)
        if taken:
            theirs.leases.release(key)
        return taken

    async def fails(request: Request, /) -> Response:
        assert not free()
        raise Overloaded("down", upstream="acme")

    with pytest.raises(Overloaded):
        await cache(mine)(asked, fails)
    assert free()

    begun = asyncio.Event()

    async def hangs(request: Request, /) -> Response:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    hanging = asyncio.create_task(cache(mine)(asked, hangs))
    await begun.wait()
    assert not free()
    hanging.cancel()
    await asyncio.gather(hanging, return_exceptions=True)
    assert free()

    class Body:
        async def __aiter__(self) -> AsyncIterator[Delta]:
            yield Delta(text="a")
            yield Delta(finish="stop")

        async def aclose(self) -> None:
            """Nothing is held."""

    async def streams(request: Request, /) -> Response:
        return Response(body=Body())

    response = await cache(mine)(msgspec.structs.replace(asked, stream=True), streams)
    assert response.body is not None
    assert not free(), "a stream holds its lease to its end"
    assert [delta.text async for delta in response.body] == ["a", ""]
    assert free()
    assert (await cache(mine)(asked, fails)).stored
    await mine.aclose()
    await theirs.aclose()


SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "f", "parameters": SCHEMA}}
OTHERS: dict[str, dict[str, Any]] = {
    "a schema": {"schema": SCHEMA},
    "a stricter schema": {"schema": {**SCHEMA, "required": ["a"]}},
    "a tool": {"tools": (TOOL,)},
    "another tool": {"tools": ({**TOOL, "function": {**TOOL["function"], "name": "g"}},)},
    "a forced tool": {"tools": (TOOL,), "tool_choice": "required"},
    "another model": {"model": "acme/large"},
    "another tenant": {"namespace": "b"},
    "another kind": {"kind": "embedding"},
    "a warmer temperature": {"parameters": {"temperature": 1}},
}


@pytest.mark.parametrize("reuse", ["exact", "replay", "pool"])
async def test_what_changes_the_question_is_never_answered_from_another(store: ResponseStore, reuse: Reuse) -> None:
    subject, upstream = cache(store), Upstream()
    await subject(request(), upstream)
    for number, changed in enumerate(OTHERS.values()):
        response = await subject(request(**changed, draw=Draw("2.0"), reuse=reuse), upstream)
        assert (response.stored, response.text) == (False, f"answer {number + 2}")


async def test_a_model_name_that_means_another_place_now_is_another_question(store: ResponseStore) -> None:
    upstream = Upstream()
    await cache(store)(request(), upstream)
    moved = Cache(store, lambda _: "https://elsewhere.example.com/v1")
    assert not (await moved(request(), upstream)).stored


async def test_a_stream_and_a_plain_request_serve_each_other(store: ResponseStore) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": "b"}'}}
    upstream = Upstream(tool_calls=(call,), finish="tool_calls", model="small-1")
    subject = cache(store)
    plain = await subject(request(tools=(TOOL,)), upstream)
    streamed = await subject(request(tools=(TOOL,), stream=True), upstream)
    assert streamed.body is not None
    assert streamed.hit is not None
    first, last = [delta async for delta in streamed.body]
    assert (first.text, first.tool_calls) == (plain.text, ({**call, "index": 0},))
    assert (last.finish, last.usage) == ("tool_calls", plain.usage)
    assert len(upstream.asked) == 1


@pytest.mark.parametrize("seconds", [-1e9, 1e9])
async def test_a_clock_that_was_set_loses_no_answer(tmp_path: Path, seconds: float) -> None:
    walls = [1.7e9, 1.7e9 + seconds]
    for number, wall in enumerate(walls):
        opened = SqliteStore(tmp_path, wall=lambda wall=wall: wall)  # type: ignore[misc]
        response = await cache(opened)(request(), Upstream())
        assert response.stored == (number == 1)
        await opened.aclose()


async def test_an_answer_of_one_process_is_a_hit_in_another_at_once(tmp_path: Path) -> None:
    mine, theirs = SqliteStore(tmp_path), SqliteStore(tmp_path)
    for number in range(50):
        await cache(mine)(request(str(number)), Upstream())
        assert (await cache(theirs)(request(str(number)), Upstream())).stored
    subject, upstream = cache(theirs), Upstream()
    await cache(mine)(request("pooled", draw=Draw("1.0")), Upstream())
    assert (await subject(request("pooled", draw=Draw("2.0"), reuse="pool"), upstream)).text == "answer 1"
    cache(mine).mark(request("0"), Status.INVALID, "it does not fit")
    await mine.perform(lambda connection: None)
    assert not (await cache(theirs)(request("0"), upstream)).stored
    await mine.aclose()
    await theirs.aclose()
