"""A request that is on its second or a later try."""

from __future__ import annotations

from typing import Self

from agentic_synth.errors import SynthError
from agentic_synth.types import Request

__all__ = ["Attempt"]


class Attempt(Request, frozen=True, kw_only=True):
    """A request that is tried again: what ``retry`` tells ``route`` about the tries before.

    *number* counts all tries from 0. *spent* names the upstreams that this request shall not ask again, because its
    tries there are spent; *failure* is the last error there, raised when no other upstream is left. *failures* counts
    the tries that failed at this upstream, those that were only held back for its rate left out.
    """

    number: int = 0
    spent: tuple[str, ...] = ()
    failure: SynthError | None = None
    failures: int = 0

    @classmethod
    def of(
        cls, request: Request, number: int, spent: tuple[str, ...], failure: SynthError | None, failures: int = 0
    ) -> Self:
        """*request*, with what became of it so far."""
        asked = {name: getattr(request, name) for name in Request.__struct_fields__}
        return cls(**asked, number=number, spent=spent, failure=failure, failures=failures)
