from collections import Counter
from hashlib import blake2b

from hypothesis import given
from hypothesis import strategies as st

from agentic_synth.policies.occurrences import Occurrences


def digest(name: object) -> bytes:
    return blake2b(str(name).encode(), digest_size=16).digest()


@given(st.lists(st.integers(0, 40), max_size=300))
def test_equal_digests_never_get_one_number_twice_even_when_all_collide(names: list[int]) -> None:
    crowded = Occurrences(bits=2)
    seen: dict[int, int] = {}
    for name in names:
        number = crowded.next(digest(name))
        assert number > seen.get(name, -1)
        seen[name] = number


@given(st.lists(st.integers(0, 40), max_size=300))
def test_numbers_are_exact_while_there_is_room(names: list[int]) -> None:
    roomy, counted = Occurrences(), Counter[int]()
    for name in names:
        assert roomy.next(digest(name)) == counted[name]
        counted[name] += 1


def test_one_more_digest_in_front_moves_few_of_the_others() -> None:
    def numbers(names: list[object]) -> dict[object, int]:
        occurrences = Occurrences(bits=14)
        return {name: occurrences.next(digest(name)) for name in names}

    names: list[object] = list(range(30_000))
    before, after = numbers(names), numbers(["new", *names])
    assert sum(before[name] != after[name] for name in names) <= 30
