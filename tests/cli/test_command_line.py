"""The command as a whole: help, version, wrong usage, and how errors leave the process."""

from __future__ import annotations

import resource
import socket
from pathlib import Path

import pytest

from tests.cli.synth_process import Command, Workplace

COMMANDS = ["generate", "preview", "check", "show", "runs", "init", "doctor", "models", "cache", "report", "simulate"]


def test_help_teaches(synth: Command) -> None:
    shown = synth("--help")
    assert shown.code == 0
    assert shown.err == ""
    assert "synth generate structured --rows 5" in shown.out
    for command in COMMANDS:
        assert f"\n  {command} " in shown.out


def test_help_is_quick_because_nothing_heavy_is_imported(workplace: Workplace) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    loaded = workplace.run("--help", variables={"PYTHONPROFILEIMPORTTIME": "1"}).err
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    for heavy in ("pyarrow", "pydantic", "jinja2", "rich", "mimesis", "pycurl", "asyncio.base_events", "sqlite3"):
        assert f" {heavy}\n" not in loaded, heavy
    # CPU time, which a busy machine does not stretch; tracing the imports costs some of it.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_examples(synth: Command, command: str) -> None:
    shown = synth(command, "-h")
    assert shown.code == 0
    assert f"Usage: synth {command}" in shown.out
    if command != "cache":
        assert f"    synth {command}" in shown.out


def test_version(synth: Command) -> None:
    shown = synth("--version")
    assert (shown.code, shown.out.split()[0]) == (0, "agentic-synth")


def test_no_arguments_show_the_help(synth: Command) -> None:
    shown = synth()
    assert shown.code == 2
    assert "Commands:" in shown.out + shown.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["simulat"], "No such command 'simulat'"),
        (["runs", "--limt", "3"], "No such option"),
        (["runs", "--limit", "many"], "--limit"),
        (["simulate", "--port", "99999"], "--port"),
        (["generate"], "Missing argument 'RECIPE'"),
        (
            ["generate", "structured", "--http", "3"],
            "error: --http: '3' is not one of its values\n  write auto, 1 or 2",
        ),
    ],
)
def test_wrong_usage_is_2_and_on_stderr(synth: Command, arguments: list[str], told: str) -> None:
    ended = synth(*arguments)
    assert ended.code == 2
    assert ended.out == ""
    assert told in ended.err


def test_a_wrong_setting_is_2_with_its_place_and_mend(workplace: Workplace) -> None:
    (workplace.folder / "synth.toml").write_text("[engine]\nconcurency = 3\n")
    ended = workplace.run("doctor")
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.splitlines() == [
        f"error: {workplace.folder / 'synth.toml'}: there is no setting `engine.concurency`",
        "  did you mean `engine.concurrency`?",
    ]


def test_a_port_that_is_taken_is_said_once(workplace: Workplace) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = workplace.run("simulate", "--port", place.rpartition(":")[2])
    assert ended.code == 2
    assert ended.err.splitlines()[0] == f"error: cannot listen on {place}: address already in use"


def test_a_wrong_dotenv_is_an_error_and_no_fault(workplace: Workplace) -> None:
    (workplace.folder / ".env").write_bytes(b"\xff\xfe=\x00")
    ended = workplace.run("doctor", variables={"SYNTH_DEBUG": "1"})
    assert ended.code == 2
    assert ".env" in ended.err


def test_debug_shows_where(workplace: Workplace) -> None:
    with workplace.start("report", "nothing", variables={"SYNTH_DEBUG": "1"}) as process:
        _, err = process.communicate(timeout=50)
    assert process.returncode == 2
    assert "Traceback" in err
    assert "ConfigError" in err


def test_shell_completion_names_the_commands(synth: Command) -> None:
    asked = {"_SYNTH_COMPLETE": "complete_bash", "COMP_WORDS": "synth ", "COMP_CWORD": "1"}
    completed = synth(variables=asked)
    assert set(COMMANDS) <= set(completed.out.split())


def test_init_writes_and_never_overwrites(workplace: Workplace) -> None:
    first = workplace.run("init")
    assert first.code == 0
    assert first.out == ""
    assert "synth generate tickets.yaml" in first.err
    recipe = workplace.folder / "tickets.yaml"
    recipe.write_text("mine")
    (workplace.folder / "synth.toml").unlink()
    second = workplace.run("init")
    assert second.code == 0
    assert recipe.read_text() == "mine"
    assert "kept  tickets.yaml" in second.err
    assert (workplace.folder / "synth.toml").exists()


def test_init_makes_its_folder_and_says_where_it_cannot(workplace: Workplace) -> None:
    assert workplace.run("init", "deep/er").code == 0
    assert (workplace.folder / "deep" / "er" / "tickets.yaml").exists()
    (workplace.folder / "file").write_text("")
    ended = workplace.run("init", "file")
    assert ended.code == 2
    assert ended.err.startswith("error: cannot write into file:")


def test_the_settings_that_init_writes_are_valid(workplace: Workplace) -> None:
    workplace.run("init")
    file = workplace.folder / "synth.toml"
    lines = [line.removeprefix("# ") if "=" in line or "[" in line else line for line in file.read_text().splitlines()]
    file.write_text("\n".join(line for line in lines if not line.startswith(("Settings", "Keys", "without"))))
    shown = workplace.run("doctor")
    assert "engine.concurrency = 64" in shown.out, shown.err
    assert "upstreams.lab.base_url = http://lab:8000/v1" in shown.out
    assert "prices.lab/my-model.input = 0.2" in shown.out
    assert str(Path("work") / "answers" / "store.sqlite") in shown.out
