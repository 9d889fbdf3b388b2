"""The same face without ``await``, for scripts and notebooks."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from agentic_synth.config import Config
from agentic_synth.sdk.portal import Portal
from agentic_synth.sdk.synth import Prompt, Synth
from agentic_synth.types import Delta, Json, Response

if TYPE_CHECKING:
    from agentic_synth.sdk.estimate import Estimate
    from agentic_synth.sdk.recipe_run import RecipeSource, Run, SeedSource
    from agentic_synth.sdk.run_options import RunOptions

__all__ = ["BlockingSynth"]


class BlockingSynth:
    """A :class:`Synth` on an event loop of its own; every method means what its namesake there means.

    It works where a loop is running already, as in Jupyter. Use it as a context manager, or call :meth:`close`.
    """

    def __init__(
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
    ) -> None:
        self._synth = Synth(
            model,
            base_url=base_url,
            api_key=api_key,
            fallback=fallback,
            store=store,
            concurrency=concurrency,
            budget=budget,
            config=config,
        )
        self._portal = Portal()

    def complete(self, prompt: Prompt, **options: Any) -> Response:
        """See :meth:`Synth.complete`."""
        return self._portal.call(self._synth.complete(prompt, **options))

    def stream(self, prompt: Prompt, **options: Any) -> Iterator[Delta]:
        """See :meth:`Synth.stream`."""
        return self._portal.iterate(self._synth.stream(prompt, **options))

    def embed(self, texts: Iterable[str], **options: Any) -> list[array[float]]:
        """See :meth:`Synth.embed`."""
        return self._portal.call(self._synth.embed(texts, **options))

    def generate(
        self,
        recipe: RecipeSource,
        *,
        rows: int | None = None,
        seeds: SeedSource | None = None,
        **options: Unpack[RunOptions],
    ) -> Iterator[dict[str, Any]]:
        """See :meth:`Synth.generate`."""
        for batch in self._portal.iterate(self._synth.batches(recipe, rows=rows, seeds=seeds, **options)):
            yield from batch

    def run(
        self,
        recipe: RecipeSource,
        *,
        rows: int | None = None,
        seeds: SeedSource | None = None,
        out: str | None = None,
        **options: Unpack[RunOptions],
    ) -> Run:
        """See :meth:`Synth.run`."""
        return self._portal.call(self._synth.run(recipe, rows=rows, seeds=seeds, out=out, **options))

    def estimate(
        self,
        recipe: RecipeSource,
        *,
        rows: int | None = None,
        seeds: SeedSource | None = None,
        shown: int = 3,
        **options: Unpack[RunOptions],
    ) -> Estimate:
        """See :meth:`Synth.estimate`."""
        return self._portal.call(self._synth.estimate(recipe, rows=rows, seeds=seeds, shown=shown, **options))

    def statistics(self) -> dict[str, Json]:
        """See :meth:`Synth.statistics`."""
        return self._synth.statistics()

    def close(self) -> None:
        """Cancel what runs in other threads, close connections, store and loop; closing twice is allowed."""
        self._portal.close(self._synth.aclose)

    def __enter__(self) -> Self:
        self._portal.call(self._synth.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
