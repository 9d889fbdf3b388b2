"""A provider in this process that misbehaves on request: the engine's tests, the benchmark and users' CI run on it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence

import msgspec

from agentic_synth.clock import Clock, SystemClock
from agentic_synth.config import Timeouts
from agentic_synth.errors import (
    AttemptTimeout,
    BadReply,
    ConnectFailed,
    Overloaded,
    RateLimited,
    SynthError,
    UnknownModel,
    UpstreamError,
)
from agentic_synth.testing.answers import (
    Answer,
    AnswerLaw,
    compose,
    count_input,
    offline_law,
    pieces,
    request_key,
)
from agentic_synth.testing.behaviour import Behaviour
from agentic_synth.testing.simulation import Fate, Simulation
from agentic_synth.types import Call, Delta, Reply, Response, Usage

__all__ = ["SimulatedProvider"]

_FAILURES: dict[str, tuple[type[UpstreamError], str]] = {
    "rate_limited": (RateLimited, "refuses more calls for now"),
    "error": (Overloaded, "had an error"),
    "stall": (AttemptTimeout, "kept silent"),
    "cut": (ConnectFailed, "closed the connection in the middle of the answer"),
    "malformed": (BadReply, "sent a body that is no JSON"),
    "reset": (ConnectFailed, "reset the connection"),
}
_NO_STATUS = ("stall", "reset")
_WITH_STATUS = ("rate_limited", "error", "malformed")


class SimulatedProvider:
    """A ``Handler[Call, Reply]`` that stands where the transport does, on any clock.

    It fails with the errors the transport would raise: a stall lasts as long as *timeouts* let it and ends in
    ``AttemptTimeout``, a reset or cut is ``ConnectFailed``, a malformed body ``BadReply``. The answer depends on the
    request and *seed*; faults and latency also on how often the request came; so equal seeds give equal traces.
    Cancelling a call, or closing a stream's body, frees its place at once.
    """

    def __init__(
        self,
        behaviour: Behaviour | None = None,
        *,
        seed: int = 0,
        clock: Clock | None = None,
        answer: AnswerLaw | None = None,
        timeouts: Timeouts | None = None,
        name: str = "simulated",
    ) -> None:
        self.simulation = Simulation(behaviour, seed=seed)
        self.name = name
        self._clock: Clock = clock or SystemClock()
        self._law = answer or offline_law
        self._timeouts = timeouts or Timeouts()

    async def __call__(self, call: Call, /) -> Reply:
        """Answer the call, or fail as the behaviour has it."""
        simulation, request, start = self.simulation, call.request, self._clock.now()
        models = simulation.behaviour.models
        if models and call.model not in models:
            simulation.count("unknown_model", 404)
            raise UnknownModel(f"{self.name} has no model {call.model!r}", upstream=self.name, status=404)
        fate = simulation.arrive(start, request_key(request, call.model), count_input(request))
        visit = _Visit(simulation, self._clock, self._timeouts, self.name, fate)
        if fate.kind == "rate_limited":
            await self._clock.sleep(fate.wait)
            simulation.count(fate.kind, fate.status)
            raise visit.failure()
        try:
            await visit.wait(streamed=request.stream)
            answer = compose(request, fate, simulation.behaviour, simulation.seed, self._law)
            if not request.stream:
                await self._clock.sleep(fate.per_token * (answer.output_tokens - 1))
        except BaseException as error:
            visit.leave(failed=isinstance(error, SynthError))
            raise
        response = Response(model=call.model, upstream=self.name, ttft=fate.wait)
        if request.stream:
            response = msgspec.structs.replace(response, body=_Body(visit, call.model, answer))
        else:
            visit.leave(answer)
            response = msgspec.structs.replace(
                response,
                text=answer.text,
                tool_calls=answer.tool_calls,
                finish=answer.finish,
                usage=Usage(fate.input_tokens, answer.output_tokens),
                seconds=self._clock.now() - start,
            )
        return Reply(response=response, headers=fate.headers)

    async def aclose(self) -> None:
        """Nothing is held open."""

    async def models(self) -> list[str]:
        """The models it knows; one stands for all where any name is taken."""
        return list(self.simulation.behaviour.models) or ["simulated"]

    def statistics(self) -> dict[str, object]:
        """The books: see :meth:`Simulation.statistics`."""
        return self.simulation.statistics()


class _Visit:
    """One call's stay at the provider, from its admission to its one :meth:`leave`."""

    __slots__ = ("_name", "_open", "_simulation", "_timeouts", "clock", "fate")

    def __init__(self, simulation: Simulation, clock: Clock, timeouts: Timeouts, name: str, fate: Fate) -> None:
        self.clock = clock
        self.fate = fate
        self._simulation = simulation
        self._timeouts = timeouts
        self._name = name
        self._open = True

    async def wait(self, *, streamed: bool) -> None:
        """Return at the first token, or fail in place of it; a stream may also fail later."""
        kind = self.fate.kind
        silent = kind == "stall" and not streamed
        await self.clock.sleep(self._timeouts.total if silent else self.fate.wait)
        if kind in {"error", "reset"} or (kind != "answer" and not streamed):
            raise self.failure()

    async def break_off(self) -> None:
        """Fail in the middle of a stream, after the silence that a stall is."""
        if self.fate.kind == "stall":
            await self.clock.sleep(self._timeouts.inter_token)
        self.leave(failed=True)
        raise self.failure()

    def leave(self, answer: Answer | None = None, *, failed: bool = False) -> None:
        """Close the call in the books, once; neither an answer nor a failure means that the caller gave up."""
        if not self._open:
            return
        self._open = False
        tokens = answer.output_tokens if answer is not None else 0
        self._simulation.leave(self.clock.now(), self.fate, tokens, complete=answer is not None)
        if answer is not None or failed:
            self._simulation.count(self.fate.kind, self.fate.status if self.fate.kind not in _NO_STATUS else None)

    def failure(self) -> UpstreamError:
        """The error that the transport raises for this fate."""
        error, text = _FAILURES[self.fate.kind]
        return error(
            f"{self._name} {text}",
            upstream=self._name,
            status=self.fate.status if self.fate.kind in _WITH_STATUS else None,
            headers=self.fate.headers if self.fate.kind in _WITH_STATUS else None,
            retry_after=self.fate.retry_after,
        )


