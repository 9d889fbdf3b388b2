"""The Python face: what a script sees of it, offline and against a provider."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from agentic_synth import Message, Synth
from agentic_synth.config import Config, EngineConfig, StoreConfig, UpstreamSettings
from agentic_synth.errors import BadReply, ConfigError, InvalidRequest, NotCached, RecipeError, SynthError
from agentic_synth.testing.flags import parse_behaviour
from agentic_synth.testing.serve import SimulatorProcess, simulated_server
from agentic_synth.types import Request
from tests.sdk.sdk_examples import SCHEMA, tickets


class Ticket(BaseModel):
    subject: str
    urgent: bool


async def test_the_first_script_of_a_new_user() -> None:
    async with Synth() as synth:
        assert synth.upstream.reference == "offline"
        reply = await synth.complete("Write a haiku about rain")
        assert reply.text
        assert (reply.upstream, reply.cost) == ("offline", 0.0)
        again = await synth.complete([{"role": "user", "content": "Write a haiku about rain"}])
        assert again.text == reply.text
        deltas = [delta async for delta in synth.stream("Write a haiku about rain")]
        assert "".join(delta.text for delta in deltas) == reply.text
        assert deltas[-1].finish == "stop"


async def test_the_shapes_a_prompt_may_have() -> None:
    async with Synth() as synth:
        turns = [Message("system", "Be brief."), Message("user", "Hello")]
        assert (await synth.complete("Hello", system="Be brief.")).text == (await synth.complete(turns)).text
        for wrong in ([{"rol": "user"}], [{"role": "user", "content": 3}], [5]):
            with pytest.raises(InvalidRequest) as caught:
                await synth.complete(wrong)  # type: ignore[arg-type]
            assert caught.value.mend


async def test_an_answer_that_must_fit_a_schema_has_a_value() -> None:
    async with Synth() as synth:
        told = await synth.complete("A ticket", schema=SCHEMA)
        assert set(told.data) == {"subject", "priority"}
        assert json.loads(told.text) == told.data
        described = await synth.complete("A ticket", schema=Ticket)
        assert isinstance(described.data["urgent"], bool)
        with pytest.raises(SynthError):
            await synth.complete("A ticket", schema={"type": "no such type"})


async def test_rows_as_they_are_accepted() -> None:
    async with Synth() as synth:
        rows = [row async for row in synth.generate(tickets(), rows=7)]
        assert [row["number"] for row in rows] == list(range(1, 8))
        assert all(row["ticket"]["priority"] in ("low", "high") for row in rows)
        assert {row["_upstream"] for row in rows} == {"offline"}
        again = [row async for row in synth.generate(tickets(), rows=7)]
        assert again == rows


async def test_an_iterator_that_is_left_early_leaves_nothing_running() -> None:
    async with Synth() as synth:
        async with aclosing(synth.generate(tickets(), rows=1_000)) as rows:
            async for _ in rows:
                break
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_run_and_its_file(clean_machine: Path) -> None:
    async with Synth() as synth:
        run = await synth.run(tickets(), out="t.jsonl", seeds=[{"user": "ann"}, {"user": "bob"}])
        assert (run.state, run.rows, run.asked, run.out) == ("complete", 12, 12, "t.jsonl")
        assert run.statistics["offline"] is True
        rows = [json.loads(line) for line in (clean_machine / "t.jsonl").read_text().splitlines()]
        assert [row["user"] for row in rows] == ["ann", "bob"] * 6
        assert synth.session.ledger.run("last") is not None


async def test_a_run_that_is_stopped_before_its_first_row() -> None:
    async with Synth() as synth:
        prepared = synth.prepare(tickets())
        prepared.stop()
        run = await synth.execute(prepared)
        assert (run.state, run.rows, run.out) == ("interrupted", 0, None)


async def test_a_file_that_cannot_be_finished_is_not_called_complete(clean_machine: Path) -> None:
    async with Synth() as synth:
        prepared = synth.prepare(tickets(), rejects="rejects.jsonl")
        target = clean_machine / "t.jsonl"

        async def obstruct() -> None:
            while not (clean_machine / "t.jsonl.partial").exists():
                await asyncio.sleep(0)
            target.mkdir()

        obstructing = asyncio.create_task(obstruct())
        with pytest.raises(SynthError):
            await synth.execute(prepared, out="t.jsonl")
        await obstructing
        recorded = synth.session.ledger.run("last")
        assert recorded is not None
        assert (recorded.state, recorded.delivered) == ("failed", False)


Misuse = Callable[[], Any]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: Synth("openai/gpt-4.1-mini"), "OPENAI_API_KEY"),
        (lambda: Synth("opnai/gpt"), "did you mean openai"),
        (lambda: Synth(base_url="http://localhost:1/v1"), "no model is named"),
        (lambda: Synth("m", base_url="localhost:1"), "http://localhost:1"),
        (lambda: Synth(budget="5 euros"), "5usd"),
        (lambda: Synth(concurrency=0), "concurrency"),
        (lambda: Synth(concurrency=0, config=Config()), "concurrency"),
        (lambda: Synth(config=Config(engine=EngineConfig(budget="much"))), "2Mtok"),
        (lambda: Synth(fallback=["openai/gpt-4.1-mini"]), "OPENAI_API_KEY"),
        (lambda: Synth(fallback="openai/gpt-4.1-mini"), "OPENAI_API_KEY"),
        (lambda: Synth(api_key="sk-1"), "no model is named"),
        (lambda: Synth("openai/m", api_key="sk 1"), "characters"),
    ],
)
def test_wrong_settings_are_told_before_anything_is_asked(wrong: Misuse, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        wrong()
    assert caught.value.mend


async def test_a_wrong_recipe_or_option_is_told_before_anything_is_asked() -> None:
    async with Synth() as synth:
        for recipe in ({"columns": {"a": {"choise": [1]}}}, "no-such-recipe", {"columns": {"a": {"choice": [1]}}}):
            with pytest.raises(RecipeError):
                synth.prepare(recipe)
        with pytest.raises(ConfigError, match="sead"):
            synth.prepare(tickets(), sead=3)  # type: ignore[call-arg]
        with pytest.raises(ConfigError, match="window"):
            synth.prepare(tickets(), window=0)
        with pytest.raises(ConfigError, match="-1 rows"):
            synth.prepare(tickets(), rows=-1)
        assert synth.statistics()["requests"] == 0


async def test_a_budget_in_dollars_wants_a_price_before_anything_is_asked() -> None:
    async with Synth("m", base_url="http://localhost:1/v1", budget="1usd") as synth:
        with pytest.raises(ConfigError, match="no price"):
            await synth.complete("hello")
        with pytest.raises(ConfigError, match="no price"):
            synth.prepare(tickets())


async def test_closing_twice_and_asking_again() -> None:
    synth = Synth(store=":none:")
    assert synth.statistics() == {}
    await synth.aclose()
    await synth.complete("hello")
    assert synth.statistics()["requests"] == 1
    await synth.aclose()
    await synth.aclose()
    assert synth.statistics() == {}


CONFIG = Config(
    model="a/settings",
    store=StoreConfig(path=":none:"),
    upstreams={name: UpstreamSettings(base_url=f"http://{name}.example.com/v1") for name in ("a", "b")},
)


async def models_of(synth: Synth, recipe: dict[str, Any]) -> dict[str, str]:
    async with synth:
        return {name: asked.model for name, asked in synth.prepare(recipe).plan.asked.items()}


async def test_whose_word_on_the_model_counts() -> None:
    own = {"prompt": "x", "model": "b/own"}
    recipe = tickets(model="b/recipe", columns={"q": {"prompt": "x"}, "own": own})
    plain = tickets(columns={"q": {"prompt": "x"}})
    assert await models_of(Synth("a/hand", config=CONFIG), recipe) == {"q": "a/hand", "own": "b/own"}
    assert await models_of(Synth(config=CONFIG), recipe) == {"q": "b/recipe", "own": "b/own"}
    assert await models_of(Synth(config=CONFIG), plain) == {"q": "a/settings"}
    assert await models_of(Synth("offline", config=CONFIG), recipe) == {
        "q": "offline",
        "own": "offline",
    }, "a rehearsal asks nobody"


async def test_a_model_by_hand_is_not_asked_at_the_recipes_place() -> None:
    recipe = tickets(model="qwen", base_url="http://localhost:9/v1", columns={"q": {"prompt": "x"}})
    assert await models_of(Synth("a/hand", config=CONFIG), recipe) == {"q": "a/hand"}
    assert await models_of(Synth(config=CONFIG), recipe) == {"q": "qwen@http://localhost:9/v1"}


async def test_one_place_has_one_name_however_it_is_named() -> None:
    async with Synth("m", base_url="http://localhost:1/v1", store=":none:") as synth:
        run = synth.prepare(tickets(columns={"q": {"prompt": "x"}}))
        assert run.plan.asked["q"].model == "m"
        assert synth.session.name_of(None, None) == "m"
        assert list(synth.statistics()["upstreams"]) == ["m"]


async def test_a_dry_run_counts_and_sends_nothing(simulator: SimulatorProcess) -> None:
    simulator.reset()
    async with Synth("sim-m", base_url=simulator.url, store=":none:") as synth:
        await synth.run(tickets(), rows=3, out="three.jsonl")
        asked = simulator.statistics()["received"]
        estimate = await synth.estimate(tickets(), rows=10, shown=2)
        assert (estimate.rows, estimate.sampled, estimate.calls) == (10, 10, 7)
        assert estimate.columns[0].stored == 3
        assert estimate.dollars is None, "nobody knows the price of that model"
        assert [prompt.messages[0].content for prompt in estimate.prompts] == [
            f"Write a ticket about a {product}." for product in await products(synth, 2)
        ]
        large = await synth.estimate(tickets(), rows=100_000)
        assert large.sampled < 1_000
        assert large.calls + large.columns[0].stored == pytest.approx(100_000)
        assert simulator.statistics()["received"] == asked


async def products(synth: Synth, count: int) -> list[str]:
    return [row["product"] async for row in synth.generate(tickets(), rows=count)]


async def test_a_dry_run_says_which_prompts_hold_stand_ins() -> None:
    columns = {
        "q": {"prompt": "Ask."},
        "a": {"prompt": "Answer {{ q }}"},
        "b": {"prompt": "{{ a.missing }}", "when": "row_is_there"},
    }
    recipe = {"rows": 2, "columns": {**columns, "row_is_there": {"choice": [False]}}}
    async with Synth(store=":none:") as synth:
        estimate = await synth.estimate(recipe, shown=1)
        assert [(prompt.column, prompt.invented) for prompt in estimate.prompts] == [("q", False), ("a", True)]
        assert estimate.calls == 4


async def test_a_dry_run_outlives_rows_whose_prompts_cannot_be_made() -> None:
    columns = {"q": {"prompt": "Ask."}, "a": {"prompt": "Answer {{ q.no_such_part }}"}}
    async with Synth(store=":none:") as synth:
        estimate = await synth.estimate({"rows": 5, "columns": columns})
        assert estimate.sampled == 5
        assert [column.calls for column in estimate.columns] == [5, 0]


async def test_a_dry_run_does_not_call_stored_what_would_be_asked_anew(simulator: SimulatorProcess) -> None:
    async with Synth("sim-m", base_url=simulator.url, store=":none:") as synth:
        recipe = {"rows": 4, "columns": {"q": {"prompt": "Ask.", "reuse": "refresh"}}}
        _ = [row async for row in synth.generate(recipe)]
        assert (await synth.estimate(recipe)).calls == 4


async def test_a_plain_question_is_a_new_draw_unless_it_is_deterministic(simulator: SimulatorProcess) -> None:
    simulator.reset(resample="true")
    async with Synth("sim-m", base_url=simulator.url) as synth:
        first, second = await synth.complete("Draw"), await synth.complete("Draw")
        assert first.text != second.text
        settled = await synth.complete("Draw", temperature=0)
        again = await synth.complete("Draw", temperature=0)
        assert (again.text, again.stored) == (settled.text, True)
        with pytest.raises(NotCached):
            await synth.complete("Other", reuse="only_if_cached")
        assert synth.statistics()["requests"] == 5


async def test_a_structured_answer_is_asked_until_it_fits_and_paid_once() -> None:
    said = iter(["no JSON at all", '{"subject": "x"}', '{"subject": "x", "priority": "low"}'])

    def answer(request: Request, seed: int) -> str:
        return next(said, "the answer was asked for again")

    async with (
        simulated_server(answer=answer) as url,
        Synth("m", base_url=url, store=":none:") as synth,
    ):
        told = await synth.complete("A ticket", schema=SCHEMA, temperature=0)
        assert told.data == {"subject": "x", "priority": "low"}
        again = await synth.complete("A ticket", schema=SCHEMA, temperature=0)
        assert (again.data, again.stored) == (told.data, True), "the way there is replayed, not paid again"
        assert synth.statistics()["spending"]["requests"] == 3


async def test_an_answer_that_never_fits_is_an_error_that_says_why() -> None:
    async with (
        simulated_server(answer=lambda request, seed: "no JSON at all") as url,
        Synth("m", base_url=url, store=":none:") as synth,
    ):
        with pytest.raises(BadReply, match="no answer of m fits the schema"):
            await synth.complete("A ticket", schema=SCHEMA)


async def test_leaving_a_stream_early_frees_its_permit() -> None:
    behaviour = parse_behaviour({"latency": "1ms+5ms/token"})
    async with simulated_server(behaviour) as url, Synth("m", base_url=url, store=":none:") as synth:
        async with aclosing(synth.stream("A long story")) as deltas:
            async for _ in deltas:
                break
        told = synth.statistics()
        assert told["in_flight"] == 0
        assert told["upstreams"]["m"]["limiter"]["in_flight"] == 0
        assert (await synth.complete("Hello", max_tokens=3)).text
