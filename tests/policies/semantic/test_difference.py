"""Only what two long prompts share is left out, and never where that could hide a difference."""

from hypothesis import given
from hypothesis import strategies as st

from agentic_synth.policies.semantic.difference import apart, strange
from agentic_synth.policies.semantic.verifier import Verifier

FILLER = "The router stopped after the update. The customer asked for a new one! Who pays for it? "
LONG = FILLER * 8


def test_short_prompts_stay_whole() -> None:
    assert apart("Be kind. Write a poem.", "Be kind. Write a song.") == (
        "Be kind. Write a poem.",
        "Be kind. Write a song.",
    )


def test_shared_sentences_are_left_out() -> None:
    first, second = (f"{LONG}Write a {thing} now. {LONG}" for thing in ("poem", "song"))
    assert apart(first, second) == ("Write a poem now. ", "Write a song now. ")


def test_one_more_sentence_is_seen() -> None:
    first, second = f"{LONG}Be kind. {LONG}", f"{LONG}{LONG}"
    assert "Be kind." in apart(first, second)[0]
    assert not Verifier(max_false_hit=0.99).judge(first, second, 1.0, partition=b"").hit


def test_nothing_is_left_out_within_a_quotation_or_of_a_prompt_about_words() -> None:
    quoted = [f'Translate "{FILLER}{word} the car. {LONG}" into Dutch. {LONG}' for word in ("Start", "Begin")]
    assert apart(*quoted) == tuple(quoted)
    about = [f"{LONG}{word} the car. {LONG}What is the grammar of it?" for word in ("Start", "Begin")]
    assert apart(*about) == tuple(about)
    for first, second in (quoted, about):
        assert not Verifier(max_false_hit=0.99).judge(first, second, 1.0, partition=b"").hit


def test_a_long_prompt_in_other_words_can_be_a_hit() -> None:
    first, second = f"Write a short poem about this. {LONG}", f"Please compose a brief poem about this. {LONG}"
    verifier = Verifier(max_false_hit=0.2)
    assert verifier.judge(first, second, 0.97, partition=b"").hit


def test_long_prompts_with_little_in_common_are_not_read() -> None:
    other = "A dog ran home over seven hills while nobody looked at it. " * 12
    assert strange(LONG, other)
    assert not strange(LONG, LONG.replace("update", "upgrade"))
    assert not strange("one", "two")
    assert Verifier().judge(LONG, other, 0.9, partition=b"").reason.startswith("length")


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 999), st.integers(0, 999))
def test_another_number_anywhere_in_a_long_prompt_is_never_a_hit(before: int, after: int, one: int, other: int) -> None:
    if one == other:
        return
    first, second = (f"{FILLER * before}Send {number} of them. {FILLER * after}{LONG}" for number in (one, other))
    assert not Verifier(max_false_hit=0.99).judge(first, second, 1.0, partition=b"").hit


@given(st.text("ab. ?!\n\"'", max_size=900), st.text("ab. ?!\n\"'", max_size=900), st.text("ab. \n", max_size=700))
def test_what_is_left_out_is_the_same_on_both_sides(first: str, second: str, tail: str) -> None:
    first, second = first + tail, second + tail
    one, other = apart(first, second)
    if (one, other) != (first, second):
        at = first.rfind(one)
        assert first[: len(first) - len(one)] or first[len(one) :]
        assert len(first) - len(one) == len(second) - len(other)
        assert at >= 0
    if first != second:
        assert one != other
