"""Serve an answer that is stored already, and store every answer that was paid before anybody may use it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import msgspec

from agentic_synth.cache.key import Key, key_of
from agentic_synth.cache.store import ResponseStore, Status
from agentic_synth.errors import NotCached
from agentic_synth.stage import Handler
from agentic_synth.types import Delta, DeltaStream, Finish, Request, Response, Usage

__all__ = ["Cache"]

_STATUS: dict[Finish, Status] = {"length": Status.TRUNCATED, "refusal": Status.REFUSED}
_LOOKED_UP = frozenset({"exact", "replay", "only_if_cached"})


class Cache:
    """The exact cache: equal draws of equal requests are answered from the store.

    Only complete, valid answers are served; to a request that says ``replay`` also the rejected ones. A streamed answer's
    last delta is held back until the whole answer is durable.
    """

    def __init__(self, store: ResponseStore, origin: Callable[[Request], str | None]) -> None:
        """*origin* names where the requested model is (its base URL), or None where answers cost nothing to make."""
        self._store = store
        self._origin = origin

    async def __call__(self, request: Request, proceed: Handler[Request, Response]) -> Response:
        origin = self._origin(request)
        if origin is None:
            return await proceed(request)
        key = key_of(request, origin)
        if request.reuse in _LOOKED_UP:
            stored = self._store.get(key.draw)
            if stored is not None and (stored.status is Status.COMPLETE or request.reuse == "replay"):
                return _served(stored.response, as_stream=request.stream)
            if request.reuse == "only_if_cached":
                raise NotCached(
                    f"no valid stored answer of {request.model} for this request",
                    mend="drop only_if_cached to ask the model",
                )
        response = await proceed(request)
        if request.reuse == "no_store":
            return response
        if response.body is not None:
            return msgspec.structs.replace(response, body=_Stored(response, self._store, key))
        await self._store.put(key, response, _STATUS.get(response.finish, Status.COMPLETE))
        return response

    def mark(self, request: Request, status: Status, reason: str) -> None:
        """Give the stored answer of *request* another status, so that it is never served as valid."""
        origin = self._origin(request)
        if origin is not None and request.reuse != "no_store":
            self._store.mark(key_of(request, origin).draw, status, reason)


def _served(response: Response, *, as_stream: bool) -> Response:
    if not as_stream:
        return msgspec.structs.replace(response, stored=True)
    return msgspec.structs.replace(response, stored=True, body=_Replayed(response))


class _Replayed:
    """A stored answer as a stream of one delta and its end."""

    def __init__(self, response: Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[Delta]:
        answer = self._response
        yield Delta(text=answer.text, reasoning=answer.reasoning, tool_calls=answer.tool_calls, model=answer.model)
        yield Delta(finish=answer.finish, usage=answer.usage, model=answer.model)

    async def aclose(self) -> None:
        """Nothing is held."""


class _Stored:
    """A live stream on its way to the caller; its end waits for the store."""

    def __init__(self, response: Response, store: ResponseStore, key: Key) -> None:
        assert response.body is not None
        self._body: DeltaStream = response.body
        self._response = response
        self._store = store
        self._key = key

    async def __aiter__(self) -> AsyncIterator[Delta]:
        texts: list[str] = []
        reasonings: list[str] = []
        tool_calls: list[dict[str, object]] = []
        usage = Usage()
        model = self._response.model
        finish: Finish = "other"
        held: list[Delta] = []
        async for delta in self._body:
            texts.append(delta.text)
            reasonings.append(delta.reasoning)
            _join(tool_calls, delta)
            usage = delta.usage or usage
            model = delta.model or model
            finish = delta.finish or finish
            if delta.finish is not None or held:
                held.append(delta)
            else:
                yield delta
        whole = msgspec.structs.replace(
            self._response,
            text="".join(texts),
            reasoning="".join(reasonings),
            tool_calls=tuple(tool_calls),
            finish=finish,
            usage=usage,
            model=model,
            body=None,
        )
        await self._store.put(self._key, whole, _STATUS.get(finish, Status.COMPLETE))
        for delta in held:
            yield delta

    async def aclose(self) -> None:
        """Close the upstream's stream; an unfinished answer is not stored."""
        await self._body.aclose()


def _join(tool_calls: list[dict[str, object]], delta: Delta) -> None:
    """Add the tool call fragments of *delta* to the calls they belong to (OpenAI's ``index``)."""
    for fragment in delta.tool_calls:
        index = fragment.get("index", len(tool_calls))
        while len(tool_calls) <= index:
            tool_calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
        call = tool_calls[index]
        function = call["function"]
        assert isinstance(function, dict)
        call["id"] = fragment.get("id") or call["id"]
        for part in ("name", "arguments"):
            function[part] += (fragment.get("function") or {}).get(part) or ""
