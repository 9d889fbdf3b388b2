"""What the verifier of the semantic cache decides on labelled pairs, beside a bare similarity threshold.

``python -m benchmarks.semantic_pairs --data DIR`` judges the test parts of DIR's labelled pairs and of the generated
workload with the shipped setting, prints the precision at every recall, and what a judged pair costs.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from agentic_synth.policies.semantic.reading import read
from agentic_synth.policies.semantic.verifier import Verifier
from benchmarks.fit_verifier import common_words, cosines, fitted, hinged, pairs_of, part_of, table
from benchmarks.semantic_workload import Pair, intents, prompts, same_pairs, slot_pairs

BARE = 0.95
PARTITION = b"bench"


def interval(wrong: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """The Clopper-Pearson interval of a rate."""

    def tail(rate: float, most: int) -> float:
        """P(at most *most* of *count*)."""
        if rate <= 0.0 or rate >= 1.0:
            return 1.0 if rate <= 0.0 or most >= count else 0.0
        logs = [
            math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
            + k * math.log(rate) + (count - k) * math.log1p(-rate)
            for k in range(most + 1)
        ]  # fmt: skip
        return math.fsum(map(math.exp, logs))

    def root(above: Callable[[float], bool]) -> float:
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if above(middle) else (low, middle)
        return (low + high) / 2

    half = (1.0 - confidence) / 2
    least = 0.0 if wrong == 0 else root(lambda rate: 1.0 - tail(rate, wrong - 1) < half)
    most = 1.0 if wrong == count else root(lambda rate: tail(rate, wrong) > half)
    return least, most


def judged(pairs: list[Pair], verifier: Verifier) -> dict[str, Any]:
    """Hits and false hits of the verifier and of the bare threshold, and the scores of both."""
    near = cosines(pairs)
    verdicts = [
        verifier.judge(pair.first, pair.second, similarity, partition=PARTITION)
        for pair, similarity in zip(pairs, near, strict=True)
    ]
    different = sum(not pair.same for pair in pairs)
    same = len(pairs) - different
    found: dict[str, Any] = {"pairs": len(pairs), "same": same, "different": different}
    hits = {"verifier": [verdict.hit for verdict in verdicts], "bare": [value >= BARE for value in near]}
    hits["gate"] = [verdict.grade is not None for verdict in verdicts]
    for name, taken in hits.items():
        wrong = sum(hit and not pair.same for hit, pair in zip(taken, pairs, strict=True))
        found[name] = {"hits": sum(taken), "wrong": wrong, "recall": (sum(taken) - wrong) / max(1, same)}
        found[name]["wrong_of_different"] = [wrong / max(1, different), *interval(wrong, max(1, different))]
        found[name]["wrong_of_hits"] = [wrong / max(1, sum(taken)), *interval(wrong, max(1, sum(taken)))]
    found["scores"] = ([verdict.probability for verdict in verdicts], near)
    return found


def curve(pairs: list[Pair], scores: list[float]) -> list[tuple[float, float]]:
    """Recall and precision at every score at which a pair of the same meaning is taken; ties are taken together."""
    order = sorted(zip(scores, (pair.same for pair in pairs), strict=True), reverse=True)
    positives = sum(pair.same for pair in pairs)
    points, right = [], 0
    for index, (score, same) in enumerate(order, 1):
        right += same
        if index == len(order) or order[index][0] != score:
            points.append((right / positives, right / index))
    return points


def at_recall(points: list[tuple[float, float]], recall: float) -> float:
    """The best precision at *recall* or more."""
    return max((precision for reached, precision in points if reached >= recall), default=0.0)


def show(name: str, found: dict[str, Any]) -> None:
    """Print what was found on one set."""
    print(f"{name}: {found['pairs']:,} pairs, {found['same']:,} with the same meaning")
    for who in ("verifier", "gate", "bare"):
        taken = found[who]
        rate, low, high = taken["wrong_of_different"]
        share, least, most = taken["wrong_of_hits"]
        print(
            f"  {who:9} hits {taken['hits']:6,}  wrong {taken['wrong']:5,}  recall {taken['recall']:6.1%}  wrong of "
            f"different {rate:6.2%} [{low:.2%}, {high:.2%}]  of the hits {share:6.2%} [{least:.2%}, {most:.2%}]"
        )


def crossed(asked: list[Pair], adversarial: list[Pair], folds: int = 5) -> list[dict[str, float]]:
    """The curve over all question pairs, each scored by weights that were fitted without its fold."""
    near = cosines(asked)
    place = np.random.default_rng(1).integers(0, folds, len(asked))
    scores = [0.0] * len(asked)
    for fold in range(folds):
        rest = [pair for pair, at in zip(asked, place, strict=True) if at != fold]
        common = common_words(rest)
        weight = np.array([1.0] * len(rest) + [2.0] * len(adversarial))
        weights, _ = fitted([*rest, *adversarial], weight, common)
        inside = [index for index, at in enumerate(place) if at == fold]
        rows = hinged(table([asked[index] for index in inside], common))
        for index, score in zip(inside, weights[0] + rows @ weights[1:], strict=True):
            scores[index] = float(score)
    print(f"question pairs, all, {folds}-fold cross-validation")
    return show_curve(asked, scores, near)


def show_curve(pairs: list[Pair], scores: list[float], near: list[float]) -> list[dict[str, float]]:
    """Print precision at each recall, ours beside the bare similarity's."""
    ours, bare = curve(pairs, scores), curve(pairs, near)
    rows = []
    print("  recall   verifier   bare similarity")
    for recall in [0.01, 0.02, 0.05, *(step / 10 for step in range(1, 11))]:
        row = {"recall": recall, "verifier": at_recall(ours, recall), "bare": at_recall(bare, recall)}
        rows.append(row)
        print(f"  {recall:6.0%}   {row['verifier']:8.3f}   {row['bare']:8.3f}")
    grid = [step / 200 for step in range(1, 201)]
    below = [recall for recall in grid if at_recall(ours, recall) < at_recall(bare, recall)]
    print(f"  below the bare similarity at {len(below)} of {len(grid)} recalls {below[:8]}")
    return rows


