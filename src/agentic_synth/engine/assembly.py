"""The one place where the order of the stages stands.

::

    Request -> trace -> dedup -> cache -> retry -> route -+-> [per upstream]
        (hedge) -> limiter -> budget -> breaker -> transport

Equal requests in flight share one call (dedup, outside the cache: else one would miss just before the leader stores).
Waiting between tries (retry) holds no permit (limiter). Every try may take another upstream (route), is paid at that
upstream's price (budget), and is judged on the time on the wire alone (breaker). What was answered is durable (cache)
before the caller sees it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from random import Random
from typing import Any, Protocol

import msgspec

from agentic_synth.cache.store import ResponseStore
from agentic_synth.clock import Clock, SystemClock
from agentic_synth.config import EngineConfig, UpstreamConfig
from agentic_synth.engine.watch import watch_process
from agentic_synth.policies.admission import Admission
from agentic_synth.policies.backoff import Backoff, RetryBudget
from agentic_synth.policies.breaker import Circuit
from agentic_synth.policies.guard import ProcessGuard
from agentic_synth.policies.hedging import Hedging
from agentic_synth.policies.pricing import Prices
from agentic_synth.policies.spending import Spending
from agentic_synth.stage import Handler, chain
from agentic_synth.stages.breaker import Breaker
from agentic_synth.stages.budget import Budget, Purse
from agentic_synth.stages.cache import Cache
from agentic_synth.stages.dedup import Dedup
from agentic_synth.stages.hedge import Hedge
from agentic_synth.stages.limiter import Limiter
from agentic_synth.stages.retry import Retry
from agentic_synth.stages.route import Route, Upstream
from agentic_synth.stages.trace import Trace
from agentic_synth.types import Call, Json, Reply, Request, Response

__all__ = ["Assembly", "Transport"]


class Transport(Protocol):
    """Where a call leaves this process, or is answered by the local generator."""

    async def __call__(self, call: Call, /) -> Reply: ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


class Assembly:
    """The chain of one engine, and what its stages share."""

    def __init__(
        self,
        config: EngineConfig,
        store: ResponseStore,
        prices: Prices,
        *,
        fallback: tuple[str, ...] = (),
        clock: Clock | None = None,
        rng: Random | None = None,
    ) -> None:
        """*fallback* are the references asked, in order, where the named upstream cannot answer."""
        self.store = store
        self.fallback = fallback if config.fallback else ()
        self._config = config
        self._prices = prices
        self._clock = clock or SystemClock()
        self._rng = rng or Random()
        self._origins: dict[str, str | None] = {}
        self._stages: dict[str, dict[str, Any]] = {}
        self._limiters: list[Limiter] = []
        self._transports: list[Transport] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._guard = ProcessGuard()
        self._guarded = False
        self._purse = Purse(Spending.parse(config.budget) if config.budget else Spending())
        backoff = Backoff(base=config.backoff_base, cap=config.backoff_cap, tries=config.tries)

        self.trace = Trace(self._clock)
        self._dedup = Dedup(self._origin, self._spawn)
        self.cache = Cache(store, self._origin)
        self._retry = Retry(backoff, RetryBudget(config.retry_budget), self._clock, self._rng)
        self._route = Route((), self._clock, self._rng, fallback=self.fallback)
        self.handler: Handler[Request, Response] = chain(
            (self.trace, self._dedup, self.cache, self._retry), self._route
        )

    def add(self, name: str, config: UpstreamConfig, transport: Transport) -> None:
        """Let requests name the upstream *config* as *name*; *transport* reaches it and is closed with the engine."""
        self._transports.append(transport)
        circuit = Circuit()
        send: Handler[Call, Reply] = transport
        if config.wire == "offline":
            self._origins[name] = None
        else:
            self._origins[name] = config.base_url
            stages = self._stages[name] = self._stages_of(config, circuit)
            send = chain(tuple(stages.values()), transport)
        self._route.add(Upstream(reference=name, model=config.model, send=send, circuit=circuit))

    def _stages_of(self, config: UpstreamConfig, circuit: Circuit) -> dict[str, Any]:
        """What a call to this upstream passes, from the outermost stage to the innermost."""
        clock, concurrency = self._clock, self._config.concurrency
        admission = Admission.of(config, concurrency=concurrency, guard=self._guard, now=clock.now())
        limiter = Limiter(admission, clock, self._spawn)
        self._limiters.append(limiter)
        hedge = {"hedge": Hedge(Hedging(), Hedging(), clock, lambda: limiter.binds)} if self._config.hedge else {}
        return {
            **hedge,
            "limiter": limiter,
            "budget": Budget(self._purse, self._prices.of(config.reference), reference=config.reference),
            "breaker": Breaker(circuit, clock, self._rng),
        }

    def __contains__(self, name: str) -> bool:
        return name in self._route

    def _origin(self, request: Request) -> str | None:
        """Where the requested model is; None where it costs nothing to ask it again."""
        if not self._guarded and self._stages:
            self._guarded = True
            self._spawn(watch_process(self._guard, self._clock))
        return self._origins.get(request.model, "")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task of the engine's own, which ends with it at the latest."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def statistics(self) -> dict[str, Json]:
        """A snapshot of every stage."""
        snapshot: dict[str, Json] = {
            **self.trace.statistics(),
            "dedup": self._dedup.statistics(),
            "retry": msgspec.to_builtins(self._retry.statistics()),
            "route": msgspec.to_builtins(self._route.statistics()),
            "spending": msgspec.to_builtins(self._purse.spending.statistics()),
            "store": msgspec.to_builtins(self.store.statistics()),
            "upstreams": {},
        }
        for name, stages in self._stages.items():
            told = {part: msgspec.to_builtins(stage.statistics()) for part, stage in stages.items() if part != "budget"}
            snapshot["upstreams"][name] = told
        return snapshot

    async def aclose(self) -> None:
        """Let nobody wait, end the engine's tasks, close every connection, and the store last."""
        for limiter in self._limiters:
            limiter.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        async with AsyncExitStack() as closing:
            closing.push_async_callback(self.store.aclose)
            for transport in self._transports:
                closing.push_async_callback(transport.aclose)
