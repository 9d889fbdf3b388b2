"""Not asking an upstream that fails; innermost, so that it judges wire time and nothing else."""

from __future__ import annotations

from random import Random

import msgspec

from agentic_synth.clock import Clock
from agentic_synth.errors import CircuitOpen, RateLimited, SynthError
from agentic_synth.policies.body import Ending, watch
from agentic_synth.policies.breaker import Circuit, CircuitState, Pass
from agentic_synth.stage import Handler
from agentic_synth.types import Call, DeltaStream, Outcome, Reply

__all__ = ["Breaker", "BreakerStatistics", "Change"]


class Change(msgspec.Struct, frozen=True):
    """The breaker entered *state*, so long ago."""

    seconds_ago: float
    state: CircuitState


class BreakerStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot: the state now and the last *changes* of it, how often it opened, how many calls it turned away."""

    state: CircuitState
    trips: int
    turned_away: int
    changes: tuple[Change, ...] = ()


class Breaker:
    """Lets calls through while the circuit is closed and tells it how they went.

    Rate limits never count (they are the limiter's), nor do requests that are wrong in themselves, nor cancellation.
    A stream counts as a success when it begins and as a failure of its own if it breaks.

    Raises:
        CircuitOpen: the circuit is open; at once.
    """

    def __init__(self, circuit: Circuit, clock: Clock, rng: Random) -> None:
        self._circuit = circuit
        self._clock = clock
        self._rng = rng
        self._turned_away = 0

    async def __call__(self, call: Call, proceed: Handler[Call, Reply], /) -> Reply:
        circuit, clock = self._circuit, self._clock
        given = circuit.admit(clock.now())
        if given is None:
            self._turned_away += 1
            raise CircuitOpen("the upstream failed too often and is left alone for a while", mend="try again later")
        try:
            reply = await proceed(call)
        except SynthError as error:
            outcome = Outcome.IGNORED if isinstance(error, RateLimited) else error.outcome
            circuit.record(given, outcome, None, clock.now(), self._rng)
            raise
        except BaseException:
            circuit.ignore(given)
            raise
        response = reply.response
        circuit.record(given, Outcome.SUCCESS, response.ttft, clock.now(), self._rng)
        return reply if response.body is None else self._watch(reply, response.body)

    def statistics(self) -> BreakerStatistics:
        """A snapshot."""
        circuit, now = self._circuit, self._clock.now()
        state = circuit.state(now)
        changes = tuple(Change(now - at, entered) for at, entered in circuit.changes)
        return BreakerStatistics(state=state, trips=circuit.trips, turned_away=self._turned_away, changes=changes)

    def _watch(self, reply: Reply, body: DeltaStream) -> Reply:
        """A body that breaks is a failure too."""
        given = Pass(self._circuit.epoch, False)

        def ended(end: Ending) -> None:
            if isinstance(end.error, SynthError):
                self._circuit.record(given, end.error.outcome, None, self._clock.now(), self._rng)

        return watch(reply, body, ended)
