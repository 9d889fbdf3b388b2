"""Embeddings through the Python face: over real sockets, from the store, and without a model."""

from __future__ import annotations

import json
import math
from array import array
from urllib.request import urlopen

import pytest

from agentic_synth import BlockingSynth, Synth
from agentic_synth.config import Config, EngineConfig, UpstreamSettings
from agentic_synth.errors import InvalidRequest, SynthError
from agentic_synth.testing.embeddings import embed
from agentic_synth.testing.flags import parse_behaviour
from agentic_synth.testing.serve import SimulatorProcess, simulated_server


def books(url: str) -> dict[str, int]:
    with urlopen(f"{url}/stats") as reply:  # noqa: S310 - the simulator of this test
        told: dict[str, int] = json.load(reply)
    return told


def near(a: array[float], b: array[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def test_ten_thousand_texts_in_a_fiftieth_of_the_calls() -> None:
    texts = [f"text number {number}" for number in range(10_000)]
    with SimulatorProcess(parse_behaviour({}), seed=5) as simulator:
        with BlockingSynth("e", base_url=simulator.url, store=":none:") as synth:
            vectors = synth.embed(texts, dimensions=8)
            told = synth.statistics()["upstreams"]["e"]["batch"]
        received = books(simulator.url)["received"]
    assert received <= len(texts) / 50
    assert (told["calls"], told["requests"], told["waiting"]) == (received, 10_000, 0)
    assert vectors == [array("f", embed(text, 8, 5)) for text in texts]


async def test_a_text_that_was_embedded_costs_nothing_again() -> None:
    async with simulated_server(parse_behaviour({"latency": "5ms"})) as url, Synth("e", base_url=url) as synth:
        first = await synth.embed(["one", "two", "two", "three"])
        assert first[1] == first[2] != first[3]
        again = await synth.embed(["three", "new", "one"])
        assert (again[0], again[2]) == (first[3], first[0])
        told = synth.statistics()
    assert told["upstreams"]["e"]["batch"]["requests"] == 4
    assert told["stored"] >= 2


async def test_batching_can_be_switched_off() -> None:
    config = Config(engine=EngineConfig(batching=False))
    async with simulated_server() as url, Synth("e", base_url=url, config=config) as synth:
        assert len(await synth.embed(["a", "b", "c"])) == 3
        told = synth.statistics()
    assert "batch" not in told["upstreams"]["e"]
    assert told["upstreams"]["e"]["limiter"]["success"] == 3


async def test_one_text_that_is_refused_is_named_and_the_others_are_paid_once() -> None:
    async with simulated_server() as url, Synth("e", base_url=url) as synth:
        with pytest.raises(InvalidRequest, match=r"^text 2: "):
            await synth.embed(["a", "b", "", "c"])
        assert len(await synth.embed(["a", "b"])) == 2
        stored = synth.statistics()["stored"]
    assert stored == 2


async def test_faults_are_retried_and_lose_nothing() -> None:
    texts = [f"text {number}" for number in range(600)]
    behaviour = parse_behaviour({"faults": "error=0.1", "latency": "2ms"})
    own = {"lab": UpstreamSettings(max_batch_size=20)}
    config = Config(engine=EngineConfig(backoff_base=0.001, backoff_cap=0.01), upstreams=own)
    async with simulated_server(behaviour, seed=9) as url, Synth("lab/e", base_url=url, config=config) as synth:
        vectors = await synth.embed(texts, dimensions=4)
        troubled = synth.statistics()["retry"]["troubled"]
        assert synth.statistics()["upstreams"]["lab/e"]["batch"]["calls"] >= 31
    assert vectors == [array("f", embed(text, 4, 9)) for text in texts]
    assert troubled > 0


async def test_what_is_no_list_of_texts_is_told() -> None:
    async with Synth("offline") as synth:
        with pytest.raises(InvalidRequest, match="several"):
            await synth.embed("one text")
        assert await synth.embed([]) == []
        with pytest.raises(SynthError, match="dimensions"):
            await synth.embed(["a"], dimensions=0)


async def test_offline_vectors_are_of_spelling_and_the_same_everywhere() -> None:
    async with Synth("offline") as synth:
        cat, cats, sky = await synth.embed(["the cat sat", "The  cats sat", "blue sky above"], dimensions=128)
        again = await synth.embed(["the cat sat"], dimensions=128)
        empty = await synth.embed([""])
    assert again == [cat]
    assert len(cat) == 128
    assert near(cat, cat) == pytest.approx(1.0)
    assert near(cat, cats) > 0.6
    assert abs(near(cat, sky)) < 0.3
    assert all(math.isfinite(value) for value in empty[0])
