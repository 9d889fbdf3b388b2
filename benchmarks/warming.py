"""What warming brings: a bounded store after a restart, and two weeks of topics that have their hours.

``python -m benchmarks.warming [--arrivals FILE] [--out FILE]``. FILE of arrivals is a CSV as ``benchmarks.eviction``
takes it.

*Restart*: the first half of a trace goes through the real access log, then the store forgets everything, and the next
five per cent of the trace are asked: of an empty store, of one that was filled with the 100 most popular requests, and
of one filled to its capacity. *Two weeks*: answers live six hours; every ten minutes what the policy picks is asked
ahead, within a share of the calls; with the hours of the day, and with a log that knows no hours.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import sqlite3
from collections.abc import Callable, Hashable, Iterator, Sequence
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import NamedTuple

from agentic_synth.cache.accesses import Accesses, Tally
from agentic_synth.cache.memory import MemoryStore
from agentic_synth.policies.eviction.choice import DEFAULT, POLICIES
from agentic_synth.policies.eviction.eviction import Eviction
from agentic_synth.policies.popularity import Popularity, seen
from agentic_synth.policies.warming import Candidate, Spent, allowance, chance, pick
from benchmarks.eviction import KEYS, zipf

BEGAN = 20_000 * 86_400.0
HOUR = 3_600.0
DAY = 86_400.0
DAYS = 14
TTL = 6 * HOUR
HORIZON = 3 * HOUR
STEP = 600.0
TOPICS = 24
KEYS_A_TOPIC = 100
REQUESTS_A_DAY = 12_000
TOP = 1_000


class Trace(NamedTuple):
    """What is asked at which instant, and how many keys there is room for."""

    name: str
    asked: Sequence[tuple[float, int]]
    room: int


def traces(arrivals: Path | None) -> Iterator[Trace]:
    for requests in (20_000, 200_000):
        for percent in (10, 25):
            asked = [(BEGAN + place, key) for place, key in enumerate(zipf(requests, 1.0, Random(3)))]
            yield Trace(f"{requests:,} of Zipf 1.0, {percent} %", asked, KEYS * percent // 100)
    if arrivals is not None:
        with arrivals.open(encoding="utf-8", newline="") as file:
            asked = [(_instant(row["TIMESTAMP"]), int(row["ContextTokens"])) for row in csv.DictReader(file)]
        distinct = len({key for _, key in asked})
        for percent in (10, 25):
            yield Trace(f"conversation service, {percent} %", asked, distinct * percent // 100)


def _instant(text: str) -> float:
    return datetime.fromisoformat(f"{text[:26]}+00:00").timestamp()


async def restart(trace: Trace) -> dict[str, object]:
    """Hit rates in the five per cent of the trace that follow a restart in its middle."""
    clock = [0.0]
    book = MemoryStore()

    def post(work: Callable[[sqlite3.Connection], None]) -> None:
        book.read(work)

    log = Accesses(book, post, Tally, lambda: clock[0])
    half, after = len(trace.asked) // 2, len(trace.asked) // 20
    running: Eviction[Hashable] = POLICIES[DEFAULT](trace.room, None)
    for clock[0], key in trace.asked[:half]:
        log.record(key.to_bytes(16))
        _look(running, key)
    stores: dict[str, Eviction[Hashable]] = {"kept": running}
    for name, count in (("cold", 0), ("top 100", min(100, trace.room)), ("capacity", trace.room)):
        store = stores[name] = POLICIES[DEFAULT](trace.room, None)
        for found, _ in reversed(await log.top(count, clock[0]) if count else []):
            store.admit(int.from_bytes(found))
    asked = trace.asked[half : half + after]
    rates: dict[str, float] = {
        name: sum(_look(store, key) for _, key in asked) / after for name, store in stores.items()
    }
    await book.aclose()
    return {"trace": trace.name, **rates, "gain": rates["capacity"] - rates["cold"]}


def _look(store: Eviction[Hashable], key: Hashable) -> bool:
    if store.record(key):
        return True
    store.admit(key)
    return False


def two_weeks(rng: Random) -> list[tuple[float, int]]:
    """Topics of a hundred prompts, each popular for some hours of every day; a tenth comes at any hour."""
    weights = list(accumulate(1 / rank for rank in range(1, KEYS_A_TOPIC + 1)))
    asked = []
    for day in range(DAYS):
        for _ in range(REQUESTS_A_DAY):
            topic, rank = rng.randrange(TOPICS), rng.choices(range(KEYS_A_TOPIC), cum_weights=weights)[0]
            hour = rng.uniform(0, 24) if rng.random() < 0.1 else rng.gauss(topic * 24 / TOPICS, 1.5) % 24
            asked.append((BEGAN + day * DAY + hour * HOUR, topic * KEYS_A_TOPIC + rank))
    return sorted(asked)


class Replay:
    """A store whose answers expire, and the policy that asks ahead; *knows_hours* off blinds it to the hour."""

    def __init__(self, share: float, *, knows_hours: bool = True) -> None:
        self._share = share
        self._knows_hours = knows_hours
        self._known: dict[int, Popularity] = {}
        self._made: dict[int, float] = {}
        self._done: dict[int, float] = {}
        self._paid: list[float] = []
        self._ahead: list[float] = []
        self._unused: set[int] = set()
        self.lookups = self.hits = self.paid = self.ahead = self.used = 0

    def ask(self, now: float, key: int, *, counts: bool) -> None:
        """Somebody asks; the first days only teach."""
        hit = now - self._made.get(key, -TTL) < TTL
        if key in self._unused:
            self._unused.discard(key)
            self.used += hit and counts
        self._known[key] = seen(self._known.get(key), 1, now)
        self.lookups += counts
        self.hits += hit and counts
        if not hit:
            self._made[key] = now
            self._paid.append(now)
            self.paid += counts

    def warm(self, now: float, *, counts: bool) -> None:
        """Ask ahead what is worth it now."""
        popular = sorted(self._known.items(), key=lambda item: -item[1].rank)[:TOP]
        self._paid = [at for at in self._paid if now - at < DAY]
        self._ahead = [at for at in self._ahead if now - at < DAY]
        spent = Spent(len(self._paid), len(self._paid), len(self._ahead), len(self._ahead))
        left = allowance(spent, self._share)
        if left.calls < 1:
            return
        for one in pick(self._candidates(popular, now), left, binds=False):
            key = int.from_bytes(one.key)
            self._made[key] = self._done[key] = now
            self._ahead.append(now)
            self._unused.add(key)
            self.ahead += counts

    def _candidates(self, popular: Sequence[tuple[int, Popularity]], now: float) -> Iterator[Candidate]:
        for key, told in popular:
            if now - self._made.get(key, -TTL) >= TTL:
                known = told if self._knows_hours else told._replace(hours=bytes(24))
                done = self._done.get(key, 0.0) >= told.last
                yield Candidate(key.to_bytes(4), chance(known, now, min(HORIZON, TTL), now - BEGAN), 1.0, done=done)


def replay(asked: Sequence[tuple[float, int]], share: float, *, knows_hours: bool = True) -> dict[str, object]:
    """Hit rates of the second week."""
    subject = Replay(share, knows_hours=knows_hours)
    due, middle = BEGAN, BEGAN + DAYS / 2 * DAY
    for now, key in asked:
        while share and due <= now:
            subject.warm(due, counts=due >= middle)
            due += STEP
        subject.ask(now, key, counts=now >= middle)
    return {
        "share": share,
        "hours": knows_hours,
        "hit_rate": subject.hits / subject.lookups,
        "paid": subject.paid,
        "ahead": subject.ahead,
        "ahead_share": subject.ahead / subject.paid,
        "used": subject.used / subject.ahead if subject.ahead else None,
    }


def _line(told: dict[str, object]) -> str:
    return "  ".join(
        f"{name} {value:.4f}" if isinstance(value, float) else f"{name} {value}" for name, value in told.items()
    )


def main() -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arrivals", type=Path, help="a CSV of real arrivals: TIMESTAMP, ContextTokens")
    parser.add_argument("--out", type=Path, help="write the figures there, as JSON")
    given = parser.parse_args()
    restarts = [asyncio.run(restart(trace)) for trace in traces(given.arrivals)]
    for told in restarts:
        print(_line(told), flush=True)
    asked = two_weeks(Random(5))
    weeks = [replay(asked, 0.0)]
    weeks += [replay(asked, share, knows_hours=hours) for share in (0.02, 1.0) for hours in (False, True)]
    for told in weeks:
        print(_line(told))
    if given.out:
        given.out.write_text(json.dumps({"restart": restarts, "two_weeks": weeks}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
