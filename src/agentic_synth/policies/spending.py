"""What a run may spend, what it has spent, and what is reserved for the calls that are out."""

from __future__ import annotations

import re
from typing import Literal, Self, TypeAlias

import msgspec

from agentic_synth.errors import ConfigError

__all__ = ["Cost", "Spending", "SpendingStatistics", "Unit"]

Unit: TypeAlias = Literal["usd", "tok", "req"]

_WRITTEN = re.compile(
    r"([0-9][0-9_,]*(?:\.[0-9]+)?|\.[0-9]+)([kMG]?)(usd|dollars?|tok|tokens?|req|requests?)", re.IGNORECASE
)
_SCALES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_TOLERANCE = 1e-9


class Cost(msgspec.Struct, frozen=True, gc=False):
    """What a call costs in each unit; dollars are 0.0 where no price is known."""

    usd: float = 0.0
    tok: float = 0.0
    req: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.usd + other.usd, self.tok + other.tok, self.req + other.req)


class SpendingStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot: *limit* (None: none) in *unit*, what is reserved of it, and what was spent in every unit."""

    limit: float | None
    unit: Unit
    reserved: float
    dollars: float
    tokens: int
    requests: int


class Spending:
    """A hard stop: what is spent and what is reserved together never pass *limit*.

    Every call reserves the most it can cost and settles for what it did cost, failed calls too. One that would pass the
    limit only because of what is reserved may wait for others to settle; one that would pass it in any case is refused.
    """

    __slots__ = ("limit", "requests", "reserved", "spent", "tokens", "unit", "usd")

    def __init__(self, limit: float | None = None, unit: Unit = "usd") -> None:
        self.limit = limit
        self.unit: Unit = unit
        self.reserved = 0.0
        self.spent = 0.0
        self.usd = 0.0
        self.tokens = 0.0
        self.requests = 0.0

    @classmethod
    def parse(cls, text: str) -> Self:
        """``5usd``, ``2Mtok``, ``10000req``; k, M and G may stand before the unit."""
        match = _WRITTEN.fullmatch(text.strip().replace(" ", "").replace("$", "usd") if text else "")
        if match is None:
            raise ConfigError(f"`{text}` is not a budget", mend="write for example 5usd, 2Mtok or 10000req")
        number, scale, unit = match.groups()
        limit = float(number.replace("_", "").replace(",", "")) * _SCALES[scale.lower()]
        if limit <= 0:
            raise ConfigError(f"a budget of {text} allows nothing", mend="write for example 5usd, 2Mtok or 10000req")
        units: dict[str, Unit] = {"u": "usd", "d": "usd", "t": "tok", "r": "req"}
        return cls(limit, units[unit[0].lower()])

    def fits(self, cost: Cost) -> bool:
        """Whether *cost* could still be spent once everything that is reserved turned out to cost nothing."""
        return self.limit is None or self.spent + self._of(cost) <= self.limit + _TOLERANCE

    def reserve(self, cost: Cost) -> bool:
        """Set *cost* aside for one call; false if what is spent and reserved leaves no room for it."""
        if self.limit is None:
            return True
        if not self.room_for(cost):
            return False
        self.reserved += self._of(cost)
        return True

    def hold(self, cost: Cost) -> None:
        """Set *cost* aside, room or not, for what is under way already."""
        self.reserved += self._of(cost)

    def room_for(self, cost: Cost) -> bool:
        """Whether *cost* could be reserved now."""
        return self.limit is None or self.spent + self.reserved + self._of(cost) <= self.limit + _TOLERANCE

    def settle(self, reserved: Cost, cost: Cost) -> None:
        """The call for which *reserved* was set aside did cost *cost*."""
        self.usd += cost.usd
        self.tokens += cost.tok
        self.requests += cost.req
        if self.limit is not None:
            self.reserved = max(0.0, self.reserved - self._of(reserved))
            self.spent += self._of(cost)

    def statistics(self) -> SpendingStatistics:
        """A snapshot."""
        return SpendingStatistics(
            limit=self.limit,
            unit=self.unit,
            reserved=self.reserved,
            dollars=self.usd,
            tokens=round(self.tokens),
            requests=round(self.requests),
        )

    def _of(self, cost: Cost) -> float:
        return cost.usd if self.unit == "usd" else cost.tok if self.unit == "tok" else cost.req
