"""A machine that never saw this program: an empty folder, no settings, no keys."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentic_synth.testing.flags import parse_behaviour
from agentic_synth.testing.serve import SimulatorProcess

MEANT = ("_API_KEY", "_BASE_URL", "_API_BASE", "_PROXY", "_proxy")


@pytest.fixture(autouse=True)
def clean_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in os.environ:
        if name.startswith("SYNTH_") or name.endswith(MEANT):
            monkeypatch.delenv(name)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.setenv("SYNTH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="package")
def simulator() -> Iterator[SimulatorProcess]:
    """A provider in a process of its own; begin its books anew with ``reset``."""
    with SimulatorProcess(parse_behaviour({})) as process:
        yield process
