"""The Python face: one object that completes, streams, generates and runs."""

from __future__ import annotations

from array import array
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

import msgspec

from agentic_synth.config import Config, Secret, UpstreamConfig
from agentic_synth.errors import ConfigError, InvalidRequest
from agentic_synth.policies.spending import Spending
from agentic_synth.sdk.session import Session
from agentic_synth.settings import load_config
from agentic_synth.types import Delta, Json, Message, Request, Response, Reuse
from agentic_synth.upstreams import resolve_upstream

if TYPE_CHECKING:
    from agentic_synth.sdk.estimate import Estimate
    from agentic_synth.sdk.recipe_run import RecipeRun, RecipeSource, Run, SeedSource
    from agentic_synth.sdk.run_options import RunOptions
    from agentic_synth.telemetry.progress import Progress

__all__ = ["Synth"]

Prompt = str | Sequence[Message | dict[str, Any]]


class Synth:
    """Synthetic data from a model, or from the ``offline`` generator where no model is named and no key is set.

    Everything that is asked goes through one engine: what was paid for is stored before it is used, limits are found
    and kept, failures are retried or sent to *fallback*. Use it as an async context manager, or call :meth:`aclose`.

    *model* is ``provider/model``, or a model's name with *base_url*. *store* is a folder or ``.sqlite`` file
    (``":none:"`` keeps nothing), *concurrency* a fixed number of calls in flight instead of the adaptive limit,
    *budget* what may be spent (``"5usd"``, ``"2Mtok"``, ``"10000req"``). *config* takes the place of environment and
    files; what is named beside it wins over it, and over what a recipe says, but over a column's own model only where
    it is ``offline``: a rehearsal spends nothing. Without *sends* nothing is ever sent and no key is wanted: enough for
    :meth:`estimate`.

    Raises:
        ConfigError: a setting is wrong, or a key is missing.
    """

    def __init__(  # noqa: PLR0913 - a public constructor
        self,
        model: str | None = None,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        fallback: Sequence[str] = (),
        store: str | None = None,
        concurrency: int | None = None,
        budget: str | None = None,
        config: Config | None = None,
        sends: bool = True,
    ) -> None:
        flags = {
            "model": model,
            "base_url": base_url,
            "fallback": [fallback] if isinstance(fallback, str) else list(fallback) or None,
            "store.path": store,
            "engine.concurrency": concurrency,
            "engine.budget": budget,
        }
        self.config = load_config(flags) if config is None else _laid_over(config, flags)
        self._api_key = Secret(api_key) if api_key else None
        self._said = {"model": model, "base_url": base_url}
        self._sends = sends
        self.upstream = self._resolve(None, None)
        """The upstream of everything that names no other."""
        if model is not None and self.upstream.wire == "offline":
            self.config = msgspec.structs.replace(self.config, fallback=())
        self._session: Session | None = None
        self._check()

    def _check(self) -> None:
        """Tell what is wrong now, and not when something is first asked."""
        if self._api_key is not None and not self.config.model:
            raise ConfigError(
                "an API key is given, but no model is named",
                mend='name the model that it is for: Synth("openai/gpt-4.1-mini", api_key=...)',
            )
        for reference in self.config.fallback if self.config.engine.fallback else ():
            self._resolve(reference, None)
        if self.config.engine.budget:
            Spending.parse(self.config.engine.budget)

    def _resolve(self, reference: str | None, base_url: str | None) -> UpstreamConfig:
        usual = reference in (None, self.config.model) and base_url in (None, self.config.base_url)
        key = self._api_key.reveal() if self._api_key is not None and usual else None
        return resolve_upstream(reference, base_url=base_url, api_key=key, config=self.config, key_wanted=self._sends)

    @property
    def session(self) -> Session:
        """The engine and its store, opened when they are first needed."""
        if self._session is None:
            self._session = Session(self.config, self._resolve, sends=self._sends)
        return self._session

    async def complete(
        self,
        prompt: Prompt,
        *,
        system: str | None = None,
        schema: Json = None,
        model: str | None = None,
        reuse: Reuse | None = None,
        timeout: float | None = None,
        **parameters: Json,
    ) -> Response:
        """The model's answer to *prompt*, a text or chat messages.

        With *schema* (a JSON Schema, or a type Pydantic can describe) the answer is checked, corrected once and
        regenerated where it does not fit; its value is ``Response.data``. *parameters* such as ``temperature`` and
        ``max_tokens`` go to the model. *reuse* is ``exact`` by default where the request is deterministic (temperature
        0 or a seed), otherwise ``never``: asked anew, stored for audit only. No answer is waited for
        longer than *timeout* seconds, wherever the request is then: DeadlinePassed.

        Raises:
            SynthError: no upstream could answer, or nothing it said fits the schema.
        """
        request = self._request(prompt, system, model, reuse, timeout, parameters)
        if schema is None:
            return await self.session.engine.submit(request)
        from agentic_synth.recipes.structured import complete_structured  # noqa: PLC0415 - keeps plain use light

        return await complete_structured(self.session.engine, request, schema)

    async def stream(
        self,
        prompt: Prompt,
        *,
        system: str | None = None,
        model: str | None = None,
        reuse: Reuse | None = None,
        timeout: float | None = None,
        **parameters: Json,
    ) -> AsyncGenerator[Delta, None]:
        """The answer piece by piece; leaving early closes the upstream's stream at once."""
        request = self._request(prompt, system, model, reuse, timeout, parameters)
        response = await self.session.engine.stream(request)
        assert response.body is not None
        try:
            async for delta in response.body:
                yield delta
        finally:
            await response.body.aclose()

    async def embed(
        self, texts: Iterable[str], *, model: str | None = None, reuse: Reuse = "exact", **parameters: Json
    ) -> list[array[float]]:
        """The vector of each of *texts*, in their order.

        Texts travel many to a call and are stored one by one: a text that was embedded before costs nothing. *model*
        names a model that makes embeddings; *parameters* such as ``dimensions`` go to it.

        Raises:
            SynthError: a text could not be embedded; the others are stored, so that asking again pays for the rest.
        """
        from agentic_synth.sdk.embed import embed_texts  # noqa: PLC0415 - keeps plain use light

        blank = Request(
            model=self.session.name_of(model, None), messages=(), parameters=parameters, kind="embedding", reuse=reuse
        )
        return await embed_texts(self.session.engine, texts, blank)

    def _request(
        self,
        prompt: Prompt,
        system: str | None,
        model: str | None,
        reuse: Reuse | None,
        timeout: float | None,
        parameters: dict[str, Json],
    ) -> Request:
        turns: list[Message] = [Message("system", system)] if system is not None else []
        if isinstance(prompt, str):
            turns.append(Message("user", prompt))
        else:
            turns += [_turn(turn) for turn in prompt]
        deterministic = parameters.get("temperature") == 0 or "seed" in parameters
        return Request(
            model=self.session.name_of(model, None),
            messages=tuple(turns),
            parameters=parameters,
            reuse=reuse or ("exact" if deterministic else "never"),
            deadline=None if timeout is None else self.session.engine.deadline(timeout),
        )

    async def generate(
        self,
        recipe: RecipeSource,
        *,
        rows: int | None = None,
        seeds: SeedSource | None = None,
        **options: Unpack[RunOptions],
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The rows of *recipe*, as they are accepted; a slow taker slows the asking.

        *recipe* is a file, the name of a built-in recipe, a dict or a :class:`Recipe`. Without *rows* there is one row
        a seed.

        Raises:
            RecipeError, ConfigError: the input is wrong; told before anything is asked.
        """
        async with aclosing(self.batches(recipe, rows=rows, seeds=seeds, **options)) as batches:
            async for batch in batches:
                for row in batch:
                    yield row

    async def batches(
        self,
        recipe: RecipeSource,
        *,
        rows: int | None = None,
        seeds: SeedSource | None = None,
        **options: Unpack[RunOptions],
    ) -> AsyncGenerator[list[dict[str, Any]], None]:
        """The rows of :meth:`generate`, as many at a time as are there."""
        run = self.prepare(recipe, rows=rows, seeds=seeds, **options)
        output = await self.session.ledger.open_output(f"- {run.recipe.recipe}", fresh=options.get("fresh", False))
        async with aclosing(run.batches(output)) as batches:
            async for batch in batches:
                yield [run.row_of(filled) for filled in batch if filled.row is not None]

    def prepare(
        self,
        recipe: RecipeSource,
        *,
        rows: int | None = None,
        seeds: SeedSource | None = None,
        **options: Unpack[RunOptions],
    ) -> RecipeRun:
        """A run that is checked and ready: :meth:`execute` begins it, :meth:`RecipeRun.stop` ends it early."""
        from agentic_synth.sdk.recipe_run import RecipeRun  # noqa: PLC0415 - keeps plain use light

        return RecipeRun(self.session, recipe, rows=rows, seeds=seeds, options=options, said=self._said)

    async def execute(self, run: RecipeRun, *, out: str = "-", progress: Progress | None = None) -> Run:
        """Carry out a prepared run; see :meth:`run`."""
        return await run.execute(out, progress)

    async def run(
        self,
        recipe: RecipeSource,
        *,
        rows: int | None = None,
        seeds: SeedSource | None = None,
        out: str | None = None,
        **options: Unpack[RunOptions],
    ) -> Run:
        """Make the rows of *recipe* and write them to *out* (``.jsonl .parquet .csv .json``; ``"-"`` is stdout).

        Run again after an interruption, it pays only for what was not answered yet, and writes the same file.

        Raises:
            SynthError: the run could not go on; what was made is kept.
        """
        run = self.prepare(recipe, rows=rows, seeds=seeds, **options)
        if out is None:
            raise ConfigError(
                "nobody says where the rows shall go",
                mend='give out="rows.jsonl", or out="-" for stdout; generate() gives them to you instead',
            )
        return await self.execute(run, out=out)

    async def estimate(
        self,
        recipe: RecipeSource,
        *,
        rows: int | None = None,
        seeds: SeedSource | None = None,
        shown: int = 3,
        **options: Unpack[RunOptions],
    ) -> Estimate:
        """What a run would ask and cost, with the prompts of the first *shown* rows; nothing is sent.

        Answers that are stored already are counted apart; stand-ins take the place of answers that later prompts need.
        """
        from agentic_synth.sdk.estimate import estimate_run  # noqa: PLC0415 - only a dry run needs it

        run = self.prepare(recipe, rows=rows, seeds=seeds, **options)
        price_of = partial(self.session.price_of, by_batch=run.by_batch)
        return await estimate_run(run, self.session.engine, price_of, shown=shown)

    def statistics(self) -> dict[str, Json]:
        """A snapshot of the engine: requests, answers from the store, and each upstream's limits and failures."""
        return self._session.engine.statistics() if self._session is not None else {}

    async def aclose(self) -> None:
        """Close connections and store; closing twice is allowed."""
        session, self._session = self._session, None
        if session is not None:
            await session.aclose()

    async def __aenter__(self) -> Self:
        if self.config.warming.enabled and self._sends:
            self.session.warm()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _turn(turn: Message | dict[str, Any]) -> Message:
    try:
        return msgspec.convert(turn, Message)
    except msgspec.ValidationError as error:
        raise InvalidRequest(
            f"{turn!r:.80} is no chat message: {error}", mend='write {"role": "user", "content": "..."}'
        ) from None


def _laid_over(config: Config, flags: dict[str, Any]) -> Config:
    """*config* with what was said beside it, checked like any other settings."""
    groups: dict[str, dict[str, Any]] = {"engine": {}, "store": {}}
    own: dict[str, Any] = {}
    for key, value in flags.items():
        group, _, name = key.rpartition(".")
        if value is not None:
            (groups[group] if group else own)[name] = value
    for group, changes in groups.items():
        if changes:
            own[group] = msgspec.structs.replace(getattr(config, group), **changes)
    try:
        return msgspec.convert(msgspec.to_builtins(msgspec.structs.replace(config, **own)), Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"a setting is wrong: {error}", mend="look it up in the fields of Config") from None
