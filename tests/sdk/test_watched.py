"""What progress sees, and what is said where nothing may be sent."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agentic_synth import Synth
from agentic_synth.errors import ConfigError
from agentic_synth.sdk.recipe_run import Settings
from agentic_synth.sdk.watched import traffic
from tests.sdk.sdk_examples import tickets

REST = {"gated_seconds": 0.0, "per_second": None}


def upstream(breaker: str = "closed", **limiter: int) -> dict[str, Any]:
    counts = dict.fromkeys(("limit", "in_flight", "waiting", "success", "dropped", "ignored", "rate_limited"), 0)
    route = {"retries": 0, "fallbacks": limiter.pop("fallbacks", 0)}
    hedge = {"hedge": {"hedges": limiter.pop("hedges"), "won": 0}} if "hedges" in limiter else {}
    return {"limiter": {**REST, **counts, **limiter}, "breaker": {"state": breaker}, "route": route, **hedge}


def test_traffic_is_the_sum_over_what_was_asked() -> None:
    idle = upstream(limit=500)
    assert traffic([]) is None
    assert traffic([idle]) is None, "nothing was sent"
    busy = upstream("half_open", limit=64, in_flight=60, waiting=9, success=90, dropped=10, rate_limited=5)
    other = upstream("open", limit=8, in_flight=1, fallbacks=4, hedges=2)
    one, both = traffic([idle, busy]), traffic([busy, other])
    assert one is not None
    assert both is not None
    assert (one.in_flight, one.waiting, one.limit, one.refused, one.breaker) == (60, 9, 64, 0.05, "half_open")
    assert (both.in_flight, both.limit, both.breaker) == (61, 72, "open")
    assert (one.fallbacks, one.hedges, both.fallbacks, both.hedges) == (0, 0, 4, 2)


async def test_rows_count_when_they_are_made() -> None:
    async with Synth() as synth:
        prepared = synth.prepare(tickets())
        assert prepared.snapshot().rows_made == 0
        run = await synth.execute(prepared, out="t.jsonl")
        assert prepared.snapshot().rows_made == run.rows == 12
        assert prepared.snapshot().traffic is None
        assert run.usage.estimated is run.statistics["tokens"]["estimated"] is True


async def test_run_wants_to_know_where_the_rows_go() -> None:
    async with Synth() as synth:
        with pytest.raises(ConfigError) as caught:
            await synth.run(tickets())
    assert 'out="-" for stdout' in caught.value.mend


async def test_what_sends_nothing_wants_no_key() -> None:
    async with Synth("openai/gpt-4.1-mini", sends=False, store=":none:") as synth:
        estimate = await synth.estimate(tickets())
        assert estimate.calls == 12
        assert estimate.dollars
        with pytest.raises(ConfigError, match="to look, not to ask"):
            await synth.complete("Hello")


async def test_the_ledger_remembers_whom_a_run_asked() -> None:
    async with Synth("offline") as synth:
        await synth.run(tickets(), out="t.jsonl")
        recorded = synth.session.ledger.run("last")
    assert recorded is not None
    settings = msgspec.json.decode(recorded.settings_json, type=Settings)
    (only,) = settings.upstreams
    assert only.upstream == {
        "reference": "offline",
        "name": "offline",
        "model": "offline",
        "wire": "offline",
        "base_url": "",
    }
