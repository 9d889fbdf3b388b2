"""What became of a submission whose reply was lost: settled before anything is sent again, so nothing is paid twice."""

from __future__ import annotations

from collections.abc import Callable

from agentic_synth.clock import Clock
from agentic_synth.errors import AuthFailed, InvalidRequest, QuotaSpent, RateLimited, Rejected, UnknownModel
from agentic_synth.transport.batches.api import BatchApi, ProviderBatch, Submission

__all__ = ["in_doubt", "resolve"]

_SETTLE_S = 60.0
_ASK_AGAIN_S = 60.0
_REFUSALS = (InvalidRequest, Rejected, RateLimited, AuthFailed, QuotaSpent, UnknownModel)


def in_doubt(error: BaseException) -> bool:
    """Whether a batch may exist although its submission failed so: the provider did not plainly refuse it."""
    return not isinstance(error, _REFUSALS)


async def resolve(
    api: BatchApi, submission: Submission, owns: Callable[[str], bool], clock: Clock
) -> ProviderBatch | None:
    """The batch that *submission* became, or None once it is certain that there is none.

    A provider may still be at work on a submission whose sender is gone, so one that is not listed is looked for again
    a minute later. Where only the end of a running batch can tell (see :meth:`BatchApi.find`), this waits for that end,
    up to the day that a batch may take.
    """
    absent_since: float | None = None
    while True:
        finding = await api.find(submission, owns)
        if finding.batch is not None:
            return finding.batch
        now = clock.now()
        if finding.undecided:
            absent_since = None
        elif absent_since is None:
            absent_since = now
        elif now - absent_since >= _SETTLE_S:
            return None
        await clock.sleep(_ASK_AGAIN_S)
