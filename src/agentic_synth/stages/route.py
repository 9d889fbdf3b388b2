"""Which upstream answers a request: the one it names, or the next in order that can."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import msgspec

from agentic_synth.clock import Clock
from agentic_synth.errors import CircuitOpen, ConfigError, ConnectFailed, SynthError, Unreachable, UpstreamError
from agentic_synth.policies.attempt import Attempt
from agentic_synth.policies.breaker import Circuit
from agentic_synth.stage import Handler
from agentic_synth.stops import Stops
from agentic_synth.types import Call, Reply, Request, Response

__all__ = ["Route", "RouteStatistics", "Upstream", "Visits"]

_SPREAD = 0.25
_UNREACHABLE_FAILURES = 5
_UNREACHABLE_SECONDS = 1.0


class Upstream(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream as ``route`` sees it.

    *reference* is ``provider/model`` as requests name it, *model* the upstream's own name for it, *send* its chain of
    stages, *circuit* the breaker's state, at which ``route`` looks before anything waits.
    """

    reference: str
    model: str
    send: Handler[Call, Reply]
    circuit: Circuit


class RouteStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot: requests answered by another upstream than they named, and waits for any upstream to come back."""

    fallbacks: int
    outages: int


class Visits(msgspec.Struct, kw_only=True):
    """What went to one upstream beside first tries: *retries*, and answers in place of others (*fallbacks*)."""

    retries: int = 0
    fallbacks: int = 0


class Route:
    """Sends each request to the upstream it names, else to the *fallback* upstreams in their order.

    The next is asked when a circuit is open, when the tries at the one before are spent, or when its failure cannot
    heal (a wrong key, no quota, no such model); each at most once a try, so there is no cycle. With an empty *fallback*
    nobody else ever answers.

    When every circuit is open, the request waits for the first that lets a probe through: up to *patience* seconds if
    one of them ever answered, else up to *first_patience*, so that an outage costs no row and a wrong URL no hour.
    Where no connection has ever come about, a second of trying is enough.

    Raises:
        CircuitOpen: none came back in time, or none before the request's deadline.
        Unreachable: nobody has ever answered there.
        Stopped: the run of the request was stopped while it waited.
        ConfigError: the request names an upstream that is not here.
    """

    def __init__(
        self,
        upstreams: Sequence[Upstream],
        clock: Clock,
        rng: Random,
        *,
        fallback: Sequence[str] = (),
        patience: float = 600.0,
        first_patience: float = 15.0,
        stops: Stops | None = None,
    ) -> None:
        self._upstreams: dict[str, Upstream] = {}
        self._fallback = tuple(fallback)
        self._orders: dict[str, tuple[Upstream, ...]] = {}
        self._clock = clock
        self._rng = rng
        self._stops = stops or Stops()
        self._patience = patience
        self._first_patience = first_patience
        self._last_failures: dict[str, str] = {}
        self._unconnected: dict[str, tuple[float, int]] = {}
        self._visits: dict[str, Visits] = {}
        self._outages = 0
        for upstream in upstreams:
            self.add(upstream)

    def add(self, upstream: Upstream) -> None:
        """*upstream* can be named from now on."""
        self._upstreams[upstream.reference] = upstream
        self._visits[upstream.reference] = Visits()
        self._orders.clear()

    def __contains__(self, reference: str) -> bool:
        return reference in self._upstreams

    def upstream(self, reference: str) -> Upstream:
        """The upstream that requests call *reference*.

        Raises:
            ConfigError: there is none.
        """
        return self._order(reference)[0]

    async def __call__(self, request: Request, /) -> Response:
        order = self._orders.get(request.model) or self._order(request.model)
        first = order[0]
        number = 0
        failure: SynthError | None = None
        if isinstance(request, Attempt):
            number, failure = request.number, request.failure
            if request.spent:
                order = tuple(upstream for upstream in order if upstream.reference not in request.spent)
        call = Call(request=request, model=first.model, try_number=number)
        began: float | None = None
        while order:
            open_: list[Upstream] = []
            for place, upstream in enumerate(order):
                if not upstream.circuit.available(self._clock.now()):
                    open_.append(upstream)
                    continue
                try:
                    self._visits[upstream.reference].retries += number > 0
                    sent = call if call.model == upstream.model else msgspec.structs.replace(call, model=upstream.model)
                    response = _named((await upstream.send(sent)).response, upstream)
                except CircuitOpen:
                    open_.append(upstream)
                except SynthError as error:
                    failure = self._note(upstream, error)
                    if not self._passes_on(upstream, failure, more=len(open_) + len(order) - place > 1):
                        raise failure from error
                else:
                    self._visits[upstream.reference].fallbacks += upstream is not first
                    return response
            order = tuple(open_)
            if order:
                began = await self._outage(order, request, began, failure)
        raise failure or self._gone(())

    def statistics(self) -> RouteStatistics:
        """A snapshot."""
        fallbacks = sum(visits.fallbacks for visits in self._visits.values())
        return RouteStatistics(fallbacks=fallbacks, outages=self._outages)

    def visits(self, reference: str) -> Visits:
        """What went to one upstream so far."""
        return self._visits[reference]

    def _passes_on(self, upstream: Upstream, error: SynthError, *, more: bool) -> bool:
        """Whether the next upstream is asked in this very try: the failure cannot heal, or its circuit has opened."""
        if not error.fallback or not more:
            return False
        return not error.retryable or not upstream.circuit.available(self._clock.now())

    def _note(self, upstream: Upstream, error: SynthError) -> SynthError:
        if isinstance(error, UpstreamError):
            # The retry stage names the upstream that it gives up by this.
            error.upstream = upstream.reference
            self._last_failures[upstream.reference] = error.message
            if isinstance(error, ConnectFailed) and not upstream.circuit.answered:
                first, count = self._unconnected.get(upstream.reference, (self._clock.now(), 0))
                self._unconnected[upstream.reference] = (first, count + 1)
                return self._unreachable(upstream) or error
        return error

    def _unreachable(self, upstream: Upstream) -> Unreachable | None:
        """What to say of an upstream where nobody ever answered, once that has been tried often and long enough."""
        first, count = self._unconnected.get(upstream.reference, (0.0, 0))
        waited = self._clock.now() - first
        if upstream.circuit.answered or count < _UNREACHABLE_FAILURES or waited < _UNREACHABLE_SECONDS:
            return None
        return Unreachable(
            f"{upstream.reference} cannot be reached: {self._last_failures[upstream.reference]}",
            upstream=upstream.reference,
            mend="check the base URL and the network, and whether the server runs",
        )

    async def _outage(
        self, order: tuple[Upstream, ...], request: Request, began: float | None, failure: SynthError | None
    ) -> float:
        """Wait until a circuit among *order* may be probed; returns when this request's waiting began."""
        now = self._clock.now()
        if all(self._unreachable(upstream) for upstream in order) and (gone := self._unreachable(order[0])):
            raise gone
        if began is None:
            began = now
            self._outages += 1
        patience = self._patience if any(upstream.circuit.answered for upstream in order) else self._first_patience
        ends = began + patience
        if request.deadline is not None:
            ends = min(ends, request.deadline)
        # Jitter, so that those who wait do not all come in the same turn.
        wait = min(upstream.circuit.due(now) for upstream in order) * (1 + _SPREAD * self._rng.random())
        if now + wait > ends:
            raise failure if failure is not None else self._gone(order)
        with self._stops.waiting(request.run):
            await self._clock.sleep(wait)
        return began

    def _gone(self, order: tuple[Upstream, ...]) -> CircuitOpen:
        names = ", ".join(upstream.reference for upstream in order)
        last = next((self._last_failures[u.reference] for u in order if u.reference in self._last_failures), "")
        return CircuitOpen(
            f"{names} fails too often and is left alone for a while" + (f"; the last failure: {last}" if last else ""),
            mend="look at the provider's status page or the base URL; what was answered is kept, so run it again later",
        )

    def _order(self, reference: str) -> tuple[Upstream, ...]:
        named = self._upstreams.get(reference)
        if named is None:
            known = ", ".join(sorted(self._upstreams)) or "none"
            raise ConfigError(f"no upstream serves `{reference}`", mend=f"those set up are: {known}")
        others = (self._upstreams[name] for name in dict.fromkeys(self._fallback) if name in self._upstreams)
        order = (named, *(upstream for upstream in others if upstream is not named))
        self._orders[reference] = order
        return order


def _named(response: Response, upstream: Upstream) -> Response:
    """*response*, which says who answered."""
    if response.upstream and response.model:
        return response
    return msgspec.structs.replace(
        response, upstream=response.upstream or upstream.reference, model=response.model or upstream.model
    )
