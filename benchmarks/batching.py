"""Embeddings in input arrays: calls saved, what waiting for company costs, how near the best size, and no mix-up.

``python -m benchmarks.batching [--texts 10000] [--requests 1000000] [--json FILE]``. Calls, seconds and CPU are over
real sockets on a simulated provider in another process (20 ms a call); waits are requests that come one by one at
random instants; sizes are a simulation in virtual time of the law in ``tests/policies/batch_simulation.py``; the mix-up
test sends seeded requests through the stage, with failures, bad texts and cancelled callers, and compares each answer
with the hash of its own text.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any

from agentic_synth.testing.flags import parse_behaviour
from agentic_synth.testing.serve import SimulatorProcess

WORDS = [
    "router",
    "phone",
    "screen",
    "battery",
    "order",
    "parcel",
    "invoice",
    "refund",
    "slow",
    "broken",
    "late",
    "wrong",
]
LINGER_S = 0.01
WINDOW = 5_000


def texts_of(count: int, seed: int = 1) -> list[str]:
    """Different short texts."""
    rng = Random(seed)
    return [f"{number} " + " ".join(rng.choices(WORDS, k=12)) for number in range(count)]


async def embed(url: str, folder: str, texts: list[str], *, batching: bool) -> dict[str, float]:
    """Embed *texts* through the whole engine, store included."""
    from agentic_synth import Synth
    from agentic_synth.config import Config, EngineConfig

    config = Config(engine=EngineConfig(batching=batching))
    async with Synth("e", base_url=url, store=f"{folder}/{batching}", config=config) as synth:
        await synth.embed(["warm up"])
        began, cpu = time.perf_counter(), time.process_time()
        vectors = await synth.embed(texts)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        again = time.perf_counter()
        assert await synth.embed(texts) == vectors
        again = time.perf_counter() - again
    return {
        "seconds": round(seconds, 3),
        "cpu_ms_a_text": round(1e3 * cpu / len(texts), 4),
        "seconds_again_from_store": round(again, 3),
    }


def calls_of(url: str) -> int:
    """What the provider's own books say, and a new page."""
    import urllib.request

    with urllib.request.urlopen(f"{url}/stats") as reply:  # noqa: S310 - the simulator of this process
        received = int(json.load(reply)["received"])
    request = urllib.request.Request(f"{url}/reset", b"", method="POST")  # noqa: S310
    urllib.request.urlopen(request).read()  # noqa: S310
    return received


def measure_calls(count: int) -> dict[str, Any]:
    from agentic_synth.sdk.loop import run

    found: dict[str, Any] = {"texts": count}
    with SimulatorProcess(parse_behaviour({"latency": "20ms"})) as simulator, tempfile.TemporaryDirectory() as folder:
        for name, batching in (("batched", True), ("one by one", False)):
            found[name] = run(embed(simulator.url, folder, texts_of(count), batching=batching))
            found[name]["calls"] = calls_of(simulator.url) - 1
    return found


async def waits(requests: int, per_second: float) -> dict[str, float]:
    """How much later than without company a request that comes at a random instant is answered, on the real clock."""
    from agentic_synth.clock import SystemClock
    from agentic_synth.policies.batch_size import BatchSize
    from agentic_synth.policies.batching import BatchLimits
    from agentic_synth.policies.company import Arrays
    from agentic_synth.stages.batch import Batcher
    from agentic_synth.types import Call, Message, Reply, Request, Response

    sent: dict[str, float] = {}
    clock, rng, delays = SystemClock(), Random(2), []

    async def upstream(call: Call, /) -> Reply:
        requests = call.joined or (call.request,)
        for one in requests:
            sent[str(one.messages[0].content)] = time.perf_counter()
        await asyncio.sleep(0.1)
        return Reply(response=Response(), parts=tuple(Response() for _ in requests))

    stage = Batcher(Arrays(BatchSize(), BatchLimits(), linger=LINGER_S), None, clock, rng, asyncio.create_task)

    async def ask(text: str) -> None:
        request = Request(model="p/e", messages=(Message("user", text),), kind="embedding")
        came = time.perf_counter()
        await stage(Call(request=request, model="e"), upstream)
        delays.append(sent[text] - came)

    async with asyncio.TaskGroup() as group:
        for number in range(requests):
            group.create_task(ask(f"text {number}"))
            await asyncio.sleep(rng.expovariate(per_second))
    found = statistics.quantiles(delays, n=100)
    told = stage.statistics()
    return {
        "linger_ms": 1e3 * LINGER_S,
        "wait_p50_ms": round(1e3 * found[49], 2),
        "wait_p99_ms": round(1e3 * found[98], 2),
        "texts_a_call": round(told.requests / told.calls, 1),
    }


