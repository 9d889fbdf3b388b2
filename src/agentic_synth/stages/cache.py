"""Serve an answer that is stored already, and store every answer that was paid before anybody may use it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable

import msgspec

from agentic_synth.cache.key import Key, key_of, redraw
from agentic_synth.cache.store import ResponseStore, Status
from agentic_synth.errors import NotCached
from agentic_synth.stage import Handler
from agentic_synth.types import Delta, DeltaStream, Draw, Finish, Json, Request, Response, Usage

__all__ = ["Cache"]

_STATUS: dict[Finish, Status] = {"length": Status.TRUNCATED, "refusal": Status.REFUSED}
_LOOKED_UP = frozenset({"exact", "replay", "only_if_cached"})


class Cache:
    """The exact cache: equal draws of equal requests are answered from the store.

    Only complete, valid answers are served; to a request that says ``replay`` also the rejected ones. A streamed
    answer's last delta is held back until the whole answer is durable.
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
            response = self._look(request, key)
            if response is not None:
                return _served(response) if request.stream else response
            if request.reuse == "only_if_cached":
                raise NotCached(
                    f"no valid stored answer of {request.model} for this request",
                    mend="drop only_if_cached to ask the model",
                )
        response = await proceed(request)
        if request.reuse == "no_store":
            return response
        if request.reuse == "never":
            # For audit only: under a draw of its own, which no request can name.
            key = redraw(key, Draw("audit", secrets.randbits(63)))
        if response.body is not None:
            return msgspec.structs.replace(response, body=_Stored(response, self._store, key))
        await self._store.put(key, response, _STATUS.get(response.finish, Status.COMPLETE))
        return response

    def recall(self, request: Request) -> Response | None:
        """The stored answer that would be served to *request*, if there is one."""
        if request.reuse not in _LOOKED_UP or (origin := self._origin(request)) is None:
            return None
        return self._look(request, key_of(request, origin))

    def _look(self, request: Request, key: Key) -> Response | None:
        stored = self._store.get(key.draw)
        if stored is None or not (stored.status is Status.COMPLETE or request.reuse == "replay"):
            return None
        return stored.response

    def mark(self, request: Request, status: Status, reason: str) -> None:
        """Give the stored answer of *request* another status, so that it is never served as valid."""
        origin = self._origin(request)
        if origin is not None and request.reuse not in {"no_store", "never"}:
            self._store.mark(key_of(request, origin).draw, status, reason)


def _served(response: Response) -> Response:
    return msgspec.structs.replace(response, body=_Replayed(response))


class _Replayed:
    """A stored answer as a stream of one delta and its end."""

    def __init__(self, response: Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[Delta]:
        answer = self._response
        calls = tuple([{**call, "index": index} for index, call in enumerate(answer.tool_calls)])
        yield Delta(text=answer.text, reasoning=answer.reasoning, tool_calls=calls, model=answer.model)
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
        self._deltas = self._run()

    def __aiter__(self) -> AsyncIterator[Delta]:
        return self._deltas

    async def aclose(self) -> None:
        """Close the upstream's stream; an unfinished answer is not stored."""
        await self._body.aclose()
        await self._deltas.aclose()

    async def _run(self) -> AsyncGenerator[Delta, None]:
        texts: list[str] = []
        reasonings: list[str] = []
        tool_calls: dict[Json, dict[str, Json]] = {}
        usage = Usage()
        model = self._response.model
        finish: Finish | None = None
        held: list[Delta] = []
        async for delta in self._body:
            texts.append(delta.text)
            reasonings.append(delta.reasoning)
            _join(tool_calls, delta)
            usage = delta.usage or usage
            model = delta.model or model
            finish = delta.finish or finish
            if finish is not None:
                held.append(delta)
            else:
                yield delta
        if finish is None:
            return  # it never said that it was whole
        whole = msgspec.structs.replace(
            self._response,
            text="".join(texts),
            reasoning="".join(reasonings),
            tool_calls=tuple(tool_calls.values()),
            finish=finish,
            usage=usage,
            model=model,
            body=None,
        )
        await self._store.put(self._key, whole, _STATUS.get(finish, Status.COMPLETE))
        for delta in held:
            yield delta


def _join(tool_calls: dict[Json, dict[str, Json]], delta: Delta) -> None:
    """Add the tool call fragments of *delta* to the calls they belong to (OpenAI's ``index``)."""
    for fragment in delta.tool_calls:
        index = fragment.get("index", len(tool_calls))
        call = tool_calls.get(index)
        if call is None:
            call = tool_calls[index] = {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        call["id"] = fragment.get("id") or call["id"]
        for part in ("name", "arguments"):
            call["function"][part] += (fragment.get("function") or {}).get(part) or ""