def stream(count: int, seed: int) -> dict[str, Any]:
    """A Zipf stream of intents in any wording against a cache that holds all that was answered before."""
    import wordllama

    model = wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)
    asked = list(prompts(intents(test=True), count, random.Random(seed)))
    vectors = model.embed([text for _, text in asked], norm=True)
    found: dict[str, Any] = {"requests": count, "meanings": len({meaning for meaning, _ in asked})}
    exact = len(asked) - len({text for _, text in asked})
    found["exact"] = {"hits": exact, "wrong": 0}
    for name in ("verifier", "bare"):
        verifier = Verifier()
        kept: list[int] = []
        hits = wrong = 0
        for index, (meaning, text) in enumerate(asked):
            nearest = np.argsort(-(vectors[kept] @ vectors[index]))[:8].tolist() if kept else []
            for near in (kept[place] for place in nearest):
                cosine = float(vectors[near] @ vectors[index])
                hit = (
                    verifier.judge(text, asked[near][1], cosine, partition=PARTITION).hit
                    if name == "verifier"
                    else cosine >= BARE
                )
                if hit:
                    hits += 1
                    wrong += asked[near][0] != meaning
                    break
            else:
                kept.append(index)
        found[name] = {"hits": hits, "wrong": wrong}
    return found


def taught(pairs: list[Pair], checks: int) -> tuple[Verifier, int]:
    """A verifier that was told the truth about the first *checks* pairs that only lacked proof."""
    verifier = Verifier()
    told = 0
    for pair, near in zip(pairs, cosines(pairs), strict=True):
        verdict = verifier.judge(pair.first, pair.second, near, partition=PARTITION)
        if verdict.grade is not None and not verdict.hit and told < checks:
            verifier.learn(pair.first, pair.second, near, partition=PARTITION, right=pair.same)
            told += 1
    return verifier, told


