"""``synth cache explain`` tells what would serve and why, asks nobody, and changes nothing."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agentic_synth import Synth
from agentic_synth.cache.key import key_of
from agentic_synth.config import Config, SemanticConfig
from agentic_synth.testing.serve import simulated_server
from agentic_synth.types import Message, Request
from tests.cli.synth_process import Workplace

ASKED = "Write a short poem about autumn leaves"
REWORDED = "Please write a short poem about autumn leaves."
QUESTION = "What is the capital of France?"


@pytest.fixture
def place(workplace: Workplace) -> tuple[Workplace, str]:
    """A store that was asked three things at an upstream that is gone since; its URL."""

    async def ask() -> str:
        async with simulated_server() as url:
            config = Config(semantic=SemanticConfig(check_share=0.0))
            async with Synth("m", base_url=url, store=str(workplace.home / "synth"), config=config) as synth:
                for text in (ASKED, REWORDED, QUESTION):
                    await synth.complete(text, reuse="semantic", temperature=0)
            return url

    return workplace, asyncio.run(ask())


def dump(workplace: Workplace) -> list[str]:
    with closing(sqlite3.connect(workplace.home / "synth" / "store.sqlite")) as connection:
        return list(connection.iterdump())


def explained(place: tuple[Workplace, str], prompt: str, *more: str, temperature: str = "0", width: str = "100") -> str:
    workplace, url = place
    arguments = (prompt, "--model", "m", "--base-url", url, "--set", f"temperature={temperature}", *more)
    ended = workplace.run("cache", "explain", *arguments, variables={"COLUMNS": width})
    assert (ended.code, ended.err) == (0, "")
    return ended.out


def test_a_prompt_is_explained_and_nothing_is_changed(place: tuple[Workplace, str]) -> None:
    before = dump(place[0])
    hit = explained(place, "Could you write a short poem about autumn leaves?")
    assert "exact     no valid answer" in hit
    assert "semantic  a hit: the answer of " in hit
    assert "keeps 0.01" in hit
    other = explained(place, "Write a short poem about spring leaves")
    assert "semantic  a miss" in other
    assert "a date differs: spring has no counterpart" in other
    unproven = explained(place, "What's the capital of France?")
    assert "unproven" in unproven
    assert "not proven to keep 0.01" in unproven
    assert dump(place[0]) == before


def test_an_exact_answer_and_a_copy_are_told_apart(place: tuple[Workplace, str]) -> None:
    assert "exact     yes, under the key " in explained(place, ASKED)
    copy = explained(place, REWORDED)
    assert "exact     yes, a copy of " in copy
    assert f"first given to: {ASKED} (similarity 0.9" in copy


def test_other_parameters_are_another_place(place: tuple[Workplace, str]) -> None:
    told = explained(place, ASKED, temperature="0.5")
    assert "no prompt is remembered with this model, system prompt and parameters; 2 prompts with others" in told
    assert "2 prompts with others" in explained(place, ASKED, "--system", "Be brief.")


def test_narrow_terminals_and_pipes(place: tuple[Workplace, str]) -> None:
    narrow = explained(place, QUESTION, width="50")
    table = narrow.split("\n\n")[1]
    assert all(len(line) <= 50 for line in table.splitlines())
    told = json.loads(explained(place, REWORDED, "--json"))
    assert told["exact"]["kind"] == "semantic"
    assert told["semantic"] == told["nearest"][0]["key"] == told["exact"]["key"]
    assert told["nearest"][0]["verdict"] == "serves"
    assert json.loads(explained(place, "Something else", "--json"))["exact"] is None


def test_a_stored_answer_is_explained_by_the_beginning_of_its_key(place: tuple[Workplace, str]) -> None:
    workplace, url = place
    messages = (Message("user", REWORDED),)
    copy = key_of(Request(model="m", messages=messages, parameters={"temperature": 0}), url).draw.hex()
    original = json.loads(explained(place, REWORDED, "--json"))["exact"]["key"]
    told = workplace.run("cache", "explain", "--key", copy[:9]).out
    assert f"came      as a copy of {original} (semantic)" in told
    assert f"first given to: {ASKED} (similarity " in told
    assert f"user:      {REWORDED}" in told
    first = workplace.run("cache", "explain", "--key", original).out
    assert "came      from the model" in first
    assert "served    1 lookup of this very draw, 1 other draw (1 semantic)" in first
    assert f"found by  {ASKED}" in first
    assert json.loads(workplace.run("cache", "explain", "--key", original, "--json").out)["copies"] == {"semantic": 1}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "give a prompt or --key"),
        (["x", "--key", "00"], "give a prompt or --key"),
        (["--key", "xyz"], "is no key"),
        (["--key", "00" * 16], "no stored answer has a key that begins"),
        (["--key", ""], "several keys begin"),
        (["x"], "the local generator's answers cost nothing"),
        (["x", "--model", "nobody/m"], "nobody"),
    ],
)
def test_what_cannot_be_explained_is_said_with_a_mend(
    place: tuple[Workplace, str], arguments: list[str], says: str
) -> None:
    ended = place[0].run("cache", "explain", *arguments)
    assert (ended.code, len(ended.err.splitlines())) == (2, 2)
    assert says in ended.err


def test_an_empty_store_is_no_error(workplace: Workplace, tmp_path: Path) -> None:
    assert workplace.run("cache", "explain", "x", "--model", "openai/m") == (0, "", "nothing is stored yet\n")


def test_an_upstreams_embedder_is_not_asked(place: tuple[Workplace, str]) -> None:
    workplace, url = place
    (workplace.folder / "synth.toml").write_text('[semantic]\nembedder = "openai/text-embedding-3-small"\n')
    ended = workplace.run("cache", "explain", "New words", "--model", "m", "--base-url", url)
    assert ended.code == 2
    assert "was never asked for this prompt" in ended.err
