"""What a response store is: answers under their keys, each with a status, durable before they are used."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from agentic_synth.cache.accesses import AccessLog
from agentic_synth.cache.key import Key
from agentic_synth.cache.leases import Leases
from agentic_synth.cache.pool import Originals
from agentic_synth.types import Response

__all__ = ["Contents", "ResponseStore", "Status", "StoreStatistics", "Stored", "expired", "overrules"]


class Status(StrEnum):
    """What became of an answer; only a complete one is ever served again."""

    COMPLETE = "complete"
    TRUNCATED = "truncated"
    REFUSED = "refused"
    INVALID = "invalid"
    FAILED = "failed"


class Stored(msgspec.Struct, frozen=True, gc=False):
    """An answer as the store gives it back; *created* is unix seconds, *reason* says why it is not complete."""

    status: Status
    response: Response
    created: float
    reason: str = ""


class StoreStatistics(msgspec.Struct, frozen=True, gc=False):
    """What this process did with its store so far.

    A *hit* found a complete answer; *saved* is the dollars those answers once cost. *groups* counts commits that held
    answers, *waiting* the answers not yet durable, *failed* the writes that were refused by the disk.
    """

    hits: int = 0
    misses: int = 0
    saved: float = 0.0
    written: int = 0
    groups: int = 0
    waiting: int = 0
    failed: int = 0


class Contents(msgspec.Struct, frozen=True, gc=False):
    """Everything that lies in a store, whoever put it there; counting reads the whole store."""

    entries: dict[str, int] = {}
    models: dict[str, int] = {}
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    file_bytes: int = 0
    oldest: float | None = None
    newest: float | None = None


class ResponseStore(Protocol):
    """Answers under their keys.

    A complete answer is replaced only by another complete one, so a failed refresh costs nothing that was paid for.
    """

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know about where the store lies or how it fares; empty when all is well."""
        ...

    @property
    def leases(self) -> Leases:
        """Who of those that share the store may ask for which draw."""
        ...

    @property
    def accesses(self) -> AccessLog:
        """Which draws are asked for."""
        ...

    def get(self, key: bytes, *, counts: bool = True) -> Stored | None:
        """The answer stored under ``Key.draw``, whatever its status; cheap enough for the event loop.

        An answer that this process is still writing is found too: it may be served up to one commit before it is
        durable. Whoever only looks, and serves it to nobody, says that it *counts* for no hit and no miss.
        """
        ...

    async def put(
        self, key: Key, response: Response, status: Status, reason: str = "", *, created: float | None = None
    ) -> None:
        """Store an answer and return when it is durable.

        A copy of another draw's answer is as old as that: *created*; any other is made now. Cancelling the
        caller gives up the waiting, never the write.

        Raises:
            StoreError: it could not be written; the store goes on with the next.
        """
        ...

    async def originals(self, key: Key) -> Originals:
        """The complete answers to ``key.spec`` that other runs than that of ``key.lineage`` have paid for."""
        ...

    def mark(self, key: bytes, status: Status, reason: str) -> None:
        """Change the status of a stored answer without waiting; the next ``get`` sees it."""
        ...

    def statistics(self) -> StoreStatistics:
        """What this process did so far."""
        ...

    def contents(self) -> Contents:
        """Count all entries; reads the whole store, so not for the event loop."""
        ...

    def clear(self, *, before: float | None = None, model: str | None = None) -> int:
        """Delete the answers created before a unix time and asked of *model*, or all; return how many.

        Not for the event loop. Runs are kept, and so is what is still on its way to the store.
        """
        ...

    def export(self) -> Iterator[dict[str, Any]]:
        """Every answer as a JSON-able record, oldest first."""
        ...

    async def aclose(self) -> None:
        """Commit everything queued, then close; a second time does nothing."""
        ...


def expired(created: float, now: float, ttl: float | None) -> bool:
    """Whether an answer of the instant *created* is too old to be served; one from the future was made now."""
    return ttl is not None and now - created > ttl


def overrules(new: Status, old: Status) -> bool:
    """Whether an answer of status *new* may take the place of one of status *old*."""
    return new is Status.COMPLETE or old is not Status.COMPLETE