def costs(pairs: list[Pair]) -> dict[str, float]:
    """Microseconds a judged pair, the best of five rounds: both prompts new or the stored one known.

    The long prompts have 1,000 characters: near ones share all sentences but the first, far ones share none.
    """
    texts = [(pair.first, pair.second) for pair in pairs[:400]]
    sentence = "The customer wrote that the router stopped after the last update and asked for a new one. "
    near = [(f"{first} {sentence * 10}", f"{second} {sentence * 10}") for first, second in texts]
    far = [
        (" ".join(one for one, _ in texts[at : at + 16]), " ".join(other for _, other in texts[at + 16 : at + 32]))
        for at in range(0, 300, 4)
    ]

    def each(chosen: list[tuple[str, str]], *, known: bool) -> float:
        rounds = []
        for _ in range(7):
            verifiers = [Verifier() for _ in chosen]
            if known:
                for verifier, (_, second) in zip(verifiers, chosen, strict=True):
                    verifier.judge(second + " ", second, 0.9, partition=PARTITION)
            begin = time.thread_time()
            for verifier, (first, second) in zip(verifiers, chosen, strict=True):
                verifier.judge(first, second, 0.9, partition=PARTITION)
            rounds.append((time.thread_time() - begin) / len(chosen) * 1e6)
        return min(rounds)

    characters = statistics.mean(len(first) for first, _ in texts)
    return {
        "characters": characters,
        "both_new": each(texts, known=False),
        "stored_known": each(texts, known=True),
        "near_1000_both_new": each(near, known=False),
        "near_1000_stored_known": each(near, known=True),
        "far_1000_both_new": each(far, known=False),
        "far_1000_stored_known": each(far, known=True),
        "reading": statistics.median(_timed(first) for first, _ in texts),
    }


def _timed(text: str) -> float:
    begin = time.thread_time()
    for _ in range(20):
        read(text)
    return (time.thread_time() - begin) / 20 * 1e6


def main() -> None:
    """Judge everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--requests", type=int, default=5_000)
    given = parser.parse_args()
    results: dict[str, Any] = {}
    rng = random.Random(11)
    held = intents(test=True)
    questions = [intent for intent in held if not intent.is_order]
    adversarial, asked = (list(pairs_of(given.data / f"paraphrase_{name}.tsv")) for name in ("adversarial", "pairs"))
    sets = {
        "slot pairs": list(slot_pairs(held, 40, rng)),
        "wordings of orders": list(same_pairs([i for i in held if i.is_order], 80, rng)),
        "wordings of questions": list(same_pairs(questions, 80, rng)),
        "adversarial, test part": [
            p for p in pairs_of(given.data / "paraphrase_adversarial.tsv") if part_of(p) == "test"
        ],
        "adversarial, all": adversarial,
        "question pairs, test part": [p for p in asked if part_of(p) == "test"],
    }
    for name, pairs in sets.items():
        found = judged(pairs, Verifier())
        show(name, found)
        if name.startswith("question pairs"):
            results["curve"] = show_curve(pairs, *found["scores"])
            for bound in (0.02, 0.05, 0.1):
                wider = judged(pairs, Verifier(max_false_hit=bound))["verifier"]
                results[f"question pairs at {bound:g}"] = wider
                print(f"  max_false_hit {bound:g}: {wider['hits']} hits, {wider['wrong']} wrong")
        del found["scores"]
        results[name] = found
    results["cross-validated"] = crossed(asked, adversarial)
    learned, told = taught(list(same_pairs(questions, 1_000, random.Random(3))), 2_000)
    print(f"after {told:,} checked pairs of questions:")
    show("wordings of questions", judged(sets["wordings of questions"], learned))
    show("slot pairs", judged(sets["slot pairs"], learned))
    results["stream"] = stream(given.requests, 1)
    print("stream:", results["stream"])
    results["microseconds"] = costs(sets["question pairs, test part"])
    print("microseconds a pair:", {name: round(value, 1) for name, value in results["microseconds"].items()})
    target = Path(__file__).parent / "results"
    target.mkdir(exist_ok=True)
    (target / "semantic_pairs.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
