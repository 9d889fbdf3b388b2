"""What the world's models cost, as their providers publish it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Self

import msgspec

from agentic_synth.errors import ConfigError
from agentic_synth.types import Usage

__all__ = ["FREE", "Price", "Prices"]

_MILLION = 1_000_000.0


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Dollars a million tokens; *cached* is for input the provider had cached, the same as *input* where not given."""

    input: float
    output: float
    cached: float | None = None

    def cost(self, usage: Usage) -> float:
        """Dollars for *usage*."""
        cached = self.input if self.cached is None else self.cached
        fresh = usage.input_tokens - usage.cached_tokens
        return (fresh * self.input + usage.cached_tokens * cached + usage.output_tokens * self.output) / _MILLION

    def times(self, share: float) -> Price:
        """What it costs where only this share of the price is charged."""
        cached = None if self.cached is None else self.cached * share
        return Price(self.input * share, self.output * share, cached)


FREE = Price(0.0, 0.0, 0.0)


class _Table(msgspec.Struct, frozen=True):
    dated: str
    sources: dict[str, str]
    prices: dict[str, Price]
    batch: dict[str, float] = {}


class Prices:
    """The price of a model by its reference (``openai/gpt-4.1-mini``), the user's own prices first.

    Models of this machine (``offline``, ``ollama/...``) are free. A dated version (``openai/gpt-4.1-mini-2025-04-14``)
    costs what its family does. What is in no table has no price: None, never a guess.
    """

    def __init__(
        self, prices: Mapping[str, Price], dated: str, sources: Mapping[str, str], batch: Mapping[str, float]
    ) -> None:
        self._prices = dict(prices)
        self._batch = dict(batch)
        self.dated = dated
        self.sources = dict(sources)

    @classmethod
    def load(cls, own: Mapping[str, Mapping[str, float]] | None = None) -> Self:
        """The table that comes with the package, with the user's *own* prices laid over it."""
        table = _shipped()
        prices = dict(table.prices)
        for reference, fields in (own or {}).items():
            try:
                prices[reference] = msgspec.convert(dict(fields), Price)
            except msgspec.ValidationError as error:
                raise ConfigError(
                    f"the price of {reference} is wrong: {error}",
                    mend="write input and output (and cached, if known) in dollars a million tokens",
                ) from error
        return cls(prices, table.dated, table.sources, table.batch)

    def of(self, reference: str) -> Price | None:
        """The price of *reference*, None where it is not known."""
        provider = reference.partition("/")[0]
        if provider in _LOCAL and reference not in self._prices:
            return FREE
        found = self._prices.get(reference)
        return found if found is not None else self._prices.get(_undated(reference))

    def in_batches(self, reference: str) -> Price | None:
        """The price of *reference* in its provider's batches; the usual one where no discount is known."""
        price, share = self.of(reference), self._batch.get(reference.partition("/")[0])
        return price if price is None or share is None else price.times(share)

    def __iter__(self) -> Iterator[tuple[str, Price]]:
        return iter(self._prices.items())


_LOCAL = frozenset({"offline", "ollama", "vllm", "llamacpp", "lmstudio"})


def _undated(reference: str) -> str:
    """*reference* without a trailing date: ``-2025-04-14``, ``-20250414`` or ``-latest``."""
    stem, dash, tail = reference.rpartition("-")
    if dash and (tail == "latest" or (tail.isdigit() and len(tail) == 8)):
        return stem
    parts = reference.rsplit("-", 3)
    if len(parts) == 4 and [len(part) for part in parts[1:]] == [4, 2, 2] and all(part.isdigit() for part in parts[1:]):
        return parts[0]
    return reference


@cache
def _shipped() -> _Table:
    return msgspec.json.decode(files("agentic_synth").joinpath("data/prices.json").read_bytes(), type=_Table)
