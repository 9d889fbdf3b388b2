"""What a Synth holds while it is open: one engine, its store, and the ledger of runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from typing import TYPE_CHECKING, Any

import msgspec

from agentic_synth.cache.batches import BatchLedger
from agentic_synth.cache.ledger import Ledger
from agentic_synth.cache.memory import MemoryStore
from agentic_synth.cache.parked import Parking
from agentic_synth.cache.sqlite import SqliteStore
from agentic_synth.config import Config, UpstreamConfig
from agentic_synth.engine.assembly import Assembly, Transport
from agentic_synth.engine.engine import Engine
from agentic_synth.errors import ConfigError
from agentic_synth.policies.pricing import Price, Prices
from agentic_synth.settings import store_path
from agentic_synth.types import Call, Reply

if TYPE_CHECKING:
    from agentic_synth.cache.semantics import Semantics
    from agentic_synth.clock import Clock
    from agentic_synth.engine.warming import Warmer
    from agentic_synth.sdk.batch_desk import BatchDesk
    from agentic_synth.sdk.batch_follower import Errand
    from agentic_synth.telemetry.run_statistics import RunStatistics

__all__ = ["Connected", "Session", "connected_again"]

_MOST_ROWS = 1_024


Resolve = Callable[[str | None, str | None], UpstreamConfig]


class Connected(msgspec.Struct, frozen=True, kw_only=True):
    """What was named and which upstream it meant, for whoever looks back; without its key."""

    reference: str | None
    base_url: str | None
    upstream: dict[str, str]


class Session:
    """Opened when something is first asked; upstreams join as they are named. Without *sends* nothing leaves."""

    def __init__(self, config: Config, resolve: Resolve, *, sends: bool = True) -> None:
        self._resolve = resolve
        self._config = config
        self._sends = sends
        self._names: dict[tuple[str | None, str | None], str] = {}
        self._connected: dict[str, Connected] = {}
        self._prices = Prices.load(config.prices)
        path = store_path(config)
        store = (
            MemoryStore(ttl=config.store.ttl)
            if path is None
            else SqliteStore(path, config.store.synchronous, linger=0.02, ttl=config.store.ttl)
        )
        self.remembers = path is not None
        """Whether answers outlive this process."""
        self._journal = store
        self.ledger = Ledger(store)
        self.batches = BatchLedger(store)
        self.parking = Parking(store)
        self._upstreams: dict[str, UpstreamConfig] = {}
        self._desks: dict[str, BatchDesk] = {}
        fixed = config.engine.concurrency
        self.window = _MOST_ROWS if fixed is None else min(_MOST_ROWS, 2 * fixed + 16)
        """Rows in the making at once: enough that no permit waits for a row whose answer is being stored."""
        self._directory = store.path.parent if isinstance(store, SqliteStore) else None
        self._assembly = Assembly(
            config.engine, store, self._prices, fallback=config.fallback, semantics=self._open_semantics
        )
        self.engine = Engine(self._assembly)
        self._warms = False

    async def _open_semantics(self, spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]) -> Semantics:
        try:
            from agentic_synth.sdk.semantics import open_semantics  # noqa: PLC0415 - only where it is asked for
        except ImportError as error:
            raise ConfigError(
                f"semantic reuse needs a package that is not installed ({error})",
                mend="pip install 'agentic-synth[semantic]'",
            ) from error
        return await open_semantics(
            self._config.semantic, self._journal, self._directory, self.engine, self.name_of, spawn, sends=self._sends
        )

    def warmer(self) -> Warmer | None:
        """What asks ahead; None without a store that outlives the process."""
        from agentic_synth.engine.warming import Warmer  # noqa: PLC0415 - only where it is asked for

        store, config = self._journal, self._config
        if isinstance(store, MemoryStore):
            return None
        return Warmer(
            self._assembly,
            self.engine.submit,
            store,
            store.accesses,
            config.warming,
            ttl=config.store.ttl,
            connect=self._connects,
        )

    def warm(self) -> None:
        """Begin to ask ahead in the background, if the settings say so."""
        if self._config.warming.enabled and not self._warms and (warmer := self.warmer()) is not None:
            self._warms = True
            self._assembly.spawn(warmer.run())

    def _connects(self, name: str) -> bool:
        """Whether requests may call an upstream *name*; it is set up if the settings know it by that name."""
        if name in self._assembly:
            return True
        reference, _, base_url = name.partition("@")
        try:
            return self.name_of(reference, base_url or None) == name
        except ConfigError:
            return False

    def desk(self, name: str) -> BatchDesk:
        """Where requests to the upstream *name* wait for its provider's batches.

        Raises:
            ConfigError: there is no batch API.
        """
        if (desk := self._desks.get(name)) is None:
            from agentic_synth.sdk.batch_desk import open_desk  # noqa: PLC0415 - only where a run goes by batch
            from agentic_synth.sdk.batch_follower import BatchOffice  # noqa: PLC0415

            assembly, config = self._assembly, self._upstreams[name]
            office = BatchOffice(
                self.parking, self.batches, self._journal.leases, assembly.cache, assembly.purse, assembly.stops
            )
            desk = open_desk(name, config, office, self.price_of(name, by_batch=True), assembly.spawn)
            assembly.park.open(desk.lot)
            self._desks[name] = desk
        return desk

    def errand(self, run: str, statistics: RunStatistics, clock: Clock) -> Errand:
        """A run's errand at the desks."""
        from agentic_synth.sdk.batch_follower import Errand  # noqa: PLC0415 - only where a run goes by batch

        return Errand(run=run, statistics=statistics, clock=clock, poll=self._config.engine.poll)

    async def aclose(self) -> None:
        """Close connections and store; closing twice is allowed."""
        for desk in self._desks.values():
            await desk.aclose()
        await self.engine.aclose()

    @property
    def base_url(self) -> str | None:
        """Where a model is that names no place, as the settings say."""
        return self._config.base_url

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know about where answers are kept."""
        return self._assembly.store.warnings

    def name_of(self, reference: str | None, base_url: str | None) -> str:
        """What requests call the upstream that is meant; it is set up if it is new.

        Raises:
            ConfigError: there is no such upstream, or its key is missing.
        """
        name = self._names.get((reference, base_url))
        if name is None:
            for fallback in self._assembly.fallback:
                self._connect(fallback, None)
            name = self._names[reference, base_url] = self._connect(reference, base_url)
        return name

    def _connect(self, reference: str | None, base_url: str | None) -> str:
        if base_url == self._config.base_url and reference not in self._config.fallback:
            base_url = None  # where it is anyway, and by the same name
        config = self._resolve(reference, base_url)
        name = config.reference if base_url is None else f"{config.reference}@{base_url}"
        if name not in self._assembly:
            told = {field: getattr(config, field) for field in _TOLD}
            self._upstreams[name] = config
            self._connected[name] = Connected(reference=reference, base_url=base_url, upstream=told)
            self._assembly.add(name, config, _transport(config, sends=self._sends))
        return name

    def connected(self, names: Collection[str]) -> list[Connected]:
        """What the upstreams are that requests call by these *names*."""
        return [one for name, one in self._connected.items() if name in names]

    def price_of(self, name: str, *, by_batch: bool = False) -> Price | None:
        """What the upstream that requests call *name* costs, None where nobody knows."""
        one = self._connected.get(name)
        reference = name if one is None else one.upstream["reference"]
        return self._prices.in_batches(reference) if by_batch else self._prices.of(reference)


_TOLD = ("reference", "name", "model", "wire", "base_url")


def connected_again(recorded: Collection[Connected]) -> Resolve:
    """Resolves what was named then to what it meant then, whatever the settings say now."""
    known = {(one.reference, one.base_url): one.upstream for one in recorded}

    def resolve(reference: str | None, base_url: str | None) -> UpstreamConfig:
        if (told := known.get((reference, base_url))) is None:
            raise ConfigError(f"the run did not record which upstream `{reference}` was", mend="run it again")
        return msgspec.convert(told, UpstreamConfig)

    return resolve


class _Nobody:
    """The transport of a session that sends nothing."""

    async def __call__(self, call: Call, /) -> Reply:
        raise ConfigError("this was opened to look, not to ask", mend="leave out sends=False")

    async def aclose(self) -> None:
        """Nothing is held."""


def _transport(config: UpstreamConfig, *, sends: bool) -> Transport:
    if config.wire == "offline":
        from agentic_synth.offline.upstream import OfflineUpstream  # noqa: PLC0415 - only where it answers

        return OfflineUpstream()
    if not sends:
        return _Nobody()
    from agentic_synth.transport.upstream import HttpUpstream  # noqa: PLC0415 - offline runs need no HTTP client

    return HttpUpstream(config)
