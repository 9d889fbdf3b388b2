"""Looking back at a row, and at what there is to ask."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import pytest

from tests.cli.synth_process import Workplace

RECIPE = """\
recipe: letters
rows: 3
columns:
  word: {sequence: {format: 'word-{}'}}
  letter:
    prompt: Write a letter about {{ word }}.
    schema: {type: object, required: [text], properties: {text: {type: string}}}
  reply: {prompt: 'Answer the letter {{ letter.text }}'}
"""


@pytest.fixture
def simulator(workplace: Workplace) -> Iterator[str]:
    """A provider that gives more than half of its answers a wrong shape."""
    with workplace.start("simulate", "--port", "0", "--faults", "invalid=0.6", "--seed", "3") as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("listening on http://127.0.0.1:")
        yield line.split()[-1]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) in (0, 130)


def test_a_row_is_told_from_the_store(workplace: Workplace, simulator: str) -> None:
    (workplace.folder / "letters.yaml").write_text(RECIPE)
    upstream = ["--base-url", simulator, "--model", "any"]
    made = workplace.run("generate", "letters.yaml", "--rows", "12", "--out", "l.jsonl", *upstream)
    assert made.code == 0, made.err
    rows = [json.loads(line) for line in (workplace.folder / "l.jsonl").read_text().splitlines()]
    for number in (1, 12):
        told = workplace.run("show", "last", str(number))
        assert told.code == 0, told.err
        row = rows[number - 1]
        assert f"Write a letter about {row['word']}." in told.out
        assert f"Answer the letter {row['letter']['text']}".splitlines()[0] in told.out
        assert told.out.rstrip().endswith(row["reply"].splitlines()[-1].rstrip())
    attempts = [workplace.run("show", "last", str(n)).out.count("asked of any") for n in range(1, 7)]
    assert max(attempts) > 2, "a repaired answer shows all its attempts"
    workplace.run("cache", "clear", "--all")
    gone = workplace.run("show", "last", "1")
    assert gone.code == 1
    assert "not in the store any more" in gone.err


@pytest.mark.parametrize(
    ("settings", "variables", "model"),
    [
        ("[upstreams.lab]\nbase_url = '{url}'\nkey_variable = 'LAB_KEY'\n", {"LAB_KEY": "k-secret"}, "lab/any"),
        ("base_url = '{url}'\nmodel = 'any'\n", {}, None),
        ("", {"OPENAI_BASE_URL": "{url}", "OPENAI_API_KEY": "k-secret"}, "openai/any"),
    ],
)
def test_a_run_remembers_whom_it_asked(
    workplace: Workplace, simulator: str, settings: str, variables: dict[str, str], model: str | None
) -> None:
    (workplace.folder / "letters.yaml").write_text(RECIPE)
    (workplace.folder / "synth.toml").write_text(settings.replace("{url}", simulator))
    variables = {name: text.replace("{url}", simulator) for name, text in variables.items()}
    asked = ["--model", model] if model else []
    made = workplace.run("generate", "letters.yaml", "--out", "l.jsonl", *asked, variables=variables)
    assert made.code == 0, made.err
    (workplace.folder / "synth.toml").unlink()
    told = workplace.run("show", "last", "3")
    assert told.code == 0, told.err
    row = json.loads((workplace.folder / "l.jsonl").read_text().splitlines()[2])
    assert f"Write a letter about {row['word']}." in told.out
    assert "k-secret" not in workplace.run("report", "last", "--json").out


def test_a_row_of_the_local_generator(workplace: Workplace) -> None:
    (workplace.folder / "letters.yaml").write_text(RECIPE)
    workplace.run("generate", "letters.yaml", "--out", "l.jsonl")
    told = workplace.run("show", "last", "2")
    assert told.code == 0, told.err
    assert "answered by offline (stop): " in told.out
    row = json.loads((workplace.folder / "l.jsonl").read_text().splitlines()[1])
    assert row["letter"]["text"].splitlines()[0] in told.out


@pytest.mark.parametrize("arguments", [["last", "1"], ["abc", "1"]])
def test_without_a_run_there_is_no_row(workplace: Workplace, arguments: list[str]) -> None:
    ended = workplace.run("show", *arguments)
    assert ended.code == 2
    assert "`synth runs` lists what was run" in ended.err


def test_a_row_that_is_not_there(workplace: Workplace) -> None:
    (workplace.folder / "letters.yaml").write_text(RECIPE)
    workplace.run("generate", "letters.yaml", "-q")
    assert workplace.run("show", "last", "4").code == 2
    assert workplace.run("show", "last", "0").code == 2


def test_models_of_a_server(workplace: Workplace, simulator: str) -> None:
    listed = workplace.run("models", "--base-url", simulator)
    assert listed.code == 0, listed.err
    assert listed.out.split()
    assert json.loads(workplace.run("models", "--base-url", simulator, "--json").out) == listed.out.split()
    healthy = workplace.run("doctor", "--base-url", simulator, "--model", listed.out.split()[0], "--online")
    assert "online     reached; " in healthy.out
    assert healthy.code == 0


def test_prices_and_providers(workplace: Workplace) -> None:
    (workplace.folder / "synth.toml").write_text(
        "[prices.'lab/mine']\ninput = 0.5\noutput = 1.5\n[upstreams.lab]\nbase_url = 'http://lab/v1'\n"
    )
    listed = workplace.run("models", variables={"GROQ_API_KEY": "gsk-hidden"})
    assert listed.code == 0, listed.err
    lines = [line.split() for line in listed.out.splitlines()]
    assert ["lab/mine", "0.5", "1.5"] in lines
    assert ["lab", "http://lab/v1"] in lines
    assert any(line[:1] == ["groq"] and "GROQ_API_KEY)" in line for line in lines)
    assert "gsk-hidden" not in listed.out
    assert "openai/gpt-4.1-mini" in json.loads(workplace.run("models", "--json").out)["prices"]


def test_names_are_never_clipped(workplace: Workplace) -> None:
    (workplace.folder / "letters.yaml").write_text(RECIPE)
    workplace.run("generate", "letters.yaml", "-q")
    (known,) = json.loads(workplace.run("runs", "--json").out)
    for columns in (20, 40, 60):
        narrow = {"COLUMNS": str(columns)}
        listed = workplace.run("models", variables=narrow).out
        assert "openai/gpt-4.1-mini" in [line.split(" ")[0] for line in listed.splitlines()]
        lines = workplace.run("runs", variables=narrow).out.splitlines()
        assert lines[2].split(" ")[0] == known["id"]
        assert max(map(len, lines)) <= columns


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["opnai"], "did you mean openai?"),
        (["openai"], "OPENAI_API_KEY is not set"),
        (["openai"], "`synth models` alone lists what is known"),
        (["azure"], "base URL"),
    ],
)
def test_an_upstream_that_cannot_be_asked(workplace: Workplace, arguments: list[str], told: str) -> None:
    ended = workplace.run("models", *arguments)
    assert ended.code == 2
    assert told in ended.err
