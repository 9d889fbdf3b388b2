"""What every provider's batch API is to us: one Protocol, one enum of states, one shape of results."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from enum import StrEnum
from typing import NamedTuple, Protocol

import msgspec

from agentic_synth.errors import SynthError
from agentic_synth.types import Request, Response

__all__ = [
    "BatchApi",
    "BatchCounts",
    "BatchLimits",
    "BatchLine",
    "BatchResult",
    "BatchState",
    "Finding",
    "ProviderBatch",
    "Submission",
]


class BatchState(StrEnum):
    """Where a batch stands at its provider; the last four are final, and all but ``failed`` may have results."""

    RUNNING = "running"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def final(self) -> bool:
        """Whether nothing more will happen to it."""
        return self not in {BatchState.RUNNING, BatchState.CANCELLING}


class BatchLimits(NamedTuple):
    """What one batch may hold: *requests*, and *size_bytes* of them as they are sent; and how long it may take."""

    requests: int
    size_bytes: int
    seconds: float = 86_400.0


class BatchCounts(msgspec.Struct, frozen=True, gc=False):
    """How many of a batch's requests stand where; some providers tell only when all is over."""

    waiting: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = 0

    @property
    def total(self) -> int:
        """All of them; 0 while the provider has not counted yet."""
        return self.waiting + self.succeeded + self.failed + self.cancelled + self.expired


class ProviderBatch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch as its provider tells of it.

    *name* is ours, empty where the provider keeps none. *created* and *expires* are unix seconds. *results* name what
    holds the results (files, or the batch itself), empty where there are none to be had. *reason* says why it failed.
    """

    id: str
    state: BatchState
    name: str = ""
    counts: BatchCounts = BatchCounts()
    created: float = 0.0
    expires: float | None = None
    results: tuple[str, ...] = ()
    reason: str = ""


class BatchLine(NamedTuple):
    """One request of a batch; *custom_id* (at most 64 letters, digits, ``-`` and ``_``) comes back with its result."""

    custom_id: str
    request: Request


class BatchResult(msgspec.Struct, frozen=True):
    """What became of one request: a *response*, or an *error*.

    Neither says that the provider did not get to it before the batch expired or was cancelled: it cost nothing, and may
    be asked again.
    """

    custom_id: str
    response: Response | None = None
    error: SynthError | None = None


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """What was written down before a batch was sent, so that it can be found if the reply to that was lost.

    *began* is unix seconds, *mark* what :meth:`BatchApi.mark` said just before. *known* are the ids of batches that are
    accounted for, so cannot be the one that is sought.
    """

    name: str
    requests: int
    began: float
    mark: str = ""
    known: frozenset[str] = frozenset()


class Finding(NamedTuple):
    """What a search for a submission showed.

    *batch* is the one that was sought. Where there is none, each of *undecided* may be it, which cannot be told before
    it has ended; where that is empty too, the provider lists no such batch.
    """

    batch: ProviderBatch | None = None
    undecided: tuple[ProviderBatch, ...] = ()


class BatchApi(Protocol):
    """One upstream's batch API; every failure is one of our classes, and nothing is retried here."""

    @property
    def limits(self) -> BatchLimits: ...

    def size(self, line: BatchLine) -> int:
        """The bytes of *line* in a submission, exactly."""
        ...

    async def mark(self) -> str:
        """What stands newest in the provider's list; to be written down before :meth:`submit`."""
        ...

    async def submit(self, name: str, lines: Iterable[BatchLine]) -> ProviderBatch:
        """Hand the requests over; they are written to a temporary file first, so memory does not grow with them.

        Where this fails, the batch may exist all the same: ask :func:`~agentic_synth.transport.batches.finding.resolve`
        before it is tried again.

        Raises:
            InvalidRequest: more than :attr:`limits` allow; nothing was sent.
        """
        ...

    async def find(self, submission: Submission, owns: Callable[[str], bool]) -> Finding:
        """Look for a batch that was submitted; *owns* says whether a ``custom_id`` is of this submission."""
        ...

    async def poll(self, identity: str) -> ProviderBatch:
        """How the batch fares."""
        ...

    def results(self, batch: ProviderBatch) -> AsyncGenerator[BatchResult, None]:
        """Every result there is, in no order, one at a time as it comes in; again from the start each time it is asked.

        Raises:
            BadReply: a line cannot be read; those before it were good.
        """
        ...

    async def cancel(self, identity: str) -> ProviderBatch:
        """Ask for an end; what is finished by then stays. Cancelling what has ended says how it ended."""
        ...

    def list(self) -> AsyncIterator[ProviderBatch]:
        """All batches of this key, newest first, fetched page by page as they are asked for."""
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...
