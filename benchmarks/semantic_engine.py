"""The semantic cache whole: hits, wrong hits and what they cost, through the real stages and a scripted model.

``python -m benchmarks.semantic_engine`` replays a Zipf stream over the intents of ``benchmarks/semantic_intents.py``:
exact only, a bare threshold at 0.95, and the shipped verifier, whose hit rate is told per thousand requests, because it
learns. ``--latency 100000`` measures lookups in a store of so many prompts instead, on one core.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import time
from collections import Counter
from collections.abc import Coroutine, Iterator
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from agentic_synth.cache.embedders.open import open_embedder
from agentic_synth.cache.memory import MemoryStore
from agentic_synth.cache.semantics import Semantics
from agentic_synth.cache.sqlite import SqliteStore
from agentic_synth.cache.vectors.library import Library, LibraryConfig
from agentic_synth.cache.vectors.open import open_format
from agentic_synth.cache.wording import wording_of
from agentic_synth.policies.semantic.verifier import Verdict, Verifier
from agentic_synth.stage import Handler, chain
from agentic_synth.stages.cache import Cache
from agentic_synth.stages.semantic import Semantic
from agentic_synth.types import Message, Request, Response, Reuse
from benchmarks.semantic_intents import Intent, intents

BARE = 0.95
STEP = 1_000
ORIGIN = "http://model.example.com/v1"
_PROSE = ("a", "the", "of", "rain", "light", "road", "stone", "who", "sings", "and", "leaves", "old", "wind", "said")


class Bare(Verifier):
    """What most semantic caches do: a hit is whatever is near enough."""

    def judge(self, asked: str, stored: str, similarity: float, *, partition: bytes) -> Verdict:
        """See :class:`Verifier`."""
        return Verdict(hit=similarity >= BARE, probability=similarity, reason="bound: near enough")


class Scripted:
    """A model at temperature 0 that knows the intent of each wording.

    Questions get a fact, the same however they are worded. Orders get prose that is different at every call, of which
    nobody can tell whether it says the same.
    """

    def __init__(self, all_intents: list[Intent]) -> None:
        self.intent_of = {wording: intent for intent in all_intents for wording in intent.wordings}
        self.calls = 0

    async def __call__(self, request: Request, /) -> Response:
        self.calls += 1
        text = request.messages[-1].content
        assert isinstance(text, str)
        intent = self.intent_of[text]
        rng = random.Random(f"{self.calls}")
        prose = " ".join(rng.choices(_PROSE, k=40))
        answer = f"{intent.name}: {prose}" if intent.is_order else f"Fact {sum(map(ord, intent.name))}"
        return Response(text=answer, reasoning=intent.name, model="m", upstream="p/m")


class Chain:
    """Cache and semantic stage over a model, as the engine puts them together."""

    def __init__(self, store: Any, verifier: Verifier, model: Handler[Request, Response], directory: Path) -> None:
        self.store, self.verifier, self._directory = store, verifier, directory
        self.tasks: set[asyncio.Task[None]] = set()
        self.opened: Semantics | None = None
        self.stage = Semantic(self.semantics, store, lambda _: ORIGIN, random.Random(1), self.spawn)
        self.handler: Handler[Request, Response] = chain((Cache(store, lambda _: ORIGIN), self.stage), model)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def semantics(self) -> Semantics:
        if self.opened is None:
            embedder = open_embedder("wordllama")
            config = LibraryConfig(max_entries=1_000_000)
            library = Library(self.store, embedder.name, self._directory, open_format(), self.spawn, config)
            self.opened = Semantics(embedder, library, self.verifier, self.store)
        return self.opened

    async def rest(self) -> None:
        while self.tasks:
            await asyncio.gather(*self.tasks, return_exceptions=True)

    async def aclose(self) -> None:
        if self.opened is not None:
            await self.opened.aclose()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.store.aclose()


def request(text: str, reuse: Reuse = "semantic") -> Request:
    return Request(model="p/m", messages=(Message("user", text),), parameters={"temperature": 0}, reuse=reuse)


def stream(all_intents: list[Intent], count: int, rng: random.Random) -> Iterator[tuple[Intent, str]]:
    """*count* requests: intents by Zipf's law, each in any of its wordings."""
    weights = [1.0 / rank for rank in range(1, len(all_intents) + 1)]
    for intent in rng.choices(all_intents, weights, k=count):
        yield intent, rng.choice(intent.wordings)


