"""May a stored answer serve another prompt? Rules first, then a probability, then what has been proven; else no."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Protocol, Self

import msgspec

from agentic_synth.policies.semantic.calibration import GRADES, features, grade, probability, proves
from agentic_synth.policies.semantic.coefficients import EVIDENCE
from agentic_synth.policies.semantic.difference import apart, strange
from agentic_synth.policies.semantic.gate import Comparison, compare
from agentic_synth.policies.semantic.reading import Reading, read

__all__ = ["Judge", "Verdict", "Verifier"]

_SORTS = ("question", "order")
_STRATA = len(_SORTS) * len(GRADES)
_SHIPPED = tuple(counts for sort in _SORTS for counts in EVIDENCE[sort])
_LOOSEST = len(GRADES) - 1
_MOST_CHECKS = 4_000
_MOST_PARTITIONS = 1_024
_MOST_READINGS = 256
_LONGEST = 8_000
_LEAST_LIKELY = 0.5
_PRIOR = 20.0

Counts = list[tuple[int, int]]


class Verdict(msgspec.Struct, frozen=True):
    """Whether the stored answer is served, how likely that is right, and the rule or the bound that decided.

    *grade* says how far apart the wordings are, where the rules let the pair pass; None where one refused it. An
    *unproven* pair lacks nothing but checked pairs of its sort.
    """

    hit: bool
    probability: float
    reason: str
    grade: int | None = None
    unproven: bool = False


class Judge(Protocol):
    """Something slower that says whether one answer serves both prompts: a cross-encoder, or a model that is asked."""

    async def __call__(self, asked: str, stored: str, /) -> bool:
        """True if the answer to *stored* is as good for *asked*."""
        ...


class Verifier:
    """The decision of one semantic cache; it learns from every checked pair.

    A hit needs three things: no rule of the gate refuses the pair; the fitted probability is on its side; and the
    checked pairs of the same sort (those shipped, and those learned here) prove with 95 % confidence that at most
    *max_false_hit* of such hits are wrong: those of the partition alone, or those of all partitions together. Where a
    hit was wrong, only the partition's own count, for that sort of pair and for looser ones; after a second, for all.

    *by_similarity* says that the similarities come from the embedder that the weights were fitted with.
    *check_share* of all hits are to be checked; of the pairs that only lack proof, every one, because their fresh
    answer is paid for anyway (none where the share is 0). With *shipped* off nothing is believed that was not learned
    here.
    """

    def __init__(
        self,
        *,
        max_false_hit: float = 0.01,
        by_similarity: bool = True,
        check_share: float = 0.02,
        shipped: bool = True,
    ) -> None:
        self._bound = max_false_hit
        self._by_similarity = by_similarity
        self._check_share = check_share
        self._shipped = _SHIPPED if shipped else ((0, 0),) * _STRATA
        self._checks: Counts = [(0, 0)] * _STRATA
        self._clean: dict[bytes, Counts] = {}
        self._wronged: dict[bytes, Counts] = {}
        self._readings: dict[str, Reading] = {}

    def judge(self, asked: str, stored: str, similarity: float, *, partition: bytes) -> Verdict:
        """Decide about one candidate; *similarity* is the cosine of the two vectors."""
        if asked == stored:
            return Verdict(hit=True, probability=1.0, reason="identical: the same text", grade=0)
        pair, order = self._compare(asked, stored)
        if pair is None:
            return Verdict(hit=False, probability=0.0, reason="length: long, and too much of it differs")
        alike = probability(features(pair, similarity), by_similarity=self._by_similarity)
        likely = alike * self._trust(partition)
        if pair.refusal:
            return Verdict(hit=False, probability=likely, reason=f"{pair.refusal}: {pair.detail}")
        found = grade(pair)
        name = f"{GRADES[found]} of {'an order' if order else 'a question'}"
        if alike < _LEAST_LIKELY:
            return Verdict(hit=False, probability=likely, reason=f"probability: {name}, {alike:.2f}", grade=found)
        hit, right, wrong = self._proven(order * len(GRADES) + found, partition)
        says = f"{'keeps' if hit else 'is not proven to keep'} {self._bound:.3g}"
        reason = f"bound: {name} {says} ({wrong} wrong of {right + wrong} checked)"
        return Verdict(hit=hit, probability=likely, reason=reason, grade=found, unproven=not hit)

    def learn(self, asked: str, stored: str, similarity: float, *, partition: bytes, right: bool) -> None:
        """Take note of whether one answer did serve both: a shadow check's finding, or what a user says of a hit."""
        if asked == stored and right:
            return
        pair, order = self._compare(asked, stored)
        refused = pair is None or bool(pair.refusal)
        if refused and right:
            return
        at = order * len(GRADES) + (_LOOSEST if pair is None or refused else grade(pair))
        self._checks[at] = _counted(self._checks[at], right=right)
        counts = self._wronged.get(partition) or self._clean.pop(partition, None)
        if counts is None:
            counts = [(0, 0)] * _STRATA
        counts[at] = _counted(counts[at], right=right)
        kept = self._clean if right and partition not in self._wronged else self._wronged
        kept[partition] = counts
        if len(kept) > _MOST_PARTITIONS:
            del kept[next(iter(kept))]

    def wants_check(self, verdict: Verdict, rng: random.Random) -> bool:
        """Whether to learn from this lookup, by holding a fresh answer against the stored one."""
        if not verdict.hit:
            return verdict.unproven and self._check_share > 0.0
        return verdict.probability < 1.0 and rng.random() < self._check_share

    def state(self) -> dict[str, Any]:
        """All that was learned, fit for JSON; its size is bounded."""
        return {
            "checks": self._checks,
            "clean": {key.hex(): counts for key, counts in self._clean.items()},
            "wronged": {key.hex(): counts for key, counts in self._wronged.items()},
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any], **settings: Any) -> Self:
        """A verifier of these *settings* that goes on from what :meth:`state` gave; another shape is left aside."""
        verifier = cls(**settings)
        checks = state.get("checks")
        if isinstance(checks, list) and len(checks) == _STRATA:
            verifier._checks = [(right, wrong) for right, wrong in checks]
            for kept, name in ((verifier._clean, "clean"), (verifier._wronged, "wronged")):
                kept.update(
                    {
                        bytes.fromhex(key): [(right, wrong) for right, wrong in counts]
                        for key, counts in state[name].items()
                    }
                )
        return verifier

    def _compare(self, asked: str, stored: str) -> tuple[Comparison | None, bool]:
        """How the two differ (None: too much to read) and whether both are orders."""
        asked, stored = apart(asked, stored)
        if len(asked) + len(stored) > _LONGEST or strange(asked, stored):
            return None, False
        first, second = self._read(asked), self._read(stored)
        return compare(first, second), first.order and second.order

    def _read(self, text: str) -> Reading:
        reading = self._readings.get(text)
        if reading is None:
            if len(self._readings) >= _MOST_READINGS:
                del self._readings[next(iter(self._readings))]
            reading = self._readings[text] = read(text)
        return reading

    def _trust(self, partition: bytes) -> float:
        """1.0, or less where hits of the partition were wrong; right ones mend it slowly."""
        counts = self._wronged.get(partition)
        if counts is None:
            return 1.0
        right, wrong = sum(c[0] for c in counts), sum(c[1] for c in counts)
        return (right + _PRIOR) / (right + _PRIOR * (1.0 + wrong))

    def _proven(self, at: int, partition: bytes) -> tuple[bool, int, int]:
        """Whether this sort of pair keeps the bound in this partition, by how many right and wrong checked pairs."""
        wronged = self._wronged.get(partition)
        own = wronged or self._clean.get(partition)
        if own is not None and proves(*own[at], self._bound):
            return True, *own[at]
        if wronged is not None:
            found = at % len(GRADES)
            suspect = sum(counts[1] for i, counts in enumerate(wronged) if i % len(GRADES) <= found)
            if suspect or sum(counts[1] for counts in wronged) > 1:
                return False, *wronged[at]
        right = self._shipped[at][0] + self._checks[at][0]
        wrong = self._shipped[at][1] + self._checks[at][1]
        return proves(right, wrong, self._bound), right, wrong


def _counted(counts: tuple[int, int], *, right: bool) -> tuple[int, int]:
    """One more; old checks fade, so that the latest weigh."""
    kept, wrong = counts[0] + right, counts[1] + (not right)
    return (kept // 2, (wrong + 1) // 2) if kept + wrong > _MOST_CHECKS else (kept, wrong)
