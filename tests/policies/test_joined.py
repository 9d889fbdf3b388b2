"""Deltas, however they were cut, add up to the answer."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from agentic_synth.policies.joined import Joined
from agentic_synth.types import Delta, Response, Usage

HEAD = Response(finish="other", model="asked", upstream="u", ttft=0.5)


def whole(*deltas: Delta) -> Response:
    joined = Joined()
    for delta in deltas:
        joined.add(delta)
    return joined.response(HEAD)


@given(text=st.text(), cuts=st.lists(st.integers(0, 50)))
def test_texts_and_arguments_are_joined_wherever_they_were_cut(text: str, cuts: list[int]) -> None:
    edges = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    pieces = [text[start:end] for start, end in itertools.pairwise(edges)]
    calls = [({"index": 3, "function": {"arguments": piece}},) for piece in pieces]
    answer = whole(
        Delta(tool_calls=({"index": 3, "id": "c1", "function": {"name": "look"}},)),
        *(Delta(text=piece, reasoning=piece, tool_calls=call) for piece, call in zip(pieces, calls, strict=True)),
        Delta(finish="tool_calls", usage=Usage(3, 4), model="m", cost=0.25),
    )
    assert (answer.text, answer.reasoning, answer.model, answer.cost) == (text, text, "m", 0.25)
    assert (answer.usage, answer.finish, answer.ttft, answer.body) == (Usage(3, 4), "tool_calls", 0.5, None)
    (call,) = answer.tool_calls
    assert call == {"id": "c1", "type": "function", "function": {"name": "look", "arguments": text}}


def test_calls_without_an_index_are_calls_of_their_own() -> None:
    fragments = [{"function": {"name": name, "arguments": "{}"}} for name in ("a", "b")]
    answer = whole(*(Delta(tool_calls=(fragment,)) for fragment in fragments))
    assert [call["function"]["name"] for call in answer.tool_calls] == ["a", "b"]


def test_what_the_deltas_do_not_say_stays() -> None:
    answer = whole(Delta(text="cut"))
    assert (answer.finish, answer.model, answer.cost, answer.usage) == ("other", "asked", None, Usage())
    assert Joined().finish is None
