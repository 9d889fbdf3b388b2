"""Makes an inverted file of old and new vectors; run as a process of its own."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from agentic_synth.cache.vectors.aside import read_news, run_merge

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agentic_synth.cache.vectors.index import Ids, Vector

__all__ = ["Lists", "Merge", "mapped", "merge"]

_HEAD = struct.Struct("<QQQQ")  # vectors, numbers in each, lists, vectors at the last training
_LEAST_A_LIST = 50  # vectors; fewer are looked at faster all together
_LISTS_A_ROOT = 6  # lists for each unit of the root of the vectors
_OUTGROWN = 1.5  # times the vectors it was trained on
_TRAINED_ON = 50_000
_ROUNDS = 8
_WHITENING = 0.4
_SHRINKAGE = 0.05
_AT_ONCE = 2_048  # vectors
_LARGEST_CODE = 127.0
_TINY = 1e-12


class Lists(NamedTuple):
    """What a file holds: for each list the place where its vectors begin, and what finds it.

    The list of a vector is the one of highest ``centroids @ vector - biases``. A vector's numbers are whole multiples
    of the same fraction; *scales* make their product with a vector of length one a cosine.
    """

    bounds: Ids
    ids: Ids
    sorted_ids: Ids
    centroids: Vector
    biases: Vector
    scales: Vector
    codes: NDArray[np.int8]
    trained: int


class Merge(msgspec.Struct, frozen=True):
    """What is merged into *path*: the file that *base* is open at, if any, and :func:`~.aside.news`."""

    path: str
    news: str
    base: int | None = None


def mapped(descriptor: int) -> Lists:
    """The lists in the file that *descriptor* is open at, where they are."""
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        count, dimensions, lists, trained = _HEAD.unpack(file.read(_HEAD.size))

        place = _HEAD.size

        def array(kind: Any, *shape: int) -> NDArray[Any]:
            nonlocal place
            # Nothing cannot be mapped.
            found = np.memmap(file, kind, "r", place, shape) if 0 not in shape else np.zeros(shape, kind)
            place += found.nbytes
            return np.asarray(found)

        return Lists(
            bounds=array(np.int64, lists + 1),
            ids=array(np.int64, count),
            sorted_ids=array(np.int64, count),
            centroids=array(np.float32, lists, dimensions),
            biases=array(np.float32, lists),
            scales=array(np.float32, count),
            codes=array(np.int8, count, dimensions),
            trained=trained,
        )


def merge(work: Merge) -> None:
    """Do it: 60 us a vector where the lists are made anew, and a tenth of a second for 100,000 where they stay."""
    hidden, ids, vectors = read_news(work.news)
    codes, scales = _coded(vectors)
    old = None if work.base is None else mapped(work.base)
    if old is not None:
        kept = np.flatnonzero(~np.isin(old.ids, hidden))
        ids = np.concatenate([old.ids[kept], ids])
        scales = np.concatenate([old.scales[kept], scales])
        codes = np.concatenate([old.codes[kept], codes])
    if old is None or len(ids) > _OUTGROWN * old.trained:
        centroids, biases = _trained(codes)
        trained, where = len(ids), _assigned(codes, centroids, biases)
    else:
        centroids, biases, trained = old.centroids, old.biases, old.trained
        stay = np.repeat(np.arange(len(centroids)), np.diff(old.bounds))[kept]
        where = np.concatenate([stay, _assigned(codes[len(kept) :], centroids, biases)])
    order = np.argsort(where, kind="stable")
    bounds = np.concatenate([[0], np.cumsum(np.bincount(where, minlength=len(centroids)))])
    arrays = (bounds.astype(np.int64), ids[order], np.sort(ids), centroids, biases, scales[order])
    with Path(work.path).open("r+b") as file:
        file.write(_HEAD.pack(len(ids), vectors.shape[1], len(centroids), trained))
        file.writelines(array.tobytes() for array in arrays)
        file.writelines(codes[order[start : start + _AT_ONCE]].tobytes() for start in range(0, len(order), _AT_ONCE))


def _coded(vectors: Vector) -> tuple[NDArray[np.int8], Vector]:
    """Eight bits a number, scaled by the largest of each vector, and what makes their products cosines.

    By them alone the nearest of 100,000 questions is found in 99.8 %; where one scale must do for all, in 98.2 %.
    """
    codes, scales = np.empty(vectors.shape, np.int8), np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), _AT_ONCE):
        some = vectors[start : start + _AT_ONCE]
        largest = np.abs(some).max(axis=1, keepdims=True, initial=_TINY)
        whole = np.rint(some * (_LARGEST_CODE / largest))
        codes[start : start + len(some)] = whole
        scales[start : start + len(some)] = 1.0 / np.maximum(np.linalg.norm(whole, axis=1), 1.0)
    return codes, scales


def _trained(codes: NDArray[np.int8]) -> tuple[Vector, Vector]:
    """Centroids and biases of lists that are filled about evenly, by k-means on a sample that was whitened.

    Embeddings lie in a narrow cone, and what they have in common says nothing of nearness; without whitening (Su et
    al., arXiv 2103.15316) ten times as many vectors must be looked at to find the same. The lists are found in the
    whitened space, and their centroids brought back, so that nothing has to be whitened later.
    """
    count = max(1, min(int(_LISTS_A_ROOT * len(codes) ** 0.5), len(codes) // _LEAST_A_LIST))
    rng = np.random.default_rng(len(codes))
    chosen = rng.choice(len(codes), min(len(codes), _TRAINED_ON), replace=False) if len(codes) else np.zeros(0, int)
    sample = _of_length_one(codes[chosen].astype(np.float32))
    if count == 1:
        return np.zeros((1, codes.shape[1]), np.float32), np.zeros(1, np.float32)
    middle = sample.mean(axis=0)
    sample -= middle
    spread, axes = np.linalg.eigh(sample.T @ sample / len(sample))
    spread = np.maximum(spread, 0.0)
    whiten = (axes * (spread + _SHRINKAGE * spread.mean() + _TINY) ** -_WHITENING).astype(np.float32)
    sample = _of_length_one(sample @ whiten)
    centroids = sample[:count].copy()
    for _ in range(_ROUNDS):
        where = _assigned(sample, centroids, np.zeros(count, np.float32))
        filled, begins = np.unique(np.sort(where), return_index=True)
        sums = np.add.reduceat(sample[np.argsort(where, kind="stable")], begins, axis=0)
        centroids = sample[rng.choice(len(sample), count)]
        centroids[filled] = _of_length_one(sums)
    back = centroids @ whiten.T
    return back, back @ middle


def _assigned(vectors: NDArray[Any], centroids: Vector, biases: Vector) -> NDArray[np.int64]:
    """The list of each vector; its length does not matter where there are no biases."""
    where = np.empty(len(vectors), np.int64)
    for start in range(0, len(vectors), _AT_ONCE):
        some = _of_length_one(vectors[start : start + _AT_ONCE].astype(np.float32))
        where[start : start + len(some)] = (some @ centroids.T - biases).argmax(axis=1)
    return where


def _of_length_one(vectors: Vector) -> Vector:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Vector = vectors / np.maximum(lengths, _TINY)
    return scaled


if __name__ == "__main__":
    run_merge(merge, Merge)
