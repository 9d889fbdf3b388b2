"""Fit the coefficients and count the evidence that the verifier of the semantic cache ships.

``python -m benchmarks.fit_verifier --data DIR`` reads the labelled pairs of DIR (and none of their test part), and
writes ``policies/semantic/coefficients.py``. The weights are those of a logistic regression on all but the test
part. The evidence for the bound does not rest on them: it counts the pairs of the calibration part that pass the
gate. What people wrote counts for questions and
orders; generated pairs count for orders, and where only the typography differs.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from agentic_synth.policies.semantic.calibration import FEATURES, GRADES, KNOTS, features, grade
from agentic_synth.policies.semantic.gate import compare
from agentic_synth.policies.semantic.reading import fold, read
from benchmarks.semantic_workload import Pair, intents, same_pairs, slot_pairs, typography_pairs

__all__ = ["common_words", "cosines", "fitted", "hinged", "pairs_of", "part_of", "table"]

Table = np.ndarray[Any, np.dtype[np.float64]]
TARGET = Path("src/agentic_synth/policies/semantic/coefficients.py")
_SHIPPED_MOST = 1_500
_PRESENT = {"paraphrase_pairs.tsv": 1.0, "paraphrase_adversarial.tsv": 2.0}


def part_of(pair: Pair) -> str:
    """Which part a labelled pair belongs to: three in ten fit, three in ten calibration, the others test."""
    first = hashlib.sha256(f"{pair.first}\t{pair.second}".encode()).digest()[0]
    return "fit" if first < 77 else "calibration" if first < 153 else "test"


def pairs_of(path: Path) -> Iterator[Pair]:
    """The pairs of a file of labelled pairs."""
    for line in path.read_text("utf-8").split("\n")[1:]:
        if line:
            first, second, same = line.split("\t")
            yield Pair(first, second, same == "1", path.stem)


def cosines(pairs: list[Pair]) -> list[float]:
    """The similarity of each pair by the default local embedder, from its wheel alone."""
    import wordllama

    home = Path(wordllama.__file__).parent
    model = wordllama.WordLlama.load(cache_dir=home, disable_download=True)
    first = model.embed([pair.first for pair in pairs], norm=True)
    second = model.embed([pair.second for pair in pairs], norm=True)
    return [float(value) for value in np.einsum("ij,ij->i", first, second)]


def common_words(pairs: list[Pair], most: int = 250) -> frozenset[str]:
    """The words in most prompts of *pairs*."""
    texts = (text for pair in pairs for text in (pair.first, pair.second))
    counts = Counter(word for text in texts for word in set(map(fold, read(text).words)))
    return frozenset(word for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most])


def table(pairs: list[Pair], common: frozenset[str]) -> Table:
    """One row of features a pair."""
    return np.array(
        [
            features(compare(read(pair.first), read(pair.second)), near, common)
            for pair, near in zip(pairs, cosines(pairs), strict=True)
        ]
    )


def hinged(rows: Table) -> Table:
    """*rows* with one more column for each place where a slope may change."""
    bent = [np.maximum(0.0, rows[:, FEATURES.index(name)] - knot) for name, knots in KNOTS.items() for knot in knots]
    return np.column_stack([rows, *bent])


def logistic(rows: Table, same: Table, weight: Table, ridge: float = 5.0) -> Table:
    """Weights of a logistic regression with an L2 penalty on standardized columns; the first is the intercept."""
    middle, spread = rows.mean(axis=0), rows.std(axis=0) + 1e-9
    wide = np.hstack([np.ones((len(rows), 1)), (rows - middle) / spread])
    found = np.zeros(wide.shape[1])
    penalty = np.full(wide.shape[1], ridge)
    penalty[0] = 1e-9
    for _ in range(50):
        likely = 1.0 / (1.0 + np.exp(-wide @ found))
        slope = wide.T @ (weight * (same - likely)) - penalty * found
        curve = (wide.T * (weight * likely * (1.0 - likely))) @ wide + np.diag(penalty)
        step = np.linalg.solve(curve, slope)
        found += step
        if float(np.abs(step).max()) < 1e-9:
            break
    slopes = found[1:] / spread
    return np.concatenate([[found[0] - slopes @ middle], slopes])


def count(pairs: Iterable[Pair], *, generated: bool, into: dict[str, list[list[int]]]) -> None:
    """Add the pairs that pass the gate to the evidence, as far as they may count."""
    for pair in pairs:
        first, second = read(pair.first), read(pair.second)
        found = compare(first, second)
        order = first.order and second.order
        if found.refusal or (generated and not order and grade(found)):
            continue
        counts = into["order" if order else "question"][grade(found)]
        if sum(counts) < _SHIPPED_MOST:
            counts[0 if pair.same else 1] += 1


def evidence(calibration: list[Pair], chosen: list[Any], seed: int) -> dict[str, list[list[int]]]:
    """Right and wrong pairs of each sort and grade; what people wrote is counted first."""
    rng = random.Random(seed)
    into = {sort: [[0, 0] for _ in GRADES] for sort in ("question", "order")}
    count(calibration, generated=False, into=into)
    made = [*slot_pairs(chosen, 40, rng), *same_pairs(chosen, 2_000, rng), *typography_pairs(chosen, 1_000, rng)]
    made = list(dict.fromkeys(made))
    rng.shuffle(made)
    count(made, generated=True, into=into)
    return into


def written(name: str, weights: Table) -> str:
    """The weights of the features and of their hinges, as source."""
    knots = [(FEATURES.index(feature), knot) for feature, knots in KNOTS.items() for knot in knots]
    plain = "".join(f"    {value:.6g},\n" for value in weights[: len(FEATURES) + 1])
    bent = "".join(
        f"    ({index}, {knot}, {value:.6g}),\n"
        for (index, knot), value in zip(knots, weights[len(FEATURES) + 1 :], strict=True)
        if value
    )
    return f"WEIGHTS{name} = (\n{plain})\nHINGES{name} = (\n{bent})\n"


def fitted(pairs: list[Pair], weight: Table, common: frozenset[str]) -> tuple[Table, Table]:
    """The weights with the similarity of the default embedder, and without any."""
    rows = hinged(table(pairs, common))
    same = np.array([float(pair.same) for pair in pairs])
    names = [*FEATURES, *(name for name, knots in KNOTS.items() for _ in knots)]
    blind = np.array(["similarity" not in name for name in names])
    without = np.zeros(len(names) + 1)
    without[np.concatenate([[True], blind])] = logistic(rows[:, blind], same, weight)
    return logistic(rows, same, weight), without


def main() -> None:
    """Fit, count, write, and say what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=5)
    given = parser.parse_args()
    labelled = {name: list(pairs_of(given.data / name)) for name in _PRESENT}
    rng = random.Random(given.seed)
    development = intents(test=False)
    fit = [(pair, _PRESENT[name]) for name, pairs in labelled.items() for pair in pairs if part_of(pair) != "test"]
    common = common_words([pair for pair, _ in fit])
    fit += [(pair, 0.5) for pair in [*slot_pairs(development[::2], 8, rng), *same_pairs(development[::2], 40, rng)]]
    weights, without = fitted([pair for pair, _ in fit], np.array([weight for _, weight in fit]), common)
    calibration = [pair for pairs in labelled.values() for pair in pairs if part_of(pair) == "calibration"]
    counted = evidence(calibration, development[1::2], given.seed)
    shipped = "".join(
        f'    "{sort}": ({", ".join(f"({right}, {wrong})" for right, wrong in counts)}),\n'
        for sort, counts in counted.items()
    )
    words = "".join(f"    {line}\n" for line in textwrap.wrap(" ".join(sorted(common)), 110))
    TARGET.write_text(
        '"""What the shipped decision rests on; written by ``benchmarks/fit_verifier.py``, not by hand."""\n\n'
        "from __future__ import annotations\n\nfrom agentic_synth.policies.semantic.lexicon import words\n\n"
        '__all__ = ["COMMON", "EVIDENCE", "HINGES", "HINGES_ANY", "WEIGHTS", "WEIGHTS_ANY"]\n\n'
        "# An intercept and one weight a feature; then (feature, knot, weight) where a slope changes.\n"
        + written("", weights)
        + "# The same without the similarity, for an embedder that was not there when these were fitted.\n"
        + written("_ANY", without)
        + "# The words that most prompts of the fit have; any other is rare.\n"
        + f'COMMON = words(\n    """\n{words}    """\n)\n'
        + "# Right and wrong pairs of the calibration part that pass the gate, for each of calibration.GRADES.\n"
        + f"EVIDENCE: dict[str, tuple[tuple[int, int], ...]] = {{\n{shipped}}}\n"
    )
    print(shipped)


if __name__ == "__main__":
    main()
