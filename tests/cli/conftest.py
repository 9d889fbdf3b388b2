"""Each test gets a workplace of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.synth_process import Command, Workplace


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


@pytest.fixture
def synth(workplace: Workplace) -> Command:
    return workplace.run
