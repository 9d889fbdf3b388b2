"""The response store of the settings in force, opened for a command that only looks at it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from agentic_synth.errors import ConfigError
from agentic_synth.settings import load_config, store_path

if TYPE_CHECKING:
    from agentic_synth.cache.sqlite import SqliteStore

__all__ = ["existing_store", "opened_store"]


def existing_store(store: str | None) -> Path | None:
    """The file of the store that ``--store`` or the settings name; None where nothing has been stored yet."""
    from agentic_synth.cache.schema import store_file  # noqa: PLC0415 - keeps --help fast

    config = load_config({"store.path": store})
    path = store_path(config)
    if path is None:
        raise ConfigError("the settings keep no store (:none:)", mend="name one with --store PATH")
    file = store_file(path)
    return file if file.exists() else None


@asynccontextmanager
async def opened_store(file: Path) -> AsyncIterator[SqliteStore]:
    """The store in *file*, closed at the end."""
    from agentic_synth.cache.sqlite import SqliteStore  # noqa: PLC0415 - keeps --help fast

    store = SqliteStore(file)
    try:
        yield store
    finally:
        await store.aclose()
