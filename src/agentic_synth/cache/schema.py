"""The file of the response store: where it lies, how it is opened, its tables and their migrations."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypeAlias

from agentic_synth.errors import StoreError

__all__ = ["MIGRATIONS", "Synchronous", "explain", "migrate", "network_file_system", "open_database", "store_file"]

Synchronous: TypeAlias = Literal["normal", "full"]

_APPLICATION_ID = 0x53594E54  # "SYNT"
_BUSY_SECONDS = 30.0
_CACHE_KIB = 4_096
_WAL_LIMIT_BYTES = 64 << 20
_FILE_SUFFIXES = frozenset({".sqlite", ".sqlite3", ".db"})
# fmt: off
_NETWORK_TYPES = frozenset((
    "9p", "afs", "beegfs", "ceph", "cifs", "fuse.gcsfuse", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs",
    "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "smb3", "smbfs", "virtiofs",
))
# fmt: on

MIGRATIONS: Sequence[Sequence[str]] = (
    # An ordinary rowid table with an index on the key: WITHOUT ROWID with blobs writes five times dearer. The small
    # columns stand before the blobs, so that reading them never follows an overflow page.
    (
        """CREATE TABLE answers (
            id INTEGER PRIMARY KEY, key BLOB NOT NULL, spec BLOB NOT NULL, status TEXT NOT NULL, created REAL NOT NULL,
            namespace TEXT NOT NULL, model TEXT NOT NULL, served_by TEXT NOT NULL, input_tokens INTEGER NOT NULL,
            output_tokens INTEGER NOT NULL, cost REAL, reason TEXT NOT NULL, request BLOB NOT NULL,
            response BLOB NOT NULL)""",
        "CREATE UNIQUE INDEX answers_key ON answers (key)",
    ),
    (
        """CREATE TABLE runs (
            number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, recipe TEXT NOT NULL, state TEXT NOT NULL,
            started REAL NOT NULL, finished REAL, out TEXT NOT NULL, rows INTEGER, accepted INTEGER NOT NULL,
            seed INTEGER NOT NULL, epoch INTEGER NOT NULL, passes INTEGER NOT NULL, fresh INTEGER NOT NULL,
            delivered INTEGER NOT NULL, recipe_json TEXT NOT NULL, settings_json TEXT NOT NULL,
            statistics_json TEXT NOT NULL,
            process TEXT NOT NULL)""",
        "CREATE INDEX runs_out ON runs (out)",
        "CREATE TABLE outputs (out TEXT PRIMARY KEY, epoch INTEGER NOT NULL)",
    ),
    (
        # The run an answer was drawn in, and the draw it was copied from: a pool gives no run an answer twice.
        "ALTER TABLE answers ADD COLUMN lineage TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE answers ADD COLUMN source BLOB",
        # What waits for a provider's batch. A request changes hands several times, so its bulk stands in a table of its
        # own: an update rewrites the whole row.
        """CREATE TABLE batches (
            number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, upstream TEXT NOT NULL, origin TEXT NOT NULL,
            state TEXT NOT NULL, requests INTEGER NOT NULL, size_bytes INTEGER NOT NULL, answered INTEGER NOT NULL,
            sealed REAL NOT NULL, began REAL, submitted REAL, ended REAL, closed REAL, mark TEXT NOT NULL,
            identity TEXT NOT NULL, reason TEXT NOT NULL, process TEXT NOT NULL)""",
        "CREATE INDEX batches_state ON batches (state)",
        """CREATE TABLE parked (
            id INTEGER PRIMARY KEY, key BLOB NOT NULL, upstream TEXT NOT NULL, origin TEXT NOT NULL,
            batch INTEGER, tries INTEGER NOT NULL, size_bytes INTEGER NOT NULL)""",
        "CREATE UNIQUE INDEX parked_key ON parked (key)",
        "CREATE INDEX parked_batch ON parked (batch)",
        "CREATE TABLE parked_requests (id INTEGER PRIMARY KEY, schema BLOB, request BLOB NOT NULL)",
        "CREATE TRIGGER parked_gone AFTER DELETE ON parked BEGIN DELETE FROM parked_requests WHERE id = old.id; END",
        # What was asked in words, for semantic reuse: no id is given twice, so what is new has a higher one.
        """CREATE TABLE texts (
            id INTEGER PRIMARY KEY AUTOINCREMENT, partition BLOB NOT NULL, key BLOB NOT NULL, created REAL NOT NULL,
            used REAL NOT NULL, vector BLOB NOT NULL, text TEXT NOT NULL)""",
        "CREATE UNIQUE INDEX texts_key ON texts (key, partition)",
        "CREATE INDEX texts_partition ON texts (partition)",
        "CREATE INDEX texts_used ON texts (used)",
        "CREATE TABLE texts_identity (identity BLOB NOT NULL)",
        "INSERT INTO texts_identity VALUES (randomblob(16))",
        # Pairs of texts of which it is known whether one answer serves both.
        """CREATE TABLE judgements (
            id INTEGER PRIMARY KEY AUTOINCREMENT, partition BLOB NOT NULL, asked TEXT NOT NULL, stored TEXT NOT NULL,
            similarity REAL NOT NULL, right INTEGER NOT NULL, at REAL NOT NULL)""",
        # Which draws are asked for, and how the lookups of each day fared.
        """CREATE TABLE accesses (
            key BLOB PRIMARY KEY, count INTEGER NOT NULL, rank REAL NOT NULL, last REAL NOT NULL, hours BLOB NOT NULL)
            WITHOUT ROWID""",
        """CREATE TABLE lookups (
            day INTEGER PRIMARY KEY, hits INTEGER NOT NULL, misses INTEGER NOT NULL, saved REAL NOT NULL)""",
    ),
    (
        # What was paid in each hour, and beside it what was paid before anybody asked; which draws that was for; and
        # requests that are popular although their answers were pruned.
        """CREATE TABLE spending (
            hour INTEGER PRIMARY KEY, dollars REAL NOT NULL DEFAULT 0, calls INTEGER NOT NULL DEFAULT 0,
            ahead_dollars REAL NOT NULL DEFAULT 0, ahead_calls INTEGER NOT NULL DEFAULT 0)""",
        "CREATE TABLE warmed (key BLOB PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID",
        "CREATE TABLE remembered (key BLOB PRIMARY KEY, lineage TEXT NOT NULL, cost REAL, request BLOB NOT NULL)",
    ),
)
"""Step *n* brings a file from version *n* to *n + 1*; a step that was released is never edited, only followed."""


def store_file(path: str | Path) -> Path:
    """The file meant by *path*: itself if it is named like a database, else ``store.sqlite`` in that directory."""
    given = Path(path).expanduser()
    return given if given.suffix in _FILE_SUFFIXES and not given.is_dir() else given / "store.sqlite"


def open_database(path: Path, synchronous: Synchronous) -> sqlite3.Connection:
    """Open the store's file, made and migrated as needed; what is made is readable by its owner only.

    Raises:
        StoreError: the file cannot be made or opened, is damaged, foreign, or of a newer version.
    """
    _make_file(path)
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        _use_wal(connection)
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute(f"PRAGMA fullfsync = {int(synchronous == 'full')}")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT_BYTES}")
        migrate(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise explain(error, path) from error
    except StoreError:
        connection.close()
        raise
    return connection


def _make_file(path: Path) -> None:
    # A file that exists is not opened here: closing it again would drop, by the rules of POSIX, every lock that this
    # process holds on it through SQLite, and two writers without locks destroy it.
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        if not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise StoreError(
            f"the response store {path} cannot be opened for writing: {error.strerror}",
            mend="choose another place with --store DIRECTORY (or SYNTH_HOME), or correct the permissions",
        ) from error


def _use_wal(connection: sqlite3.Connection) -> None:
    # Two processes that make the same file at once may both fail here at once: SQLite's own busy wait does not cover
    # every step of the change of journal mode.
    give_up = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            threading.Event().wait(0.01)
        else:
            return


def migrate(connection: sqlite3.Connection, path: Path, steps: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Bring the tables to the newest version, in one transaction.

    Raises:
        StoreError: the file belongs to another program, or to a newer version of this one.
    """
    if _version(connection, path, len(steps)) == len(steps):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in steps[_version(connection, path, len(steps)) :]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(steps)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection, path: Path, newest: int) -> int:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != _APPLICATION_ID and (application or tables):
        raise StoreError(
            f"{path} is a database of another program",
            mend="choose another place with --store DIRECTORY",
        )
    if version > newest:
        raise StoreError(
            f"the response store {path} was written by a newer agentic-synth (version {version}, here {newest})",
            mend="upgrade agentic-synth, or choose another place with --store DIRECTORY",
        )
    return int(version)


