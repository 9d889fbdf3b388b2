"""The inverted file: what it finds by looking at few, and when its lists are made anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from agentic_synth.cache.embedders.embedder import unit
from agentic_synth.cache.vectors.ivf import _IvfSegment
from agentic_synth.cache.vectors.layered import LayeredIndex
from agentic_synth.cache.vectors.open import open_format

DIMENSIONS = 64
COUNT = 12_000

Vectors = NDArray[np.float32]


def embeddings(count: int, seed: int = 0) -> Vectors:
    """Topics of some twenty texts each, in a narrow cone, and far wider along some axes: as embeddings are."""
    rng = np.random.default_rng(3)
    widths = np.linspace(3.0, 0.2, DIMENSIONS)
    topics = rng.standard_normal((COUNT // 20, DIMENSIONS)) * widths
    rng = np.random.default_rng(seed)
    chosen = topics[rng.integers(0, len(topics), count)] + 0.4 * rng.standard_normal((count, DIMENSIONS)) * widths
    return unit((chosen + 2.0).astype(np.float32))


def saved(vectors: Vectors, path: Path) -> LayeredIndex:
    index = LayeredIndex(open_format("ivf"), vectors.shape[1], path, b"owner")
    index.add(range(len(index), len(index) + len(vectors)), vectors)
    index.save(len(index))
    return index


def segment_of(index: LayeredIndex) -> _IvfSegment:
    (layer,) = index._layers
    assert isinstance(layer.segment, _IvfSegment)
    return layer.segment


def test_the_nearest_is_found_though_a_tenth_is_looked_at(tmp_path: Path) -> None:
    vectors, queries = embeddings(COUNT), embeddings(1_000, seed=1)
    index = saved(vectors, tmp_path / "p")
    best = (vectors @ queries.T).argmax(axis=0)
    found = [{identity for identity, _ in index.search(query, 8)} for query in queries]
    assert np.mean([one in ids for one, ids in zip(best.tolist(), found, strict=True)]) >= 0.995
    begins, ends = segment_of(index)._looked_at(queries[0], 1_000)
    assert (ends - begins).sum() == 1_000
    assert (tmp_path / "p").stat().st_size / COUNT < DIMENSIONS + 40


@pytest.mark.parametrize("alike", [0.0, 1e-4])
def test_a_search_looks_at_no_more_where_most_are_alike(alike: float, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    crowd = unit((embeddings(1) + alike * rng.standard_normal((COUNT, DIMENSIONS))).astype(np.float32))
    others = embeddings(1_000, seed=4)
    index = saved(np.concatenate([crowd, others]), tmp_path / "p")
    begins, ends = segment_of(index)._looked_at(crowd[0], 1_000)
    assert (ends - begins).sum() == 1_000
    assert index.search(crowd[0], 1)[0][1] > 0.99
    assert [index.search(other, 1)[0][0] for other in others[:50]] == list(range(COUNT, COUNT + 50))


def test_lists_stay_until_half_as_many_came_again(tmp_path: Path) -> None:
    vectors = embeddings(9_000)
    index = saved(vectors[:4_000], tmp_path / "p")
    first = segment_of(index).lists
    index.remove(7)
    more = saved(vectors[4_000:5_900], tmp_path / "p")
    second = segment_of(more).lists
    assert (first.trained, second.trained) == (4_000, 4_000)
    assert np.array_equal(first.centroids, second.centroids)
    third = segment_of(saved(vectors[5_900:], tmp_path / "p")).lists
    assert (third.trained, len(third.centroids)) == (9_000, 180)
    assert (len(first.centroids), third.bounds[-1]) == (80, 9_000)


def test_all_are_found_where_all_are_asked_for(tmp_path: Path) -> None:
    index = saved(embeddings(3_000), tmp_path / "p")
    assert {identity for identity, _ in index.search(embeddings(1)[0], 3_000)} == set(range(3_000))
