"""The books of a simulated batch API: files, batches, and how far each has come; synchronous, every time passed in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from random import Random
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from agentic_synth.testing.answers import count_input
from agentic_synth.testing.behaviour import BatchBehaviour
from agentic_synth.testing.simulation import Fate, Simulation, chances
from agentic_synth.testing.wire import BadBody
from agentic_synth.types import Request

__all__ = ["Batch", "BatchFile", "Desk", "Item", "Standing", "Tally"]

Status: TypeAlias = Literal["running", "cancelling", "completed", "expired", "cancelled", "failed"]
Fortune: TypeAlias = Literal["answered", "failed", "cancelled", "expired"]

_MOST_BYTES = 1 << 30
_FAILING = 0x5851F42D4C957F2D  # apart from the chances of a call, and another in each batch, so that a retry may heal
_decode_body = msgspec.json.Decoder(dict[str, Any]).decode


class Item(NamedTuple):
    """One request of a batch as it came, with what the books said of it then; *fault* says what is wrong with it."""

    custom_id: str
    body: bytes
    fate: Fate
    fault: str = ""


class BatchFile(NamedTuple):
    """An uploaded file."""

    id: str
    name: str
    purpose: str
    created: float
    content: bytes


class Tally(NamedTuple):
    """How many requests of a batch stand where."""

    waiting: int
    answered: int
    failed: int
    cancelled: int
    expired: int


class Standing(NamedTuple):
    """Where a batch stands at one moment; *finished* are the requests that a model has seen."""

    status: Status
    finished: int


class Batch:
    """Requests that are finished one by one, in an order of their own, until the time or the user ends it.

    *about* is what the client gave beside them; *fault* says why nothing of it is processed.
    """

    def __init__(
        self, identity: str, items: Sequence[Item], created: float, about: Mapping[str, Any], *, seed: int, fault: str
    ) -> None:
        self.id = identity
        self.created = created
        self.about = about
        self.fault = fault
        self.items = list(items)
        self.cancelled: float | None = None
        self.ended: float | None = None
        Random(f"{seed}:{identity}").shuffle(self.items)

    def standing(self, now: float, behaviour: BatchBehaviour) -> Standing:
        """Where it stands *now*; a moment is past as soon as it is there, and cancelling lasts that one moment."""
        if self.fault:
            return Standing("failed", 0)
        done, due = self.created + behaviour.processing, self.created + behaviour.expiry
        stop = min(due, self.cancelled if self.cancelled is not None else due)
        if done <= min(now, stop):
            return Standing("completed", len(self.items))
        elapsed = max(0.0, min(now, stop) - self.created)
        # Half the time is half the requests, though a sum of times is a little off.
        finished = int(len(self.items) * elapsed / behaviour.processing + 1e-6)
        if now < stop:
            return Standing("running", finished)
        if self.cancelled is None or due < self.cancelled:
            return Standing("expired", finished)
        return Standing("cancelled" if now > self.cancelled else "cancelling", finished)


class Desk:
    """Takes files and batches in, and tells of them; *key* names what a request's body asks, as its online call would.

    What is finished counts as answered in the books of *simulation*, so that paying twice shows there, whichever way.
    """

    def __init__(self, simulation: Simulation, key: Callable[[dict[str, Any]], int], *, wall: float) -> None:
        self.simulation = simulation
        self.behaviour = simulation.behaviour.batches
        self.files: dict[str, BatchFile] = {}
        self.batches: dict[str, Batch] = {}
        self._key = key
        self._wall = wall
        self._numbers: dict[str, int] = {}
        self._held_bytes = 0
        self._ahead = 0.0
        self._counts = dict.fromkeys(("requests", "repeated", "finished"), 0)

    def unix(self, now: float) -> int:
        """The unix time of *now*."""
        return int(self._wall + now)

    def moment(self, now: float) -> float:
        """*now* on this desk's clock, which may have been advanced."""
        return now + self._ahead

    def advance(self, seconds: float) -> None:
        """Let time pass for every batch at once, so that a day fits into a test."""
        self._ahead += seconds

    def unlucky(self, kind: Literal["upload", "submit", "lost", "poll", "results"]) -> float | None:
        """Whether the exchange of this kind that comes now goes wrong, and if so, after which share of it."""
        number = self._number(kind)
        salt = int.from_bytes(blake2b(kind.encode(), digest_size=8).digest(), "little")
        which, where, _, _ = chances(self.simulation.seed, salt, number)
        return where if which < getattr(self.behaviour, kind) else None

    def upload(self, name: str, purpose: str, content: bytes, now: float) -> BatchFile:
        """Keep a file.

        Raises:
            BadBody: there is no room for it.
        """
        self._hold(len(content))
        file = BatchFile(f"file-{self._number('file'):06d}", name, purpose, now, content)
        self.files[file.id] = file
        return file

    def forget(self, held: BatchFile | Batch) -> None:
        """Forget a file (the batches made of it stay), or a batch and its results."""
        if isinstance(held, Batch):
            del self.batches[held.id]
            self._held_bytes -= sum(len(item.body) for item in held.items)
        else:
            del self.files[held.id]
            self._held_bytes -= len(held.content)

    def submit(
        self,
        prefix: str,
        requests: Sequence[tuple[str, bytes]],
        now: float,
        about: Mapping[str, Any],
        read: Callable[[dict[str, Any]], Request],
        fault: str = "",
    ) -> Batch:
        """Begin a batch of *requests*, each a ``custom_id`` and a body that *read* understands.

        Raises:
            BadBody: there is no room for it.
            msgspec.DecodeError: a body is no JSON object.
        """
        self._hold(sum(len(body) for _, body in requests))
        items = [self._item(name, body, read) for name, body in (() if fault else requests)]
        self._counts["requests"] += len(items)
        self._counts["repeated"] += sum(item.fate.occurrence > 0 for item in items)
        identity = f"{prefix}_{self._number('batch'):06d}"
        batch = Batch(identity, items, now, about, seed=self.simulation.seed, fault=fault)
        self.batches[identity] = batch
        return batch

    def _item(self, custom_id: str, body: bytes, read: Callable[[dict[str, Any]], Request]) -> Item:
        asked = _decode_body(body)
        key = self._key(asked)
        models = self.simulation.behaviour.models
        try:
            request = read(asked)
        except BadBody as error:
            return Item(custom_id, body, self.simulation.enlist(key, 0), error.message)
        if models and request.model not in models:
            fault = f"the model {request.model!r} does not exist"
            return Item(custom_id, body, self.simulation.enlist(key, 0), fault)
        return Item(custom_id, body, self.simulation.enlist(key, count_input(request)))

    def cancel(self, batch: Batch, now: float) -> bool:
        """End it now, keeping what is finished; False where it had ended."""
        if self.look(batch, now).status not in {"running", "cancelling"}:
            return False
        batch.cancelled = now if batch.cancelled is None else batch.cancelled
        return True

    def look(self, batch: Batch, now: float) -> Standing:
        """Where *batch* stands; once it has ended, what is finished goes into the books."""
        standing = batch.standing(now, self.behaviour)
        if batch.ended is None and standing.status not in {"running", "cancelling"}:
            batch.ended = now
            for item in batch.items[: standing.finished]:
                if not self._fails(item):
                    self._counts["finished"] += 1
                    self.simulation.finish(item.fate)
        return standing

    def tally(self, batch: Batch, standing: Standing) -> Tally:
        """Its counts."""
        failed = sum(self._fails(item) for item in batch.items[: standing.finished])
        rest = len(batch.items) - standing.finished
        return Tally(
            waiting=rest if standing.status in {"running", "cancelling"} else 0,
            answered=standing.finished - failed,
            failed=failed,
            cancelled=rest if standing.status == "cancelled" else 0,
            expired=rest if standing.status == "expired" else 0,
        )

    def fortunes(self, batch: Batch, now: float) -> Iterator[tuple[Item, Fortune]]:
        """What became of each request of a batch that has ended, in its own order."""
        status, finished = self.look(batch, now)
        rest: Fortune = "cancelled" if status == "cancelled" else "expired"
        for at, item in enumerate(batch.items):
            yield item, rest if at >= finished else "failed" if self._fails(item) else "answered"

    def statistics(self, now: float) -> dict[str, object]:
        """What was submitted: ``repeated`` counts requests that had come before, in a batch or online."""
        for batch in self.batches.values():
            self.look(batch, now)
        return {**self._counts, "batches": self._numbers.get("batch", 0), "files": len(self.files)}

    def _fails(self, item: Item) -> bool:
        key, occurrence = item.fate.key ^ _FAILING, item.fate.occurrence
        return bool(item.fault) or chances(self.simulation.seed, key, occurrence)[0] < self.behaviour.failed

    def _hold(self, size: int) -> None:
        if self._held_bytes + size > _MOST_BYTES:
            raise BadBody(f"this server keeps no more than {_MOST_BYTES:,} bytes: delete files or batches first")
        self._held_bytes += size

    def _number(self, kind: str) -> int:
        self._numbers[kind] = number = self._numbers.get(kind, 0) + 1
        return number
