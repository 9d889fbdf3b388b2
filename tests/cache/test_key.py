from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentic_synth.cache.key import key_of, redraw
from agentic_synth.errors import InvalidRequest
from agentic_synth.types import Draw, Message, Request
from tests.cache.cache_examples import ORIGIN

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NASTY = st.sampled_from(
    ["", " ", "1", "1.0", "true", "null", "\x00", '"', "\\", "é", "é", "\U0001f469‍\U0001f469", "a:b"]
)
LEAF = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT | NASTY
KEYS = st.sampled_from(["", "a", "b", "temperature", "1"]) | TEXT
JSON = st.recursive(LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))
OBJECT = st.dictionaries(KEYS, JSON, max_size=3)
MESSAGE = st.builds(
    Message,
    role=st.sampled_from(["user", "system", "tool"]),
    content=st.none() | NASTY | TEXT | st.lists(OBJECT, max_size=2),
    name=st.none() | NASTY,
    tool_calls=st.none() | st.lists(OBJECT, max_size=1),
    tool_call_id=st.none() | NASTY,
)
REQUEST = st.builds(
    Request,
    model=st.sampled_from(["a/b", "a/c", ""]),
    messages=st.lists(MESSAGE, max_size=2).map(tuple),
    parameters=OBJECT,
    schema=st.none() | OBJECT,
    tools=st.lists(OBJECT, max_size=2).map(tuple),
    tool_choice=JSON,
    namespace=NASTY,
    kind=st.sampled_from(["chat", "embedding"]),
    draw=st.builds(Draw, lineage=NASTY | TEXT, sample=st.integers(0, 12), attempt=st.integers(0, 12)),
)


def _exactly(value: Any) -> Any:
    """The value as something whose equality tells 1, 1.0, True and "1" apart, and nothing else than JSON does."""
    if isinstance(value, msgspec.Struct):
        return [_exactly(getattr(value, name)) for name in value.__struct_fields__]
    if isinstance(value, dict):
        return ("object", frozenset((key, _exactly(inner)) for key, inner in value.items()))
    if isinstance(value, list | tuple):
        return ("array", *map(_exactly, value))
    return (type(value).__name__, repr(value))


def _identity(request: Request, origin: str) -> str:
    names = ["model", "messages", "parameters", "schema", "tools", "tool_choice", "namespace", "kind", "draw"]
    return repr([origin, *(_freeze(_exactly(getattr(request, name))) for name in names)])


def _freeze(value: Any) -> Any:
    if isinstance(value, frozenset):
        return sorted((key, _freeze(inner)) for key, inner in value)
    return [_freeze(inner) for inner in value] if isinstance(value, list | tuple) else value


def _request(**changes: Any) -> Request:
    return msgspec.structs.replace(
        Request(model="a/b", messages=(Message("user", "hi"),), parameters={"temperature": 1}), **changes
    )


@given(REQUEST, REQUEST, st.sampled_from(["", "x"]), st.sampled_from(["", "x"]))
@example(_request(), _request(parameters={"temperature": 1.0}), "", "")
@example(_request(parameters={"a": 1}), _request(parameters={"a": True}), "", "")
@example(_request(parameters={"a": None}), _request(parameters={}), "", "")
@example(_request(schema={}), _request(schema=None), "", "")
@example(_request(messages=(Message("user", None),)), _request(messages=(Message("user", ""),)), "", "")
@example(_request(tools=({"a": 1},)), _request(tools=({"a": 1.0},)), "", "")
@example(_request(tools=({},)), _request(tools=()), "", "")
@example(_request(tool_choice="auto"), _request(tool_choice=None), "", "")
@example(_request(kind="embedding"), _request(), "", "")
@example(_request(draw=Draw("7.0")), _request(draw=Draw("7.0/")), "", "")
@example(_request(draw=Draw("1:2", 3)), _request(draw=Draw("2", 3, 1)), "", "")
@example(_request(draw=Draw("", 1, 11)), _request(draw=Draw("", 11, 1)), "", "")
def test_two_requests_share_a_key_only_if_they_are_the_same(one: Request, two: Request, here: str, there: str) -> None:
    same = _identity(one, here) == _identity(two, there)
    assert (key_of(one, here).draw == key_of(two, there).draw) is same


@given(REQUEST, OBJECT)
def test_any_change_of_a_parameter_changes_the_specification(request_: Request, parameters: dict[str, Any]) -> None:
    changed = msgspec.structs.replace(request_, parameters=parameters)
    same = _identity(request_, "") == _identity(changed, "")
    assert (key_of(request_, "").spec == key_of(changed, "").spec) is same


@given(REQUEST)
def test_the_order_of_a_callers_dict_and_how_it_is_carried_are_no_part_of_the_key(request_: Request) -> None:
    other = msgspec.structs.replace(
        request_,
        parameters=dict(reversed(request_.parameters.items())),
        stream=True,
        deadline=5.0,
        priority=3,
        reuse="refresh",
        dedup=False,
        run="3k9",
    )
    assert key_of(request_, ORIGIN) == key_of(other, ORIGIN)


@given(REQUEST, st.builds(Draw, lineage=TEXT, sample=st.integers(0, 9), attempt=st.integers(0, 9)))
def test_another_draw_keeps_the_specification_and_is_what_asking_for_it_gives(request_: Request, draw: Draw) -> None:
    key = key_of(request_, ORIGIN)
    other = redraw(key, draw)
    assert other == key_of(msgspec.structs.replace(request_, draw=draw), ORIGIN)
    assert other.spec == key.spec
    assert (other.draw == key.draw) is (draw == request_.draw)


def test_keys_are_sixteen_bytes_and_never_change_between_versions_unseen() -> None:
    key = key_of(_request(draw=Draw("run", 2, 1)), ORIGIN)
    assert len(key.draw) == len(key.spec) == 16
    # A store written yesterday must be found today. Who changes these on purpose also changes the domains.
    assert (key.spec.hex(), key.draw.hex()) == (
        "436071d94b5d3dcf71d34586496a9a29",
        "75b72f0ad34acfc1382ed3e6c5741382",
    )


def test_the_canonical_request_is_json_that_says_what_was_asked() -> None:
    asked = json.loads(key_of(_request(namespace="team"), ORIGIN).canonical)
    assert asked == {
        "model": "a/b",
        "origin": ORIGIN,
        "messages": [{"role": "user", "content": "hi"}],
        "parameters": {"temperature": 1},
        "namespace": "team",
    }


@pytest.mark.parametrize("bad", ["\ud800", object(), {("a", "b"): 1}])
def test_what_json_cannot_say_is_refused_with_the_mend(bad: Any) -> None:
    with pytest.raises(InvalidRequest, match="cannot be written as JSON") as caught:
        key_of(_request(parameters={"stop": bad}), ORIGIN)
    assert "look for" in caught.value.mend


def test_a_lineage_may_be_any_text() -> None:
    assert key_of(_request(draw=Draw("\ud800")), ORIGIN).draw != key_of(_request(draw=Draw("�")), ORIGIN).draw
