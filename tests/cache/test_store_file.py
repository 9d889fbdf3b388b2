"""Opening the store's file: where it is, how old, whose, how damaged."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agentic_synth.cache.ledger import Ledger, Run
from agentic_synth.cache.records import as_stored, row_of
from agentic_synth.cache.schema import MIGRATIONS, explain, migrate, network_file_system, store_file
from agentic_synth.cache.sqlite import SqliteStore
from agentic_synth.cache.store import Status
from agentic_synth.errors import StoreError
from tests.cache.cache_examples import answer, ask


@pytest.mark.parametrize(
    ("given", "meant"),
    [("a/b.sqlite", "a/b.sqlite"), ("a/b.db", "a/b.db"), ("a/b", "a/b/store.sqlite"), ("a.b", "a.b/store.sqlite")],
)
def test_a_path_is_a_file_if_named_like_one_else_a_directory(given: str, meant: str, tmp_path: Path) -> None:
    assert store_file(tmp_path / given) == tmp_path / meant


def test_a_directory_that_is_named_like_a_file_is_a_directory(tmp_path: Path) -> None:
    (tmp_path / "x.db").mkdir()
    assert store_file(tmp_path / "x.db") == tmp_path / "x.db" / "store.sqlite"


def test_a_home_is_expanded() -> None:
    assert store_file("~/s.db") == Path.home() / "s.db"


async def test_an_older_file_is_migrated_and_keeps_its_answers(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    row = row_of(ask(), as_stored(answer("from before"), Status.COMPLETE, 5.0, ""))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, path, MIGRATIONS[:1])
        known = len(connection.execute("PRAGMA table_info(answers)").fetchall()) - 1  # after the id
        fields, marks = ", ".join(row._fields[:known]), ", ".join("?" * known)
        connection.execute(f"INSERT INTO answers ({fields}) VALUES ({marks})", row[:known])  # noqa: S608
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    store = SqliteStore(path)
    stored = store.get(ask().draw)
    assert stored is not None
    assert (stored.response.text, stored.created) == ("from before", 5.0)
    ledger = Ledger(store)
    await ledger.begin(Run(id="1", recipe="r", out="o", started=1.0))
    assert [run.id for run in ledger.runs()] == ["1"]
    await store.aclose()


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, path, MIGRATIONS[:1])
        with pytest.raises(sqlite3.OperationalError):
            migrate(connection, path, [*MIGRATIONS, ["CREATE TABLE more (x)", "SELECT wrong"]])
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall() == [("answers",)]


def test_a_newer_file_is_refused_with_the_mend(tmp_path: Path) -> None:
    asyncio.run(SqliteStore(tmp_path / "s.db").aclose())
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(StoreError, match="newer agentic-synth") as caught:
        SqliteStore(tmp_path / "s.db")
    assert "upgrade" in caught.value.mend


@pytest.mark.parametrize("setup", ["CREATE TABLE songs (name)", "PRAGMA application_id = 7"])
def test_a_database_of_another_program_is_left_alone(tmp_path: Path, setup: str) -> None:
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection:
        connection.execute(setup)
    with pytest.raises(StoreError, match="another program"):
        SqliteStore(tmp_path / "s.db")
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'answers'").fetchone() == (0,)


def test_a_file_that_is_no_database_is_damaged_and_says_the_mend(tmp_path: Path) -> None:
    (tmp_path / "s.db").write_bytes(b"not a database at all" * 500)
    with pytest.raises(StoreError, match="damaged") as caught:
        SqliteStore(tmp_path / "s.db")
    assert "move" in caught.value.mend
    assert (tmp_path / "s.db").read_bytes() == b"not a database at all" * 500


_EMPTY_BYTES = 32 * 4_096


async def test_damage_inside_is_told_by_reads_and_writes(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    for number in range(200):
        await store.put(ask(str(number)), answer("x" * 1_000), Status.COMPLETE)
    await store.aclose()
    with store.path.open("r+b") as file:
        file.seek(_EMPTY_BYTES)  # all pages but the first, which hold the schema
        file.write(os.urandom(store.path.stat().st_size - _EMPTY_BYTES))
    store = SqliteStore(tmp_path)
    with pytest.raises(StoreError, match="damaged") as caught:
        store.get(ask("0").draw)
    assert "recover" in caught.value.mend
    with pytest.raises(StoreError, match="damaged"):
        await store.put(ask("new"), answer(), Status.COMPLETE)
    with pytest.raises(StoreError, match="damaged"):
        store.contents()
    await store.aclose()


@pytest.mark.parametrize("place", ["file/store", "/proc/store"])
def test_a_place_where_nothing_can_be_made_is_told_with_the_mend(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be opened for writing") as caught:
        SqliteStore(tmp_path / place)
    assert "--store" in caught.value.mend


@pytest.mark.parametrize(
    ("code", "what", "mend"),
    [
        (sqlite3.SQLITE_FULL, "disk is full", "make room"),
        (sqlite3.SQLITE_BUSY, "another process", "end the other"),
        (sqlite3.SQLITE_READONLY, "cannot be written", "permissions"),
        (sqlite3.SQLITE_IOERR_WRITE, "disk failed", "check the disk"),
        (sqlite3.SQLITE_ERROR, "words of SQLite", "--store"),
    ],
)
def test_every_failure_has_words_and_a_mend(code: int, what: str, mend: str) -> None:
    error = sqlite3.OperationalError("words of SQLite")
    error.sqlite_errorcode = code
    explained = explain(error, Path("/s.db"))
    assert what in explained.message
    assert mend in explained.mend


MOUNTS = r"""
/dev/sda1 / ext4 rw 0 0
server:/a /home nfs4 rw 0 0
/dev/sdb1 /home/me/local ext4 rw 0 0
//win/share /mnt/my\040share cifs rw 0 0
tmpfs /over ext4 rw 0 0
host:/ /over fuse.sshfs rw 0 0
broken
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/x.db", None),
        ("/home/x.db", "nfs4"),
        ("/homeless/x.db", None),
        ("/home/me/local/x.db", None),
        ("/mnt/my share/x.db", "cifs"),
        ("/over/x.db", "fuse.sshfs"),
    ],
)
def test_a_network_file_system_is_known_by_its_mount(tmp_path: Path, path: str, kind: str | None) -> None:
    (tmp_path / "mounts").write_text(MOUNTS)
    assert network_file_system(Path(path), tmp_path / "mounts") == kind


def test_without_a_table_of_mounts_nothing_is_claimed(tmp_path: Path) -> None:
    assert network_file_system(Path("/home"), tmp_path / "none") is None


def test_a_store_on_a_network_file_system_warns(tmp_path: Path) -> None:
    (tmp_path / "mounts").write_text(f"server:/ {tmp_path} nfs rw 0 0\n")
    store = SqliteStore(tmp_path, mounts=tmp_path / "mounts")
    assert ["network file system (nfs)" in warning for warning in store.warnings] == [True]
    asyncio.run(store.aclose())
