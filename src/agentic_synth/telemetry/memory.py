"""How much memory this process takes, now and at its highest."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["memory_bytes", "peak_memory_bytes"]

_PAGE_BYTES = 4096


def memory_bytes() -> int:
    """The resident size now, as far as the system tells; cheap enough for the event loop now and then."""
    try:
        with Path("/proc/self/statm").open("rb") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES
    except OSError:
        return peak_memory_bytes() or 0


def peak_memory_bytes() -> int | None:
    """The largest resident size so far; None where the system does not tell.

    On Linux it is read from ``/proc``: ``getrusage`` there starts with the size of the process that started this one.
    """
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource  # noqa: PLC0415 - there is none on Windows
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