async def replay(count: int, seed: int, verifier: Verifier | None, *, questions: bool = False) -> dict[str, Any]:
    """Hits and wrong hits, for each thousand requests; *verifier* None is exact only, *questions* leaves out orders."""
    rng = random.Random(seed)
    asked = [intent for intent in intents(rng) if not (questions and intent.is_order)]
    model = Scripted(asked)
    steps, seen = list[Counter[str]](), set[str]()
    with TemporaryDirectory() as directory:
        made = Chain(MemoryStore(100_000, max_bytes=1 << 30), verifier or Verifier(), model, Path(directory))
        for number, (intent, text) in enumerate(stream(asked, count, rng)):
            if number % STEP == 0:
                steps.append(Counter())
            sort = "orders" if intent.is_order else "questions"
            response = await made.handler(request(text, "semantic" if verifier is not None else "exact"))
            is_wrong = response.reasoning != intent.name
            steps[-1].update({sort: 1, f"{sort} hit": response.stored, "wrong": is_wrong})
            if text not in seen:  # else the exact cache is enough, whoever answered the first time
                steps[-1].update({"new": 1, "semantic": response.stored})
                seen.add(text)
        checks = made.stage.statistics()
        await made.aclose()
    whole = sum(steps, Counter[str]())
    hits = whole["orders hit"] + whole["questions hit"]
    return {
        "requests": count,
        "hit_rate": round(hits / count, 4),
        "wrong_hits": whole["wrong"],
        "wrong_of_hits": round(whole["wrong"] / max(1, hits), 5),
        "new_wordings": whole["new"],
        "new_wordings_hit": whole["semantic"],
        "calls": model.calls,
        "checks": checks.checks,
        "checks_wrong": checks.wrong,
        "per_thousand": [
            {
                "hit_rate": round((step["orders hit"] + step["questions hit"]) / STEP, 3),
                "orders": round(step["orders hit"] / max(1, step["orders"]), 3),
                "questions": round(step["questions hit"] / max(1, step["questions"]), 3),
                "wrong": step["wrong"],
                "of_new_wordings": round(step["semantic"] / max(1, step["new"]), 3),
            }
            for step in steps
        ],
    }


