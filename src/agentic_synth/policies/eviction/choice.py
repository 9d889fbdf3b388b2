"""The eviction policies by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

from agentic_synth.policies.eviction.duel import Duel
from agentic_synth.policies.eviction.eviction import Eviction
from agentic_synth.policies.eviction.lfu import LFU
from agentic_synth.policies.eviction.queues import FIFO, LRU, SIEVE
from agentic_synth.policies.eviction.s3fifo import S3FIFO
from agentic_synth.policies.eviction.tinylfu import WTinyLFU

__all__ = ["DEFAULT", "POLICIES", "PolicyName"]

PolicyName: TypeAlias = Literal["fifo", "lru", "lfu", "sieve", "s3fifo", "tinylfu", "duel"]

POLICIES: Mapping[PolicyName, Callable[[int, float | None], Eviction[Any]]] = {
    "fifo": FIFO,
    "lru": LRU,
    "lfu": LFU,
    "sieve": SIEVE,
    "s3fifo": S3FIFO,
    "tinylfu": WTinyLFU,
    "duel": Duel,
}

DEFAULT: PolicyName = "duel"
"""The best of the six, or within a few per cent of it, on every replayed trace (``benchmarks/eviction.py``)."""
