"""One call's stay at the simulated server: when its reply goes out, and how it goes wrong on the socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agentic_synth.testing.dialects import OPENAI, Dialect, Fault
from agentic_synth.testing.http import Exchange
from agentic_synth.testing.simulation import Fate, Simulation

__all__ = ["Visit"]

_BROKEN_EVENT = b'data: {"id":"chatcmpl-","object":"chat.comp\n\n'


class Visit:
    """Plays one fate on one exchange; timers only, no task. Whoever leaves early is taken off the books at once."""

    __slots__ = (
        "_at",
        "_dialect",
        "_events",
        "_exchange",
        "_fate",
        "_loop",
        "_next",
        "_open",
        "_simulation",
        "_timer",
        "_tokens",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        simulation: Simulation,
        exchange: Exchange,
        fate: Fate,
        dialect: Dialect = OPENAI,
    ) -> None:
        self._loop = loop
        self._dialect = dialect
        self._simulation = simulation
        self._exchange = exchange
        self._fate = fate
        self._open = fate.kind != "rate_limited"
        self._timer: asyncio.TimerHandle | None = None
        self._events: list[bytes] = []
        self._next = 0
        self._tokens = 0
        self._at = 0.0
        exchange.left = self._left

    def fail(self) -> None:
        """Refuse, fail or reset, when it is time."""
        self._after(self._fate.wait, self._fail_now)

    def reply(self, body: bytes, output_tokens: int) -> None:
        """Send *body* when the last token is there; or stall, cut or garble it."""
        self._tokens = output_tokens
        if self._fate.kind == "stall":
            self._after(self._simulation.behaviour.stall_seconds, self._hang_up)
        else:
            wait = self._fate.wait + self._fate.per_token * max(0, output_tokens - 1)
            self._after(wait, lambda: self._reply_now(body))

    def stream(self, events: list[bytes], output_tokens: int) -> None:
        """Send *events* one a token; a stall, a cut or garbage comes on the way."""
        self._tokens = output_tokens
        self._events = events
        if self._fate.kind != "answer":
            del events[1 + int(self._fate.share * (len(events) - 2)) :]
        self._after(self._fate.wait, self._begin)

    def withdraw(self) -> None:
        """The request turned out to be wrong: it is answered elsewhere."""
        self._open = False
        self._simulation.withdraw()

    def _after(self, seconds: float, then: Callable[[], None]) -> None:
        if seconds > 0:
            self._timer = self._loop.call_later(seconds, then)
        else:
            then()

    def _left(self) -> None:
        """The client is gone before the end."""
        if self._timer is not None:
            self._timer.cancel()
        self._leave(complete=False)

    def _leave(self, *, complete: bool) -> None:
        self._timer = None
        if self._open:
            self._open = False
            self._simulation.leave(self._loop.time(), self._fate, self._tokens if complete else 0, complete=complete)

    def _close(self, status: int | None, *, complete: bool = False) -> None:
        """The reply is about to go out, whole or not: close the books."""
        self._leave(complete=complete)
        self._simulation.count(self._fate.kind, status)

    def _fail_now(self) -> None:
        fate, exchange = self._fate, self._exchange
        if fate.kind == "reset":
            self._close(None)
            exchange.reset()
            return
        self._close(fate.status)
        if fate.kind == "rate_limited":
            fault = Fault(429, "rate limit reached for requests or tokens", "requests", "rate_limit_exceeded")
        else:
            fault = Fault(fate.status, "the server had an error while processing your request", "server_error")
        body = self._dialect.fault(fault, fate.headers)
        exchange.reply(fate.status, body, self._dialect.headers(fate.headers))

    def _reply_now(self, body: bytes) -> None:
        fate, exchange = self._fate, self._exchange
        headers = self._dialect.headers(fate.headers)
        self._close(200, complete=fate.kind == "answer")
        match fate.kind:
            case "cut":
                exchange.cut_reply(body, fate.share, headers)
            case "malformed":
                exchange.reply(200, body[: max(1, int(fate.share * (len(body) - 1)))], headers)
            case _:
                exchange.reply(200, body, headers)

    def _hang_up(self) -> None:
        """The end of a stall that nobody gave up on."""
        self._close(None)
        self._exchange.hang_up()

    def _begin(self) -> None:
        self._exchange.begin(self._dialect.headers(self._fate.headers))
        self._at = self._loop.time()
        self._step()

    def _step(self) -> None:
        """Send the events that are due: the role with the first token, then one a token; all of them if none waits."""
        events, per_token = self._events, self._fate.per_token
        due = len(events)
        if per_token > 0:
            due = min(due, 2 + int((self._loop.time() - self._at) / per_token + 1e-6))
        data = b"".join(events[self._next : due])
        self._next = max(due, self._next)
        flowing = self._exchange.write(data) if data else True
        if self._next >= len(events):
            self._end()
        elif flowing:
            self._timer = self._loop.call_at(self._at + (self._next - 1) * per_token, self._step)
        else:
            self._exchange.resumed = self._step

    def _end(self) -> None:
        match self._fate.kind:
            case "answer":
                self._close(200, complete=True)
                self._exchange.end()
            case "malformed":
                self._close(200)
                self._exchange.write(_BROKEN_EVENT)
                self._exchange.end()
            case "cut":
                self._close(200)
                self._exchange.hang_up()
            case _:
                self._timer = self._loop.call_later(self._simulation.behaviour.stall_seconds, self._hang_up)
