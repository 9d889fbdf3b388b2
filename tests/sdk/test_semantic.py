"""Semantic reuse through the Python face and whole runs, over real sockets and in processes of their own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agentic_synth import BlockingSynth, Synth
from agentic_synth.config import Config, EngineConfig, SemanticConfig, UpstreamSettings
from agentic_synth.errors import StoreError
from agentic_synth.testing.serve import SimulatorProcess
from agentic_synth.types import Message, Request

ASKED = "Write a short poem about autumn leaves"
REWORDED = "Please write a short poem about autumn leaves."
OTHER = "Write a short poem about spring leaves"
QUICK = EngineConfig(backoff_base=0.01, backoff_cap=0.1, tries=2)
NO_CHECKS = SemanticConfig(check_share=0.0)
SCHEMA = {"type": "object", "required": ["mood"], "properties": {"mood": {"enum": ["calm", "angry"]}}}


def settings(**changes: Any) -> Config:
    return Config(engine=QUICK, semantic=msgspec.structs.replace(NO_CHECKS, **changes))


def received(simulator: SimulatorProcess) -> int:
    count: int = simulator.statistics()["received"]
    return count


@pytest.fixture
def opened(simulator: SimulatorProcess) -> Callable[..., Synth]:
    """Opens the face on the one store of the test."""
    simulator.reset()

    def synth(**changes: Any) -> Synth:
        return Synth("m", base_url=simulator.url, store="store", config=settings(**changes))

    return synth


async def test_another_wording_is_served_and_a_rerun_is_free_and_the_same(
    opened: Callable[..., Synth], simulator: SimulatorProcess
) -> None:
    async with opened() as synth:
        first = await synth.complete(ASKED, reuse="semantic")
        hit = await synth.complete(REWORDED, reuse="semantic")
        other = await synth.complete(OTHER, reuse="semantic")
        assert synth.statistics()["semantic"]["hits"] == 1
    assert (hit.text, hit.stored, other.stored, received(simulator)) == (first.text, True, False, 2)
    assert hit.hit is not None
    assert (hit.hit.kind, hit.hit.asked) == ("semantic", ASKED)
    async with opened() as synth:
        again = [await synth.complete(text, reuse="semantic") for text in (ASKED, REWORDED, OTHER)]
    assert [one.text for one in again] == [first.text, hit.text, other.text]
    assert (again[1].hit, received(simulator)) == (hit.hit, 2)


async def test_no_bound_serves_no_other_wording(opened: Callable[..., Synth], simulator: SimulatorProcess) -> None:
    async with opened(max_false_hit=0.0) as synth:
        for text in (ASKED, REWORDED, ASKED + "!", "write a short poem about autumn leaves"):
            assert not (await synth.complete(text, reuse="semantic")).stored
    assert received(simulator) == 4


async def test_what_must_be_equal_parts_the_prompts(opened: Callable[..., Synth]) -> None:
    tool = {"type": "function", "function": {"name": "rhyme", "parameters": {"type": "object"}}}
    async with opened() as synth:
        await synth.complete(ASKED, reuse="semantic")
        assert not (await synth.complete(REWORDED, reuse="semantic", system="Be brief.")).stored
        assert not (await synth.complete(REWORDED, reuse="semantic", temperature=0.5)).stored
        assert not (await synth.complete(REWORDED, reuse="semantic", tools=[tool])).stored
        assert not (await synth.complete(REWORDED, reuse="semantic", schema=SCHEMA)).stored
        fits = await synth.complete(ASKED, reuse="semantic", schema=SCHEMA)
        assert (fits.stored, fits.data["mood"] in {"calm", "angry"}) == (True, True)


async def test_a_hit_that_is_rejected_is_asked_anew_at_once(opened: Callable[..., Synth]) -> None:
    async with opened() as synth:
        await synth.complete(ASKED, reuse="semantic")
        hit = await synth.complete(REWORDED, reuse="semantic")
        hit.reject_cache_hit()
        assert not (await synth.complete(REWORDED, reuse="semantic")).stored
        late = await synth.complete(ASKED + "!", reuse="semantic")
    if late.hit is not None:
        with pytest.raises(StoreError):
            late.reject_cache_hit()
    # What was learned is learned for good, though the pair was rejected just before the end.
    async with opened() as synth:
        assert not (await synth.complete("Compose a short poem about autumn leaves", reuse="semantic")).stored


def test_a_hit_is_rejected_from_the_blocking_face_too(simulator: SimulatorProcess) -> None:
    simulator.reset()
    with BlockingSynth("m", base_url=simulator.url, config=settings()) as synth:
        synth.complete(ASKED, reuse="semantic")
        hit = synth.complete(REWORDED, reuse="semantic")
        assert hit.stored
        hit.reject_cache_hit()
        fresh = synth.complete(REWORDED, reuse="semantic")
        assert not fresh.stored
        fresh.reject_cache_hit()
        assert synth.complete(REWORDED, reuse="semantic").text == fresh.text
    with pytest.raises(StoreError, match="closed"):
        hit.reject_cache_hit()


async def test_streams_find_and_are_found(opened: Callable[..., Synth], simulator: SimulatorProcess) -> None:
    async with opened() as synth:
        streamed = [delta async for delta in synth.stream(ASKED, reuse="semantic")]
        text = "".join(delta.text for delta in streamed)
        again = [delta async for delta in synth.stream(REWORDED, reuse="semantic")]
        assert "".join(delta.text for delta in again) == text
        assert [delta.finish for delta in again][-1] == "stop"
        assert again[-1].usage is not None
        plain = await synth.complete(ASKED + "!", reuse="semantic")
        assert (plain.text, received(simulator)) == (text, 1)


async def test_an_upstreams_embedder_finds_and_a_broken_one_costs_no_answer(simulator: SimulatorProcess) -> None:
    simulator.reset()
    async with Synth("m", base_url=simulator.url, config=settings(embedder="e", max_false_hit=0.5)) as synth:
        first = await synth.complete(ASKED, reuse="semantic")
        hit = await synth.complete(ASKED + "!", reuse="semantic")
        assert (hit.text, hit.stored) == (first.text, True)
        assert received(simulator) == 3, "an answer and two vectors"
    nowhere = {"gone": UpstreamSettings(base_url="http://127.0.0.1:9/v1")}
    config = msgspec.structs.replace(settings(embedder="gone/e"), upstreams=nowhere)
    async with Synth("m", base_url=simulator.url, config=config) as synth:
        assert not (await synth.complete(OTHER, reuse="semantic")).stored
        assert synth.statistics()["semantic"]["failed"] == 1


async def test_a_recipe_serves_another_wording_and_makes_the_same_rows_again(simulator: SimulatorProcess) -> None:
    simulator.reset()
    recipe = {
        "columns": {
            "request": {"sequence": {"start": 0}},
            "text": {
                "expression": "'my router does not start now' if request % 2 else 'My router does not start now.'"
            },
            "kind": {"prompt": "Classify: {{ text }}", "reuse": "semantic"},
        }
    }
    out = Path("rows.jsonl")

    async def run() -> dict[str, Any]:
        async with Synth(
            "m", base_url=simulator.url, store="store", config=settings(max_false_hit=0.5), concurrency=1
        ) as synth:
            made = await synth.run(recipe, rows=6, out=str(out))
            found: dict[str, Any] = made.statistics["from"]
            return found

    first = await run()
    rows = out.read_bytes()
    assert first == {"answered": 1, "semantic": 5}
    assert await run() == {"semantic": 5, "exact": 1}
    assert (out.read_bytes(), received(simulator)) == (rows, 1)


async def test_a_resumed_run_does_not_pay_again_for_what_it_rejected(simulator: SimulatorProcess) -> None:
    simulator.reset(faults="invalid=0.5")
    recipe = {
        "columns": {
            "number": {"sequence": {"start": 0}},
            "mood": {
                "prompt": "How do customers number {{ number }} feel today?",
                "reuse": "semantic",
                "schema": SCHEMA,
            },
        }
    }

    async def run() -> int:
        before = received(simulator)
        async with Synth("m", base_url=simulator.url, store="store", config=settings()) as synth:
            await synth.run(recipe, rows=20, out="moods.jsonl")
        return received(simulator) - before

    assert await run() > 20, "some were invalid, and paid"
    rows = Path("moods.jsonl").read_bytes()
    assert await run() == 0
    assert Path("moods.jsonl").read_bytes() == rows


_CHILD = """
import asyncio, sys
from agentic_synth import Synth
from agentic_synth.config import Config, SemanticConfig

