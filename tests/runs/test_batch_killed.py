"""``kill -9`` at every state of a provider batch: nothing is submitted twice, nothing is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import agentic_synth
from agentic_synth.cache.batches import BatchLedger
from agentic_synth.cache.key import key_of
from agentic_synth.cache.sqlite import SqliteStore
from agentic_synth.testing.behaviour import BatchBehaviour, Behaviour
from agentic_synth.testing.serve import SimulatorProcess
from tests.runs.batch_child import COUNT, POINTS, request

ROOT = Path(__file__).parents[2]


def drive(path: Path, url: str, wire: str, kill_at: str = "") -> int:
    source = Path(next(iter(agentic_synth.__path__))).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(source), str(ROOT)])}
    command = [sys.executable, "-m", "tests.runs.batch_child", str(path), url, wire, kill_at]
    return subprocess.run(command, env=environment, timeout=50, check=False).returncode


@pytest.mark.slow
@pytest.mark.parametrize("wire", ["openai", "anthropic"])
async def test_killed_at_every_state_it_is_paid_once_and_whole(tmp_path: Path, wire: str) -> None:
    behaviour = Behaviour(batches=BatchBehaviour(processing=600), answers="brief")
    with SimulatorProcess(behaviour) as simulator:
        for point in POINTS:
            assert drive(tmp_path, simulator.url, wire, point) == -9, point
        assert drive(tmp_path, simulator.url, wire) == 0
        books = simulator.statistics()
        assert books["batches"]["batches"] == 1
        assert books["batches"]["requests"] == books["batches"]["finished"] == COUNT
        assert books["repeated"] == books["answered_again"] == 0
        assert drive(tmp_path, simulator.url, wire) == 0
        assert simulator.statistics()["batches"]["batches"] == 1
        origin = simulator.url
    store = SqliteStore(tmp_path)
    assert all(store.get(key_of(request(number), origin).draw) for number in range(COUNT))
    (batch,) = BatchLedger(store).batches()
    assert (batch.state, batch.answered) == ("imported", COUNT)
    await store.aclose()
