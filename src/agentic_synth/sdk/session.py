"""What a Synth holds while it is open: one engine, its store, and the ledger of runs."""

from __future__ import annotations

from collections.abc import Callable

from agentic_synth.cache.ledger import Ledger
from agentic_synth.cache.memory import MemoryStore
from agentic_synth.cache.sqlite import SqliteStore
from agentic_synth.config import Config, UpstreamConfig, store_path
from agentic_synth.engine.assembly import Assembly, Transport
from agentic_synth.engine.engine import Engine
from agentic_synth.policies.pricing import Price, Prices

__all__ = ["Session"]

_MOST_ROWS = 1_024


class Session:
    """Opened when something is first asked; upstreams join as they are named."""

    def __init__(self, config: Config, resolve: Callable[[str | None, str | None], UpstreamConfig]) -> None:
        self._resolve = resolve
        self._config = config
        self._names: dict[tuple[str | None, str | None], str] = {}
        self._references: dict[str, str] = {}
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
            self._references[name] = config.reference
            self._assembly.add(name, config, _transport(config))
        return name

    def price_of(self, name: str) -> Price | None:
        """What the upstream that requests call *name* costs, None where nobody knows."""
        return self._prices.of(self._references.get(name, name))


def _transport(config: UpstreamConfig) -> Transport:
    if config.wire == "offline":
        from agentic_synth.offline.upstream import OfflineUpstream  # noqa: PLC0415 - only where it answers

        return OfflineUpstream()
    from agentic_synth.transport.upstream import HttpUpstream  # noqa: PLC0415 - offline runs need no HTTP client

    return HttpUpstream(config)
