"""The main job through the command line: rows where they belong, words on stderr, an exit code that tells the truth."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cli.synth_process import Ended, Workplace

RECIPE = """\
recipe: tickets
rows: 40
columns:
  product: {choice: [router, phone, tv]}
  ticket:
    prompt: Write a ticket about a {{ product }}.
    schema:
      type: object
      required: [subject, priority]
      properties: {subject: {type: string}, priority: {enum: [low, high]}}
  number: {sequence: {start: 1}}
"""


@pytest.fixture
def tickets(workplace: Workplace) -> Workplace:
    (workplace.folder / "tickets.yaml").write_text(RECIPE)
    return workplace


@pytest.fixture
def simulator(workplace: Workplace) -> Iterator[str]:
    """The base URL of a provider that takes a tenth of a second for each call."""
    with workplace.start("simulate", "--port", "0", "--latency", "100ms") as process:
        assert process.stderr is not None
        yield process.stderr.readline().split()[-1]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) in (0, 130)


def rows_of(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_first_command_of_a_new_user(workplace: Workplace) -> None:
    ended = workplace.run("generate", "structured", "--rows", "5")
    assert ended.code == 0
    assert len(rows_of(ended.out)) == 5
    assert "done: 5 rows" in ended.err
    assert "no model was used" in ended.err
    assert "export OPENAI_API_KEY" in ended.err


def test_a_file_its_summary_and_its_statistics(tickets: Workplace) -> None:
    ended = tickets.run("generate", "tickets.yaml", "--out", "t.jsonl", "--stats", "s.json", "--show", "2")
    assert ended.code == 0
    assert ended.out.startswith("product ")
    assert len(ended.out.splitlines()) == 4, "a head, a rule, two rows"
    assert "file      t.jsonl" in ended.err
    assert len(rows_of((tickets.folder / "t.jsonl").read_text())) == 40
    statistics = json.loads((tickets.folder / "s.json").read_text())
    assert statistics["rows"] == {"asked": 40, "accepted": 40, "rejected": 0, "reasons": {}}
    assert statistics["state"] == "complete"
    assert statistics["offline"] is True
    assert statistics["requests"]["attempts"] == 40
    again = tickets.run("generate", "tickets.yaml", "--out", "u.jsonl", "--stats", "s.json")
    assert again.code == 0
    assert (tickets.folder / "u.jsonl").read_bytes() == (tickets.folder / "t.jsonl").read_bytes()


def test_every_documented_statistic_is_there_and_no_other(tickets: Workplace) -> None:
    tickets.run("generate", "tickets.yaml", "--out", "t.jsonl", "--stats", "s.json")
    page = (Path(__file__).parents[2] / "docs" / "reference" / "statistics.md").read_text()
    documented = {
        name.strip("` ").split(".")[0]
        for line in page.splitlines()
        if line.startswith("| `")
        for name in line.split("|")[1].split(",")
    }
    assert documented == set(json.loads((tickets.folder / "s.json").read_text()))


def test_quiet_says_nothing_at_all(tickets: Workplace) -> None:
    assert tickets.run("generate", "tickets.yaml", "--out", "t.jsonl", "-q") == (0, "", "")


def test_runs_and_reports_are_kept(tickets: Workplace) -> None:
    tickets.run("generate", "tickets.yaml", "--out", "t.jsonl", "--rows", "7")
    listed = tickets.run("runs")
    assert listed.code == 0
    (identity, *_) = listed.out.splitlines()[2].split()
    told = tickets.run("report", identity[:-2])
    assert told.code == 0
    assert f"run {identity}: tickets" in told.out
    assert "done: 7 rows" in told.out
    assert f"file      {tickets.folder / 't.jsonl'}" in told.out
    record = json.loads(tickets.run("report", "last", "--json").out)
    assert record["accepted"] == 7
    assert record["definition"]["columns"]["number"]
    assert record["statistics"]["rows"]["accepted"] == 7
    assert [run["id"] for run in json.loads(tickets.run("runs", "--json").out)] == [identity]
    assert tickets.run("report", "zzz").code == 2


def test_short_is_1_and_says_why(tickets: Workplace) -> None:
    ended = tickets.run(
        "generate", "tickets.yaml", "--out", "t.jsonl", "--rejects", "r.jsonl", "--set", 'accept=["product == number"]'
    )
    assert ended.code == 1
    assert ended.err.startswith("short: 0 of 40 rows")
    assert "accept: product == number" in ended.err
    assert rows_of((tickets.folder / "r.jsonl").read_text())


def test_seeds_from_stdin(tickets: Workplace) -> None:
    recipe = "columns: {greeting: {template: 'Hello {{ name }}'}}"
    (tickets.folder / "hello.yaml").write_text(recipe)
    ended = tickets.run("generate", "hello.yaml", "--seeds", "-", stdin='{"name": "Ann"}\n{"name": "Bo"}\n')
    assert ended.code == 0, ended.err
    assert rows_of(ended.out) == [
        {"name": "Ann", "greeting": "Hello Ann"},
        {"name": "Bo", "greeting": "Hello Bo"},
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["missing.yaml"], "missing.yaml"),
        (["tickets.yaml", "--set", "nonsense"], "--set"),
        (["tickets.yaml", "--set", "columns.product.chioce=[a]"], "chioce"),
        (["tickets.yaml", "--concurrency", "many"], "--concurrency: expected a whole number"),
        (["tickets.yaml", "--model", "opnai/gpt"], "did you mean openai/gpt?"),
        (["tickets.yaml", "--model", "openai/gpt"], "OPENAI_API_KEY is not set"),
        (["tickets.yaml", "--budget", "much"], "much"),
        (["tickets.yaml", "--show", "3"], "--out FILE"),
        (["tickets.yaml", "--http", "3"], "--http"),
    ],
)
def test_wrong_input_is_2_before_anything_is_made(tickets: Workplace, arguments: list[str], told: str) -> None:
    ended = tickets.run("generate", *arguments)
    assert ended.code == 2
    assert ended.out == ""
    assert told in ended.err
    assert ended.err.startswith("error: ")
    assert len(ended.err.splitlines()) >= 2, "there is a mend"


@pytest.mark.parametrize(
    "arguments", [["--out", "no/such/t.jsonl"], ["--out", "t.bogus"], ["--seeds", "none.csv"], ["--stats", "no/s.json"]]
)
def test_files_that_cannot_be_are_told_at_once(tickets: Workplace, arguments: list[str]) -> None:
    ended = tickets.run("generate", "tickets.yaml", *arguments)
    assert ended.code == 2, "nothing was asked yet"
    assert ended.err.startswith("error: ")
    for looks in (["check", "tickets.yaml"], ["preview", "tickets.yaml"], ["generate", "tickets.yaml", "--dry-run"]):
        if arguments[0] == "--seeds":
            assert tickets.run(*looks, *arguments).code == 2


def test_a_key_without_a_model_spends_nothing(tickets: Workplace) -> None:
    ended = tickets.run("generate", "tickets.yaml", variables={"OPENAI_API_KEY": "sk-hidden"})
    assert ended.code == 2
    assert "OPENAI_API_KEY is set, but no model is named" in ended.err
    assert "sk-hidden" not in ended.err


def test_stdout_closed_by_head_ends_quietly(tickets: Workplace) -> None:
    with tickets.start("generate", "tickets.yaml", "--rows", "20000", "--store", ":none:", "-q") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        process.wait(timeout=50)
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_head_stops_the_asking_at_once_and_without_a_word(tickets: Workplace, simulator: str) -> None:
    arguments = ["generate", "tickets.yaml", "--base-url", simulator, "--model", "any", "--rows", "5000"]
    with tickets.start(*arguments, "--concurrency", "8", "--stats", "s.json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())
        process.stdout.close()
        process.wait(timeout=50)
        assert process.stderr.read() == ""
    assert process.returncode == 141
    statistics = json.loads((tickets.folder / "s.json").read_text())
    assert statistics["state"] == "interrupted"
    assert statistics["requests"]["failures"] == 0
    assert 0 < statistics["requests"]["attempts"] < 100, "of 5,000"
    assert json.loads(tickets.run("runs", "--json").out)[0]["state"] == "interrupted"


def test_a_full_disk_behind_stdout_is_an_error_and_no_fault(tickets: Workplace) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    for command in (["models"], ["generate", "tickets.yaml"]):
        with Path("/dev/full").open("wb") as full:
            ended = subprocess.run(
                [sys.executable, "-m", "agentic_synth.cli.main", *command],
                cwd=tickets.folder,
                env=tickets.environment,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert ended.returncode == 1
        assert "error: cannot write stdout: no space left on device" in ended.stderr
        assert "fault" not in ended.stderr


def test_a_real_server_its_answers_are_paid_once(tickets: Workplace, simulator: str) -> None:
    arguments = ["generate", "tickets.yaml", "--base-url", simulator, "--model", "any", "--stats", "s.json"]
    first = tickets.run(*arguments, "--out", "t.jsonl")
    assert first.code == 0, first.err
    assert "40 sent" in first.err
    assert "offline" not in first.err
    assert tickets.run(*arguments, "--out", "t.jsonl").code == 0
    statistics = json.loads((tickets.folder / "s.json").read_text())
    assert statistics["requests"]["attempts"] == 0
    assert statistics["requests"]["from_store"] == 40


def test_a_spent_budget_is_3_and_keeps_the_rows(tickets: Workplace, simulator: str) -> None:
    arguments = ["generate", "tickets.yaml", "--base-url", simulator, "--model", "any", "--concurrency", "4"]
    ended = tickets.run(*arguments, "--out", "t.jsonl", "--budget", "10req", "--stats", "s.json")
    assert ended.code == 3, ended.err
    assert "larger --budget" in ended.err
    statistics = json.loads((tickets.folder / "s.json").read_text())
    assert statistics["requests"]["attempts"] == 10
    assert statistics["rows"]["accepted"] == len(rows_of((tickets.folder / "t.jsonl").read_text())) == 10


def begun(tickets: Workplace, command: list[str]) -> subprocess.Popen[str]:
    """A run of which some rows are on the disk already."""
    process = tickets.start(*command)
    partial = tickets.folder / "t.jsonl.partial"
    while not (partial.exists() and partial.stat().st_size):
        assert process.poll() is None
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
    return process


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_keeps_what_is_done_and_goes_on(
    tickets: Workplace, simulator: str, number: signal.Signals, code: int
) -> None:
    arguments = ["generate", "tickets.yaml", "--base-url", simulator, "--model", "any", "--rows", "60"]
    arguments += ["--concurrency", "2", "--out", "t.jsonl", "--stats", "s.json"]
    with begun(tickets, arguments) as process:
        process.send_signal(number)
        if number == signal.SIGINT:
            assert process.stderr is not None
            while "Ctrl+C again stops at once" not in (line := process.stderr.readline()):
                assert line, "it says what a second Ctrl+C does"
            process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert "goes on from here" in err
    paid = json.loads((tickets.folder / "s.json").read_text())["requests"]["attempts"]
    assert 0 < paid < 60
    assert tickets.run("runs").out.splitlines()[2].split()[4] == "interrupted"
    assert tickets.run(*arguments).code == 0
    statistics = json.loads((tickets.folder / "s.json").read_text())
    # A call that was cut off on its way is asked again: at most as many as were in flight.
    assert 60 - paid - 2 <= statistics["requests"]["attempts"] <= 60 - paid + 2
    assert len(rows_of((tickets.folder / "t.jsonl").read_text())) == 60


def test_a_dry_run_sends_nothing(tickets: Workplace) -> None:
    nobody = ["--base-url", "http://127.0.0.1:9/v1", "--model", "any"]
    ended = tickets.run("generate", "tickets.yaml", *nobody, "--dry-run", "--rows", "1000")
    assert ended.code == 0, ended.err
    assert ended.err == "nothing was sent\n"
    assert ended.out.count("  user:      Write a ticket about a ") == 3
    assert ended.out.startswith("row 1, ticket, asked of any")
    assert "1,000 rows: about 1,000 calls, " in ended.out


def test_a_dry_run_wants_no_key_but_names_what_it_would_cost(tickets: Workplace) -> None:
    arguments = [
        "generate",
        "tickets.yaml",
        "--model",
        "openai/gpt-4.1-mini",
        "--fallback",
        "anthropic/claude-haiku-4-5",
    ]
    ended = tickets.run(*arguments, "--dry-run")
    assert ended.code == 0, ended.err
    assert "about $0.0" in ended.out
    real = tickets.run(*arguments)
    assert real.code == 2
    assert "OPENAI_API_KEY is not set" in real.err


def test_a_dry_run_counts_as_the_run_does(tickets: Workplace) -> None:
    guessed = tickets.run("generate", "tickets.yaml", "--dry-run", "--rows", "1").out
    tickets.run("generate", "tickets.yaml", "--rows", "1", "--stats", "s.json")
    tokens = json.loads((tickets.folder / "s.json").read_text())["tokens"]
    (line,) = (line for line in guessed.splitlines() if line.startswith("ticket "))
    assert line.split()[4:6] == [str(tokens["input"]), str(tokens["output"])]
    assert "1 row: about 1 call, about $0.00, told from 1 rehearsed row;" in guessed


def test_offline_by_hand_takes_every_column_and_wants_no_key(tickets: Workplace) -> None:
    recipe = RECIPE.replace("  number:", "  own: {prompt: 'x {{ product }}', model: openai/gpt-4.1}\n  number:")
    (tickets.folder / "tickets.yaml").write_text(recipe)
    (tickets.folder / "synth.toml").write_text('fallback = ["anthropic/claude-haiku-4-5"]\n')
    ended = tickets.run("generate", "tickets.yaml", "--model", "offline", "--stats", "s.json", "--out", "t.jsonl")
    assert ended.code == 0, ended.err
    statistics = json.loads((tickets.folder / "s.json").read_text())
    assert statistics["models"] == {"offline": 80}
    (tickets.folder / "synth.toml").unlink()
    other = tickets.run("generate", "tickets.yaml", "--model", "ollama/any")
    assert other.code == 2, "any other model leaves a column its own, which has no key here"
    assert "OPENAI_API_KEY" in other.err


def test_a_server_of_ones_own_has_no_price_to_miss(tickets: Workplace, simulator: str) -> None:
    arguments = ["generate", "tickets.yaml", "--rows", "1", "--out", "t.jsonl"]
    ended = tickets.run(*arguments, "--base-url", simulator, "--model", "any", "--store", ":none:")
    assert ended.code == 0, ended.err
    assert ended.err.startswith("done: 1 row in ")
    assert "price" not in ended.err
    assert "next" not in ended.err, "there is no run to report"
    hosted = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": simulator}
    unknown = tickets.run(*arguments, "--model", "openai/nobody-knows", variables=hosted)
    assert '1 answer of unknown price (add [prices."MODEL"] to synth.toml)' in unknown.err


def test_a_wrong_key_names_its_variable(tickets: Workplace) -> None:
    with tickets.start("simulate", "--port", "0", "--api-key", "right") as process:
        assert process.stderr is not None
        url = process.stderr.readline().split()[-1]
        arguments = ["generate", "tickets.yaml", "--base-url", url]
        wrong = {"OPENAI_API_KEY": "wrong", "SYNTH_API_KEY": "wrong"}
        told = tickets.run(*arguments, "--model", "openai/gpt-4.1-mini", variables=wrong)
        assert (told.code, "check the key in OPENAI_API_KEY" in told.err) == (1, True)
        assert "check the key in SYNTH_API_KEY" in tickets.run(*arguments, "--model", "any", variables=wrong).err
        assert "export SYNTH_API_KEY=..." in tickets.run(*arguments, "--model", "any").err
        process.send_signal(signal.SIGINT)
        process.wait(timeout=10)


def test_an_offline_report_tells_no_latency(tickets: Workplace) -> None:
    tickets.run("generate", "tickets.yaml", "--out", "t.jsonl")
    told = tickets.run("report", "last").out
    assert "40 made here" in told
    assert "latency" not in told


def test_check_knows_the_models(tickets: Workplace) -> None:
    def checked(model: str) -> Ended:
        return tickets.run("check", "tickets.yaml", "--set", f"model={model}")

    assert checked("openai/gpt-4.1-mini").code == 0, "no key is needed"
    for wrong, mend in (("nope/x", "known are "), ("opnai/x", "did you mean openai/x?")):
        ended = checked(wrong)
        assert ended.code == 2
        assert mend in ended.err
        assert ("did you mean" in ended.err) == (wrong == "opnai/x")


def test_what_is_said_comes_in_order(tickets: Workplace) -> None:
    with (tickets.folder / "said").open("wb") as said:
        subprocess.run(
            [sys.executable, "-m", "agentic_synth.cli.main", "check", "tickets.yaml"],
            cwd=tickets.folder,
            env=tickets.environment,
            stdout=said,
            stderr=said,
            check=True,
        )
    lines = (tickets.folder / "said").read_text().splitlines()
    assert lines[0] == "tickets"
    assert lines[-1] == "ok: 3 columns, 1 call a row"


def test_a_template_in_a_flow_needs_quotes(tickets: Workplace) -> None:
    (tickets.folder / "flow.yaml").write_text("rows: 1\ncolumns:\n  b: [x]\n  a: {prompt: hi {{ b }}}\n")
    ended = tickets.run("check", "flow.yaml")
    assert ended.code == 2
    assert ended.err.startswith("error: flow.yaml:4:18: ")
    assert "Within { } or [ ], put text with {{ }} into quotes." in ended.err


def test_preview_and_check(tickets: Workplace) -> None:
    shown = tickets.run("preview", "tickets.yaml", "-n", "2")
    assert shown.code == 0
    assert "offline" in shown.err
    assert shown.out.count("\n  ticket:\n    subject: ") == 2
    assert len(rows_of(tickets.run("preview", "tickets.yaml", "--json").out)) == 3
    checked = tickets.run("check", "tickets.yaml")
    assert checked.code == 0
    assert "{subject: string, priority: low | high}" in checked.out
    assert "ok: 3 columns, 1 call a row" in checked.err
    (tickets.folder / "tickets.yaml").write_text(RECIPE.replace("{{ product }}", "{{ prodct }}"))
    wrong = tickets.run("check", "tickets.yaml")
    assert wrong.code == 2
    assert "tickets.yaml:" in wrong.err
    assert "product" in wrong.err


def test_init_to_dataset(workplace: Workplace) -> None:
    assert workplace.run("init").code == 0
    ended = workplace.run("generate", "tickets.yaml", "--out", "tickets.parquet")
    assert ended.code == 0, ended.err
    assert (workplace.folder / "tickets.parquet").stat().st_size > 0
