"""Where whole runs happen: a folder of their own, a provider of their own, a process that may be killed."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from agentic_synth.config import Config, EngineConfig
from agentic_synth.sdk.synth import Synth
from agentic_synth.testing.behaviour import Behaviour, Faults, Latency
from agentic_synth.testing.serve import SimulatorProcess

ROOT = Path(__file__).parents[2]
ALPACA = ROOT.parent / "shared" / "data" / "alpaca_seed_tasks.jsonl"
QUICK = EngineConfig(concurrency=16, backoff_base=0.01, backoff_cap=0.1, retry_budget=1.0)
FAULTY = Behaviour(
    latency=Latency(law="lognormal", low=0.02, sigma=0.8),
    faults=Faults(error=0.03, cut=0.02, malformed=0.02, reset=0.02, invalid=0.3, refusal=0.05),
)


class Place:
    """A folder to work in, with a response store of its own."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self.folder = folder
        self.url = url
        folder.mkdir()
        engine = "\n".join(
            f"{name} = {value}" for name, value in msgspec.to_builtins(QUICK).items() if value is not None
        )
        (folder / "synth.toml").write_text(f"[engine]\n{engine.replace('True', 'true').replace('False', 'false')}\n")

    def write(self, name: str, recipe: dict[str, Any]) -> None:
        (self.folder / name).write_text(json.dumps(recipe))

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def rows(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.read(name).splitlines()]

    def synth(self, model: str | None = "any", **options: Any) -> Synth:
        """The same store from inside this process."""
        config = options.pop("config", Config(engine=options.pop("engine", QUICK)))
        url = self.url if model is not None else None
        return Synth(model, base_url=url, store=str(self.folder / "store"), config=config, **options)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """The command line on this place, as a process."""
        upstream = ["--base-url", self.url, "--model", "any"] if self.url else []
        return subprocess.Popen(
            [sys.executable, "-m", "agentic_synth.cli.main", "generate", *arguments, *upstream, "--quiet"],
            cwd=self.folder,
            env={
                "PATH": os.defpath,
                "HOME": str(self.folder),
                "SYNTH_HOME": str(self.folder / "store"),
                "PYTHONPATH": str(ROOT / "src"),
                "LANG": "C.UTF-8",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def finish(self, *arguments: str) -> None:
        """Run to the end."""
        with self.start(*arguments) as process:
            _, told = process.communicate(timeout=50)
        assert process.returncode == 0, told.decode()

    def kill(self, *arguments: str, when: Callable[[], bool]) -> bool:
        """Run until *when* is true and ``kill -9`` it there; false if it was done before."""
        with self.start(*arguments) as process:
            while process.poll() is None and not when():
                with suppress(subprocess.TimeoutExpired):
                    process.wait(0.01)
            process.kill()
            _, told = process.communicate(timeout=50)
        assert process.returncode in (0, -9), told.decode()
        return process.returncode == -9


def answered(simulator: SimulatorProcess) -> int:
    """How many whole answers the provider has sent, and would bill."""
    count: int = simulator.statistics()["answered"]
    return count


def more_than(simulator: SimulatorProcess, rng: random.Random, most: int) -> Callable[[], bool]:
    """True as soon as the provider has answered a random number of further calls."""
    enough = answered(simulator) + rng.randrange(1, most)
    return lambda: answered(simulator) >= enough
