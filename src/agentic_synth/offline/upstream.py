"""The upstream that needs no network: it answers from the local generator, and says so."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, AsyncIterator

from agentic_synth.offline.answer import answer, tool_calls
from agentic_synth.offline.vectors import dimensions_of, vector_of
from agentic_synth.policies.tokens import text_of
from agentic_synth.types import Call, Delta, Finish, Json, Reply, Request, Response, Usage

__all__ = ["OfflineUpstream"]

_CHARACTERS_PER_TOKEN = 4
_DELTA_CHARACTERS = 24
_NAME = "offline"
_CALLED: Finish = "tool_calls"


class OfflineUpstream:
    """Answers calls by :func:`answer`: at once, for nothing, and the same for the same request and *seed*.

    It honours ``max_tokens`` (four characters a token), ``stop`` and ``tool_choice``, and streams where asked to. Its
    embeddings are of spelling, not of meaning.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed

    async def __call__(self, call: Call, /) -> Reply:
        request = call.request
        if request.kind == "embedding":
            return Reply(response=self._embed(request))
        calls = tool_calls(request, self._seed) if request.tools else ()
        text, finish = "", _CALLED
        if not calls:
            text, finish = _cut(request, answer(request, self._seed))
        usage = _usage(request, text, calls)
        if request.stream:
            body = _Spoken(text, calls, finish, usage)
            return Reply(response=Response(model=_NAME, upstream=_NAME, cost=0.0, ttft=0.0, body=body))
        return Reply(
            response=Response(
                text=text,
                tool_calls=calls,
                finish=finish,
                usage=usage,
                model=_NAME,
                upstream=_NAME,
                cost=0.0,
                ttft=0.0,
            )
        )

    def _embed(self, request: Request) -> Response:
        text = "".join([text_of(message) for message in request.messages])
        floats = vector_of(text, dimensions_of(request.parameters), self._seed)
        if sys.byteorder == "big":
            floats.byteswap()
        usage = _usage(request, "", ())
        return Response(vector=floats.tobytes(), usage=usage, model=_NAME, upstream=_NAME, cost=0.0)

    async def aclose(self) -> None:
        """Nothing is held, so nothing is freed; there for the sake of its equals that hold connections."""


class _Spoken:
    """An answer as a stream of deltas of a few words each."""

    def __init__(self, text: str, calls: tuple[dict[str, Json], ...], finish: Finish, usage: Usage) -> None:
        self._deltas = self._speak(text, calls, finish, usage)

    def __aiter__(self) -> AsyncIterator[Delta]:
        return self._deltas

    async def aclose(self) -> None:
        await self._deltas.aclose()

    @staticmethod
    async def _speak(
        text: str, calls: tuple[dict[str, Json], ...], finish: Finish, usage: Usage
    ) -> AsyncGenerator[Delta, None]:
        for start in range(0, len(text), _DELTA_CHARACTERS):
            yield Delta(text=text[start : start + _DELTA_CHARACTERS], model=_NAME)
        for index, called in enumerate(calls):
            yield Delta(tool_calls=({"index": index, **called},), model=_NAME)
        yield Delta(finish=finish, usage=usage, model=_NAME)


def _cut(request: Request, text: str) -> tuple[str, Finish]:
    """*text* up to the first stop sequence and no longer than ``max_tokens``."""
    parameters = request.parameters
    if not parameters:
        return text, "stop"
    stops = parameters.get("stop") or ()
    for stop in (stops,) if isinstance(stops, str) else stops:
        text = text.partition(stop)[0] if stop else text
    limit = parameters.get("max_completion_tokens") or parameters.get("max_tokens")
    if isinstance(limit, int) and len(text) > limit * _CHARACTERS_PER_TOKEN:
        return text[: limit * _CHARACTERS_PER_TOKEN], "length"
    return text, "stop"


def _usage(request: Request, text: str, calls: tuple[dict[str, Json], ...]) -> Usage:
    asked = 0
    for message in request.messages:
        content = message.content
        parts = [content] if isinstance(content, str) else [str(part.get("text", "")) for part in content or ()]
        asked += sum(map(len, parts))
    said = len(text) + sum(len(called["function"]["arguments"]) for called in calls)
    return Usage(_tokens(asked), _tokens(said), estimated=True)


def _tokens(characters: int) -> int:
    return -(-characters // _CHARACTERS_PER_TOKEN)
