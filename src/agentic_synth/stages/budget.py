"""Money as a resource: reserved before a call, settled after it."""

from __future__ import annotations

import asyncio

import msgspec

from agentic_synth.errors import AttemptTimeout, BadReply, BudgetSpent, ConfigError, Rejected, SynthError
from agentic_synth.policies.body import Ending, watch
from agentic_synth.policies.pricing import Price
from agentic_synth.policies.spending import Cost, Spending, SpendingStatistics
from agentic_synth.policies.tokens import call_bound, call_tokens, output_bound
from agentic_synth.stage import Handler
from agentic_synth.stops import Stops
from agentic_synth.types import Call, DeltaStream, Reply, Usage

__all__ = ["Budget", "Purse"]

_USUAL_OUTPUT = 1_024.0
_LEARN = 0.05
_MARGIN = 1.5
_NOTHING = Cost()
_CHARACTERS_A_TOKEN = 4
# After these the upstream may have worked, and been paid, for nothing.
_PERHAPS_BILLED = (AttemptTimeout, BadReply)


class Purse:
    """The spending of a run, shared by all its upstreams, and the calls that wait for others to settle."""

    def __init__(self, spending: Spending, stops: Stops | None = None) -> None:
        self.spending = spending
        self._stops = stops or Stops()
        self._waiters: set[asyncio.Future[None]] = set()

    @property
    def waiting(self) -> int:
        """Calls that wait for money."""
        return len(self._waiters)

    async def reserve(self, cost: Cost, run: str = "") -> None:
        """Set *cost* aside for a call of *run*; waits for others where only their reservations stand in the way."""
        spending = self.spending
        while not spending.reserve(cost):
            if not spending.fits(cost):
                limit, unit = spending.limit, spending.unit
                raise BudgetSpent(
                    f"the budget of {limit:,.10g} {unit} is spent as far as this call could need",
                    mend="raise it with --budget; what was answered is kept, and a rerun goes on from there",
                )
            freed = asyncio.get_running_loop().create_future()
            self._waiters.add(freed)
            try:
                with self._stops.waiting(run):
                    await freed
            finally:
                self._waiters.discard(freed)

    def settle(self, reserved: Cost, cost: Cost) -> None:
        """The call for which *reserved* was set aside did cost *cost*."""
        self.spending.settle(reserved, cost)
        for freed in self._waiters:
            if not freed.done():
                freed.set_result(None)


class Budget:
    """Holds each call to what the run may spend, at the *price* of its upstream (None: not known).

    Where ``max_tokens`` bounds the answer the budget is never exceeded: the reservation is an upper bound. Where
    nothing bounds it, by no more than what is in flight. The response, or the last delta of a stream, gets its cost
    in dollars.

    Raises:
        BudgetSpent: the call does not fit.
        Stopped: the run was stopped while the call waited for others to settle.
        ConfigError: a budget in dollars, and no price; when constructed.
    """

    def __init__(self, purse: Purse, price: Price | None, *, reference: str) -> None:
        if price is None and purse.spending.limit is not None and purse.spending.unit == "usd":
            raise ConfigError(
                f"no price is known for {reference}, so a budget in dollars cannot be kept",
                mend=f'add a price: [prices."{reference}"] input = ... output = ... (dollars a million tokens), '
                "or give the budget in tokens (2Mtok) or requests (10000req)",
            )
        self._purse = purse
        self._price = price
        self._bounded = purse.spending.limit is not None
        self._output = _USUAL_OUTPUT

    async def __call__(self, call: Call, proceed: Handler[Call, Reply], /) -> Reply:
        reserved = _NOTHING
        if self._bounded:
            reserved = self._most(call)
            await self._purse.reserve(reserved, call.request.run)
        try:
            reply = await proceed(call)
        except SynthError as error:
            self._purse.settle(reserved, self._failed(call, error))
            raise
        except BaseException:
            # Cancelled, so the upstream may have read the prompt and begun.
            self._purse.settle(reserved, self._begun(call, 0))
            raise
        if reply.response.body is not None:
            return self._watch(call, reserved, reply, reply.response.body)
        usage = reply.response.usage
        cost = self._cost(usage)
        self._purse.settle(reserved, cost)
        if self._bounded:
            self._output += _LEARN * (usage.output_tokens - self._output)
        if self._price is None:
            return reply
        return msgspec.structs.replace(reply, response=msgspec.structs.replace(reply.response, cost=cost.usd))

    def statistics(self) -> SpendingStatistics:
        """A snapshot of the whole run's spending."""
        return self._purse.spending.statistics()

    def _most(self, call: Call) -> Cost:
        """The most *call* can cost; the likely most, where nothing bounds the answer."""
        inputs = call_bound(call)
        bound = output_bound(call.request)
        return self._cost(Usage(inputs, bound if bound is not None else round(self._output * _MARGIN)))

    def _cost(self, usage: Usage) -> Cost:
        dollars = self._price.cost(usage) if self._price is not None else 0.0
        return Cost(dollars, usage.input_tokens + usage.output_tokens, 1.0)

    def _failed(self, call: Call, error: SynthError) -> Cost:
        if isinstance(error, Rejected):
            return _NOTHING
        if isinstance(error, _PERHAPS_BILLED):
            return self._begun(call, 0)
        return Cost(0.0, 0.0, 1.0)

    def _begun(self, call: Call, output_tokens: int) -> Cost:
        return self._cost(Usage(call_tokens(call), output_tokens))

    def _watch(self, call: Call, reserved: Cost, reply: Reply, body: DeltaStream) -> Reply:
        """A stream is settled when it ends: for its usage, or for what came through."""

        def ended(end: Ending) -> None:
            usage = end.usage
            cost = self._cost(usage) if usage else self._begun(call, end.characters // _CHARACTERS_A_TOKEN)
            self._purse.settle(reserved, cost)

        return watch(reply, body, ended, self._priced if self._price is not None else None)

    def _priced(self, usage: Usage) -> float:
        return self._cost(usage).usd
