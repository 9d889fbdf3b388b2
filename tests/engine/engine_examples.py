"""Engines on simulated providers and a clock that jumps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from agentic_synth.cache.memory import MemoryStore
from agentic_synth.cache.store import ResponseStore
from agentic_synth.config import EngineConfig, UpstreamConfig
from agentic_synth.engine.assembly import Assembly
from agentic_synth.engine.engine import Engine
from agentic_synth.policies.pricing import Prices
from agentic_synth.testing.clock import FakeClock
from agentic_synth.testing.flags import parse_behaviour
from agentic_synth.testing.simulated import SimulatedProvider
from agentic_synth.types import Message, Request

PRICES = {"sim/m": {"input": 10.0, "output": 20.0}}


def request(text: str = "hello", **fields: Any) -> Request:
    """A short question to ``sim/m``."""
    return Request(**{"model": "sim/m", "messages": (Message("user", text),), **fields})


def upstream(reference: str) -> UpstreamConfig:
    """An upstream on nobody's network."""
    name, _, model = reference.partition("/")
    return UpstreamConfig(
        reference=reference, name=name, model=model, wire="openai", base_url=f"http://{name}.example.com/v1"
    )


class Stand:
    """An engine, and the providers that it asks, by their references."""

    def __init__(
        self,
        config: EngineConfig | None = None,
        *,
        store: ResponseStore | None = None,
        clock: FakeClock | None = None,
        fallback: tuple[str, ...] = (),
        **behaviours: dict[str, str],
    ) -> None:
        self.clock = clock or FakeClock(autojump=True)
        self.store = store or MemoryStore()
        self.assembly = Assembly(
            config or EngineConfig(),
            self.store,
            Prices.load(PRICES),
            fallback=fallback,
            clock=self.clock,
            rng=Random(4),
        )
        self.providers: dict[str, SimulatedProvider] = {}
        for name, behaviour in (behaviours or {"sim": {}}).items():
            provider = SimulatedProvider(parse_behaviour(behaviour), seed=1, clock=self.clock, name=name)
            self.providers[name] = provider
            self.assembly.add(f"{name}/m", upstream(f"{name}/m"), provider)
        self.engine = Engine(self.assembly)

    @property
    def provider(self) -> SimulatedProvider:
        """The first one."""
        return next(iter(self.providers.values()))

    def limiter(self, name: str = "sim/m") -> dict[str, Any]:
        """What the limiter of an upstream tells."""
        told: dict[str, Any] = self.engine.statistics()["upstreams"][name]["limiter"]
        return told

    def at_rest(self) -> list[str]:
        """Everything that is still held; empty when nothing is."""
        told = self.engine.statistics()
        held = {f"{name}: provider": provider.simulation.in_flight for name, provider in self.providers.items()}
        for name, upstream_ in told["upstreams"].items():
            held |= {f"{name}: {part}": upstream_["limiter"][part] for part in ("in_flight", "waiting")}
        held |= {"trace": told["in_flight"], "money": told["spending"]["reserved"], "store": told["store"]["waiting"]}
        return [f"{what} {amount}" for what, amount in held.items() if amount > 1e-9]


@asynccontextmanager
async def opened(config: EngineConfig | None = None, **more: Any) -> AsyncIterator[Stand]:
    """A :class:`Stand` that is closed at the end, with nothing left in it."""
    stand = Stand(config, **more)
    async with stand.engine:
        yield stand
        assert not stand.at_rest(), stand.at_rest()
    assert stand.clock.sleeping == 0