def many(count: int) -> list[str]:
    """*count* prompts of which any two differ in a word that matters."""
    sorts = ("poem", "story", "letter", "speech", "song", "report", "essay", "sketch", "riddle", "fable")
    people = ("nurse", "plumber", "teacher", "accountant", "welder", "translator", "chef", "pilot", "farmer", "baker")
    places = ("Paris", "Rome", "Oslo", "Lima", "Cairo", "Delhi", "Boston", "Lagos", "Kyoto", "Quito")
    things = ("rain", "bees", "trains", "winter", "bridges", "volcanoes", "lighthouses", "gardens", "clocks", "maps")
    found = product(sorts, people, places, things, range(2, 2 + count // 10_000 + 1))
    return [f"Write a {a} of {n} pages about {d} and a {b} in {c}." for a, b, c, d, n in found][:count]


async def latency(count: int, lookups: int = 2_000) -> dict[str, Any]:
    """What a semantic hit costs where *count* prompts are remembered, and how long it holds the event loop."""
    texts = many(count)
    random.Random(1).shuffle(texts)

    async def model(asked: Request) -> Response:
        return Response(text="an answer", model="m", upstream="p/m")

    with TemporaryDirectory() as directory:
        made = Chain(SqliteStore(directory), Verifier(check_share=0.0), model, Path(directory) / "vectors")
        began = time.perf_counter()
        semantics = await fill(made, texts, lookups)
        built = time.perf_counter() - began
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        asked = [f"Please {text[0].lower()}{text[1:]}" for text in texts[:lookups]]
        looks = [await look(made, semantics, text, stored) for text, stored in zip(asked, texts, strict=False)]
        whole, gaps = [], list[tuple[float, float]]()
        ticker = asyncio.create_task(tick(gaps))
        for text in asked:
            start = time.perf_counter()
            response = await made.handler(request(text))
            whole.append(time.perf_counter() - start)
            assert response.stored
        ticker.cancel()
        await made.aclose()
    return {
        "entries": count,
        "built_s": round(built, 1),
        "index_files": semantics.library.statistics().saves,
        "found_another": sum(not found for _, _, found in looks),
        "lookup_ms": spread([taken for taken, _, _ in looks]),
        "lookup_cpu_ms": spread([cpu for _, cpu, _ in looks]),
        "durable_hit_ms": spread(whole),
        "loop_held_ms": spread([gap for gap, _ in gaps]),
        "loop_held_cpu_ms": spread([cpu for _, cpu in gaps]),
    }


async def fill(made: Chain, texts: list[str], answered: int) -> Semantics:
    """Remember *texts*; the first *answered* of them have an answer. The index is a file when this ends."""
    for start in range(0, answered, 256):
        await asyncio.gather(*(made.handler(request(text)) for text in texts[start : start + 256]))
    semantics, embedder = await made.semantics(), open_embedder("wordllama")
    wording = wording_of(request("-"), ORIGIN)
    assert wording is not None
    vectors = await embedder.embed(texts)
    for number, text in enumerate(texts[answered:], answered):
        await semantics.add(wording._replace(text=text), number.to_bytes(16, "big"), vectors[number])
    saves = -1
    while saves != semantics.library.statistics().saves:  # each merges what came while the one before was written
        saves = semantics.library.statistics().saves
        await semantics.look(wording, lambda key: True)
        await semantics.library.flush()
        await made.rest()
    assert semantics.library.statistics().saves, semantics.library.statistics()
    return semantics


async def look(made: Chain, semantics: Semantics, text: str, stored: str) -> tuple[float, float, bool]:
    """Wall and processor seconds of embedding, search and gate, and whether it found what it should."""
    wording = wording_of(request(text), ORIGIN)
    assert wording is not None
    start, cpu = time.perf_counter(), time.thread_time()
    looked = await semantics.look(wording, lambda key: made.store.get(key, counts=False) is not None)
    taken = time.perf_counter() - start, time.thread_time() - cpu
    return *taken, looked.hit is not None and looked.hit.entry.text == stored


async def tick(gaps: list[tuple[float, float]]) -> None:
    """How long it takes the loop to come round, again and again: by the clock, and of the thread's own work."""
    while True:
        start, cpu = time.perf_counter(), time.thread_time()
        await asyncio.sleep(0)
        gaps.append((time.perf_counter() - start, time.thread_time() - cpu))


def spread(seconds: list[float]) -> dict[str, float]:
    """Milliseconds."""
    ordered = sorted(seconds)
    told = {"mean": sum(ordered) / len(ordered), "p50": ordered[len(ordered) // 2], "max": ordered[-1]}
    told["p99"] = ordered[len(ordered) * 99 // 100]
    return {name: round(value * 1e3, 3) for name, value in told.items()}


def main() -> None:
    """Replay, or measure latency, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--latency", type=int)
    given = parser.parse_args()
    if given.latency:
        found = asyncio.run(latency(given.latency))
        print(json.dumps(found, indent=1))
        name = "semantic_latency.json"
    else:
        wordings = [len(intent.wordings) for intent in intents(random.Random(given.seed))]
        found = {"intents": len(wordings), "wordings": sum(wordings), "fewest_wordings": min(wordings)}
        print(found)
        ways: dict[str, Verifier | None] = {
            "exact only": None,
            "bare threshold 0.95": Bare(check_share=0.0),
            "shipped, not learning": Verifier(check_share=0.0),
            "shipped": Verifier(),
        }
        for way, verifier in ways.items():
            found[way] = asyncio.run(replay(given.requests, given.seed, verifier))
            steps = found[way]["per_thousand"]
            print(way, {key: value for key, value in found[way].items() if key != "per_thousand"})
            for key in ("hit_rate", "orders", "questions", "wrong"):
                print(f"  {key:10}", *(f"{step[key]:6}" for step in steps))
        for way, share in {"questions alone": 0.02, "questions alone, not learning": 0.0}.items():
            learner = Verifier(check_share=share)
            curve = found[way] = asyncio.run(replay(2 * given.requests, given.seed, learner, questions=True))
            print(way, {key: value for key, value in curve.items() if key != "per_thousand"})
            for key in ("hit_rate", "of_new_wordings", "wrong"):
                print(f"  {key:15}", *(f"{step[key]:6}" for step in curve["per_thousand"]))
        name = "semantic_engine.json"
    target = Path(__file__).parent / "results"
    target.mkdir(exist_ok=True)
    (target / name).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
