"""How likely one answer serves two prompts, and whether the evidence proves that hits of a sort keep a bound.

The proof is a bet against the claim "at least *bound* of these hits are wrong": each checked pair multiplies the stake
by its likelihood under a smaller rate over its likelihood under the bound. If the claim were true, the stake would
ever reach 40 in at most 2.5 % of all histories, however often one looks (Ville's inequality; Waudby-Smith and Ramdas,
"Estimating means of bounded random variables by betting"; vCache, arXiv 2502.03771, asks the same of each entry).
"""

from __future__ import annotations

import math
from operator import mul

from agentic_synth.policies.semantic.coefficients import COMMON, HINGES, HINGES_ANY, WEIGHTS, WEIGHTS_ANY
from agentic_synth.policies.semantic.gate import Comparison

__all__ = ["FEATURES", "GRADES", "KNOTS", "features", "grade", "probability", "proves"]

FEATURES = (
    "similarity", "overlap", "overlap_small", "shared", "missing_fewer",
    "missing_more", "length_ratio", "disorder", "reordered", "same_words", "number", "name", "question", "negation",
    "antonym", "slots", "word", "edits", "similarity_overlap", "rare_shared", "rare_fewer", "rare_more",
)  # fmt: skip
# Where the slope of a feature may change.
KNOTS = {
    "similarity": (0.5, 0.7, 0.8, 0.95), "overlap": (0.2, 0.4, 0.6, 0.8), "overlap_small": (0.4, 0.6, 0.8),
    "rare_fewer": (0.5, 1.0), "rare_more": (0.5, 1.0, 1.5), "rare_shared": (0.5, 1.0, 1.5),
}  # fmt: skip
# Rates under which the stake is laid, as parts of the bound, and the share of each.
_BETS = ((0.0, 0.4), (0.1, 0.2), (0.25, 0.2), (0.5, 0.2))
# Two proofs may be tried (a partition alone, and all together); both together leave 5 %.
_CONFIDENCE = 0.975
_SLOTS = frozenset({"quoted", "addresses", "codes", "data", "unit", "date"})
GRADES = ("same text", "same words", "other opening", "other wording")


def features(pair: Comparison, similarity: float, common: frozenset[str] = COMMON) -> tuple[float, ...]:
    """What the probability is computed from, in the order of :data:`FEATURES`; words not in *common* are rare."""
    shared = len(pair.shared)
    rare_fewer, rare_more = sorted((_rare(pair.only_first, common), _rare(pair.only_second, common)))
    missing, others = len(pair.only_first), len(pair.only_second)
    fewer, more = sorted((missing, others))
    smaller = min(shared + missing, shared + others) or 1
    overlap = shared / (shared + missing + others or 1)
    rule = pair.refusal
    return (
        similarity,
        overlap,
        shared / smaller,
        math.log1p(shared),
        math.log1p(fewer),
        math.log1p(more),
        smaller / (max(shared + missing, shared + others) or 1),
        1.0 - pair.in_order,
        1.0 if rule == "order" else 0.0,
        1.0 if not missing and not others and rule != "order" else 0.0,
        1.0 if rule == "number" else 0.0,
        1.0 if rule == "name" else 0.0,
        1.0 if rule == "question" else 0.0,
        1.0 if rule == "negation" else 0.0,
        1.0 if rule == "antonym" else 0.0,
        1.0 if rule in _SLOTS else 0.0,
        1.0 if rule == "word" else 0.0,
        float(min(4, pair.frames + pair.synonyms + pair.inflections + pair.light + pair.articles)),
        similarity * overlap,
        math.log1p(len(set(pair.shared) - common)),
        math.log1p(rare_fewer),
        math.log1p(rare_more),
    )


def _rare(words: tuple[str, ...], common: frozenset[str]) -> int:
    return sum(word not in common for word in words)


def probability(found: tuple[float, ...], *, by_similarity: bool) -> float:
    """The fitted probability that one answer serves both.

    *by_similarity*: the similarity is that of the embedder the weights were fitted with; of any other it is not used.
    """
    weights, hinges = (WEIGHTS, HINGES) if by_similarity else (WEIGHTS_ANY, HINGES_ANY)
    score = weights[0] + sum(map(mul, weights[1:], found))
    for index, knot, weight in hinges:
        if found[index] > knot:
            score += weight * (found[index] - knot)
    return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, score))))


def grade(pair: Comparison) -> int:
    """Which of :data:`GRADES` a pair that passed the gate has: the lower, the less may go wrong."""
    if pair.synonyms or pair.inflections or pair.light:
        return 3
    if pair.frames:
        return 2
    return 1 if pair.articles else 0


def proves(right: float, wrong: float, bound: float) -> bool:
    """Whether so many right and wrong checked pairs prove, with 97.5 % confidence, fewer than *bound* wrong."""
    if bound >= 1.0:
        return True
    stake = 0.0
    for part, share in _BETS:
        if part or not wrong:
            gain = right * math.log((1.0 - part * bound) / (1.0 - bound)) + (wrong * math.log(part) if wrong else 0.0)
            stake += share * math.exp(min(50.0, gain))
    return stake >= 1.0 / (1.0 - _CONFIDENCE)
