"""Which requests may share a call, how they are joined, and what each gets of the answer."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Protocol

import msgspec

from agentic_synth.policies.batch_size import BatchSize
from agentic_synth.policies.batching import Batch, Batching, BatchLimits
from agentic_synth.types import Call, Reply, Request, Response

__all__ = ["Arrays", "Company", "Joint"]

_parameters_key = msgspec.json.Encoder(order="sorted").encode


class Company(Protocol):
    """The requests of one lane: those that may share calls with each other."""

    @property
    def size(self) -> BatchSize:
        """How large its batches are."""
        ...

    @property
    def batching(self) -> Batching[Any]:
        """Who waits."""
        ...

    def admits(self) -> bool:
        """Whether the request that comes now may wait for company; otherwise it goes alone."""
        ...

    def join(self, calls: Sequence[Call]) -> Call:
        """One call for them all."""
        ...

    def parts(self, call: Call, reply: Reply) -> list[Response | None]:
        """The answer to each request of a joined *call*, None where there is none for it."""
        ...

    def learn(self, batch: Batch[Any], items: int, seconds: float) -> None:
        """A call of *batch*, with so many *items*, took *seconds* on the wire."""
        ...

    def answered(self, request: Request, response: Response | None, company: int) -> None:
        """*request* has its answer, or has been left out, of a call for so many."""
        ...


class Joint(Protocol):
    """One way of sharing calls."""

    def lane(self, request: Request) -> Hashable | None:
        """What must be equal for requests to share a call; None for a request that cannot."""
        ...

    def open(self, lane: Hashable, request: Request, share: float) -> Company:
        """The company of a *lane* whose first request is *request*; *share* below one makes small batches."""
        ...


class Arrays:
    """Texts to embed: a call takes an array of them."""

    def __init__(self, size: BatchSize, limits: BatchLimits, *, linger: float) -> None:
        self.size = size
        self._limits = limits
        self._linger = linger

    def lane(self, request: Request) -> Hashable | None:
        """Equal parameters."""
        if request.kind != "embedding":
            return None
        return _parameters_key(request.parameters) if request.parameters else b""

    def open(self, lane: Hashable, request: Request, share: float) -> Company:
        """See :class:`Joint`."""
        return _Array(self.size, Batching(self.size, self._limits, linger=self._linger, share=share))


class _Array:
    def __init__(self, size: BatchSize, batching: Batching[Any]) -> None:
        self.size = size
        self.batching = batching

    def admits(self) -> bool:
        return True

    def join(self, calls: Sequence[Call]) -> Call:
        joined = tuple([call.request for call in calls])
        # A deadline is its own caller's, who leaves in time; the others have nothing to do with it.
        first = msgspec.structs.replace(joined[0], deadline=None)
        return msgspec.structs.replace(calls[0], request=first, joined=joined)

    def parts(self, call: Call, reply: Reply) -> list[Response | None]:
        return [_priced(part, reply.response) for part in reply.parts]

    def learn(self, batch: Batch[Any], items: int, seconds: float) -> None:
        self.size.record(batch.weight, items, seconds, filled=batch.filled, epoch=batch.epoch)

    def answered(self, request: Request, response: Response | None, company: int) -> None:
        """A vector is a vector."""


def _priced(part: Response, whole: Response) -> Response:
    """*part* with its share of what the call cost."""
    if whole.cost is None:
        return part
    tokens = whole.usage.input_tokens + whole.usage.output_tokens
    own = part.usage.input_tokens + part.usage.output_tokens
    return msgspec.structs.replace(part, cost=whole.cost * own / tokens if tokens else 0.0)