def sizes() -> list[dict[str, Any]]:
    """Chosen against best fixed size: means of ten seeds; also for the last of three regimes in a row."""
    from tests.policies.batch_simulation import REGIMES, best_fixed, play

    found = []
    for name, regime in REGIMES.items():
        best = best_fixed(regime)
        others = [other for other in REGIMES if other != name]
        for before in ([], *([other] for other in others)):
            regimes = [REGIMES[other] for other in before] + [regime]
            runs = [play(regimes, seed, calls=240, skipped=40, sigma=0.2)[-1] for seed in range(10)]
            found.append(
                {
                    "regime": name,
                    "after": before[0] if before else "the start",
                    "best_fixed_items": int(best.items),
                    "chosen_items": round(statistics.mean(run.items for run in runs), 1),
                    "throughput_of_best": round(statistics.mean(run.throughput for run in runs) / best.throughput, 3),
                    "seconds_a_call": round(statistics.mean(run.seconds for run in runs), 3),
                }
            )
    return found


async def in_a_crowd(ask: Callable[[int], Coroutine[Any, Any, None]], numbers: list[int], rng: Random) -> None:
    """Ask all at once, in any order, and cancel one in a hundred on the way."""
    rng.shuffle(numbers)
    tasks = []
    for number in numbers:
        tasks.append(asyncio.create_task(ask(number)))
        if rng.random() < 0.01:
            await asyncio.sleep(0)
            rng.choice(tasks).cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def mix_ups(requests: int) -> dict[str, Any]:
    """Send *requests* through the stage with failures, bad texts and cancelled callers; count wrong answers."""
    from agentic_synth.errors import InvalidRequest, Overloaded
    from agentic_synth.policies.batch_size import BatchSize
    from agentic_synth.policies.batching import BatchLimits
    from agentic_synth.policies.company import Arrays
    from agentic_synth.stages.batch import Batcher
    from agentic_synth.testing.clock import FakeClock
    from agentic_synth.types import Call, Message, Reply, Request, Response

    rng, clock = Random(7), FakeClock(autojump=True)
    counts = dict.fromkeys(("answered", "wrong", "refused", "wrongly_refused", "failed", "cancelled"), 0)

    def hash_of(text: Any) -> bytes:
        return blake2b(text.encode(), digest_size=8).digest()

    async def upstream(call: Call, /) -> Reply:
        texts = [str(one.messages[0].content) for one in call.joined or (call.request,)]
        await clock.sleep(rng.random())
        if rng.random() < 0.02:
            raise Overloaded("503", status=503)
        if any(text.startswith("bad") for text in texts):
            raise InvalidRequest("a bad text", status=400)
        parts = tuple([Response(vector=hash_of(text)) for text in texts])
        return Reply(response=parts[0], parts=parts)

    stage = Batcher(Arrays(BatchSize(), BatchLimits(), linger=LINGER_S), None, clock, rng, asyncio.create_task)

    async def ask(number: int) -> None:
        text = f"{'bad ' if rng.random() < 0.0005 else ''}{number}"
        request = Request(model="p/e", messages=(Message("user", text),), kind="embedding")
        try:
            reply = await stage(Call(request=request, model="e"), upstream)
        except asyncio.CancelledError:
            counts["cancelled"] += 1
            raise
        except InvalidRequest:
            counts["refused"] += 1
            counts["wrongly_refused"] += not text.startswith("bad")
        except Overloaded:
            counts["failed"] += 1
        else:
            counts["answered"] += 1
            counts["wrong"] += reply.response.vector != hash_of(text)

    began = time.perf_counter()
    for start in range(0, requests, WINDOW):
        await in_a_crowd(ask, list(range(start, min(start + WINDOW, requests))), rng)
    told = stage.statistics()
    return {
        "requests": requests,
        **counts,
        "unanswered": requests - sum(counts[name] for name in ("answered", "refused", "failed", "cancelled")),
        "calls": told.calls,
        "splits": told.splits,
        "seconds": round(time.perf_counter() - began, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found: dict[str, Any] = {"calls": measure_calls(arguments.texts)}
    found["waits"] = asyncio.run(waits(3_000, 600.0))
    found["sizes"] = sizes()
    found["mix_ups"] = asyncio.run(mix_ups(arguments.requests))
    text = json.dumps(found, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