class _Body:
    """The rest of a streamed answer: a delta a token, then the finish and the usage."""

    def __init__(self, visit: _Visit, model: str, answer: Answer) -> None:
        self._visit = visit
        self._model = model
        self._answer = answer
        self._deltas = self._run()

    def __aiter__(self) -> AsyncIterator[Delta]:
        return self._deltas

    async def aclose(self) -> None:
        """Give up; the place at the provider is free at once."""
        self._visit.leave()
        await self._deltas.aclose()

    async def _run(self) -> AsyncGenerator[Delta, None]:
        visit, answer, fate = self._visit, self._answer, self._visit.fate
        deltas = _deltas(answer)
        whole = fate.kind == "answer"
        try:
            for at, delta in enumerate(deltas if whole else deltas[: int(fate.share * len(deltas))]):
                if at and fate.per_token:
                    await visit.clock.sleep(fate.per_token)
                yield delta
            if not whole:
                await visit.break_off()
            visit.leave(answer)
            usage = Usage(fate.input_tokens, answer.output_tokens)
            yield Delta(finish=answer.finish, usage=usage, model=self._model)
        finally:
            visit.leave()


def _deltas(answer: Answer) -> Sequence[Delta]:
    if answer.tool_calls:
        return [Delta(tool_calls=({"index": at, **call},)) for at, call in enumerate(answer.tool_calls)]
    return [Delta(text=piece) for piece in pieces(answer.text)]
