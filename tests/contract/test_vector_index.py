"""What every vector index keeps to, whatever its files are made of."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from numpy.typing import NDArray

from agentic_synth.cache.embedders.embedder import unit
from agentic_synth.cache.vectors.index import Format, VectorIndex
from agentic_synth.cache.vectors.layered import LayeredIndex
from agentic_synth.cache.vectors.open import IndexName, open_format

DIMENSIONS = 48
OWNER = b"a store's partition"
# How far an index may be off: 8 bits a number cost a hundredth of a cosine.
TOLERANCE = {"exact": 1e-6, "ivf": 0.01, "usearch": 0.02, "ruvector": 1e-4}
NAMES: tuple[IndexName, ...] = ("ivf", "exact", "usearch", "ruvector")

Vectors = NDArray[np.float32]


def directions(count: int, seed: int = 0) -> Vectors:
    """Vectors of length one in any direction."""
    return unit(np.random.default_rng(seed).standard_normal((count, DIMENSIONS)).astype(np.float32))


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> IndexName:
    chosen: IndexName = request.param
    return chosen


@pytest.fixture
def opened(name: IndexName, tmp_path: Path) -> Callable[[], LayeredIndex]:
    return lambda: LayeredIndex(open_format(name), DIMENSIONS, tmp_path / "vectors" / "p.index", OWNER)


def test_an_empty_index_finds_nothing(opened: Callable[[], LayeredIndex]) -> None:
    index: VectorIndex = opened()
    vector = directions(1)[0]
    assert (len(index), index.search(vector, 3), index.remove(1), 1 in index) == (0, [], False, False)
    assert index.save(0)
    assert (len(opened()), opened().search(vector, 3)) == (0, [])


def test_the_nearest_come_first_with_their_cosines(name: IndexName, opened: Callable[[], LayeredIndex]) -> None:
    vectors = directions(300)
    index = opened()
    index.add(range(1, 301), vectors)
    for saved in (False, True):
        for query in directions(20, seed=1):
            cosines = vectors @ query
            found = index.search(query, 5)
            assert len(found) == 5
            assert [s for _, s in found] == sorted((s for _, s in found), reverse=True)
            assert all(abs(cosines[identity - 1] - similarity) < TOLERANCE[name] for identity, similarity in found)
            assert found[0][1] >= cosines.max() - 2 * TOLERANCE[name]
        assert saved or index.save(300)


def test_what_is_removed_is_never_found_even_when_it_is_all_that_was_near(opened: Callable[[], LayeredIndex]) -> None:
    vectors = directions(200)
    index = opened()
    index.add(range(200), vectors)
    index.save(199)
    order = np.argsort(-(vectors @ vectors[0])).tolist()
    for identity in order[:150]:
        assert index.remove(identity)
    assert not index.remove(order[0])
    for _ in range(2):
        found = [identity for identity, _ in index.search(vectors[0], 10)]
        assert len(found) == 10
        assert not set(found) & set(order[:150])
        assert len(index) == 50
        index.save(199)
    assert {identity for identity, _ in opened().search(vectors[0], 60)} == set(order[150:])


def test_an_id_added_again_has_its_new_vector_only(opened: Callable[[], LayeredIndex]) -> None:
    old, new, other = directions(3)
    index = opened()
    index.add([7], old[None])
    index.save(7)
    index.add([7, 8], np.stack([new, other]))
    for _ in range(2):
        assert len(index) == 2
        assert [identity for identity, _ in index.search(new, 1)] == [7]
        assert dict(index.search(old, 2))[7] < 0.9
        index.save(8)
    index.remove(7)
    index.add([7], old[None])
    assert index.search(old, 1)[0][0] == 7


def test_ids_have_sixty_four_bits(opened: Callable[[], LayeredIndex]) -> None:
    first, second = directions(2)
    index = opened()
    index.add([2**62, 2**62 + 1], np.stack([first, second]))
    index.save(2**62 + 1)
    again = opened()
    assert (again.last, again.search(second, 1)[0][0]) == (2**62 + 1, 2**62 + 1)


def test_what_comes_and_goes_during_a_save_is_not_lost(name: IndexName, tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()
    vectors = directions(60)

    class Slow:
        """The format, with a halt before it writes."""

        def __init__(self, inner: Format) -> None:
            self.name, self.open, self._write = inner.name, inner.open, inner.write

        def write(self, path: Path, *rest: object) -> int:
            begun.set()
            assert go_on.wait(10)
            return self._write(path, *rest)  # type: ignore[arg-type]

    index = LayeredIndex(Slow(open_format(name)), DIMENSIONS, tmp_path / "p", OWNER)
    index.add(range(50), vectors[:50])
    thread = threading.Thread(target=index.save, args=(50,))
    thread.start()
    assert begun.wait(10)
    assert not index.save(50)  # one at a time
    index.add(range(50, 60), vectors[50:])
    assert index.remove(3)
    index.remove(55)
    index.add([4], vectors[3][None])
    expected = set(range(60)) - {3, 55}
    assert {identity for identity, _ in index.search(vectors[0], 99)} == expected
    go_on.set()
    thread.join()
    for _ in range(2):
        assert {identity for identity, _ in index.search(vectors[0], 99)} == expected
        assert (len(index), index.search(vectors[3], 1)[0][0]) == (58, 4)
        assert index.save(60)
    again = LayeredIndex(open_format(name), DIMENSIONS, tmp_path / "p", OWNER)
    assert {identity for identity, _ in again.search(vectors[0], 99)} == expected


def _flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 8]) + data[place + 1 :]


_DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "torn": lambda data: data[: len(data) // 2],
    "a bit at the start": lambda data: _flip(data, 0),
    "a bit in the middle": lambda data: _flip(data, len(data) // 2),
    "a bit of the trailer": lambda data: _flip(data, len(data) - 30),
    "longer than it was": lambda data: data + b"x",
    "shorter by one": lambda data: data[:-1],
    "another file": lambda _: b"SQLite format 3\0" * 10,
    "empty": lambda _: b"",
}


@pytest.mark.parametrize("how", _DAMAGES)
def test_a_damaged_file_is_passed_over_and_made_again(how: str, opened: Callable[[], LayeredIndex]) -> None:
    vectors = directions(80)
    index = opened()
    index.add(range(80), vectors)
    index.save(79)
    path = index._path
    index.close()
    path.write_bytes(_DAMAGES[how](path.read_bytes()))
    again = opened()
    assert (len(again), again.last) == (0, 0)
    again.add(range(80), vectors)
    assert again.save(79)
    assert opened().search(vectors[5], 1)[0][0] == 5


def test_a_file_of_another_owner_size_or_format_is_passed_over(name: IndexName, tmp_path: Path) -> None:
    path = tmp_path / "p.index"
    index = LayeredIndex(open_format(name), DIMENSIONS, path, OWNER)
    index.add([1], directions(1))
    index.save(1)
    other: IndexName = "exact" if name != "exact" else "usearch"
    assert len(LayeredIndex(open_format(name), DIMENSIONS, path, b"another store")) == 0
    assert len(LayeredIndex(open_format(name), DIMENSIONS * 2, path, OWNER)) == 0
    assert len(LayeredIndex(open_format(other), DIMENSIONS, path, OWNER)) == 0
    assert len(LayeredIndex(open_format(name), DIMENSIONS, path, OWNER)) == 1


def test_a_save_that_fails_leaves_the_file_and_the_index_as_they_were(name: IndexName, tmp_path: Path) -> None:
    class Failing:
        """The format, on a disk that fills up while it writes."""

        def __init__(self, inner: Format) -> None:
            self.name, self.open = inner.name, inner.open

        def write(self, path: Path, *_: object) -> int:
            path.write_bytes(b"half of a")
            raise OSError(28, os.strerror(28))

    path, vectors = tmp_path / "p.index", directions(20)
    index = LayeredIndex(open_format(name), DIMENSIONS, path, OWNER)
    index.add(range(10), vectors[:10])
    index.save(9)
    full = LayeredIndex(Failing(open_format(name)), DIMENSIONS, path, OWNER)
    full.add(range(10, 20), vectors[10:])
    with pytest.raises(OSError, match="space"):
        full.save(19)
    assert (len(full), full.search(vectors[15], 1)[0][0]) == (20, 15)
    assert [file.name for file in tmp_path.iterdir()] == ["p.index"]
    assert len(LayeredIndex(open_format(name), DIMENSIONS, path, OWNER)) == 10


def test_files_are_for_their_owner_only_and_what_a_dead_process_left_is_swept(
    name: IndexName, opened: Callable[[], LayeredIndex]
) -> None:
    index = opened()
    index.add([1], directions(1))
    index.save(1)
    path = index._path
    left = path.with_name(f"{path.name}.0011223344ff.tmp")
    fresh = path.with_name(f"{path.name}.ff0011223344.tmp")
    for file in (left, fresh):
        file.write_bytes(b"half")
    os.utime(left, (0, 0))
    index.save(1)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert {file.name for file in path.parent.iterdir()} == {path.name, fresh.name}


def test_many_vectors_are_merged_as_well_as_few(opened: Callable[[], LayeredIndex]) -> None:
    vectors = directions(2_400)
    index = opened()
    index.add(range(2_100), vectors[:2_100])
    index.save(2_099)
    for identity in range(0, 2_000, 10):
        index.remove(identity)
    index.add(range(2_100, 2_400), vectors[2_100:])
    index.save(2_399)
    again = opened()
    assert (len(again), again.saved, again.unsaved) == (2_200, 2_200, 0)
    assert [file.name for file in index._path.parent.iterdir()] == [index._path.name]
    for number in range(0, 2_400, 7):
        found = again.search(vectors[number], 8)
        removed = number < 2_000 and number % 10 == 0
        assert (number in {identity for identity, _ in found}) == (not removed)
        assert not {identity for identity, _ in found if identity < 2_000 and identity % 10 == 0}


class IndexMachine(RuleBasedStateMachine):
    """Any order of adds, removes, saves and reopenings, against a plain dictionary."""

    name: IndexName

    def __init__(self) -> None:
        super().__init__()
        self._directory = TemporaryDirectory()
        self._model: dict[int, Vectors] = {}
        self._durable: dict[int, Vectors] = {}
        self._index = self._open()

    def _open(self) -> LayeredIndex:
        return LayeredIndex(open_format(self.name), DIMENSIONS, Path(self._directory.name) / "p", OWNER)

    @rule(ids=st.lists(st.integers(1, 30), min_size=1, max_size=12, unique=True), seed=st.integers(0, 50))
    def add(self, ids: list[int], seed: int) -> None:
        vectors = directions(len(ids), seed)
        self._index.add(ids, vectors)
        self._model.update(zip(ids, vectors, strict=True))

    @rule(identity=st.integers(1, 30))
    def remove(self, identity: int) -> None:
        assert self._index.remove(identity) == (self._model.pop(identity, None) is not None)

    @rule()
    def save(self) -> None:
        assert self._index.save(30)
        self._durable = dict(self._model)

    @rule()
    def die(self) -> None:
        self._index.close()
        self._index = self._open()
        self._model = dict(self._durable)

    @rule(seed=st.integers(100, 120), k=st.integers(1, 40))
    def search(self, seed: int, k: int) -> None:
        query = directions(1, seed)[0]
        found = self._index.search(query, k)
        assert len(found) == min(k, len(self._model))
        assert len({identity for identity, _ in found}) == len(found)
        cosines = {identity: float(vector @ query) for identity, vector in self._model.items()}
        assert all(abs(cosines[identity] - similarity) < TOLERANCE[self.name] for identity, similarity in found)
        if found:
            assert cosines[found[0][0]] >= max(cosines.values()) - 2 * TOLERANCE[self.name]

    @invariant()
    def it_holds_what_the_model_holds(self) -> None:
        assert len(self._index) == len(self._model)
        assert all(identity in self._index for identity in self._model)

    def teardown(self) -> None:
        self._index.close()
        self._directory.cleanup()


@pytest.mark.parametrize("chosen", NAMES)
def test_any_order_of_changes_and_deaths(chosen: IndexName) -> None:
    machine = type("Machine", (IndexMachine,), {"name": chosen})
    run_state_machine_as_test(machine, settings=settings(max_examples=40, stateful_step_count=30, deadline=None))
