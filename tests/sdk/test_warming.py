"""Warming from the Python face: on only where the settings say so and a store remembers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agentic_synth import BlockingSynth, Synth
from agentic_synth.config import Config, WarmingConfig

ON = Config(warming=WarmingConfig(enabled=True))


def warming() -> int:
    """The tasks that warm in the background."""
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    return names.count("Warmer.run")


@pytest.mark.parametrize(
    ("config", "store", "count"), [(ON, "store", 1), (ON, ":none:", 0), (Config(), "store", 0)], ids=str
)
async def test_it_is_on_where_asked_and_of_use(tmp_path: Path, config: Config, store: str, count: int) -> None:
    place = store if store == ":none:" else str(tmp_path / store)
    synth = Synth("offline", store=place, config=config)
    async with synth:
        async with synth:
            assert warming() == count, "once, however often it is entered"
        assert warming() == 0
    await synth.aclose()


def test_the_blocking_face_warms_too(tmp_path: Path) -> None:
    async def look() -> int:
        return warming()

    with BlockingSynth("offline", store=str(tmp_path), config=ON) as synth:
        assert synth._portal.call(look()) == 1


async def test_only_what_the_settings_know_by_name_is_connected(tmp_path: Path) -> None:
    async with Synth("m", base_url="http://127.0.0.1:1/v1", store=str(tmp_path), config=Config()) as synth:
        session = synth.session
        assert session._connects("m")
        assert session._connects("other")
        assert session._connects("m@http://127.0.0.1:2/v1")
        assert not session._connects("nobody/knows@")
