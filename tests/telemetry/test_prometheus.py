from random import Random

from prometheus_client import CollectorRegistry, generate_latest

from agentic_synth.cache.memory import MemoryStore
from agentic_synth.config import EngineConfig, UpstreamConfig
from agentic_synth.engine.assembly import Assembly
from agentic_synth.engine.engine import Engine
from agentic_synth.errors import SynthError
from agentic_synth.policies.pricing import Prices
from agentic_synth.telemetry.prometheus import EngineCollector
from agentic_synth.testing.behaviour import Behaviour, Faults
from agentic_synth.testing.clock import FakeClock
from agentic_synth.testing.simulated import SimulatedProvider
from agentic_synth.types import Message, Request


async def test_a_scrape_tells_what_the_engine_did() -> None:
    clock = FakeClock(autojump=True)
    assembly = Assembly(EngineConfig(tries=2, hedge=True), MemoryStore(), Prices.load(), clock=clock, rng=Random(0))
    provider = SimulatedProvider(Behaviour(faults=Faults(error=0.6)), clock=clock)
    upstream = UpstreamConfig(reference="lab/m", name="lab", model="m", wire="openai", base_url="http://127.0.0.1/v1")
    assembly.add("lab/m", upstream, provider)
    registry = CollectorRegistry()
    async with Engine(assembly) as engine:
        registry.register(EngineCollector(engine.statistics))
        requests = [Request(model="lab/m", messages=(Message("user", f"number {n}"),)) for n in range(20)]
        answers = [answer async for answer in engine.map(requests, window=4)]
        failed = sum(isinstance(answer, SynthError) for answer in answers)
        text = generate_latest(registry).decode()
    assert 0 < failed < 20
    assert "synth_requests_total 20.0" in text
    assert f'synth_upstream_calls_total{{outcome="success",upstream="lab/m"}} {20 - failed}.0' in text
    assert 'synth_upstream_circuit{state="closed",upstream="lab/m"}' in text
    assert 'synth_upstream_in_flight{upstream="lab/m"} 0.0' in text
    told = engine.statistics()["upstreams"]["lab/m"]
    assert told["route"]["retries"] == engine.statistics()["retry"]["retries"] > 0
    assert f'synth_upstream_retries_total{{upstream="lab/m"}} {told["route"]["retries"]}.0' in text
    assert 'synth_upstream_fallbacks_total{upstream="lab/m"} 0.0' in text
    assert f'synth_upstream_hedges_total{{upstream="lab/m"}} {told["hedge"]["hedges"]}.0' in text
    assert f'synth_upstream_circuit_trips_total{{upstream="lab/m"}} {told["breaker"]["trips"]}.0' in text


def test_an_engine_that_was_never_opened_has_no_metrics() -> None:
    assert list(EngineCollector(dict).collect()) == []
