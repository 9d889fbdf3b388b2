"""Leases between engines and between processes: one asks, and who dies or leaves lets the next one in."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from agentic_synth.cache.leases import FileLeases
from agentic_synth.cache.sqlite import SqliteStore
from agentic_synth.stages.cache import Cache
from agentic_synth.types import Message, Request, Response
from tests.cache.cache_examples import ORIGIN, ask, child

ONE, TWO = b"\x01" * 16, b"\xff" * 16


def test_a_lease_keeps_others_out_until_it_is_released(tmp_path: Path) -> None:
    mine, theirs = FileLeases(tmp_path / "leases"), FileLeases(tmp_path / "leases")
    assert mine.take(ONE)
    assert not theirs.take(ONE)
    assert theirs.take(TWO)
    assert not mine.take(TWO)
    mine.release(ONE)
    assert theirs.take(ONE)
    mine.close()
    theirs.close()


def test_what_was_taken_twice_is_held_until_it_is_released_twice(tmp_path: Path) -> None:
    mine, theirs = FileLeases(tmp_path / "leases"), FileLeases(tmp_path / "leases")
    assert mine.take(ONE)
    assert mine.take(ONE)
    mine.release(ONE)
    assert not theirs.take(ONE)
    mine.release(ONE)
    assert theirs.take(ONE)
    mine.close()
    theirs.close()


def test_closing_gives_back_everything_and_leaves_the_others_alone(tmp_path: Path) -> None:
    mine, theirs, third = (FileLeases(tmp_path / "leases") for _ in range(3))
    assert mine.take(ONE)
    assert theirs.take(TWO)
    mine.close()
    mine.close()
    mine.release(ONE)
    assert third.take(ONE)
    assert not third.take(TWO)
    theirs.close()
    third.close()


def test_where_there_can_be_no_leases_everybody_may_ask(tmp_path: Path) -> None:
    nowhere = FileLeases(tmp_path / "missing" / "leases")
    assert nowhere.take(ONE)
    nowhere.release(ONE)
    nowhere.close()


def test_the_file_is_its_owners_alone_and_stays_empty(tmp_path: Path) -> None:
    leases = FileLeases(tmp_path / "leases")
    leases.take(TWO)
    status = (tmp_path / "leases").stat()
    assert (status.st_mode & 0o777, status.st_size) == (0o600, 0)
    leases.close()


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.booleans()), max_size=40))
def test_leases_exclude_as_a_plain_table_would(steps: list[tuple[int, int, bool]]) -> None:
    held: dict[bytes, list[int]] = {}
    with TemporaryDirectory() as folder, ExitStack() as closing:
        engines = [FileLeases(Path(folder) / "leases") for _ in range(3)]
        for engine in engines:
            closing.callback(engine.close)
        for who, number, takes in steps:
            key = bytes([number]) * 16
            owners = held.setdefault(key, [])
            if takes:
                assert engines[who].take(key) == (set(owners) <= {who})
                if set(owners) <= {who}:
                    owners.append(who)
            elif who in owners:
                engines[who].release(key)
                owners.remove(who)


async def test_a_killed_process_holds_up_nobody(tmp_path: Path) -> None:
    """The owner of a lease is killed while it asks: who waits takes over within a second, and asks itself."""
    asked = Request(model="acme/small", messages=(Message("user", "hello"),))

    async def upstream(request: Request, /) -> Response:
        return Response(text="mine")

    store = SqliteStore(tmp_path)
    with child("lease", str(tmp_path)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "leased\n"
        assert not store.leases.take(ask().draw)
        waiting = asyncio.create_task(Cache(store, lambda _: ORIGIN)(asked, upstream))
        done, _ = await asyncio.wait([waiting], timeout=0.2)
        assert not done
        process.kill()
        killed = time.monotonic()
        assert (await waiting).text == "mine"
        assert time.monotonic() - killed < 1.0
    assert process.returncode == -9
    await store.aclose()