def explain(error: sqlite3.Error, path: Path) -> StoreError:
    """The error a user understands for one of SQLite's."""
    match _code(error):
        case sqlite3.SQLITE_FULL:
            what, mend = "the disk is full", "make room and start again: everything that was durable is kept"
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            what = f"another process has held it for {_BUSY_SECONDS:.0f} seconds"
            mend = "end the other process, or choose another place with --store DIRECTORY"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            what = "it, or its directory, cannot be written"
            mend = "correct the permissions, or choose another place with --store DIRECTORY (or SYNTH_HOME)"
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            what = "the file is damaged"
            mend = f"move {path} away and start anew; `sqlite3 {path.name} .recover` saves what can be read"
        case sqlite3.SQLITE_IOERR:
            what, mend = "the disk failed", "check the disk (room, quota, cables, network), then start again"
        case _:
            what, mend = str(error), "if it stays, choose another place with --store DIRECTORY"
    return StoreError(f"the response store {path} failed: {what}", mend=mend)


def _code(error: sqlite3.Error) -> int:
    # Extended codes keep the plain code in their low byte. Errors of Python's own binding carry none.
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def network_file_system(path: Path, mounts: Path) -> str | None:
    """The type of the network file system *path* lies on, None for a local one or where that cannot be known."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    here, longest, kind = path.resolve(), -1, ""
    for line in lines:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = Path(fields[1].encode().decode("unicode_escape") if "\\" in fields[1] else fields[1])
        # The last of equal mount points lies on top.
        if here.is_relative_to(point) and len(point.parts) >= longest:
            longest, kind = len(point.parts), fields[2]
    return kind if kind in _NETWORK_TYPES else None
