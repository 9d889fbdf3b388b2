"""Every error this package raises.

::

    SynthError
    +- ConfigError, RecipeError            the user's input: says the file, the line or key, and the mend
    +- StoreError, OutputError             this machine's disk: full, read-only, locked, damaged
    +- InvalidRequest                      the upstream calls the request itself wrong; never retried
    +- Rejected                            we refused to send it
    |  +- CircuitOpen, QueueFull, BudgetSpent, DeadlinePassed, Stopped, NotCached, Parked
    +- UpstreamError                       the other side failed
       +- RateLimited(retry_after), Overloaded, AttemptTimeout, ConnectFailed, BadReply
       |  +- Unreachable                a ConnectFailed where nobody has ever answered
       +- AuthFailed, QuotaSpent, UnknownModel

Each class says by itself how the stages treat it, so that no stage asks for types: *retryable* (the same upstream may
answer next time), *fallback* (another upstream may answer), *outcome* (what a limit and a breaker are told),
*divisible* (of several requests in one call, some alone may pass).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from agentic_synth.types import Outcome

__all__ = [
    "AttemptTimeout",
    "AuthFailed",
    "BadReply",
    "BudgetSpent",
    "CircuitOpen",
    "ConfigError",
    "ConnectFailed",
    "DeadlinePassed",
    "InvalidRequest",
    "NotCached",
    "OutputError",
    "Overloaded",
    "Parked",
    "QueueFull",
    "QuotaSpent",
    "RateLimited",
    "RecipeError",
    "Rejected",
    "Stopped",
    "StoreError",
    "SynthError",
    "UnknownModel",
    "Unreachable",
    "UpstreamError",
]


class SynthError(Exception):
    """The root; *mend* tells the user what to do about it, *attempts* how many calls were sent before giving up."""

    attempts: int = 0
    retryable: ClassVar[bool] = False
    fallback: ClassVar[bool] = False
    divisible: ClassVar[bool] = False
    outcome: ClassVar[Outcome] = Outcome.IGNORED

    def __init__(self, message: str, *, mend: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.mend = mend

    def __str__(self) -> str:
        return f"{self.message}\n  {self.mend}" if self.mend else self.message


class ConfigError(SynthError):
    """A setting, flag or environment variable is wrong."""


class RecipeError(SynthError):
    """A recipe is wrong; *where* is ``file:line:column`` as far as known."""

    def __init__(self, message: str, *, where: str = "", mend: str = "") -> None:
        super().__init__(f"{where}: {message}" if where else message, mend=mend)
        self.where = where


class StoreError(SynthError):
    """The response store cannot be read or written; nothing that was durable is lost."""


class OutputError(SynthError):
    """A seeds file cannot be read, or an output cannot be written."""


class InvalidRequest(SynthError):
    """The upstream says that the request itself is wrong; sending it again cannot help."""

    divisible = True

    def __init__(self, message: str, *, upstream: str = "", status: int | None = None, mend: str = "") -> None:
        super().__init__(message, mend=mend)
        self.upstream = upstream
        self.status = status


class Rejected(SynthError):
    """We did not send the request; the upstream is not to blame."""


class CircuitOpen(Rejected):
    """The breaker of the upstream is open, so the call was not tried."""

    fallback = True


class QueueFull(Rejected):
    """Too many requests wait for this upstream already."""


class BudgetSpent(Rejected):
    """The spending budget does not cover this call."""

    divisible = True


class DeadlinePassed(Rejected):
    """The request's deadline came before its answer."""


class Stopped(Rejected):
    """The run of the request was stopped before this could be sent."""


class NotCached(Rejected):
    """``only_if_cached`` was asked and the store has no valid answer."""


class Parked(Rejected):
    """The request was written down for a provider's batch; it has no answer before that has ended.

    *batch* is the number of the batch that it is in already, None while it waits for one.
    """

    def __init__(self, message: str, *, batch: int | None = None, mend: str = "") -> None:
        super().__init__(message, mend=mend)
        self.batch = batch


class UpstreamError(SynthError):
    """The upstream failed.

    *status* is the HTTP status where there was one, *headers* the reply's headers (lower-case names), *retry_after*
    the seconds the upstream asks us to stay away. Where the call carried several requests, *sharers* counts them, and
    *chance* is one random number for them all, so that they wait equally long and can travel together again.
    """

    outcome = Outcome.DROPPED
    retryable = True
    fallback = True

    def __init__(
        self,
        message: str,
        *,
        upstream: str = "",
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        mend: str = "",
    ) -> None:
        super().__init__(message, mend=mend)
        self.upstream = upstream
        self.status = status
        self.headers = dict(headers or {})
        self.retry_after = retry_after
        self.sharers = 1
        self.chance: float | None = None


class RateLimited(UpstreamError):
    """The upstream says that this key sends too much (429)."""


class Overloaded(UpstreamError):
    """The upstream cannot serve anybody at present (5xx, 529)."""


class AttemptTimeout(UpstreamError):
    """The upstream accepted the call and then kept silent for too long."""


class ConnectFailed(UpstreamError):
    """No connection, or it broke before an answer was complete."""


class Unreachable(ConnectFailed):
    """Nobody has ever answered there: a wrong address, a server that does not run, or no network."""

    retryable = False


class BadReply(UpstreamError):
    """The answer cannot be read: malformed JSON, a cut stream, the wrong content type."""


class AuthFailed(UpstreamError):
    """The key is missing, wrong, or not allowed to do this (401, 403)."""

    retryable = False
    outcome = Outcome.IGNORED


class QuotaSpent(UpstreamError):
    """The account has no money or quota left; waiting does not help."""

    retryable = False
    outcome = Outcome.IGNORED


class UnknownModel(UpstreamError):
    """The upstream does not know the model, or there is nothing at this URL (404)."""

    retryable = False
    outcome = Outcome.IGNORED
