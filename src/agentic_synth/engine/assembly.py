"""The one place where the order of the stages stands.

::

    Request -> trace -> deadline -> dedup -> cache -> semantic -> park -> retry -> route -+-> [per upstream]
        batch -> (hedge) -> limiter -> budget -> breaker -> transport

Equal requests in flight share one call (dedup, outside the cache: else one would miss just before the leader stores).
Waiting between tries (retry) holds no permit (limiter). Every try may take another upstream (route), is paid at that
upstream's price (budget), and is judged on the time on the wire alone (breaker). What was answered is durable (cache)
before the caller sees it. What may wait for a provider's batch, and no store can answer, is written down (park).
Embeddings of any callers travel in one call (batch); their wait for company is no latency, and a permit is for the
call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from random import Random
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import msgspec

from agentic_synth.cache.store import ResponseStore, Status
from agentic_synth.clock import Clock, SystemClock
from agentic_synth.config import EngineConfig, UpstreamConfig
from agentic_synth.engine.watch import process_guard, watch_process
from agentic_synth.errors import ConfigError
from agentic_synth.policies.admission import Admission
from agentic_synth.policies.backoff import Backoff, RetryBudget
from agentic_synth.policies.batch_size import BatchSize
from agentic_synth.policies.breaker import Circuit
from agentic_synth.policies.company import Arrays
from agentic_synth.policies.hedging import Hedging
from agentic_synth.policies.input_limits import input_limits
from agentic_synth.policies.packs import SELF_BATCHING, Packs
from agentic_synth.policies.pricing import Prices
from agentic_synth.policies.spending import Spending
from agentic_synth.stage import Handler, chain
from agentic_synth.stages.batch import Batcher
from agentic_synth.stages.breaker import Breaker
from agentic_synth.stages.budget import Budget, Purse
from agentic_synth.stages.cache import Cache
from agentic_synth.stages.deadline import Deadline
from agentic_synth.stages.dedup import Dedup
from agentic_synth.stages.hedge import Hedge
from agentic_synth.stages.limiter import Limiter
from agentic_synth.stages.park import Park
from agentic_synth.stages.retry import Retry
from agentic_synth.stages.route import Route, Upstream
from agentic_synth.stages.semantic import Semantic
from agentic_synth.stages.trace import Trace
from agentic_synth.stops import Stops
from agentic_synth.types import Call, Json, Reply, Request, Response

if TYPE_CHECKING:
    from agentic_synth.cache.semantics import Semantics

__all__ = ["Assembly", "OpenSemantics", "Transport"]

Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
OpenSemantics: TypeAlias = "Callable[[Spawn], Coroutine[Any, Any, Semantics]]"
"""Loads an embedder and a library; it is given what starts a task of the engine's own."""

