"""Any pattern that Python can read is matched, whatever it is made of."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentic_synth.offline.node import Unsatisfiable
from agentic_synth.offline.patterns import compile_pattern
from agentic_synth.offline.scene import Scene

ATOMS = st.sampled_from(["a", "[a-c]", "[^x]", r"\d", r"\w", r"\s", ".", r"\.", "(?:ab|c)", "(x|yz)", r"[\w.-]", "é"])
REPEATS = st.sampled_from(["", "?", "*", "+", "{2}", "{1,3}", "{2,}", "*?"])
PATTERNS = st.lists(st.tuples(ATOMS, REPEATS).map("".join), min_size=1, max_size=6).map("".join)


@given(PATTERNS, st.integers(0, 2**64), st.integers(0, 40))
def test_the_text_matches_from_end_to_end(pattern: str, seed: int, length: int) -> None:
    text = compile_pattern(pattern).make(Scene(seed), length)
    assert re.fullmatch(pattern, text, re.ASCII)


@pytest.mark.parametrize("length", [5, 20, 300])
def test_a_text_comes_near_the_wanted_length(length: int) -> None:
    lengths = {len(compile_pattern("^[a-z]+$").make(Scene(seed), length)) for seed in range(100)}
    assert max(lengths) == length


@pytest.mark.parametrize(
    ("pattern", "matching"),
    [
        (r"^\p{Lu}[\p{L}\p{Nd}]+$", r"[A-Z][a-zA-Z0-9]+"),
        (r"^(?<a>x)\/(?<b>y)$", "x/y"),
        (r"^[[a]{2}$", r"[\[a]{2}"),
        (r"^\\p$", r"\\p"),
    ],
)
def test_the_dialect_of_javascript_is_understood(pattern: str, matching: str) -> None:
    for seed in range(20):
        assert re.fullmatch(matching, compile_pattern(pattern).make(Scene(seed), 8))


@pytest.mark.parametrize("pattern", ["[", "(", "a{2,1}", r"\p{Klingon}"])
def test_a_pattern_that_cannot_be_read_is_told(pattern: str) -> None:
    with pytest.raises(Unsatisfiable, match="pattern"):
        compile_pattern(pattern)
