"""Over which time a limit counts (a second, a minute, a day), which the headers do not say."""

from __future__ import annotations

__all__ = ["Window"]

_WINDOWS = (1.0, 60.0, 3_600.0, 86_400.0)
_NEAR = 1.2
_VOTES = 5
_LEAST_USED = 5.0
_LEAST_RESET_S = 0.02


class Window:
    """Learns *seconds* from the resets; a minute until they say otherwise.

    In a bucket that refills steadily, what is missing divided by the time until it is full is the rate, so limit / rate
    is the window. In a window that starts anew, the reset is never longer than the window. Either must be said several
    times in a row.
    """

    __slots__ = ("_vote", "_votes", "seconds")

    def __init__(self) -> None:
        self.seconds = 60.0
        self._vote = 0.0
        self._votes = 0

    def learn(self, limit: float, missing: float, reset: float) -> None:
        """*missing* of *limit* is used and will be back in *reset* seconds."""
        if missing < _LEAST_USED or reset < _LEAST_RESET_S:
            return
        steady = limit * reset / missing
        vote = next((window for window in _WINDOWS if window / _NEAR < steady < window * _NEAR), None)
        if vote is None and reset > self.seconds * _NEAR:
            vote = next((window for window in _WINDOWS if reset <= window * _NEAR), _WINDOWS[-1])
        if vote is None:
            return
        self._votes = self._votes + 1 if vote == self._vote else 1
        self._vote = vote
        if self._votes >= _VOTES:
            self.seconds = vote
