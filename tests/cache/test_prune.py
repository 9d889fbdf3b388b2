"""Pruning lets the right answers go, and no others."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agentic_synth.cache.key import AUDIT, Key, key_of, redraw
from agentic_synth.cache.ledger import Ledger, Run
from agentic_synth.cache.prune import Bounds, Worth, prune_file
from agentic_synth.cache.sqlite import SqliteStore
from agentic_synth.cache.store import Status
from agentic_synth.errors import StoreError
from agentic_synth.types import Draw, Message, Request
from tests.cache.cache_examples import ORIGIN, answer, ask

NOW, DAY = 1_800_000_000.0, 86_400.0


class Filled:
    """A store in a file that is opened, filled and closed by the test."""

    def __init__(self, path: Path) -> None:
        self.file = path / "store.sqlite"
        self.now = NOW

    async def put(self, *keys: Key, status: Status = Status.COMPLETE, cost: float = 0.25, size: int = 100) -> None:
        store = SqliteStore(self.file, wall=lambda: self.now)
        for key in keys:
            await store.put(key, answer("x" * size, cost=cost), status)
        await store.aclose()

    async def ask(self, key: Key, times: int = 1) -> None:
        store = SqliteStore(self.file, wall=lambda: self.now)
        for _ in range(times):
            store.accesses.record(key.draw)
        await store.aclose()

    async def left(self, **keys: Key) -> str:
        """The names of those that are still there."""
        store = SqliteStore(self.file, wall=lambda: self.now)
        found = [name for name, key in keys.items() if store.get(key.draw) is not None]
        await store.aclose()
        return "".join(found)


@pytest.fixture
def filled(tmp_path: Path) -> Filled:
    return Filled(tmp_path)


def remember(filled: Filled, *keys: Key) -> None:
    """As a semantic lookup would leave it: the prompt's words under the key of its answer."""
    with closing(sqlite3.connect(filled.file)) as connection, connection:
        for key in keys:
            values = (b"p", key.draw, NOW, NOW, b"", "words")
            connection.execute(
                "INSERT INTO texts (partition, key, created, used, vector, text) VALUES (?, ?, ?, ?, ?, ?)", values
            )
        connection.execute(
            "INSERT INTO judgements (partition, asked, stored, similarity, right, at) VALUES (?, ?, ?, ?, ?, ?)",
            (b"p", "one", "other", 0.9, 1, NOW),
        )


def remembered(filled: Filled) -> tuple[int, int]:
    """How many prompts can be found by what they mean, and how many pairs were judged."""
    with closing(sqlite3.connect(filled.file)) as connection:
        counts = [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in _SEMANTIC]  # noqa: S608
    return counts[0], counts[1]


_SEMANTIC = ("texts", "judgements")


async def test_the_words_of_what_goes_go_with_it(filled: Filled) -> None:
    keys = [ask(f"q {number}") for number in range(5)]
    await filled.put(*keys)
    remember(filled, *keys)
    assert prune_file(filled.file, Bounds(max_entries=3), NOW).entries == 2
    assert remembered(filled) == (3, 1)
    store = SqliteStore(filled.file, wall=lambda: NOW)
    assert store.clear(model="another") == 0
    assert remembered(filled) == (3, 1)
    assert store.clear() == 3
    assert remembered(filled) == (0, 0)
    await store.aclose()


def drawn(text: str, lineage: str) -> Key:
    messages = (Message("user", text),)
    return key_of(Request(model="acme/small", messages=messages, draw=Draw(lineage)), ORIGIN)


ABC = {name: ask(name) for name in "abc"}


async def test_it_ends_as_soon_as_the_bound_is_kept(filled: Filled) -> None:
    await filled.put(*(ask(str(number)) for number in range(30)))
    told = prune_file(filled.file, Bounds(max_entries=12), NOW)
    assert (told.entries, told.left, told.dollars, told.spared) == (18, 12, 18 * 0.25, 0)
    assert told.reasons == {"worth least": 18}
    assert prune_file(filled.file, Bounds(max_entries=12), NOW).entries == 0


async def test_the_file_becomes_as_small_as_was_asked(filled: Filled) -> None:
    await filled.put(*(ask(str(number)) for number in range(600)), size=5_000)
    before = filled.file.stat().st_size
    wanted = before // 2
    told = prune_file(filled.file, Bounds(max_bytes=wanted), NOW)
    assert 0.8 * wanted < filled.file.stat().st_size <= 1.02 * wanted
    assert 0.4 * before < told.bytes < 0.6 * before
    assert prune_file(filled.file, Bounds(max_bytes=0), NOW).left == 0


async def test_what_can_never_be_served_goes_first(filled: Filled) -> None:
    await filled.put(ABC["a"], status=Status.REFUSED, cost=9.0)
    audit = redraw(ABC["b"], Draw(AUDIT, 5))
    await filled.put(audit, cost=9.0)
    filled.now -= 300 * DAY
    await filled.put(ABC["c"])
    told = prune_file(filled.file, Bounds(max_entries=1), NOW)
    assert told.reasons == {"never served": 2}
    assert await filled.left(audit=audit, **ABC) == "c"


