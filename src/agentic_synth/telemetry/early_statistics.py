"""What counts of rows that are made once more later."""

from __future__ import annotations

from agentic_synth.telemetry.run_statistics import Purpose, RunStatistics
from agentic_synth.types import Response

__all__ = ["EarlyStatistics"]


class EarlyStatistics(RunStatistics):
    """Of a pass over rows that another one follows: what is paid counts for the run, the rest when it is made again."""

    def __init__(self, run: RunStatistics) -> None:
        super().__init__()
        self._run = run

    def record_response(self, response: Response, purpose: Purpose = "answer") -> None:
        self.in_flight -= 1
        if not response.stored:
            self._run.record_early(response, purpose)

    def record_failure(self, reason: str, attempts: int = 0, purpose: Purpose = "answer") -> None:
        self.in_flight -= 1
        self._run.record_in_vain(attempts, purpose)

    def record_cancelled(self, attempts: int = 0, purpose: Purpose = "answer") -> None:
        self.in_flight -= 1
        self._run.record_in_vain(attempts, purpose)
