"""Packed prompts: everybody gets its own answer, or none, and every token is accounted for once."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentic_synth.policies.packing import Packing, packable
from agentic_synth.types import Call, Finish, Json, Message, Pack, Reply, Request, Response, Usage

SCHEMA: dict[str, Json] = {
    "type": "object",
    "properties": {"word": {"$ref": "#/$defs/Word"}},
    "required": ["word"],
    "$defs": {"Word": {"type": "string"}},
}


def ask(value: str, *, schema: dict[str, Json] | None = None, **parameters: Json) -> Request:
    return Request(
        model="m",
        messages=(Message("system", "You write."), Message("user", f"Say {value}, please.")),
        parameters=parameters,
        schema=schema,
        pack=Pack("Say {value}, please.", {"value": value}),
    )


def joined(count: int, *, schema: dict[str, Json] | None = None, seed: int = 1, **parameters: Json) -> Call:
    calls = [Call(request=ask(f"v{n}", schema=schema, **parameters), model="m") for n in range(count)]
    return Packing(Random(seed)).join(calls)


def reply(call: Call, answers: list[tuple[str, Json]], *, finish: Finish = "stop", text: str = "") -> Reply:
    said = {"answers": [{"id": name, "answer": answer} for name, answer in answers]}
    usage = Usage(1_001, 333, 100, 7)
    return Reply(
        response=Response(text=text or msgspec.json.encode(said).decode(), finish=finish, usage=usage, cost=0.5)
    )


def parts(call: Call, answered: Reply) -> list[str | None]:
    return [part.text if part else None for part in Packing(Random(0)).parts(call, answered)]


def test_a_packed_prompt_says_the_task_once_and_each_value_beside_its_id() -> None:
    call = joined(3)
    system, user = call.request.messages
    assert system.content == "You write."
    assert isinstance(user.content, str)
    assert user.content.count("Say {value}, please.") == 1
    for name, request in zip(call.ids, call.joined, strict=True):
        assert request.pack is not None
        assert f'{{"id":"{name}","value":"{request.pack.values["value"]}"}}' in user.content.splitlines()


def test_the_schema_of_an_answer_is_wrapped_and_its_definitions_stay_at_the_root() -> None:
    schema = joined(2, schema=SCHEMA).request.schema
    assert schema is not None
    answer = schema["properties"]["answers"]["items"]["properties"]["answer"]
    assert answer == {"type": "object", "properties": {"word": {"$ref": "#/$defs/Word"}}, "required": ["word"]}
    assert schema["$defs"] == SCHEMA["$defs"]


def test_room_for_one_answer_becomes_room_for_all() -> None:
    assert joined(10, max_tokens=100).request.parameters["max_tokens"] >= 1_000


def test_examples_of_single_answers_become_part_of_the_task() -> None:
    shown = (Message("user", "Say a."), Message("assistant", "A!"))
    request = msgspec.structs.replace(ask("b"), messages=(*shown, Message("user", "Say b, please.")))
    call = Packing(Random(1)).join([Call(request=request, model="m")] * 2)
    (message,) = call.request.messages
    assert isinstance(message.content, str)
    assert "Item: Say a.\nAnswer: A!" in message.content


@given(st.integers(1, 40), st.randoms(use_true_random=False), st.data())
def test_whatever_comes_back_nobody_gets_the_answer_of_another(count: int, rng: Random, data: st.DataObject) -> None:
    call = joined(count, schema=SCHEMA, seed=rng.randrange(1_000))
    right = {name: {"word": f"for {name}"} for name in call.ids}
    said: list[tuple[str, Json]] = list(right.items())
    rng.shuffle(said)
    said = [pair for pair in said if data.draw(st.integers(0, 5))]
    foreign = {str(number) for number in range(100, 1_000)} - set(call.ids)
    said += [(name, {"word": "nobody's"}) for name in data.draw(st.lists(st.sampled_from(sorted(foreign)), max_size=3))]
    twice = data.draw(st.lists(st.sampled_from(call.ids), max_size=3))
    said += [(name, {"word": "another"}) for name in twice]
    finish: Finish = data.draw(st.sampled_from(["stop", "length"]))
    named = [name for name, _ in said]
    got = Packing(Random(0)).parts(call, reply(call, said, finish=finish))
    for name, part in zip(call.ids, got, strict=True):
        if part is not None:
            answers = [answer for other, answer in said if other == name]
            assert msgspec.json.decode(part.text) in answers
            assert part.finish == "stop"
        else:
            cut = finish == "length" and bool(said) and said[-1][0] == name
            assert named.count(name) != 1 or cut
    given_out = [part for part in got if part is not None]
    if given_out:
        assert sum((part.usage for part in given_out), Usage()) == Usage(1_001, 333, 100, 7)
        assert sum(part.cost or 0.0 for part in given_out) == pytest.approx(0.5)


def test_an_id_with_two_different_answers_has_none_and_with_the_same_twice_has_one() -> None:
    call = joined(2)
    first, second = call.ids
    assert parts(call, reply(call, [(first, "x"), (first, "y"), (second, "z"), (second, "z")])) == [None, "z"]


def test_an_answer_cut_at_its_length_gives_what_is_whole() -> None:
    call = joined(3)
    text = f'{{"answers": [{{"id": "{call.ids[2]}", "answer": "whole"}}, {{"id": "{call.ids[0]}", "answer": "cu'
    assert parts(call, reply(call, [], finish="length", text=text)) == [None, None, "whole"]


def test_prose_around_the_answers_is_read_through() -> None:
    call = joined(1)
    text = f'Of course!\n```json\n[{{"id": {call.ids[0]}, "answer": "x"}}]\n```'
    assert parts(call, reply(call, [], text=text)) == ["x"]


@pytest.mark.parametrize("text", ["", "no", "{}", "[1, null]", '{"answers": 3}', '{"answers": [{"answer": "x"}]}'])
def test_an_answer_without_answers_gives_nobody_anything(text: str) -> None:
    call = joined(2)
    assert parts(call, reply(call, [], text=text or " ")) == [None, None]


def test_only_equal_tasks_share_a_call() -> None:
    lane = Packing(Random(0)).lane
    other = msgspec.structs.replace(ask("a"), pack=Pack("Sing {value}.", {"value": "a"}))
    assert lane(ask("a")) == lane(ask("b"))
    assert len({lane(ask("a")), lane(other), lane(ask("a", temperature=1)), lane(ask("a", schema=SCHEMA))}) == 4
    assert lane(msgspec.structs.replace(ask("a"), namespace="tenant")) != lane(ask("a"))


@pytest.mark.parametrize(
    "change",
    [
        {"pack": None},
        {"pack": Pack("Say {value}.", {"value": "a"}, 1)},
        {"stream": True},
        {"tools": ({"type": "function"},)},
        {"parameters": {"stop": ["."]}},
        {"schema": {"type": "object", "properties": {"next": {"$ref": "#"}}}},
        {"messages": (Message("user", [{"type": "image_url"}]),)},
    ],
)
def test_what_cannot_be_shared_goes_alone(change: dict[str, Json]) -> None:
    assert packable(ask("a"))
    assert Packing(Random(0)).lane(msgspec.structs.replace(ask("a"), **change)) is None


def test_no_answer_of_many_is_misjoined() -> None:
    rng, packing, misjoined, answered = Random(7), Packing(Random(8)), 0, 0
    for number in range(200):
        call = joined(100, seed=number)
        said: list[tuple[str, Json]] = []
        for name, request in zip(call.ids, call.joined, strict=True):
            assert request.pack is not None
            fate = rng.random()
            if fate < 0.9:
                said.append((name, request.pack.values["value"]))
            elif fate < 0.95:
                said.append((str(rng.randrange(100, 1_000)), "nobody's") if fate < 0.92 else ("x", "nobody's"))
        rng.shuffle(said)
        for request, part in zip(call.joined, packing.parts(call, reply(call, said)), strict=True):
            assert request.pack is not None
            answered += part is not None
            misjoined += part is not None and part.text not in {request.pack.values["value"], "nobody's"}
    assert answered > 17_000
    assert misjoined == 0
