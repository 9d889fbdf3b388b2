"""Seed rows that the caller holds already."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property

import msgspec

from agentic_synth.errors import OutputError
from agentic_synth.sources.seeds import Seed, keys_of

__all__ = ["MemorySeeds"]


class MemorySeeds:
    """A sequence of dicts."""

    def __init__(self, rows: Sequence[Seed], *, name: str = "seeds") -> None:
        for number, row in enumerate(rows, 1):
            if not isinstance(row, dict) or not row:
                raise OutputError(f"{name}: row {number} is {type(row).__name__}, not a dict with keys")
        if not rows:
            raise OutputError(f"{name}: there are no rows", mend="Seeds need at least one row.")
        self.name = name
        self._rows = rows

    def __iter__(self) -> Iterator[Seed]:
        return iter(self._rows)

    def columns(self) -> list[str]:
        return keys_of(self._rows)

    def count(self) -> int | None:
        return len(self._rows)

    def fingerprint(self) -> str:
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        encode = msgspec.json.Encoder(enc_hook=repr).encode
        for row in self._rows:
            digest.update(encode(row))
        return digest.hexdigest()
