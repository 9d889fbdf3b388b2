"""Ending a wait from outside: a run that is stopped sends nothing any more, and what waits hears of it at once."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self
from weakref import WeakValueDictionary

from agentic_synth.errors import Stopped, SynthError

__all__ = ["Stops", "Wait"]


class Wait:
    """A block of ``with`` that somebody else may end: it then raises what :meth:`end` was given.

    What is awaited in it is cancelled, so it gives back what it holds as for any cancellation. A cancellation of the
    task itself stays one.
    """

    __slots__ = ("_among", "_cancelling", "_error", "_task")

    def __init__(self, among: set[Wait] | None = None) -> None:
        """It is *among* those while the block lasts."""
        self._among = among
        self._task: asyncio.Task[object] | None = None
        self._error: SynthError | None = None

    def end(self, error: SynthError) -> None:
        """Raise *error* out of the block; does nothing before it, after it, or a second time."""
        if self._task is not None and self._error is None:
            self._error = error
            self._task.cancel()

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        if self._among is not None:
            self._among.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if self._among is not None:
            self._among.discard(self)
        if self._error is not None and task is not None:
            # As asyncio.timeout does: somebody who cancels the task at the same moment is not to be deprived of it.
            ours = task.uncancel() <= self._cancelling
            if ours and kind is asyncio.CancelledError:
                raise self._error from None


class Stops:
    """Which runs send nothing any more.

    Whoever sends asks :meth:`check` first, and lets a request wait only inside :meth:`waiting`. Requests of no run are
    never stopped.

    Raises:
        Stopped: the run of the request was stopped.
    """

    def __init__(self) -> None:
        self._stopped: set[str] = set()
        self._waits: WeakValueDictionary[str, _Waits] = WeakValueDictionary()

    def check(self, run: str) -> None:
        """Whether a request of *run* may be sent."""
        if run in self._stopped:
            raise _stopped()

    def waiting(self, run: str) -> Wait:
        """A block in which a request of *run* waits for anything but its answer."""
        if not run:
            return Wait()
        self.check(run)
        waits = self._waits.get(run)
        if waits is None:
            waits = self._waits[run] = _Waits()
        return Wait(waits)

    def stop(self, run: str) -> None:
        """Send nothing more of *run*: what of it waits ends now, what is on its way goes on."""
        self._stopped.add(run)
        for wait in tuple(self._waits.get(run, ())):
            wait.end(_stopped())

    def forget(self, run: str) -> None:
        """*run* is over; its name may be used again."""
        self._stopped.discard(run)


class _Waits(set[Wait]):
    """The waits of one run; held by them alone, so that it goes with the last."""


def _stopped() -> Stopped:
    return Stopped("its run was stopped before this was sent", mend="run it again: it goes on from there")
