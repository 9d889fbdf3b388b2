"""Which draw is meant: numbers for equal prompts that depend on where a row comes from, never on when it arrives.

Everything here happens at ordered admission, slot by slot. So the draws of a row are the same at any concurrency and
after a crash, a row put in front of the seeds leaves the draws of the others alone, and editing a prompt changes only
what is made from it.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import msgspec

from agentic_synth.cache.key import lineage_of
from agentic_synth.policies.occurrences import Occurrences
from agentic_synth.types import Draw, Json

__all__ = ["Lineage", "digest_of"]

_encoder = msgspec.json.Encoder(order="sorted", enc_hook=str)


def digest_of(*parts: Json) -> bytes:
    """16 bytes that stand for *parts*, equal only for equal parts."""
    try:
        text = _encoder.encode(parts)
    except (TypeError, UnicodeEncodeError):
        # No JSON says it: keys that are no text, half a surrogate pair. JSON never begins with a round bracket.
        text = repr(parts).encode(errors="surrogatepass")
    return blake2b(text, digest_size=16).digest()


class Lineage:
    """Hands out the identities of row slots and the draws of their model columns, in slot order.

    *seed* and *epoch* are the run's: another seed, or a fresh epoch, means other draws everywhere.
    """

    def __init__(self, *, seed: int, epoch: int) -> None:
        self._run = lineage_of(seed, epoch)
        self.fresh = epoch > 0
        """Whether everything is drawn anew, so that nothing is taken from other runs."""
        self._sampling = str(seed)
        self._occurrences = Occurrences()

    def identity(self, seed_row: dict[str, Json] | None, index: int) -> bytes:
        """What a slot is known by: its seed row and how often an equal one came before, or else its index."""
        if seed_row is None:
            return digest_of(self._sampling, index)
        digest = digest_of(self._sampling, seed_row)
        return digest_of(digest.hex(), self._occurrences.next(digest))

    def sampling_seed(self, identity: bytes, refill: int) -> int:
        """What the samplers of candidate number *refill* of a slot draw from (64 bits)."""
        if not refill:
            return int.from_bytes(identity[:8], "little")
        return int.from_bytes(digest_of(identity.hex(), refill)[:8], "little")

    def first(self, specification: bytes) -> Draw:
        """The next draw of a prompt that is known at admission: its occurrence number in this run."""
        return Draw(self._run, self._occurrences.next(specification))

    def dependent(self, column: str, inputs: Json, parents: Iterable[Draw | None]) -> Draw:
        """The draw of a prompt that waits for other answers, told by the draws it waits for and its other *inputs*."""
        digest = digest_of(column, inputs, [msgspec.structs.astuple(draw) if draw else None for draw in parents])
        return Draw(f"{self._run}/{digest.hex()}", self._occurrences.next(digest))

    def shared(self) -> Draw:
        """The one draw that all equal prompts share."""
        return Draw(self._run)

    def refill(self, column: str, identity: bytes, refill: int) -> Draw:
        """The draw of *column* in candidate number *refill* (from 1) of the slot."""
        return Draw(f"{self._run}/{digest_of(column, identity.hex()).hex()}", refill)
