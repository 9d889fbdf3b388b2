"""What a Synth holds while it is open: one engine, its store, and the ledger of runs."""

from __future__ import annotations

from collections.abc import Callable, Collection

import msgspec

from agentic_synth.cache.ledger import Ledger
from agentic_synth.cache.memory import MemoryStore
from agentic_synth.cache.sqlite import SqliteStore
from agentic_synth.config import Config, UpstreamConfig, store_path
from agentic_synth.engine.assembly import Assembly, Transport
from agentic_synth.engine.engine import Engine
from agentic_synth.errors import ConfigError
from agentic_synth.policies.pricing import Price, Prices
from agentic_synth.types import Call, Reply

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
        store = MemoryStore() if path is None else SqliteStore(path, config.store.synchronous, linger=0.02)
        self.remembers = path is not None
        """Whether answers outlive this process."""
        self.ledger = Ledger(store)
        fixed = config.engine.concurrency
        self.window = _MOST_ROWS if fixed is None else min(_MOST_ROWS, 2 * fixed + 16)
        """Rows in the making at once: enough that no permit waits for a row whose answer is being stored."""
        self._assembly = Assembly(config.engine, store, self._prices, fallback=config.fallback)
        self.engine = Engine(self._assembly)

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
            self._connected[name] = Connected(reference=reference, base_url=base_url, upstream=told)
            self._assembly.add(name, config, _transport(config, sends=self._sends))
        return name

    def connected(self, names: Collection[str]) -> list[Connected]:
        """What the upstreams are that requests call by these *names*."""
        return [one for name, one in self._connected.items() if name in names]

    def price_of(self, name: str) -> Price | None:
        """What the upstream that requests call *name* costs, None where nobody knows."""
        one = self._connected.get(name)
        return self._prices.of(name if one is None else one.upstream["reference"])


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
