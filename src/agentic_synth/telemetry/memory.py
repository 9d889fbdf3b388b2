"""How much memory this process takes, now and at its highest, and how much there is for it."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["memory_bytes", "memory_limit_bytes", "peak_memory_bytes"]

_PAGE_BYTES = 4096


def memory_bytes() -> int:
    """The resident size now, as far as the system tells; cheap enough for the event loop now and then."""
    try:
        with Path("/proc/self/statm").open("rb") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES
    except OSError:
        return peak_memory_bytes() or 0


def memory_limit_bytes(groups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What this process may take before the system ends it: the machine's memory, or less in a container.

    *groups* is where Linux tells the limits of a container (control groups, both versions); None where nobody tells.
    """
    limits = []
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # without a limit it says "max"
            limits.append(int((groups / name).read_text(encoding="ascii")))
    with suppress(AttributeError, OSError, ValueError):  # Windows has no sysconf
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min((limit for limit in limits if limit > 0), default=None)


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
