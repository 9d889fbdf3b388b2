"""The store can be looked at, exported and cleared."""

from __future__ import annotations

import asyncio
import json

import pytest

from agentic_synth.cache.key import key_of
from agentic_synth.cache.sqlite import SqliteStore
from agentic_synth.cache.store import Status
from agentic_synth.types import Message, Request, Response, Usage
from tests.cli.synth_process import Workplace

DAY = 86_400.0


def fill(workplace: Workplace, count: int = 3, *, created: float = 1_000 * DAY, model: str = "openai/a") -> None:
    async def put() -> None:
        store = SqliteStore(workplace.home / "synth", wall=lambda: created)
        for number in range(count):
            request = Request(model=model, messages=(Message(role="user", content=f"{model} {number}"),))
            response = Response(text="x" * 500, usage=Usage(10, 20), model="a", upstream="openai", cost=0.5)
            await store.put(key_of(request, "http://x"), response, Status.COMPLETE)
        await store.aclose()

    asyncio.run(put())


def test_an_empty_store_is_no_error(workplace: Workplace) -> None:
    assert workplace.run("cache", "stats") == (0, "", "nothing is stored yet\n")
    assert workplace.run("cache", "export") == (0, "", "0 answers exported\n")
    assert workplace.run("cache", "clear", "--all") == (0, "", "0 answers deleted\n")
    assert workplace.run("runs") == (0, "", "nothing was run yet\n")
    assert not (workplace.home / "synth").exists()


def test_stats(workplace: Workplace) -> None:
    fill(workplace)
    fill(workplace, 1, model="openai/b")
    shown = workplace.run("cache", "stats")
    assert shown.code == 0
    assert "answers  4 (4 complete)" in shown.out
    assert "tokens   40 in, 80 out" in shown.out
    assert "dollars  2.0000" in shown.out
    assert [line.split() for line in shown.out.splitlines()[-2:]] == [["openai/a", "3"], ["openai/b", "1"]]
    told = json.loads(workplace.run("cache", "stats", "--json").out)
    assert told["entries"] == {"complete": 4}
    assert told["models"] == {"openai/a": 3, "openai/b": 1}


def test_export_is_one_record_a_line(workplace: Workplace) -> None:
    fill(workplace)
    ended = workplace.run("cache", "export")
    assert (ended.code, ended.err) == (0, "3 answers exported\n")
    records = [json.loads(line) for line in ended.out.splitlines()]
    assert [record["request"]["messages"][0]["content"] for record in records] == [f"openai/a {n}" for n in range(3)]
    workplace.run("cache", "export", "--out", "answers.jsonl")
    assert (workplace.folder / "answers.jsonl").read_text() == ended.out
    assert workplace.run("cache", "export", "--out", "no/such/folder.jsonl").code == 2


def test_export_into_head_ends_quietly(workplace: Workplace) -> None:
    fill(workplace, 2_000)
    with workplace.start("cache", "export") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        process.wait(timeout=50)
        assert process.stderr.read() == ""
    assert process.returncode == 141, "not everything was written"


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (["--all"], 0),
        (["--older-than", "30d"], 1),
        (["--model", "openai/a"], 1),
        (["--older-than", "30d", "--model", "x"], 4),
    ],
)
def test_clear(workplace: Workplace, arguments: list[str], left: int) -> None:
    fill(workplace)
    fill(workplace, 1, created=4e9, model="openai/b")
    ended = workplace.run("cache", "clear", *arguments)
    assert (ended.code, ended.err) == (0, f"{4 - left} answers deleted\n")
    counted = json.loads(workplace.run("cache", "stats", "--json").out)["entries"]
    assert counted == ({"complete": left} if left else {})


@pytest.mark.parametrize("arguments", [[], ["--older-than", "soon"], ["--older-than", "-3d"], ["--older-than", ""]])
def test_clear_wants_to_know_what(workplace: Workplace, arguments: list[str]) -> None:
    fill(workplace)
    ended = workplace.run("cache", "clear", *arguments)
    assert ended.code == 2
    assert len(ended.err.splitlines()) == 2


def test_another_store_can_be_named(workplace: Workplace) -> None:
    fill(workplace)
    there = str(workplace.home / "synth" / "store.sqlite")
    assert "answers  3" in workplace.run("cache", "stats", "--store", there, variables={"SYNTH_HOME": ""}).out
    assert workplace.run("cache", "stats", "--store", "elsewhere").err == "nothing is stored yet\n"
    assert workplace.run("cache", "stats", "--store", ":none:").code == 2


def test_prune_tells_what_went_and_what_is_left(workplace: Workplace) -> None:
    fill(workplace, 5)
    dry = workplace.run("cache", "prune", "--max-entries", "2", "--dry-run")
    assert dry.code == 0
    assert "3 answers would be deleted (3 worth least)" in dry.err
    assert "once 1.5000 dollars" in dry.err
    told = json.loads(workplace.run("cache", "prune", "--max-entries", "2", "--json").out)
    assert (told["entries"], told["left"], told["dollars"], told["dry_run"]) == (3, 2, 1.5, False)
    assert json.loads(workplace.run("cache", "stats", "--json").out)["entries"] == {"complete": 2}
    assert "2 answers stay" in workplace.run("cache", "prune", "--max-bytes", "1GB").err
    assert "2 too old" in workplace.run("cache", "prune", "--older-than", "30d").err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--max-bytes", "much"],
        ["--max-bytes", "1.2.3GB"],
        ["--older-than", "soon"],
        ["--max-entries", "1", "--policy", "sieve"],
    ],
)
def test_prune_wants_to_know_how_much(workplace: Workplace, arguments: list[str]) -> None:
    fill(workplace)
    ended = workplace.run("cache", "prune", *arguments)
    assert ended.code == 2
    assert len(ended.err.splitlines()) == 2


def test_stats_tell_hits_and_what_is_asked_most(workplace: Workplace) -> None:
    fill(workplace)
    request = Request(model="openai/a", messages=(Message(role="user", content="openai/a 1"),))
    key = key_of(request, "http://x")

    async def ask() -> None:
        store = SqliteStore(workplace.home / "synth")
        for _ in range(3):
            store.get(key.draw)
            store.accesses.record(key.draw)
        store.get(b"unknown")
        await store.aclose()

    asyncio.run(ask())
    shown = workplace.run("cache", "stats", variables={"SYNTH_TTL": "30d"}).out
    assert "lookups  3 hits of 4 (75.0%) in 30 days, 1.5000 dollars saved" in shown
    assert "expire   after 30 days" in shown
    assert shown.splitlines()[-1].split()[0] == "3"
    assert shown.splitlines()[-1].endswith("openai/a 1")
    told = json.loads(workplace.run("cache", "stats", "--json").out)
    assert [one["lookups"] for one in told["popular"]] == [3]
    assert told["popular"][0]["key"] == key.draw.hex()
    assert (told["lookups"]["hits"], told["ttl"]) == (3, None)
