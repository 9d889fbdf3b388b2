"""Another wording of the same question is served; anything else is asked, and everything is learned from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from agentic_synth.cache.embedders.open import open_embedder
from agentic_synth.cache.memory import MemoryStore
from agentic_synth.cache.semantics import Semantics
from agentic_synth.cache.store import Status
from agentic_synth.cache.vectors.library import Library
from agentic_synth.cache.vectors.open import open_format
from agentic_synth.errors import Overloaded, StoreError
from agentic_synth.policies.semantic.verifier import Verifier
from agentic_synth.stage import Handler, chain
from agentic_synth.stages.cache import Cache
from agentic_synth.stages.semantic import Semantic
from agentic_synth.types import Delta, Meaning, Message, Request, Response

ASKED = "Write a short poem about autumn leaves"
REWORDED = "Please write a short poem about autumn leaves"
OTHER = "Write a short poem about spring leaves"


def ask(text: str, **changes: Any) -> Request:
    request = Request(model="p/m", messages=(Message("user", text),), reuse="semantic")
    return msgspec.structs.replace(request, **changes)


class Model:
    """Answers with the number of the call, or with *says*."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.says: str | Exception | None = None

    async def __call__(self, request: Request, /) -> Response:
        self.asked.append(request)
        if isinstance(self.says, Exception):
            raise self.says
        return Response(text=self.says or f"answer {len(self.asked)}", model="m", upstream="p/m")


