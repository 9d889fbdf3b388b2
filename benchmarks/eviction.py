"""Which eviction policy: hit rates on replayed traces, beside what foresight could reach.

``python -m benchmarks.eviction [--requests 200000] [--arrivals FILE]``: FILE is a CSV with the column
``ContextTokens``, such as AzurePublicDataset's traces of a conversation service. They name no prompts, so there two
requests count as equal when their contexts are of equal length: a stand-in with a real order of arrival.
"""

from __future__ import annotations

import argparse
import csv
import heapq
import json
import time
from collections.abc import Hashable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import NamedTuple

from agentic_synth.policies.eviction.choice import DEFAULT, POLICIES
from agentic_synth.policies.eviction.eviction import Eviction

KEYS = 10_000
NAMES = tuple(POLICIES)


class Trace(NamedTuple):
    """Requests in order, and how many of their keys there is room for."""

    name: str
    keys: Sequence[Hashable]
    room: int


def zipf(requests: int, exponent: float, rng: Random, keys: int = KEYS) -> list[int]:
    weights = list(accumulate(rank**-exponent for rank in range(1, keys + 1)))
    return rng.choices(range(keys), cum_weights=weights, k=requests)


def scanned(requests: int, rng: Random) -> list[int]:
    """Zipf 1.0, and once in 10,000 requests a pass over 2,500 keys that nobody asks again."""
    drawn, fresh = zipf(requests * 4 // 5, 1.0, rng), KEYS
    trace: list[int] = []
    for start in range(0, len(drawn), 10_000):
        trace += drawn[start : start + 10_000]
        trace += range(fresh, fresh + 2_500)
        fresh += 2_500
    return trace


def shifting(requests: int, rng: Random) -> list[int]:
    """Zipf 1.0 where every 20,000 requests other keys are the popular ones."""
    drawn, names = zipf(requests, 1.0, rng), list(range(KEYS))
    trace: list[int] = []
    for start in range(0, requests, 20_000):
        rng.shuffle(names)
        trace += [names[rank] for rank in drawn[start : start + 20_000]]
    return trace


def sessions(requests: int, rng: Random) -> list[int]:
    """A thousand conversations at a time, each asked about eight times in a short while and then never again."""
    running, fresh = list(range(1_000)), 1_000
    trace: list[int] = []
    while len(trace) < requests:
        place = int(rng.random() ** 2 * len(running))
        trace.append(running[place])
        if rng.random() < 1 / 8:
            running[place] = fresh
            fresh += 1
    return trace


def looped(requests: int) -> list[int]:
    """The same 3,000 keys over and over, as a run does that is repeated."""
    return [number % 3_000 for number in range(requests)]


def traces(requests: int, arrivals: Path | None) -> Iterator[Trace]:
    for exponent in (0.7, 1.0, 1.2):
        for percent in (1, 10, 25):
            keys = zipf(requests, exponent, Random(1))
            yield Trace(f"Zipf {exponent}, room for {percent} %", keys, KEYS * percent // 100)
    for percent in (1, 10):
        yield Trace(f"Zipf 1.0 and scans, {percent} %", scanned(requests, Random(2)), KEYS * percent // 100)
        yield Trace(f"shifting popularity, {percent} %", shifting(requests, Random(3)), KEYS * percent // 100)
    for room in (100, 500):
        yield Trace(f"sessions, room for {room}", sessions(requests, Random(4)), room)
    yield Trace("a loop of 3,000, room for 1,000", looped(requests), 1_000)
    if arrivals is not None:
        with arrivals.open(newline="", encoding="utf-8") as file:
            lengths = [row["ContextTokens"] for row in csv.DictReader(file)]
        distinct = len(set(lengths))
        for percent in (1, 10, 25):
            yield Trace(f"conversation service, {percent} %", lengths, max(1, distinct * percent // 100))


def hit_rate(policy: Eviction[Hashable], keys: Sequence[Hashable]) -> float:
    """Hits / lookups; what is missing is asked and admitted."""
    hits = 0
    for key in keys:
        if policy.record(key):
            hits += 1
        else:
            policy.admit(key)
    return hits / len(keys)


def ceiling(keys: Sequence[Hashable], room: int) -> float:
    """The hit rate of who knows the future (Belady 1966): what is asked again last goes, or never comes in."""
    never = len(keys)
    following, later = [never] * never, dict[Hashable, int]()
    for place in range(never - 1, -1, -1):
        following[place] = later.get(keys[place], never)
        later[keys[place]] = place
    held: dict[Hashable, int] = {}
    farthest: list[tuple[int, int]] = []
    hits = 0
    for place, key in enumerate(keys):
        hits += key in held
        held[key] = following[place]
        heapq.heappush(farthest, (-following[place], place))
        while len(held) > room:
            asked, at = heapq.heappop(farthest)
            if held.get(keys[at]) == -asked:
                del held[keys[at]]
    return hits / never


def row_of(trace: Trace) -> dict[str, object]:
    """The hit rate of each policy, the ceiling, and which share of the best one's the default has."""
    rates = {name: hit_rate(POLICIES[name](trace.room, None), trace.keys) for name in NAMES}
    return {
        "trace": trace.name,
        **{name: round(rate, 4) for name, rate in rates.items()},
        "ceiling": round(ceiling(trace.keys, trace.room), 4),
        "share": round(rates[DEFAULT] / max(rates.values()), 4),
    }


def cost(requests: int = 100_000) -> dict[str, float]:
    """Microseconds of CPU a lookup with its admission, on Zipf 1.0 with room for a tenth; keys are digests."""
    keys = [number.to_bytes(16, "big") for number in zipf(requests, 1.0, Random(1))]
    spent: dict[str, float] = {}
    for name in NAMES:
        policy: Eviction[Hashable] = POLICIES[name](KEYS // 10, None)
        began = time.process_time()
        hit_rate(policy, keys)
        spent[name] = (time.process_time() - began) / requests * 1e6
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--arrivals", type=Path, help="a CSV of real arrivals with the column ContextTokens")
    parser.add_argument("--out", type=Path, help="write the rows there, as JSON")
    options = parser.parse_args()
    columns = (*NAMES, "ceiling", "share")
    print(f"{'trace':34}" + "".join(f"{column:>9}" for column in columns))
    rows = []
    for trace in traces(options.requests, options.arrivals):
        rows.append(row := row_of(trace))
        print(f"{row['trace']:34}" + "".join(f"{row[column]:9.3f}" for column in columns), flush=True)
    spent = cost()
    print(f"{'CPU, us a lookup':34}" + "".join(f"{spent[name]:9.2f}" for name in NAMES))
    if options.out:
        options.out.write_text(json.dumps({"rows": rows, "cpu_us": spent}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
