"""Stopping a run from outside, with real signals and pipes: nothing new is sent, nothing that is paid is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.cli.synth_process import Workplace

RECIPE = """\
recipe: notes
rows: 60
columns:
  number: {sequence: {start: 1}}
  note: {prompt: "Write note {{ number }}."}
"""

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")


class Provider:
    """A simulated provider that takes *latency* for each call, and what it has seen."""

    def __init__(self, url: str) -> None:
        self.url = url

    def statistics(self) -> dict[str, Any]:
        with urllib.request.urlopen(self.url.removesuffix("/v1") + "/stats", timeout=10) as reply:  # noqa: S310
            told: dict[str, Any] = json.load(reply)
        return told


@pytest.fixture
def notes(workplace: Workplace) -> Workplace:
    (workplace.folder / "notes.yaml").write_text(RECIPE)
    return workplace


@pytest.fixture
def provider(workplace: Workplace, request: pytest.FixtureRequest) -> Iterator[Provider]:
    latency = getattr(request, "param", "300ms")
    with workplace.start("simulate", "--port", "0", "--latency", latency) as process:
        assert process.stderr is not None
        yield Provider(process.stderr.readline().split()[-1])
        process.send_signal(signal.SIGINT)
        process.wait(timeout=10)


def command(provider: Provider, *more: str) -> list[str]:
    return ["generate", "notes.yaml", "--base-url", provider.url, "--model", "any", "--stats", "s.json", *more]


def until(process: subprocess.Popen[str], true: Callable[[], bool]) -> None:
    """Wait until that is so, while the process runs."""
    while not true():
        assert process.poll() is None
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.02)


def interrupt(process: subprocess.Popen[str]) -> None:
    """Press Ctrl+C, and wait until it was heard."""
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    while "Ctrl+C again stops at once" not in (line := process.stderr.readline()):
        assert line, "it says what a second Ctrl+C does"


def rows_in(notes: Workplace, name: str) -> int:
    return len((notes.folder / name).read_text().splitlines())


def told(notes: Workplace) -> dict[str, Any]:
    statistics: dict[str, Any] = json.loads((notes.folder / "s.json").read_text())
    return statistics


def test_after_ctrl_c_nothing_new_is_sent_and_what_is_in_flight_is_kept(notes: Workplace, provider: Provider) -> None:
    arguments = command(provider, "--concurrency", "4", "--out", "n.jsonl")
    with notes.start(*arguments) as process:
        until(process, lambda: provider.statistics()["received"] >= 10)
        interrupt(process)
        seen = provider.statistics()["received"]
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    received = provider.statistics()["received"]
    assert received - seen <= 4, "at most what had left already"
    statistics = told(notes)
    assert statistics["state"] == "interrupted"
    assert statistics["rows"]["accepted"] == rows_in(notes, "n.jsonl") == received < 60
    assert statistics["requests"]["attempts"] == received
    assert statistics["requests"]["failures"] == 0, "what was not sent did not fail"
    assert notes.run(*arguments).code == 0
    assert provider.statistics()["received"] == 60, "nothing is paid twice"


@pytest.mark.parametrize("provider", ["60s"], indirect=True)
def test_a_second_ctrl_c_leaves_at_once(notes: Workplace, provider: Provider) -> None:
    with notes.start(*command(provider, "--concurrency", "4", "--out", "n.jsonl")) as process:
        until(process, lambda: provider.statistics()["received"] == 4)
        interrupt(process)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert time.monotonic() - began < 10
    assert process.returncode == 130, err
    assert "interrupted: 0 of 60 rows" in err
    assert provider.statistics()["received"] == 4


def test_ctrl_c_when_all_is_on_its_way_ends_a_complete_run(notes: Workplace, provider: Provider) -> None:
    with notes.start(*command(provider, "--rows", "3", "--concurrency", "4", "--out", "n.jsonl")) as process:
        until(process, lambda: provider.statistics()["received"] == 3)
        interrupt(process)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "done: 3 rows" in err
    assert told(notes)["state"] == "complete"
    assert rows_in(notes, "n.jsonl") == 3


def test_what_is_in_flight_when_the_reader_goes_away_is_stored(notes: Workplace, provider: Provider) -> None:
    with notes.start(*command(provider, "--concurrency", "8")) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())
        process.stdout.close()
        process.wait(timeout=50)
        assert "error" not in process.stderr.read()
    assert process.returncode == 141
    first = provider.statistics()
    assert 8 < first["received"] < 60
    assert told(notes)["requests"]["attempts"] == first["received"] == first["answered"]
    assert notes.run(*command(provider, "--out", "n.jsonl")).code == 0
    assert told(notes)["requests"]["from_store"] == first["received"]
    assert provider.statistics()["received"] == 60, "nothing is paid twice"


@pytest.mark.parametrize("provider", ["10ms"], indirect=True)
def test_a_smaller_part_does_not_take_the_place_of_a_larger_one(notes: Workplace, provider: Provider) -> None:
    limited = command(provider, "--out", "n.jsonl", "--concurrency", "2")
    assert notes.run(*limited, "--budget", "10req").code == 3
    assert rows_in(notes, "n.jsonl") == 10
    ended = notes.run(*limited, "--seed", "9", "--budget", "5req")
    assert (ended.code, rows_in(notes, "n.jsonl")) == (3, 10)
    assert "n.jsonl.partial" in ended.err
    assert rows_in(notes, "n.jsonl.partial") == 5
    ended = notes.run(*limited, "--seed", "9", "--budget", "20req")
    assert (ended.code, rows_in(notes, "n.jsonl")) == (3, 25)
    assert not (notes.folder / "n.jsonl.partial").exists()