class Chain:
    """The two stages of reuse over one model, and what they share."""

    def __init__(self, store: MemoryStore, verifier: Verifier, tmp_path: Path) -> None:
        self.store, self.model, self.verifier = store, Model(), verifier
        self.tasks: set[asyncio.Task[None]] = set()
        self._path = tmp_path
        self._semantics: Semantics | None = None
        self.stage = Semantic(self.semantics, store, lambda request: "http://here", Random(1), self.spawn)
        self.cache = Cache(store, lambda request: "http://here")
        self.handler: Handler[Request, Response] = chain((self.cache, self.stage), self.model)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        return task

    async def semantics(self) -> Semantics:
        if self._semantics is None:
            embedder = open_embedder("wordllama")
            library = Library(self.store, embedder.name, self._path, open_format(), self.spawn)
            self._semantics = Semantics(embedder, library, self.verifier, self.store)
            await self._semantics.recall()
        return self._semantics

    async def aclose(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        if self._semantics is not None:
            await self._semantics.aclose()


@asynccontextmanager
async def opened(tmp_path: Path, store: MemoryStore | None = None, **settings: Any) -> AsyncIterator[Chain]:
    settings = {"max_false_hit": 0.5, "check_share": 0.0, **settings}
    made = Chain(store or MemoryStore(), Verifier(**settings), tmp_path)
    try:
        yield made
    finally:
        await made.aclose()


async def test_another_wording_of_the_same_is_a_hit_that_says_what_it_was_given_to(tmp_path: Path) -> None:
    async with opened(tmp_path) as made:
        await made.handler(ask(ASKED))
        response = await made.handler(ask(REWORDED))
    assert len(made.model.asked) == 1
    assert (response.text, response.stored) == ("answer 1", True)
    assert response.hit is not None
    assert (response.hit.kind, response.hit.asked) == ("semantic", ASKED)
    assert response.hit.probability is not None
    assert made.stage.statistics().hits == 1


async def test_another_question_in_nearly_the_same_words_is_asked(tmp_path: Path) -> None:
    async with opened(tmp_path) as made:
        await made.handler(ask(ASKED))
        response = await made.handler(ask(OTHER))
    assert (response.text, response.stored, len(made.model.asked)) == ("answer 2", False, 2)


async def test_what_must_be_equal_is_a_partition_of_its_own(tmp_path: Path) -> None:
    async with opened(tmp_path) as made:
        await made.handler(ask(ASKED))
        system = (Message("system", "Be brief."), Message("user", REWORDED))
        for change in (
            {"messages": system}, {"parameters": {"temperature": 0}}, {"schema": {"type": "object"}},
            {"namespace": "tenant"}, {"model": "p/other"}, {"meaning": Meaning(REWORDED, ("language=German",))},
            {"tools": ({"type": "function", "function": {"name": "f"}},)},
        ):  # fmt: skip
            assert not (await made.handler(ask(REWORDED, **change))).stored
    assert len(made.model.asked) == 8


async def test_a_recipe_says_which_words_are_free(tmp_path: Path) -> None:
    async with opened(tmp_path) as made:
        fixed = ("Classify: {text}", "tone=calm")
        await made.handler(ask("Classify: " + ASKED, meaning=Meaning(ASKED, fixed)))
        hit = await made.handler(ask("Classify: " + REWORDED, meaning=Meaning(REWORDED, fixed)))
    assert hit.hit is not None
    assert hit.hit.asked == ASKED


async def test_a_hit_is_a_copy_so_that_a_rerun_is_the_same_and_free(tmp_path: Path) -> None:
    store = MemoryStore()
    async with opened(tmp_path, store) as made:
        await made.handler(ask(ASKED))
        first = await made.handler(ask(REWORDED))
    async with opened(tmp_path, store, max_false_hit=0.0) as made:
        again = await made.handler(ask(REWORDED))
    assert (again.text, again.hit, made.model.asked) == (first.text, first.hit, [])


async def test_requests_that_do_not_ask_for_it_are_left_alone(tmp_path: Path) -> None:
    async with opened(tmp_path) as made:
        await made.handler(ask(ASKED))
        assert not (await made.handler(ask(REWORDED, reuse="exact"))).stored
        assert not (await made.handler(ask(REWORDED, kind="embedding"))).stored
        assert not (await made.handler(ask("", messages=(Message("user", [{"type": "image_url"}]),)))).stored


async def test_an_answer_that_was_cut_or_marked_invalid_serves_nobody(tmp_path: Path) -> None:
    async with opened(tmp_path) as made:
        await made.handler(ask(ASKED))
        made.cache.mark(ask(ASKED), Status.INVALID, "wrong")
        assert not (await made.handler(ask(REWORDED))).stored


async def test_a_failure_is_the_callers_and_leaves_nothing_to_be_found(tmp_path: Path) -> None:
    async with opened(tmp_path) as made:
        made.model.says = Overloaded("busy")
        outcomes = await asyncio.gather(made.handler(ask(ASKED)), return_exceptions=True)
        assert isinstance(outcomes[0], Overloaded)
        made.model.says = None
        assert not (await made.handler(ask(REWORDED))).stored


async def test_a_rejected_hit_is_asked_anew_and_makes_the_partition_careful(tmp_path: Path) -> None:
    store = MemoryStore()
    async with opened(tmp_path, store, max_false_hit=0.05) as made:
        await made.handler(ask(ASKED))
        served = await made.handler(ask(REWORDED))
        assert served.hit is not None
        assert served.hit.kind == "semantic"
        made.stage.reject(ask(REWORDED), served.hit)
        assert not (await made.handler(ask(REWORDED))).stored
        assert not (await made.handler(ask("Compose a short poem about autumn leaves"))).stored
    async with opened(tmp_path, store, max_false_hit=0.05) as made:
        assert not (await made.handler(ask("Please compose a short poem about autumn leaves"))).stored


async def test_a_hit_that_is_checked_teaches_what_the_fresh_answer_shows(tmp_path: Path) -> None:
    async with opened(tmp_path, check_share=1.0) as made:
        made.model.says = "yes"
        await made.handler(ask(ASKED))
        made.model.says = "no"
        assert (await made.handler(ask(REWORDED))).text == "yes"
        await asyncio.gather(*made.tasks, return_exceptions=True)
        assert (made.stage.statistics().checks, made.stage.statistics().wrong) == (1, 1)
        again = await made.handler(ask(REWORDED))
        assert (again.text, again.stored, len(made.model.asked)) == ("no", True, 2), "the right answer took its place"


async def test_a_near_miss_teaches_by_the_answer_that_is_paid_anyway(tmp_path: Path) -> None:
    async with opened(tmp_path, max_false_hit=0.0, check_share=1.0) as made:
        made.model.says = "yes"
        await made.handler(ask(ASKED))
        await made.handler(ask(REWORDED))
        assert (made.stage.statistics().checks, made.stage.statistics().wrong) == (1, 0)


async def test_an_answer_that_is_gone_steps_aside_for_the_next_and_is_forgotten(tmp_path: Path) -> None:
    async with opened(tmp_path) as made:
        await made.handler(ask(ASKED))
        made.cache.mark(ask(ASKED), Status.INVALID, "wrong")
        second = await made.handler(ask(REWORDED))
        looked = await made.stage.near(ask(ASKED + "."))
        assert looked is not None
        assert (looked.gone, [match.entry.text for match in looked.matches]) == ([], [REWORDED])
        third = await made.handler(ask(ASKED + "!"))
    assert third.hit is not None
    assert (third.text, third.hit.asked) == (second.text, REWORDED)


async def test_what_learning_cannot_write_costs_no_answer(tmp_path: Path) -> None:
    class FullLedger(MemoryStore):
        async def perform(self, work: Any) -> Any:
            raise StoreError("the disk is full")

    async with opened(tmp_path, FullLedger(), max_false_hit=0.0, check_share=1.0) as made:
        made.model.says = "yes"
        assert (await made.handler(ask(ASKED))).text == "yes"
        assert (await made.handler(ask(REWORDED))).text == "yes"
        await asyncio.gather(*made.tasks)
        assert made.stage.statistics().failed >= 1


async def test_a_check_of_a_runs_answer_changes_nothing_that_the_run_was_given(tmp_path: Path) -> None:
    async with opened(tmp_path, check_share=1.0) as made:
        made.model.says = "yes"
        await made.handler(ask(ASKED, run="r"))
        made.model.says = "no"
        first = await made.handler(ask(REWORDED, run="r"))
        await asyncio.gather(*made.tasks, return_exceptions=True)
        again = await made.handler(ask(REWORDED, run="r"))
    assert (first.text, again.text, again.hit) == ("yes", "yes", first.hit)
    assert made.stage.statistics().wrong == 1


async def test_a_failed_check_is_counted_and_harms_nobody(tmp_path: Path) -> None:
    async with opened(tmp_path, check_share=1.0) as made:
        await made.handler(ask(ASKED))
        made.model.says = Overloaded("busy")
        assert (await made.handler(ask(REWORDED))).stored
        await asyncio.gather(*made.tasks)
        assert (made.stage.statistics().failed, made.stage.statistics().checks) == (1, 0)


async def test_only_what_lacks_nothing_but_proof_is_compared(tmp_path: Path) -> None:
    async with opened(tmp_path, max_false_hit=0.0, check_share=1.0) as made:
        made.model.says = "yes"
        await made.handler(ask(ASKED))
        await made.handler(ask(OTHER))
        assert made.stage.statistics().checks == 0


async def test_a_copy_is_as_old_as_its_original(tmp_path: Path) -> None:
    now = 1_000.0
    store = MemoryStore(ttl=60.0, wall=lambda: now)
    async with opened(tmp_path, store) as made:
        await made.handler(ask(ASKED))
        now += 50.0
        served = await made.handler(ask(REWORDED))
        assert served.hit is not None
        assert served.hit.created == 1_000.0
        now += 20.0
        assert not (await made.handler(ask(REWORDED))).stored, "the answer is 70 seconds old"


async def test_a_lookup_that_only_compares_counts_as_none(tmp_path: Path) -> None:
    async with opened(tmp_path, max_false_hit=0.0, check_share=1.0) as made:
        made.model.says = "yes"
        await made.handler(ask(ASKED))
        await made.handler(ask(REWORDED))
        assert (made.store.statistics().hits, made.store.statistics().misses) == (0, 2)


async def test_a_caller_that_judges_gets_back_what_it_rejected_but_no_wrong_hit(tmp_path: Path) -> None:
    async with opened(tmp_path) as made:
        await made.handler(ask(ASKED, judged=True))
        made.cache.mark(ask(ASKED), Status.INVALID, "does not fit")
        again = await made.handler(ask(ASKED, judged=True))
        assert (again.stored, len(made.model.asked)) == (True, 1)
        assert not (await made.handler(ask(ASKED))).stored
        served = await made.handler(ask(REWORDED, judged=True))
        assert served.hit is not None
        made.stage.reject(ask(REWORDED), served.hit)
        assert not (await made.handler(ask(REWORDED, judged=True))).stored
        await asyncio.gather(*made.tasks)


class Facts(Model):
    """Answers a question about a place with that place's fact, however it is asked."""

    async def __call__(self, request: Request, /) -> Response:
        response = await super().__call__(request)
        place = str(request.messages[-1].content).split()[-1].strip("?.")
        return msgspec.structs.replace(response, text=f"fact {sum(map(ord, place))} {len(place)}")


async def test_questions_are_refused_at_first_and_served_when_enough_was_checked(tmp_path: Path) -> None:
    store = MemoryStore()
    places = [f"Qu{first}{second}ville" for first in "abcdefghij" for second in "klmnopqrst"]

    async def hits(made: Chain, some: list[str]) -> list[bool]:
        made.handler = chain((made.cache, made.stage), made.model)
        served = []
        for place in some:
            await made.handler(ask(f"What is the capital of {place}?"))
            served.append((await made.handler(ask(f"Tell me the capital of {place}."))).stored)
        await asyncio.gather(*made.tasks)
        return served

    async with opened(tmp_path, store, max_false_hit=0.05, check_share=0.02) as made:
        made.model = Facts()
        served = await hits(made, places[:95])
        assert not any(served[:60]), "nothing proves five per cent yet"
        assert all(served[-3:])
        assert (made.stage.statistics().wrong, made.stage.statistics().checks >= 70) == (0, True)
    async with opened(tmp_path, store, max_false_hit=0.05, check_share=0.02) as made:
        made.model = Facts()
        assert all(await hits(made, places[95:])), "what was learned is remembered"


class Slow(Model):
    """Answers when it is let go; *failing* first calls fail."""

    def __init__(self, failing: int = 0) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.failing = failing

    async def __call__(self, request: Request, /) -> Response:
        response = await super().__call__(request)
        await self.go.wait()
        if len(self.asked) <= self.failing:
            raise Overloaded("busy")
        return response


def wordings() -> list[Request]:
    return [ask(f"{hello}{ASKED[0].lower()}{ASKED[1:]}{end}") for hello in ("", "Please ") for end in ("", ".", "!")]


async def asking(made: Chain, model: Model) -> list[asyncio.Task[Response]]:
    """Every wording at the same time; one of them is on its way to the model, the others wait."""
    made.model = model
    made.handler = chain((made.cache, made.stage), model)
    tasks = [asyncio.ensure_future(made.handler(one)) for one in wordings()]
    while not model.asked or len((await made.semantics()).asking) != len(model.asked):
        await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    return tasks


async def test_who_comes_with_another_wording_meanwhile_waits_for_the_answer(tmp_path: Path) -> None:
    async with opened(tmp_path) as made:
        model = Slow()
        tasks = await asking(made, model)
        model.go.set()
        answers = await asyncio.gather(*tasks)
        assert ({answer.text for answer in answers}, len(model.asked)) == ({"answer 1"}, 1)
        assert sum(answer.hit is not None for answer in answers) == len(tasks) - 1
        assert len((await made.semantics()).asking) == 0


async def test_a_leader_that_fails_leaves_the_others_to_ask(tmp_path: Path) -> None:
    async with opened(tmp_path) as made:
        model = Slow(failing=1)
        tasks = await asking(made, model)
        model.go.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        failed = [answer for answer in answers if isinstance(answer, Overloaded)]
        assert len(failed) == 1
        assert {answer.text for answer in answers if isinstance(answer, Response)} == {"answer 2"}
        assert (len(model.asked), len((await made.semantics()).asking)) == (2, 0)


@pytest.mark.parametrize("gone", [{0}, {1}, {0, 2, 4}, {0, 1, 2, 3, 4, 5}])
async def test_whoever_is_cancelled_harms_nobody(tmp_path: Path, gone: set[int]) -> None:
    async with opened(tmp_path) as made:
        model = Slow()
        tasks = await asking(made, model)
        for number in gone:
            tasks[number].cancel()
        for _ in range(20):
            await asyncio.sleep(0)
        model.go.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert {number for number, answer in enumerate(answers) if isinstance(answer, asyncio.CancelledError)} == gone
        assert len({answer.text for answer in answers if isinstance(answer, Response)}) <= 1
        assert len((await made.semantics()).asking) == 0


class Streaming(Model):
    """Answers word by word."""

    async def __call__(self, request: Request, /) -> Response:
        response = await super().__call__(request)
        return msgspec.structs.replace(response, text="", body=Words(response.text))


class Words:
    """A stream of words; *cut* after the first."""

    def __init__(self, text: str, *, cut: bool = False) -> None:
        self.text, self.cut = text, cut

    async def __aiter__(self) -> AsyncIterator[Delta]:
        for word in self.text.split():
            yield Delta(text=word + " ")
            if self.cut:
                return
        yield Delta(finish="stop")

    async def aclose(self) -> None:
        """Nothing is held."""


async def read(response: Response) -> str:
    assert response.body is not None
    text = "".join([delta.text async for delta in response.body])
    await response.body.aclose()
    return text


async def test_a_stream_is_found_as_soon_as_it_is_whole_and_serves_as_a_stream(tmp_path: Path) -> None:
    async with opened(tmp_path) as made:
        made.model = Streaming()
        made.handler = chain((made.cache, made.stage), made.model)
        first = await made.handler(ask(ASKED, stream=True))
        looked = await made.stage.near(ask(REWORDED))
        assert looked is not None
        assert looked.matches == []
        text = await read(first)
        again = await made.handler(ask(REWORDED, stream=True))
        assert (await read(again), len(made.model.asked)) == (text, 1)
        assert again.hit is not None
        assert again.hit.asked == ASKED
        plain = await made.handler(ask(ASKED + "!"))
        assert (plain.text, plain.body) == (text, None)


async def test_a_stream_that_was_cut_is_never_found(tmp_path: Path) -> None:
    class Cut(Model):
        async def __call__(self, request: Request, /) -> Response:
            response = await super().__call__(request)
            return msgspec.structs.replace(response, text="", body=Words("one two", cut=True))

    async with opened(tmp_path) as made:
        made.model = Cut()
        made.handler = chain((made.cache, made.stage), made.model)
        await read(await made.handler(ask(ASKED, stream=True)))
        looked = await made.stage.near(ask(REWORDED))
        assert looked is not None
        assert looked.matches == []
