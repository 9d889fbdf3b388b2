"""The repair ladder: ask, read, correct once, regenerate, and in the end say plainly why there is no cell."""

from __future__ import annotations

from typing import Any, Protocol

from agentic_synth.errors import Stopped, SynthError
from agentic_synth.recipes.answers import Invalid
from agentic_synth.recipes.asked import Asked
from agentic_synth.telemetry.run_statistics import Purpose, RunStatistics
from agentic_synth.types import Request, Response

__all__ = ["Answered", "Answerer", "Unusable", "ask"]


class Answerer(Protocol):
    """What the ladder needs of an engine."""

    async def submit(self, request: Request) -> Response:
        """Answer one request."""
        ...

    def reject(self, request: Request, reason: str) -> None:
        """Never serve the stored answer of this request as a valid one."""
        ...


class Unusable(Exception):
    """No rung of the ladder gave a valid answer; *raw* is the last one's text."""

    def __init__(self, column: str, reason: str, raw: str) -> None:
        super().__init__(reason)
        self.column = column
        self.reason = reason
        self.raw = raw


class Answered:
    """A cell and the response it was read from."""

    __slots__ = ("response", "value")

    def __init__(self, value: Any, response: Response) -> None:
        self.value = value
        self.response = response


async def ask(engine: Answerer, asked: Asked, request: Request, statistics: RunStatistics | None) -> Answered:
    """Ask until an answer fits, on the rungs: as asked, corrected once, regenerated.

    Each rung is the next *attempt* of the same draw. Rejected answers stay in the store, marked, and are read again by
    a resumed run, so it climbs to the same rung without paying. *statistics* None counts nothing (a row that is made
    again).

    Raises:
        Unusable: the ladder ended without a valid answer.
        SynthError: the request itself could not be answered.
    """
    rung, purpose, correctable = request, _FIRST, asked.answers is not None
    again = request
    regenerations = asked.regenerate
    while True:
        if statistics is not None:
            statistics.record_sent()
        try:
            response = await engine.submit(rung)
        except BaseException as error:
            if statistics is not None:
                _record(error, statistics, purpose)
            raise
        if statistics is not None:
            statistics.record_response(response, purpose)
        read = asked.read(response)
        if not isinstance(read, Invalid):
            return Answered(read.value, response)
        engine.reject(rung, read.reason)
        if correctable and response.finish == "stop":
            rung, purpose, correctable = asked.correction(rung, response, read.reason), _REPAIR, False
            again = asked.again(again)
        elif regenerations:
            regenerations -= 1
            again = asked.again(again)
            rung, purpose = again, _REGENERATION
        else:
            raise Unusable(asked.name, read.reason, response.text)


_FIRST: Purpose = "answer"
_REPAIR: Purpose = "repair"
_REGENERATION: Purpose = "regeneration"


def _record(error: BaseException, statistics: RunStatistics, purpose: Purpose) -> None:
    """Count a request that was sent and has no answer."""
    if isinstance(error, Stopped):
        statistics.record_cancelled(error.attempts, purpose)
    elif isinstance(error, SynthError):
        statistics.record_failure(type(error).__name__, error.attempts, purpose)
    else:
        statistics.record_cancelled()