_PACK_PATIENCE = 5


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
        semantics: OpenSemantics | None = None,
        clock: Clock | None = None,
        rng: Random | None = None,
    ) -> None:
        """*fallback* are the references asked, in order, where the named upstream cannot answer.

        *semantics* loads what semantic reuse needs, when a request first wants it; None is without.
        """
        self.store = store
        self.fallback = fallback if config.fallback else ()
        self._config = config
        self._prices = prices
        self.clock = clock or SystemClock()
        self._rng = rng or Random()
        self._origins: dict[str, str | None] = {}
        self._stages: dict[str, dict[str, Any]] = {}
        self._limiters: list[Limiter] = []
        self._batchers: list[Batcher] = []
        self._transports: list[Transport] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._guard = process_guard()
        self.stops = Stops()
        self.purse = Purse(Spending.parse(config.budget) if config.budget else Spending(), self.stops)
        backoff = Backoff(base=config.backoff_base, cap=config.backoff_cap, tries=config.tries)

        self.trace = Trace(self.clock)
        self._dedup = Dedup(self._origin, self.spawn)
        self.cache = Cache(store, self._origin, self.clock)
        self._open_semantics = semantics
        self._semantics: asyncio.Task[Semantics] | None = None
        self.semantic = Semantic(self.semantics, store, self._origin, self._rng, self.spawn)
        self.park = Park()
        self._retry = Retry(backoff, RetryBudget(config.retry_budget), self.clock, self._rng, self.stops)
        self._route = Route((), self.clock, self._rng, fallback=self.fallback, stops=self.stops)
        self.handler: Handler[Request, Response] = chain(
            (self.trace, Deadline(self.clock), self._dedup, self.cache, self.semantic, self.park, self._retry),
            self._route,
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
        clock, concurrency = self.clock, self._config.concurrency
        admission = Admission.of(config, concurrency=concurrency, guard=self._guard, now=clock.now())
        limiter = Limiter(admission, clock, self.spawn, stops=self.stops)
        self._limiters.append(limiter)
        hedge = {"hedge": Hedge(Hedging(), Hedging(), clock, lambda: limiter.binds)} if self._config.hedge else {}
        return {
            **({"batch": self._batcher_of(config, limiter)} if self._config.batching else {}),
            **hedge,
            "limiter": limiter,
            "budget": Budget(self.purse, self._prices.of(config.reference), reference=config.reference),
            "breaker": Breaker(circuit, clock, self._rng),
        }

    def _batcher_of(self, config: UpstreamConfig, limiter: Limiter) -> Batcher:
        linger = self._config.linger
        arrays = Arrays(BatchSize(), input_limits(config), linger=linger)
        packs = None if config.name in SELF_BATCHING else Packs(self._rng, linger=_PACK_PATIENCE * linger)
        batcher = Batcher(arrays, packs, self.clock, self._rng, self.spawn, binds=lambda: limiter.binds)
        self._batchers.append(batcher)
        return batcher

    async def semantics(self) -> Semantics:
        """What semantic reuse needs, loaded once.

        Raises:
            ConfigError: it cannot be had.
        """
        if self._semantics is None:
            if self._open_semantics is None:
                raise ConfigError("this engine was made without semantic reuse", mend="say reuse: exact")
            self._semantics = asyncio.ensure_future(self._open_semantics(self.spawn))
        return await asyncio.shield(self._semantics)

    def __contains__(self, name: str) -> bool:
        return name in self._route

    def circuit(self, name: str) -> Circuit:
        """The breaker's state of the upstream that requests call *name*."""
        return self._route.upstream(name).circuit

    def _origin(self, request: Request) -> str | None:
        """Where the requested model is; None where it costs nothing to ask it again."""
        return self._origins.get(request.model, "")

    @property
    def binds(self) -> bool:
        """Whether requests wait for any limit now."""
        return any(limiter.binds for limiter in self._limiters)

    def would_wait(self, request: Request) -> bool:
        """Whether a limit or the breaker of its upstream would keep *request* from going at once."""
        limiter: Limiter = self._stages[request.model]["limiter"]
        call = Call(request=request, model=request.model)
        return limiter.would_hold(call) or not self.circuit(request.model).available(self.clock.now())

    def origin(self, name: str) -> str | None:
        """Where the upstream that requests call *name* is; None where answers cost nothing, or there is none such."""
        return self._origins.get(name)

    def watch(self) -> bool:
        """Begin to look at this process, if there are limits to lower while it cannot keep up; whether there are."""
        if self._limiters:
            self.spawn(watch_process(self._guard, self.clock))
        return bool(self._limiters)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task of the engine's own, which ends with it at the latest."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def reject(self, request: Request, reason: str) -> None:
        """The stored answer of *request* is invalid: never serve it as a valid one, and learn what packing did."""
        self.cache.mark(request, Status.INVALID, reason)
        if request.pack is not None:
            for batcher in self._batchers:
                batcher.reject(request)

    def statistics(self) -> dict[str, Json]:
        """A snapshot of every stage."""
        snapshot: dict[str, Json] = {
            **self.trace.statistics(),
            "dedup": self._dedup.statistics(),
            "semantic": msgspec.to_builtins(self.semantic.statistics()),
            "retry": msgspec.to_builtins(self._retry.statistics()),
            "route": msgspec.to_builtins(self._route.statistics()),
            "guard": {"share": self._guard.share},
            "spending": msgspec.to_builtins(self.purse.spending.statistics()),
            "store": msgspec.to_builtins(self.store.statistics()),
            "upstreams": {},
        }
        for name, stages in self._stages.items():
            told = {part: msgspec.to_builtins(stage.statistics()) for part, stage in stages.items() if part != "budget"}
            snapshot["upstreams"][name] = {**told, "route": msgspec.to_builtins(self._route.visits(name))}
        return snapshot

    async def aclose(self) -> None:
        """Let nobody wait, end the engine's tasks, close every connection, and the store last."""
        for batcher in self._batchers:
            batcher.close()
        for limiter in self._limiters:
            limiter.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        async with AsyncExitStack() as closing:
            closing.push_async_callback(self.store.aclose)
            if self._semantics is not None and not (await asyncio.wait({self._semantics}))[0].pop().exception():
                closing.push_async_callback(self._semantics.result().aclose)
            for transport in self._transports:
                closing.push_async_callback(transport.aclose)
