"""How fast an upstream may be asked: its buckets, the caps of the user, and the gate it shuts by Retry-After."""

from __future__ import annotations

import math
from bisect import bisect_right

import msgspec

from agentic_synth.policies.bucket import Bucket
from agentic_synth.policies.mirror import Mirror
from agentic_synth.policies.pace import Pace
from agentic_synth.policies.rate_headers import RateHeaders

__all__ = ["Amounts", "RateLimit", "Sent"]

Amounts = tuple[float, float, float, float]
"""What a call takes of each limit: requests, tokens in all, input tokens, output tokens."""

_NOTHING: Amounts = (0.0, 0.0, 0.0, 0.0)
_CAP_BURST_S = 1.0
_SLOT_S = 0.05
_SLOTS = 4_096
_OVERTAKING_SLOTS = 5


class Sent(msgspec.Struct, frozen=True, gc=False):
    """A call that went out: when, and what was reserved for it."""

    at: float
    amounts: Amounts


class Ledger:
    """What had gone out by when, in slots of 50 ms; calls that left within a quarter of a second may overtake."""

    __slots__ = ("_slots", "_totals")

    def __init__(self) -> None:
        self._slots: list[float] = []
        self._totals: list[Amounts] = []

    def record(self, now: float, totals: Amounts) -> None:
        """By *now*, *totals* went out."""
        slot = now // _SLOT_S
        slots = self._slots
        if slots and slots[-1] >= slot:
            self._totals[-1] = totals
            return
        if len(slots) >= _SLOTS:
            del slots[: _SLOTS // 2], self._totals[: _SLOTS // 2]
        slots.append(slot)
        self._totals.append(totals)

    def around(self, sent_at: float) -> tuple[Amounts, Amounts]:
        """What had surely arrived before a call of *sent_at*, and what may have."""
        slot = sent_at // _SLOT_S
        before = bisect_right(self._slots, slot - _OVERTAKING_SLOTS) - 1
        after = bisect_right(self._slots, slot + 1) - 1
        return self._totals[before] if before >= 0 else _NOTHING, self._totals[after] if after >= 0 else _NOTHING


class RateLimit:
    """All that limits the rate at one upstream with one key; the strictest of them counts.

    *caps* are the user's own limits a minute (None for none), in the order of :data:`Amounts`. *counts_tokens* says
    that something here looks at tokens, so that estimating them is worth the while; *stated* that the upstream states
    limits to rely on.
    """

    def __init__(self, caps: tuple[float | None, ...] = (), *, now: float = 0.0) -> None:
        self._mirrors = (Mirror(), Mirror(), Mirror(), Mirror())
        self._caps: list[tuple[int, Bucket]] = [
            (kind, Bucket(cap / 60.0, max(1.0, cap / 60.0 * _CAP_BURST_S), now))
            for kind, cap in enumerate(caps)
            if cap is not None
        ]
        self._pace = Pace()
        self._ledger = Ledger()
        self._gate = -math.inf
        self._free = not self._caps
        self._mirrored = False
        self.stated = False
        self.counts_tokens = any(kind > 0 for kind, _ in self._caps)

    def per_second(self, amounts: Amounts) -> float:
        """Calls a second of *amounts* each that are allowed now, as far as known; infinite where nothing is."""
        rate = self._pace.rate
        for kind, bucket in self._caps:
            if amounts[kind] > 0:
                rate = min(rate, bucket.rate / amounts[kind])
        for mirror, amount in zip(self._mirrors, amounts, strict=True):
            if mirror.limit is not None and amount > 0:
                rate = min(rate, mirror.rate / amount)
        return rate

    def gated(self, now: float) -> float:
        """Seconds for which the upstream asked to be left alone."""
        return max(0.0, self._gate - now)

    def delay(self, amounts: Amounts, now: float) -> float:
        """Seconds until a call that takes *amounts* may go; 0.0 for now."""
        if self._free:
            return 0.0
        wait = self._gate - now
        if wait > 0.0:
            return wait
        wait = self._pace.delay(now)
        for kind, bucket in self._caps:
            wait = max(wait, bucket.delay(amounts[kind], now))
        if self._mirrored:
            for mirror, amount in zip(self._mirrors, amounts, strict=True):
                if mirror.limit is not None:
                    wait = max(wait, mirror.delay(amount, now))
        return wait

    def send(self, amounts: Amounts, now: float) -> Sent:
        """A call that takes *amounts* goes out now."""
        first, second, third, fourth = self._mirrors
        requests, tokens, inputs, outputs = amounts
        self._ledger.record(now, (first.send(requests), second.send(tokens), third.send(inputs), fourth.send(outputs)))
        self._pace.send(now)
        if not self._free:
            for kind, bucket in self._caps:
                bucket.take(amounts[kind])
        return Sent(now, amounts)

    def observe(self, sent: Sent, headers: RateHeaders, now: float) -> None:
        """The headers of the reply to *sent*, whether it succeeded or not."""
        if headers.requests_limit is None and headers.tokens_limit is None and headers.input_tokens_limit is None:
            return
        facts = (
            (headers.requests_limit, headers.requests_remaining, headers.requests_reset_s),
            (headers.tokens_limit, headers.tokens_remaining, headers.tokens_reset_s),
            (headers.input_tokens_limit, headers.input_tokens_remaining, headers.input_tokens_reset_s),
            (headers.output_tokens_limit, headers.output_tokens_remaining, headers.output_tokens_reset_s),
        )
        before, after = self._ledger.around(sent.at)
        for kind, mirror in enumerate(self._mirrors):
            if facts[kind][0] is not None:
                mirror.observe(facts[kind], before[kind], after[kind], sent.at, now)
                if not self.stated and mirror.plausible:
                    self.stated = True
                if mirror.limit is not None:
                    self._mirrored, self._free = True, False
                    self.counts_tokens = self.counts_tokens or kind > 0

    def accept(self, sent: Sent, used: tuple[float, float] | None, now: float) -> None:
        """*sent* succeeded; *used* are its real input and output tokens, where known."""
        if used is not None:
            inputs, outputs = used
            self.settle(sent, (1.0, inputs + outputs, inputs, outputs))

    def settle(self, sent: Sent, used: Amounts) -> None:
        """*sent* took *used* in place of what was reserved."""
        reserved = sent.amounts
        if reserved == used or not reserved[1]:
            return
        for kind, mirror in enumerate(self._mirrors):
            mirror.settle(reserved[kind] - used[kind])
        for kind, bucket in self._caps:
            bucket.take(used[kind] - reserved[kind])

    def refuse(self, sent: Sent, headers: RateHeaders, now: float) -> None:
        """*sent* was refused for its rate; the gate shuts for as long as the upstream asks."""
        self._free = False
        explained = False
        for mirror, remaining, amount in zip(
            self._mirrors,
            (
                headers.requests_remaining,
                headers.tokens_remaining,
                headers.input_tokens_remaining,
                headers.output_tokens_remaining,
            ),
            sent.amounts,
            strict=True,
        ):
            mirror.refuse(amount)
            if mirror.limit is not None and remaining is not None and remaining < max(1.0, amount):
                mirror.exhaust(now)
                explained = True
        if not explained:
            self._pace.refuse(sent.at, now)
        self.shut(headers.retry_after_s, now)

    def shut(self, seconds: float | None, now: float) -> None:
        """Nothing goes to this upstream for *seconds*."""
        if seconds is not None and seconds > 0:
            self._free = False
            self._gate = max(self._gate, now + seconds)