async def main():
    config = Config(semantic=SemanticConfig(check_share=0.0))
    async with Synth("m", base_url=sys.argv[1], store="store", config=config) as synth:
        while line := await asyncio.to_thread(sys.stdin.readline):
            answer = await synth.complete(line.strip(), reuse="semantic")
            print(answer.stored, answer.text.split()[0], flush=True)

asyncio.run(main())
"""


async def test_two_processes_on_one_store_see_each_others_wordings(
    opened: Callable[..., Synth], simulator: SimulatorProcess
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _CHILD, simulator.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None

        def told(text: str) -> str:
            child.stdin.write(text + "\n")  # type: ignore[union-attr]
            child.stdin.flush()  # type: ignore[union-attr]
            return child.stdout.readline().split()[0]  # type: ignore[union-attr]

        async with opened() as synth:
            await synth.complete(OTHER, reuse="semantic")
            assert await asyncio.to_thread(told, ASKED) == "False"
            hit = await found(synth, REWORDED)
            assert hit.hit.asked == ASKED
            assert await asyncio.to_thread(told, "Please " + OTHER) == "True"
            # kill -9: what was durable is found by whoever comes next.
            assert await asyncio.to_thread(told, "Write a short poem about winter storms") == "False"
            await found(synth, "Please write a short poem about winter storms")
        child.kill()
    async with opened() as synth:
        assert (await synth.complete("write a short poem about winter storms.", reuse="semantic")).stored
        assert (await synth.complete(ASKED + ".", reuse="semantic")).stored


async def found(synth: Synth, text: str) -> Any:
    """The answer as soon as the other process's prompt is durable, which is within about a second."""
    request = Request(model=synth.session.name_of(None, None), messages=(Message("user", text),), reuse="semantic")
    while (looked := await synth.session.engine.near(request)) is None or looked.hit is None:
        await asyncio.sleep(0.02)
    return await synth.complete(text, reuse="semantic")


@pytest.mark.parametrize("missing", ["tokenizers", "numpy"])
def test_without_the_extra_the_error_says_what_to_install(missing: str) -> None:
    code = f"""
import sys
sys.modules[{missing!r}] = None
from agentic_synth import BlockingSynth
from agentic_synth.errors import ConfigError
with BlockingSynth("m", base_url="http://127.0.0.1:9/v1", store=":none:") as synth:
    try:
        synth.complete("Hello there", reuse="semantic")
    except ConfigError as error:
        print(error.mend)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "pip install 'agentic-synth[semantic]'\n", done.stderr


def test_nothing_of_it_is_loaded_before_it_is_asked_for() -> None:
    code = """
import sys
from agentic_synth import Synth
Synth("m", base_url="http://127.0.0.1:9/v1", store=":none:").session
told = [name for name in sys.modules if name in ("numpy", "usearch", "tokenizers") or ".policies.semantic." in name]
print([name for name in told if not name.endswith("agreement")])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
