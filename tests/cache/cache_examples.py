"""What the tests of the cache ask, answer and look at."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import agentic_synth
from agentic_synth.cache.key import Key, key_of
from agentic_synth.types import Draw, Message, Request, Response, Usage

ORIGIN = "https://api.example.com/v1"
ROOT = Path(__file__).parents[2]


def ask(text: str = "hello", *, sample: int = 0, model: str = "acme/small") -> Key:
    """The key of a plain request."""
    return key_of(Request(model=model, messages=(Message("user", text),), draw=Draw(sample=sample)), ORIGIN)


def answer(text: str = "hi", cost: float | None = 0.25) -> Response:
    """A plain answer."""
    return Response(
        text=text,
        usage=Usage(10, 20, reasoning_tokens=5),
        model="small-1",
        upstream="acme",
        cost=cost,
        tool_calls=({"id": "1", "function": {"name": "f", "arguments": "{}"}},),
        finish="stop",
        seconds=1.5,
        attempts=2,
    )


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the file's write lock, as another process would, so that the writer has to wait."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("COMMIT")


def child(*arguments: str) -> subprocess.Popen[str]:
    """Start ``store_child.py`` in a process of its own."""
    source = Path(next(iter(agentic_synth.__path__))).parent
    return subprocess.Popen(
        [sys.executable, "-m", "tests.cache.store_child", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(source), str(ROOT)])},
        stdout=subprocess.PIPE,
        text=True,
    )
