"""``--mode batch`` and ``synth batches`` as a user meets them: real processes, a real socket."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator

import pytest

from agentic_synth.testing.behaviour import BatchBehaviour, Behaviour
from agentic_synth.testing.serve import SimulatorProcess
from tests.cli.synth_process import Command, Workplace

RECIPE = """\
recipe: notes
rows: 70
columns:
  number: {sequence: {start: 1}}
  note: {prompt: "Write note {{ number }}."}
"""


@pytest.fixture(scope="module")
def provider() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(Behaviour(batches=BatchBehaviour(processing=3_600))) as process:
        yield process


@pytest.fixture
def notes(workplace: Workplace, provider: SimulatorProcess) -> Workplace:
    provider.reset()
    (workplace.folder / "notes.yaml").write_text(RECIPE)
    (workplace.folder / "synth.toml").write_text("[engine]\npoll = 0.6\n")
    return workplace


def command(provider: SimulatorProcess) -> list[str]:
    return ["generate", "notes.yaml", "--mode", "batch", "--out", "n.jsonl", "--base-url", provider.url, "-m", "any"]


@pytest.mark.slow
def test_interrupted_it_says_what_is_left_and_the_same_command_fetches_it(
    notes: Workplace, provider: SimulatorProcess
) -> None:
    with notes.start(*command(provider)) as process:
        deadline = time.monotonic() + 30
        while not provider.statistics()["batches"]["batches"]:
            assert time.monotonic() < deadline
        while "submitted" not in notes.run("batches", "list").out:
            assert time.monotonic() < deadline
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        told = process.stderr.read()
        assert process.wait(timeout=20) == 130, told
    assert "1 batch goes on at the provider" in told
    assert "the same command goes on from here" in told

    listed = notes.run("batches", "list", "--json")
    (batch,) = json.loads(listed.out)
    assert (batch["state"], batch["requests"], batch["answered"]) == ("submitted", 70, 0)
    shown = notes.run("batches", "show", "1")
    assert (shown.code, "running" in shown.out, "70 waiting" in shown.out) == (0, True, True)
    assert json.loads(notes.run("batches", "show", batch["identity"], "--json").out)["provider"]["state"] == "running"

    provider.advance(3_600)
    ended = notes.run(*command(provider))
    assert ended.code == 0, ended.err
    assert len((notes.folder / "n.jsonl").read_text().splitlines()) == 70
    books = provider.statistics()
    assert (books["batches"]["requests"], books["answered_again"]) == (70, 0)
    assert "imported already" in notes.run("batches", "cancel", "1").err


@pytest.mark.slow
def test_called_off_it_keeps_what_was_finished(notes: Workplace, provider: SimulatorProcess) -> None:
    with notes.start(*command(provider)) as process:
        deadline = time.monotonic() + 30
        while "submitted" not in notes.run("batches", "list").out:
            assert time.monotonic() < deadline
        provider.advance(1_800)
        cancelled = notes.run("batches", "cancel", "1")
        assert (cancelled.code, "ends it now" in cancelled.err) == (0, True), cancelled.err
        while provider.statistics()["batches"]["batches"] < 2:
            assert time.monotonic() < deadline
        provider.advance(3_600)
        assert process.wait(timeout=20) == 0
    first = json.loads(notes.run("batches", "list", "--json").out)[1]
    assert 0 < first["answered"] < 70
    books = provider.statistics()
    assert (books["answered"], books["answered_again"]) == (70, 0)


def test_a_dry_run_shows_the_price_of_batches(synth: Command, workplace: Workplace) -> None:
    (workplace.folder / "notes.yaml").write_text(RECIPE)
    asked = ["generate", "notes.yaml", "--dry-run", "-m", "openai/gpt-4.1-mini"]
    usual, half = synth(*asked).out, synth(*asked, "--mode", "batch").out
    assert "batch" not in usual
    assert "dollars are those of the providers' batches" in half
    assert _dollars(half) == pytest.approx(_dollars(usual) / 2, rel=0.05)


def _dollars(text: str) -> float:
    (line,) = (line for line in text.splitlines() if line.startswith("70 rows: "))
    return float(line.partition("about $")[2].partition(",")[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", "notes.yaml", "--mode", "batch"], "offline has no batch API"),
        (["generate", "notes.yaml", "--mode", "night"], "there is no mode 'night'"),
        (["batches", "show", "7"], "there is no batch '7'"),
        (["batches", "cancel", "7"], "there is no batch '7'"),
    ],
)
def test_what_cannot_be_is_wrong_input(
    synth: Command, workplace: Workplace, arguments: list[str], message: str
) -> None:
    (workplace.folder / "notes.yaml").write_text(RECIPE)
    ended = synth(*arguments)
    assert ended.code == 2, ended.err
    assert message in ended.err


def test_no_batches_is_no_error(synth: Command) -> None:
    assert synth("batches", "list").err == "there are no batches yet\n"
    assert json.loads(synth("batches", "list", "--json").out) == []
