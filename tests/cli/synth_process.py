"""The command as a user runs it: a process of its own, in an empty folder, with a clean environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple, Protocol

SOURCES = Path(__file__).parents[2] / "src"


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


class Command(Protocol):
    """Runs ``synth`` with arguments; *variables* are added to its environment."""

    def __call__(self, *arguments: str, variables: dict[str, str] | None = None, stdin: str | None = None) -> Ended: ...


class Workplace:
    """An empty folder to work in, and the environment of a machine that never saw this program."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.home = folder / "home"
        self.folder.mkdir()
        self.home.mkdir()
        self.environment = {
            "PATH": os.defpath,
            "HOME": str(self.home),
            "SYNTH_HOME": str(self.home / "synth"),
            "PYTHONPATH": str(SOURCES),
            "PYTHONWARNINGS": "error",
            "COLUMNS": "100",
            "LANG": "C.UTF-8",
        }

    def start(self, *arguments: str, variables: dict[str, str] | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "agentic_synth.cli.main", *arguments],
            cwd=self.folder,
            env=self.environment | (variables or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def run(self, *arguments: str, variables: dict[str, str] | None = None, stdin: str | None = None) -> Ended:
        with self.start(*arguments, variables=variables) as process:
            out, err = process.communicate(stdin, timeout=50)
        assert "Traceback" not in err, err
        return Ended(process.returncode, out, err)
