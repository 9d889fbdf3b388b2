"""How a simulated provider behaves: one frozen record, written in Python or as text flags.

Text is what ``synth simulate`` takes and what ``POST /reset`` of the server takes::

    --latency lognormal:50ms:0.3+2ms/token      constant:50ms, 50ms, uniform:10ms:30ms
    --faults error=0.05,stall=0.01,cut=0.01,malformed=0.01,reset=0.01,invalid=0.1,refusal=0.01
    --rate 9000/min --tokens 1M/min             AMOUNT/PERIOD[:BURST]; the burst is one second's worth unless given
    --knee 64                                   beyond so many in flight the latency grows in proportion
    --bursts 30s:2s:0.9                         every 30 s, for 2 s, 90 % of the calls fail
    --slow-start 5s:4                           four times as slow at the start, falling to normal within 5 s
    --batches processing=1h,expiry=24h,failed=0.01,upload=0.01,submit=0.01,lost=0.01,poll=0.01,results=0.01
    --schedule "10s rate=6000/min; 20s faults=error=0.5 knee=off"
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

__all__ = ["BatchBehaviour", "Behaviour", "Bursts", "Change", "Faults", "Latency", "Rate", "SlowStart"]

Honesty: TypeAlias = Literal["truthful", "absent", "lying"]
"""What the rate-limit headers say: the truth, nothing, or that there is ten times the limit and no need to wait."""

Answers: TypeAlias = Literal["full", "brief"]
"""``full``: written by the local generator. ``brief``: one short line, cheap enough for a benchmark of the client."""


CALL_FAULTS: tuple[Literal["error", "stall", "cut", "malformed", "reset"], ...] = (
    "error",
    "stall",
    "cut",
    "malformed",
    "reset",
)
"""The faults that befall a call and exclude each other; the others are part of the answer."""


class Latency(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Seconds until the first token, and seconds for each further one.

    ``constant``: always *low*. ``uniform``: between *low* and *high*. ``lognormal``: median *low*, shape *sigma*.
    """

    law: Literal["constant", "uniform", "lognormal"] = "constant"
    low: float = 0.0
    high: float = 0.0
    sigma: float = 0.0
    per_token: float = 0.0


class Faults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Shares of calls that go wrong, each between 0 and 1.

    The first five befall a call and depend on the request and on how often it came, so a retry may heal them; they
    exclude each other. The others are part of the answer, hence the same each time.
    """

    error: float = 0.0
    """Answered with 500, 502, 503 or 529."""
    stall: float = 0.0
    """Taken, then silent: before the first byte, or in the middle of a stream."""
    cut: float = 0.0
    """The connection is closed in the middle of the body."""
    malformed: float = 0.0
    """Answered with 200 and a body that is no JSON."""
    reset: float = 0.0
    """The connection is reset before the first byte."""
    invalid: float = 0.0
    """Of the requests with a schema: wrong type, missing field, prose around it, a Markdown fence, or cut JSON."""
    refusal: float = 0.0
    """The model declines to answer."""
    omitted: float = 0.0
    """Of the items of a packed prompt: left out."""
    doubled: float = 0.0
    """Of the items of a packed prompt: answered twice, and not alike."""
    misnamed: float = 0.0
    """Of the items of a packed prompt: answered under an id that nobody gave."""


class Rate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """*amount* a *seconds*, as a bucket that refills steadily and holds *burst*."""

    amount: float
    seconds: float
    burst: float

    @property
    def per_second(self) -> float:
        """How fast the bucket refills."""
        return self.amount / self.seconds


class Bursts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """In the last *length* seconds of each *every* seconds, at least *share* of the calls fail with an error."""

    every: float
    length: float
    share: float


class SlowStart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Latency is *factor* times as long at the start and falls, in a straight line, to normal within *seconds*."""

    seconds: float
    factor: float


class BatchBehaviour(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the batch APIs fare: seconds of a batch, and shares of its requests or of the exchanges about it."""

    processing: float = 0.0
    """Seconds until the last request of a batch is answered; they are answered evenly over that time."""
    expiry: float = 86_400.0
    """Seconds after which a batch ends with what is finished."""
    failed: float = 0.0
    """Of the requests of a batch: the server had an error with them."""
    upload: float = 0.0
    """Of the uploads: refused with 503."""
    submit: float = 0.0
    """Of the submissions: refused with 503."""
    lost: float = 0.0
    """Of the submissions: taken, and then the connection is reset before the reply."""
    poll: float = 0.0
    """Of the questions about batches: refused with 503."""
    results: float = 0.0
    """Of the downloads of results: cut in the middle."""


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is different from *at* seconds after the first call on; fields left out stay as they are."""

    at: float
    latency: Latency | UnsetType = UNSET
    faults: Faults | UnsetType = UNSET
    rate: Rate | UnsetType | None = UNSET
    tokens: Rate | UnsetType | None = UNSET
    knee: int | UnsetType | None = UNSET


class Behaviour(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that a simulated provider can be told; the default answers at once and never fails.

    *tokens* limits input and output together: the input is taken on arrival, the output when the answer is done (it may
    leave the bucket in debt). *rejected_count* says that refused calls take from the limit too. *headers* and
    *retry_after* say how honest each kind of header is. *stall_seconds* is how long a silent connection is kept.
    *resample* lets an answer also depend on how many answers its request was given before, as a sampling model's does;
    without it equal requests have equal answers. With *api_key* any other key is refused (401); with *models* any
    other model is unknown (404).
    """

    latency: Latency = Latency()
    faults: Faults = Faults()
    rate: Rate | None = None
    tokens: Rate | None = None
    knee: int | None = None
    headers: Honesty = "truthful"
    retry_after: Honesty = "truthful"
    rejected_count: bool = False
    bursts: Bursts | None = None
    slow_start: SlowStart | None = None
    stall_seconds: float = 600.0
    answers: Answers = "full"
    resample: bool = False
    api_key: str | None = None
    models: tuple[str, ...] = ()
    batches: BatchBehaviour = BatchBehaviour()
    schedule: tuple[Change, ...] = ()
