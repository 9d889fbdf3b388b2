"""Which process this is, in words that another process can check later."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import NamedTuple

__all__ = ["Process"]


class Process(NamedTuple):
    """A process of some machine: the number alone would mean another one after a restart, or elsewhere.

    *boot* names the machine's present run and *born* the start of the process within it, both empty where the system
    does not tell.
    """

    host: str
    boot: str
    pid: int
    born: str

    @classmethod
    def present(cls) -> Process:
        """This very process."""
        return cls(socket.gethostname(), _boot(), os.getpid(), _born(os.getpid()))

    def alive(self) -> bool | None:
        """Whether it still runs; None where that cannot be known from here."""
        here = Process.present()
        if self.host != here.host:
            return None
        if self.boot != here.boot:
            return False
        if self.born:
            return _born(self.pid) == self.born
        return None if sys.platform == "win32" else _exists(self.pid)


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _born(pid: int) -> str:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    # The name of the program may hold spaces and brackets; after its last bracket the fields are regular. A zombie has
    # ended, though nobody has asked it yet.
    fields = status.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
