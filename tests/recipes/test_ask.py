"""The repair ladder: which rung is asked after which answer, and what is paid on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentic_synth.cache.key import key_of
from agentic_synth.errors import BadReply, Overloaded
from agentic_synth.recipes.ask import Answered, Unusable, ask
from agentic_synth.recipes.asked import Asked
from agentic_synth.telemetry.run_statistics import RunStatistics
from agentic_synth.types import Draw, Request, Response
from tests.recipes.row_flow import Model, Said, planned, refused

SCHEMA = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
GOOD, BAD, CUT, NO = '{"n": 1}', '{"n": "many"}', refused("{", "length"), refused()


def asked_of(**column: Any) -> Asked:
    return planned({"columns": {"cell": {"prompt": "Count.", "schema": SCHEMA, **column}}}).asked["cell"]


def scripted(*answers: Said) -> Model:
    """A model that gives these answers, one after the other."""
    said = iter(answers)
    return Model(lambda request: next(said))


def is_correction(request: Request) -> bool:
    return len(request.messages) > 1


async def climb(model: Model, asked: Asked, statistics: RunStatistics | None = None) -> Answered:
    return await ask(model, asked, asked.request({}, Draw("line", 5)), statistics)


@pytest.mark.parametrize(
    ("answers", "rungs"),
    [
        ([GOOD], ["asked"]),
        ([BAD, GOOD], ["asked", "corrected"]),
        ([BAD, BAD, GOOD], ["asked", "corrected", "asked"]),
        ([BAD, BAD, BAD, GOOD], ["asked", "corrected", "asked", "asked"]),
        ([NO, GOOD], ["asked", "asked"]),
        ([CUT, GOOD], ["asked", "asked"]),
        ([NO, BAD, GOOD], ["asked", "asked", "corrected"]),
        ([NO, BAD, BAD, GOOD], ["asked", "asked", "corrected", "asked"]),
        ([BAD, NO, GOOD], ["asked", "corrected", "asked"]),
    ],
)
async def test_the_rungs(answers: Sequence[Said], rungs: list[str]) -> None:
    model = scripted(*answers)
    answered = await climb(model, asked_of())
    assert answered.value == {"n": 1}
    assert ["corrected" if is_correction(request) else "asked" for request in model.asked] == rungs
    assert [request.draw.attempt for request in model.asked] == list(range(len(rungs)))
    assert len(model.rejected) == len(answers) - 1


@pytest.mark.parametrize(
    ("answers", "regenerate", "reason"),
    [
        ([BAD, BAD, BAD, BAD], 2, "many"),
        ([NO, NO, NO], 2, "refused"),
        ([BAD, BAD], 0, "many"),
        ([NO], 0, "refused"),
        ([BAD, CUT], 0, "cut at max_tokens"),
    ],
)
async def test_the_end_of_the_ladder(answers: Sequence[Said], regenerate: int, reason: str) -> None:
    model = scripted(*answers)
    with pytest.raises(Unusable, match=reason) as caught:
        await climb(model, asked_of(regenerate=regenerate))
    last = answers[-1]
    assert caught.value.column == "cell"
    assert caught.value.raw == (last.text if isinstance(last, Response) else last)
    assert len(model.asked) == len(model.rejected) == len(answers)


async def test_a_text_is_regenerated_and_never_corrected() -> None:
    model = scripted("", NO, "yes")
    answered = await climb(model, asked_of(schema=None))
    assert answered.value == "yes"
    assert [request.draw.attempt for request in model.asked] == [0, 1, 2]


async def test_a_mended_form_costs_no_call() -> None:
    model = scripted('Here it is:\n```json\n{"n": "7",}\n```')
    assert (await climb(model, asked_of())).value == {"n": 7}
    assert len(model.asked) == 1
    assert not model.rejected


@given(answers=st.lists(st.sampled_from([BAD, CUT, NO]), max_size=8), regenerate=st.integers(0, 4))
async def test_every_rung_is_a_draw_of_its_own_and_is_replayed_for_nothing(
    answers: list[Said], regenerate: int
) -> None:
    model = scripted(*answers, *[GOOD] * 10)
    asked = asked_of(regenerate=regenerate)
    outcomes = []
    for _ in range(2):
        try:
            outcomes.append((await climb(model, asked)).value)
        except Unusable as unusable:
            outcomes.append((unusable.reason, unusable.raw))
    assert outcomes[0] == outcomes[1]
    keys = [key_of(request, "").draw for request in model.asked]
    assert len(set(keys)) == len(keys) == model.served
    assert len(keys) <= 2 + regenerate
    assert {(request.draw.lineage, request.draw.sample) for request in model.asked} == {("line", 5)}


async def test_what_each_rung_was_for_is_counted() -> None:
    statistics = RunStatistics()
    model = scripted(BAD, BAD, NO, GOOD)
    await climb(model, asked_of(), statistics)
    await climb(model, asked_of(), statistics)
    assert (statistics.attempts, statistics.repairs, statistics.regenerations) == (4, 1, 2)
    assert statistics.from_store == 4
    assert statistics.in_flight == 0


async def test_a_failure_of_the_upstream_ends_the_climb_and_is_counted() -> None:
    error = Overloaded("too busy")
    error.attempts = 8
    statistics = RunStatistics()
    with pytest.raises(Overloaded):
        await climb(scripted(BAD, error), asked_of(), statistics)
    assert (statistics.attempts, statistics.repairs, statistics.retries) == (9, 1, 7)
    assert statistics.failures.as_dict() == {"Overloaded": 1}
    assert statistics.in_flight == 0


async def test_a_cancelled_climb_leaves_nothing_in_flight() -> None:
    statistics = RunStatistics()
    waits = asyncio.Event()

    class Silent(Model):
        async def submit(self, request: Request) -> Response:
            await waits.wait()
            raise BadReply("never")

    task = asyncio.create_task(climb(Silent(), asked_of(), statistics))
    await asyncio.sleep(0)
    assert statistics.in_flight == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (statistics.in_flight, statistics.failures.total) == (0, 0), "nobody failed"
