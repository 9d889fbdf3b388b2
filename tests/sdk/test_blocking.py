"""The face without ``await``: anywhere, from any thread, and interruptible."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import Any

import pytest

from agentic_synth import BlockingSynth, Synth
from agentic_synth.errors import ConfigError, NotCached, RecipeError
from agentic_synth.sdk.portal import Portal
from agentic_synth.testing.serve import SimulatorProcess
from tests.sdk.sdk_examples import SCHEMA, tickets


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("agentic-synth")]


@pytest.fixture
def portal() -> Iterator[Portal]:
    subject = Portal()
    yield subject
    subject.close(nothing)


async def nothing() -> None:
    pass


def test_every_method_of_the_async_face_that_a_script_needs() -> None:
    with BlockingSynth() as synth:
        reply = synth.complete("Hello", schema=SCHEMA)
        assert set(reply.data) == {"subject", "priority"}
        text = synth.complete("Hello").text
        assert "".join(delta.text for delta in synth.stream("Hello")) == text
        rows = list(synth.generate(tickets(), rows=5))
        assert len(rows) == 5
        run = synth.run(tickets(), rows=5, out="t.jsonl")
        assert run.state == "complete"
        assert synth.estimate(tickets(), rows=5).sampled == 5
        assert synth.statistics()["requests"] > 0
    public = {name for name in vars(Synth) if not name.startswith("_")}
    inner = {"aclose", "batches", "prepare", "execute", "session"}
    assert public - inner <= set(vars(BlockingSynth))


def test_errors_come_out_as_they_are_and_wrong_settings_start_no_thread() -> None:
    before = threads()
    with pytest.raises(ConfigError):
        BlockingSynth("openai/gpt-4.1-mini")
    assert threads() == before
    with BlockingSynth() as synth:
        with pytest.raises(RecipeError):
            next(synth.generate("no-such-recipe"))
        assert list(synth.generate(tickets(), rows=1))


async def test_it_works_where_a_loop_is_running_already() -> None:
    with BlockingSynth() as synth:
        assert synth.complete("Hello").text
        assert len(list(synth.generate(tickets(), rows=3))) == 3


def test_many_threads_may_share_one() -> None:
    with BlockingSynth() as synth, ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda number: synth.complete(f"Number {number}").text, range(40)))
        assert len(set(texts)) == 40
        assert synth.statistics()["requests"] == 40


def test_closing_twice_and_asking_a_closed_one() -> None:
    before = threads()
    synth = BlockingSynth()
    rows = synth.generate(tickets(), rows=50)
    next(rows)
    synth.close()
    synth.close()
    assert threads() == before
    with pytest.raises(RuntimeError, match="closed"):
        synth.complete("Hello")
    with pytest.raises(RuntimeError, match="closed"):
        list(rows)
    assert list(rows) == []


def test_an_iterator_that_is_left_early_stops_the_asking(simulator: SimulatorProcess) -> None:
    simulator.reset(latency="20ms")
    with BlockingSynth("m", base_url=simulator.url, store=":none:", concurrency=2) as synth:
        rows = synth.generate(tickets(), rows=100_000)
        assert next(rows)["number"] == 1
        rows.close()  # type: ignore[attr-defined]
        told = synth.statistics()
        assert told["in_flight"] == 0
        assert synth.complete("Something else").text
        assert synth.statistics()["requests"] == told["requests"] + 1, "nobody asks for rows any more"
        for delta in synth.stream("A story"):
            assert delta is not None
            break
        gc.collect()
        assert synth.statistics()["in_flight"] == 0


def test_an_iterator_that_outlives_its_synth_is_collected_in_silence() -> None:
    with BlockingSynth() as synth:
        rows = synth.generate(tickets(), rows=50)
        next(rows)
    del rows
    gc.collect()


def test_an_iterator_that_is_collected_on_the_loops_own_thread_is_closed(portal: Portal) -> None:
    closed: list[bool] = []

    async def source() -> AsyncGenerator[int, None]:
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    kept: list[Any] = [portal.iterate(source())]
    assert next(kept[0]) == 1

    async def forget() -> None:
        kept.clear()
        gc.collect()

    portal.call(forget())
    portal.call(asyncio.sleep(0))
    portal.call(asyncio.sleep(0))
    assert closed == [True]


def test_the_loops_own_thread_may_not_wait_for_itself(portal: Portal) -> None:
    async def inside() -> None:
        portal.call(nothing())

    with pytest.raises(RuntimeError, match="own thread"):
        portal.call(inside())


def test_closing_frees_a_caller_in_another_thread() -> None:
    subject, begun, ended = Portal(), threading.Event(), []

    async def forever() -> None:
        begun.set()
        await asyncio.Event().wait()

    def wait() -> None:
        try:
            subject.call(forever())
        except CancelledError:
            ended.append("cancelled")

    waiting = threading.Thread(target=wait)
    waiting.start()
    begun.wait()
    order: list[str] = []

    async def last() -> None:
        order.append("last")

    subject.close(last)
    waiting.join(timeout=10)
    assert (ended, order) == (["cancelled"], ["last"])


def interrupting(when: Callable[[], None]) -> None:
    """Press Ctrl+C soon, as far as the main thread can tell."""
    main = threading.main_thread().ident
    assert main is not None

    def press() -> None:
        when()
        signal.pthread_kill(main, signal.SIGINT)

    asyncio.get_running_loop().call_later(0.05, press)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals to threads here")
def test_an_interrupted_call_is_cancelled_and_tidies_up_before_anything_else(portal: Portal) -> None:
    done: list[str] = []

    async def slow() -> None:
        interrupting(lambda: done.append("interrupted"))
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            done.append("tidied up")

    with pytest.raises(KeyboardInterrupt):
        portal.call(slow())
    assert done == ["interrupted", "tidied up"]
    portal.call(nothing())


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals to threads here")
def test_an_interrupted_iterator_is_closed_once(portal: Portal) -> None:
    done: list[str] = []

    async def source() -> AsyncGenerator[int, None]:
        try:
            yield 1
            interrupting(lambda: done.append("interrupted"))
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            done.append("tidied up")

    items = portal.iterate(source())
    assert next(items) == 1
    with pytest.raises(KeyboardInterrupt):
        next(items)
    assert done == ["interrupted", "tidied up"]


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals to threads here")
def test_an_interrupted_completion_leaves_nothing_in_flight(simulator: SimulatorProcess) -> None:
    simulator.reset(latency="30s")
    main = threading.main_thread().ident
    assert main is not None
    with BlockingSynth("m", base_url=simulator.url, store=":none:") as synth:

        def press() -> None:
            while not simulator.statistics()["in_flight"]:
                pass
            signal.pthread_kill(main, signal.SIGINT)

        pressing = threading.Thread(target=press)
        pressing.start()
        with pytest.raises(KeyboardInterrupt):
            synth.complete("Hello")
        pressing.join()
        assert synth.statistics()["in_flight"] == 0
        with pytest.raises(NotCached):
            synth.complete("Hello", reuse="only_if_cached")
