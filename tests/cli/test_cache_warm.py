"""``synth cache warm``: what it would ask, what it asks, and what it keeps when it is stopped."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from agentic_synth.cache.key import key_of
from agentic_synth.cache.prune import Bounds, prune_file
from agentic_synth.cache.sqlite import SqliteStore
from agentic_synth.cache.store import Status
from agentic_synth.types import Message, Request, Response
from tests.cli.synth_process import Workplace

MODEL = "any"


@pytest.fixture
def simulator(workplace: Workplace) -> Iterator[str]:
    """A provider at its base URL."""
    with workplace.start("simulate", "--port", "0", "--latency", "200ms") as process:
        assert process.stderr is not None
        yield f"http://{process.stderr.readline().split('http://')[1].split()[0].rstrip('/')}"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)


def fill(workplace: Workplace, url: str, *, count: int = 5, cost: float | None = 0.5) -> None:
    """Prompts that were asked twice to six times, and whose answers were pruned."""

    async def put() -> None:
        store = SqliteStore(workplace.home / "synth")
        for number in range(count):
            request = Request(model=MODEL, messages=(Message(role="user", content=f"prompt {number}"),))
            key = key_of(request, url)
            await store.put(key, Response(text="x", model=MODEL, upstream="custom", cost=cost), Status.COMPLETE)
            for _ in range(count + 1 - number):
                store.accesses.record(key.draw)
        await store.aclose()
        prune_file(store.path, Bounds(max_entries=0), time.time())

    asyncio.run(put())


def told(workplace: Workplace, *arguments: str) -> dict[str, Any]:
    ended = workplace.run("cache", "warm", *arguments, "--json")
    shown: dict[str, Any] = json.loads(ended.out)
    return shown


def answers(workplace: Workplace) -> int:
    """How many are stored."""
    return sum(json.loads(workplace.run("cache", "stats", "--json").out)["entries"].values())


def test_nothing_stored_and_nothing_to_warm(workplace: Workplace) -> None:
    assert workplace.run("cache", "warm") == (0, "", "nothing is stored yet\n")
    fill(workplace, "http://x", count=0)
    ended = workplace.run("cache", "warm")
    assert (ended.code, ended.out) == (0, "")
    assert "nothing to warm" in ended.err


def test_the_plan_sends_nothing(workplace: Workplace) -> None:
    fill(workplace, "http://127.0.0.1:1/v1")
    shown = told(workplace, "--plan", "--top", "3")
    assert [one["prompt"] for one in shown["requests"]] == ["prompt 0", "prompt 1", "prompt 2"]
    assert (shown["dollars"], shown["unpriced"]) == (1.5, 0)
    assert 2.0 < shown["hits"] <= 3.0
    ended = workplace.run("cache", "warm", "--plan")
    assert ended.code == 0
    assert [line.split()[1:4] for line in ended.out.splitlines()[2:]] == [
        [str(n), "0.5", "pruned"] for n in range(6, 1, -1)
    ]
    assert "5 requests would be asked for about 2.5000 dollars" in ended.err
    assert told(workplace, "--plan", "--model", "other")["requests"] == []


def test_what_was_pruned_is_asked_and_found(workplace: Workplace, simulator: str) -> None:
    fill(workplace, simulator)
    shown = told(workplace, "--base-url", simulator)
    assert shown == {"asked": 5, "found": 5, "dollars": 0.0, "error": ""}
    assert answers(workplace) == 5
    assert "nothing to warm" in workplace.run("cache", "warm", "--base-url", simulator).err


def test_a_budget_stops_it_and_keeps_what_is_there(workplace: Workplace, simulator: str) -> None:
    fill(workplace, simulator)
    ended = workplace.run("cache", "warm", "--base-url", simulator, "--budget", "2req")
    assert ended.code == 3
    assert "of 5 requests: 2 asked" in ended.err
    assert "the budget of 2 req is spent" in ended.err
    assert answers(workplace) == 2
    assert told(workplace, "--base-url", simulator)["found"] == 3


def test_an_upstream_that_fails_is_an_error(workplace: Workplace) -> None:
    fill(workplace, "http://127.0.0.1:1/v1")
    ended = workplace.run("cache", "warm", "--base-url", "http://127.0.0.1:1/v1")
    assert ended.code == 1
    assert "of 5 requests: 5 failed" in ended.err


def test_another_address_than_then_is_left_alone(workplace: Workplace, simulator: str) -> None:
    fill(workplace, "http://elsewhere.example.com/v1")
    ended = workplace.run("cache", "warm", "--base-url", simulator)
    assert ended.code == 0
    assert "of 5 requests: 5 skipped" in ended.err
    assert answers(workplace) == 0


def test_ctrl_c_keeps_what_is_done(workplace: Workplace, simulator: str) -> None:
    fill(workplace, simulator, count=400, cost=None)
    with workplace.start("cache", "warm", "--top", "400", "--base-url", simulator) as process:
        assert process.stderr is not None
        process.stderr.readline()  # the first line of progress
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    done = int(err.split("of 400 requests: ")[1].split()[0])
    assert 0 < done < 400
    assert answers(workplace) >= done
    assert told(workplace, "--top", "400", "--plan", "--model", MODEL)["unpriced"] >= 400 - answers(workplace)
