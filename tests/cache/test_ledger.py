from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from agentic_synth.cache.ledger import Ledger, Output, Run, RunState, new_run_id
from agentic_synth.cache.memory import MemoryStore
from agentic_synth.cache.process import Process
from agentic_synth.cache.sqlite import SqliteStore
from agentic_synth.cache.store import Status
from agentic_synth.errors import ConfigError
from tests.cache.cache_examples import answer, ask, child

OUT = "/data/o.jsonl"


@pytest.fixture(params=["sqlite", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqliteStore | MemoryStore]:
    made = SqliteStore(tmp_path) if request.param == "sqlite" else MemoryStore()
    yield made
    await made.aclose()


@pytest.fixture
def ledger(store: SqliteStore | MemoryStore) -> Ledger:
    return Ledger(store)


async def _run(ledger: Ledger, *, fresh: bool = False, end: RunState = "complete", out: str = OUT) -> Output:
    """Open *out*, run, and end so; ``running`` is how a killed process leaves it."""
    output = await ledger.open_output(out, fresh=fresh)
    run = Run(id=new_run_id(), recipe="r", out=out, started=1.0, fresh=fresh, epoch=output.epoch)
    await ledger.begin(run)
    if end != "running":
        await ledger.finish(run.id, end, 3, delivered=end in {"complete", "short"})
    return output


async def test_a_run_comes_back_as_it_was_recorded(ledger: Ledger) -> None:
    run = Run(
        id="0a",
        recipe="tickets",
        out=OUT,
        started=5.0,
        rows=10,
        seed=7,
        epoch=2,
        passes=1,
        fresh=True,
        recipe_json='{"rows": 10}',
        settings_json='{"model": "a/b"}',
    )
    await ledger.begin(run)
    assert ledger.run("0a") == run
    await ledger.finish("0a", "short", 8, '{"retries": 1}', delivered=True, at=9.0)
    expected = msgspec.structs.replace(
        run, state="short", accepted=8, finished=9.0, delivered=True, statistics_json='{"retries": 1}'
    )
    assert ledger.run("0a") == expected


async def test_runs_are_listed_newest_first_and_found_by_prefix_or_as_last(ledger: Ledger) -> None:
    assert ledger.runs() == []
    assert ledger.run("last") is None
    for name in ("aab", "aa", "abc", "b%_"):
        await ledger.begin(Run(id=name, recipe="r", out=OUT, started=1.0))
    assert [run.id for run in ledger.runs(3)] == ["b%_", "abc", "aa"]
    found = {name: run.id if (run := ledger.run(name)) else None for name in ("last", "ab", "aa", "b%", "%", "x")}
    assert found == {"last": "b%_", "ab": "abc", "aa": "aa", "b%": "b%_", "%": None, "x": None}
    with pytest.raises(ConfigError, match="several runs begin with 'a'") as caught:
        ledger.run("a")
    assert "more of the id" in caught.value.mend


async def test_an_output_stays_in_its_epoch_until_a_fresh_run(ledger: Ledger) -> None:
    epochs = [(await _run(ledger, fresh=fresh)).epoch for fresh in (False, False, True, False, True, True)]
    assert epochs == [0, 0, 1, 1, 2, 3]


@pytest.mark.parametrize("end", ["running", "interrupted", "failed"])
async def test_a_fresh_run_that_did_not_finish_goes_on_with_the_same_command(ledger: Ledger, end: RunState) -> None:
    assert (await _run(ledger, fresh=True, end=end)).epoch == 1
    assert (await _run(ledger, fresh=True, end=end)).epoch == 1
    assert (await _run(ledger, fresh=False, end=end)).epoch == 1
    assert (await _run(ledger, fresh=True, end="complete")).epoch == 2
    assert (await _run(ledger, fresh=True)).epoch == 3


async def test_an_epoch_is_new_to_every_output(ledger: Ledger) -> None:
    assert (await _run(ledger, fresh=True, out="/a")).epoch == 1
    assert (await _run(ledger, out="/b")).epoch == 0
    assert (await _run(ledger, fresh=True, out="/b")).epoch == 2
    assert (await _run(ledger, out="/a")).epoch == 1


async def test_each_short_run_of_an_epoch_gives_another_pass(ledger: Ledger) -> None:
    ends: list[RunState] = ["short", "interrupted", "short", "complete", "failed"]
    outputs = [await _run(ledger, end=end) for end in ends]
    assert [output.passes for output in outputs] == [0, 1, 1, 2, 2]
    assert [output.delivered_incomplete for output in outputs] == [False, True, True, True, False]
    fresh = await _run(ledger, fresh=True, end="short")
    assert fresh == Output(epoch=1, passes=0, delivered_incomplete=False, delivered_rows=3)
    assert await ledger.open_output(OUT) == Output(epoch=1, passes=1, delivered_incomplete=True, delivered_rows=3)
    assert await ledger.open_output("/another") == Output(0, 0, False)


async def test_clearing_answers_keeps_the_runs(store: SqliteStore | MemoryStore, ledger: Ledger) -> None:
    await _run(ledger, fresh=True)
    await store.put(ask(), answer(), Status.COMPLETE)
    assert store.clear() == 1
    assert [run.epoch for run in ledger.runs()] == [1]


@pytest.mark.slow
async def test_a_run_whose_process_was_killed_is_shown_as_interrupted(tmp_path: Path) -> None:
    with child("begin", str(tmp_path), "1") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        store = SqliteStore(tmp_path)
        ledger = Ledger(store)
        assert [run.state for run in ledger.runs()] == ["running"]
        process.kill()
    assert [run.state for run in ledger.runs()] == ["interrupted"]
    await store.aclose()


def _unlike(**changes: Any) -> Process:
    return Process.present()._replace(**changes)


@pytest.mark.parametrize(
    ("process", "state"),
    [
        (_unlike(), "running"),
        (_unlike(born="1"), "interrupted"),  # the number was given to another process since
        (_unlike(boot="before the restart"), "interrupted"),
        (_unlike(host="elsewhere", pid=999_999_999), "running"),  # what goes on there cannot be seen from here
        (_unlike(pid=999_999_999), "interrupted"),
        (_unlike(pid=999_999_999, born=""), "interrupted"),  # a system without /proc
        (_unlike(born=""), "running"),
        (_unlike(pid=1, born=""), "running"),
    ],
)
async def test_a_run_is_interrupted_only_if_its_process_is_surely_gone(
    store: SqliteStore | MemoryStore, process: Process, state: str
) -> None:
    ledger = Ledger(store)
    await ledger.begin(Run(id="1", recipe="r", out=OUT, started=1.0))
    recorded = msgspec.json.encode(process).decode()
    await store.perform(lambda connection: connection.execute("UPDATE runs SET process = ?", (recorded,)) and None)
    assert [run.state for run in ledger.runs()] == [state]
    await ledger.finish("1", "complete", 1, delivered=True)
    assert [run.state for run in ledger.runs()] == ["complete"]


def test_run_ids_are_short_and_sort_by_time() -> None:
    ids = [new_run_id(now) for now in (1.0, 2.0, 1_700_000_000.5, 1_700_000_001.0, 30_000_000_000.0)]
    assert ids == sorted(ids)
    assert all(re.fullmatch("[0-9a-z]{11}", identity) for identity in [*ids, new_run_id()])
    assert len({new_run_id(5.0) for _ in range(50)}) > 45


async def test_a_part_that_was_delivered_may_be_replaced_by_another_part(ledger: Ledger) -> None:
    for state, delivered, incomplete in [
        ("interrupted", True, True),
        ("complete", True, False),
        ("failed", False, False),
    ]:
        await ledger.open_output(OUT)
        run = Run(id=new_run_id(), recipe="r", out=OUT, started=1.0)
        await ledger.begin(run)
        await ledger.finish(run.id, cast("RunState", state), 3, delivered=delivered)
        assert (await ledger.open_output(OUT)).delivered_incomplete is incomplete