async def test_nothing_goes_while_there_is_room(filled: Filled) -> None:
    await filled.put(ABC["a"], status=Status.INVALID)
    assert prune_file(filled.file, Bounds(max_entries=5, max_bytes=10**9), NOW).entries == 0


async def test_the_too_old_go_whatever_room_there_is(filled: Filled) -> None:
    await filled.put(ABC["a"])
    filled.now -= 100 * DAY
    await filled.put(ABC["b"])
    await filled.ask(ABC["b"], 50)
    told = prune_file(filled.file, Bounds(before=NOW - 90 * DAY), NOW)
    assert told.reasons == {"too old": 1}
    assert await filled.left(**ABC) == "a"


@pytest.mark.parametrize(("worth", "kept"), [("value", "b"), ("lru", "c"), ("lfu", "b"), ("fifo", "a")])
async def test_each_policy_keeps_what_it_values(filled: Filled, worth: Worth, kept: str) -> None:
    filled.now = NOW - 5 * DAY
    await filled.put(ABC["c"], ABC["b"])
    filled.now = NOW - 4 * DAY
    await filled.put(ABC["a"])
    await filled.ask(ABC["b"], 40)
    filled.now = NOW - DAY
    await filled.ask(ABC["c"])
    prune_file(filled.file, Bounds(max_entries=1), NOW, worth=worth)
    assert await filled.left(**ABC) == kept


async def test_of_equally_popular_answers_the_cheap_and_large_go_first(filled: Filled) -> None:
    await filled.put(ABC["a"], cost=0.001)
    await filled.put(ABC["b"], cost=0.25, size=100_000)
    await filled.put(ABC["c"], cost=0.25)
    prune_file(filled.file, Bounds(max_entries=1), NOW)
    assert await filled.left(**ABC) == "c"


async def test_an_old_favourite_is_worth_more_than_what_nobody_asked_since(filled: Filled) -> None:
    filled.now = NOW - 30 * DAY
    await filled.put(ABC["a"])
    filled.now = NOW - 10 * DAY
    await filled.put(ABC["b"])
    filled.now = NOW - DAY
    await filled.ask(ABC["a"], 3)
    prune_file(filled.file, Bounds(max_entries=1), NOW)
    assert await filled.left(**ABC) == "a"


async def begin(filled: Filled, run: Run) -> None:
    store = SqliteStore(filled.file)
    await Ledger(store).begin(run)
    await store.aclose()


async def test_what_a_running_run_draws_from_stays(filled: Filled) -> None:
    mine, other = drawn("a", "7.2/abc"), drawn("b", "7.1")
    await filled.put(mine, other)
    await filled.put(drawn("c", "7.2"), status=Status.INVALID)
    await begin(filled, Run(id="r1", recipe="r", out="o", started=NOW, seed=7, epoch=2))
    told = prune_file(filled.file, Bounds(max_entries=0, before=NOW + DAY), NOW)
    assert (told.entries, told.spared, told.left) == (1, 2, 2)
    assert await filled.left(a=mine, b=other, c=drawn("c", "7.2")) == "ac"


async def test_a_run_whose_process_died_keeps_nothing(filled: Filled) -> None:
    await filled.put(drawn("a", "7.2"))
    await begin(filled, Run(id="r1", recipe="r", out="o", started=NOW, seed=7, epoch=2))
    with closing(sqlite3.connect(filled.file)) as connection:
        (process,) = connection.execute("SELECT process FROM runs").fetchone()
        connection.execute("UPDATE runs SET process = ?", (process.replace(str(os.getpid()), "999999999"),))
        connection.commit()
    assert prune_file(filled.file, Bounds(max_entries=0), NOW).left == 0


async def test_a_dry_run_tells_the_same_and_deletes_nothing(filled: Filled) -> None:
    await filled.put(*ABC.values())
    dry = prune_file(filled.file, Bounds(max_entries=1), NOW, dry_run=True)
    assert await filled.left(**ABC) == "abc"
    assert prune_file(filled.file, Bounds(max_entries=1), NOW) == dry


async def test_runs_and_the_access_log_are_kept(filled: Filled) -> None:
    await filled.put(ABC["a"])
    await filled.ask(ABC["a"])
    await begin(filled, Run(id="r1", recipe="r", out="o", started=NOW, seed=7, epoch=2))
    prune_file(filled.file, Bounds(max_entries=0), NOW)
    with closing(sqlite3.connect(filled.file)) as connection:
        assert connection.execute("SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM accesses)").fetchone() == (
            1,
            1,
        )


async def test_an_open_store_goes_on_beside_it(filled: Filled) -> None:
    await filled.put(*ABC.values())
    store = SqliteStore(filled.file, wall=lambda: NOW)
    assert store.get(ABC["a"].draw) is not None
    assert prune_file(filled.file, Bounds(max_entries=0), NOW).entries == 3
    assert store.get(ABC["a"].draw) is None
    await store.put(ABC["a"], answer("new"), Status.COMPLETE)
    assert store.get(ABC["a"].draw) is not None
    await store.aclose()


async def test_a_damaged_file_is_told_with_a_mend(tmp_path: Path) -> None:
    (tmp_path / "store.sqlite").write_bytes(b"no database" * 1_000)
    with pytest.raises(StoreError, match="damaged"):
        prune_file(tmp_path / "store.sqlite", Bounds(max_entries=0), NOW)
