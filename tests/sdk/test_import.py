"""Importing the package costs next to nothing, and naming ``Synth`` loads nothing that a plain question needs not."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "src"
HEAVY = ("pydantic", "jinja2", "pyarrow", "pycurl", "mimesis", "rich", "typer", "uvicorn", "aiohttp", "yaml")


def python(code: str) -> str:
    environment = {"PATH": os.defpath, "PYTHONPATH": str(SOURCES)}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.parametrize(
    "statement",
    [
        "import agentic_synth",
        "from agentic_synth import Synth, BlockingSynth, SynthError, Message",
        "import agentic_synth; agentic_synth.Synth('offline', store=':none:')",
    ],
)
def test_nothing_heavy_is_loaded(statement: str) -> None:
    assert python(f"{statement}; import sys; print([name for name in {HEAVY} if name in sys.modules])") == "[]\n"


def seconds(code: str) -> float:
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        python(code)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


@pytest.mark.slow
def test_the_import_adds_little_to_the_start_of_python() -> None:
    assert seconds("import agentic_synth") < 2 * seconds("pass") + 0.1


def test_the_public_names_are_all_there() -> None:
    import agentic_synth  # noqa: PLC0415

    for name in agentic_synth.__all__:
        assert getattr(agentic_synth, name) is not None
    assert dir(agentic_synth) == sorted(agentic_synth.__all__)
    with pytest.raises(AttributeError, match="Sinth"):
        _ = agentic_synth.Sinth
