"""Loads what semantic reuse needs, as the settings say; nothing of it is imported before somebody asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from agentic_synth.cache.semantics import Semantics
from agentic_synth.cache.vectors.library import Library, LibraryConfig
from agentic_synth.config import SemanticConfig
from agentic_synth.engine.engine import Engine
from agentic_synth.errors import BadReply
from agentic_synth.policies.semantic.verifier import Verifier
from agentic_synth.types import Message, Request, Reuse

if TYPE_CHECKING:
    from agentic_synth.cache.embedders.embedder import Embedder
    from agentic_synth.cache.ledger import Journal

__all__ = ["open_semantics"]

_LOCAL = frozenset({"wordllama", "ngrams", "model2vec", "fastembed", "sentence-transformers"})
_FITTED = "wordllama"


async def open_semantics(
    config: SemanticConfig,
    journal: Journal,
    directory: Path | None,
    engine: Engine,
    name_of: Callable[[str | None, str | None], str],
    spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    *,
    sends: bool = True,
) -> Semantics:
    """The embedder, the library and the verifier of *config*, with what was learned before.

    *directory* is where files of vectors lie, None to write none. An upstream's embedder is asked through *engine*;
    without *sends* only what it was asked before is known.

    Raises:
        ConfigError: a package is missing, or there is no such embedder or upstream.
    """
    from agentic_synth.cache.embedders.open import open_embedder  # noqa: PLC0415 - a user without it pays nothing
    from agentic_synth.cache.vectors.open import open_format  # noqa: PLC0415

    index = await asyncio.to_thread(open_format, config.index)
    embedder: Embedder
    if config.embedder.partition("/")[0] in _LOCAL:
        embedder = await asyncio.to_thread(open_embedder, config.embedder)
    else:
        embedder = _upstream_embedder(engine, name_of(config.embedder, None), "exact" if sends else "only_if_cached")
    sizes = LibraryConfig(max_entries=config.max_entries)
    if directory is None:
        sizes = LibraryConfig(max_entries=config.max_entries, graph_from=config.max_entries + 1)
    library = Library(journal, embedder.name, directory or Path.cwd(), index, spawn, sizes)
    verifier = Verifier(
        max_false_hit=config.max_false_hit,
        check_share=config.check_share,
        by_similarity=embedder.name.startswith(_FITTED),
    )
    semantics = Semantics(embedder, library, verifier, journal)
    await semantics.recall()
    return semantics


def _upstream_embedder(engine: Engine, name: str, reuse: Reuse) -> Embedder:
    from agentic_synth.cache.embedders.upstream import UpstreamEmbedder  # noqa: PLC0415

    async def ask(texts: Sequence[str]) -> list[bytes]:
        blank = Request(model=name, kind="embedding", messages=(), reuse=reuse)
        requests = [msgspec.structs.replace(blank, messages=(Message("user", text),)) for text in texts]
        return [_vector(response.vector, name) for response in await asyncio.gather(*map(engine.submit, requests))]

    return UpstreamEmbedder(name, ask)


def _vector(vector: bytes | None, name: str) -> bytes:
    if vector is None:
        raise BadReply(f"{name} answered without a vector", mend="name a model that makes embeddings")
    return vector
