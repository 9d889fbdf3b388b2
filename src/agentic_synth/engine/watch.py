"""Looking at this process now and then, so that limits can be lowered while it cannot keep up."""

from __future__ import annotations

from agentic_synth.clock import Clock
from agentic_synth.policies.guard import ProcessGuard
from agentic_synth.telemetry.memory import memory_bytes, memory_limit_bytes

__all__ = ["process_guard", "watch_process"]

_EVERY = 0.25
_MEMORY_SHARE = 0.75


def process_guard() -> ProcessGuard:
    """A guard that lets this process have three quarters of the memory there is for it."""
    limit = memory_limit_bytes()
    return ProcessGuard(memory_bytes=None if limit is None else _MEMORY_SHARE * limit)


async def watch_process(guard: ProcessGuard, clock: Clock) -> None:
    """Tell *guard* the lag of the event loop and the resident memory, until cancelled."""
    while True:
        due = clock.now() + _EVERY
        await clock.sleep(_EVERY)
        guard.record(max(0.0, clock.now() - due), memory_bytes())
