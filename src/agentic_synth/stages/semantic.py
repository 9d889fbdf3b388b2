"""Serve the answer to a prompt that means the same, where a request wants that and the verifier is sure."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec

from agentic_synth.cache.key import AUDIT, key_of, redraw
from agentic_synth.cache.store import ResponseStore, Status
from agentic_synth.cache.wording import Wording, wording_of
from agentic_synth.errors import SynthError
from agentic_synth.policies.body import Relayed
from agentic_synth.policies.joined import Joined
from agentic_synth.policies.semantic.agreement import agree
from agentic_synth.stage import Handler
from agentic_synth.types import Delta, DeltaStream, Draw, Hit, Request, Response

if TYPE_CHECKING:
    # Only where semantic reuse is asked for is any of it loaded.
    from agentic_synth.cache.semantics import Looked, Match, Semantics

__all__ = ["Semantic", "SemanticStatistics"]

_CHECKS_AT_ONCE = 8


class SemanticStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot: lookups, hits among them, checks, those of them and of the users that found a wrong one, failures."""

    lookups: int
    hits: int
    checks: int
    wrong: int
    failed: int


class Semantic:
    """Between the exact cache and the model: a hit goes back as a copy that says what it was first given to.

    Requests that do not say ``semantic`` pass by. A miss is asked, and its prompt can be found from then on; who comes
    meanwhile with another wording of it waits for the answer. Learning costs little: of hits a small share is asked
    anew beside them, and where a pair of prompts lacks nothing but proof, the answer that is paid for anyway is held
    against the stored one.
    """

    def __init__(
        self,
        opened: Callable[[], Awaitable[Semantics]],
        store: ResponseStore,
        origin: Callable[[Request], str | None],
        rng: Random,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        """*opened* loads the embedder and the library, once; *spawn* starts a task that ends with the engine."""
        self._opened = opened
        self._store = store
        self._origin = origin
        self._rng = rng
        self._spawn = spawn
        self._semantics: Semantics | None = None
        self._checking = 0
        self._lookups = self._hits = self._checks = self._wrong = self._failed = 0

    def __call__(self, request: Request, proceed: Handler[Request, Response]) -> Coroutine[Any, Any, Response]:
        wording = self._wording(request) if request.reuse == "semantic" else None
        return proceed(request) if wording is None else self._answer(request, wording, proceed)

    async def _answer(self, request: Request, wording: Wording, proceed: Handler[Request, Response]) -> Response:
        semantics = await self._load()
        self._lookups += 1
        try:
            looked = await self._look(semantics, wording)
        except SynthError:
            # An embedder that cannot be reached is no reason to go without an answer.
            self._failed += 1
            return await proceed(request)
        lookup = _Lookup(request, wording, semantics, looked)
        if looked.hit is not None and (response := self._copy(looked.hit)) is not None:
            self._serve(lookup, looked.hit, response, proceed)
            return response
        if request.stream:  # a stream is only as fast as it is read, so nobody waits for one
            response = await proceed(request)
            body = response.body
            assert body is not None
            heard = _heard(body, response, lambda whole: self._settle(lookup, whole))
            return msgspec.structs.replace(response, body=Relayed(body, heard))
        flight = semantics.asking.begin(wording, looked.vector)
        try:
            response = await proceed(request)
            await self._settle(lookup, response)
        finally:
            # The answer is on its way to the store before anybody who waits can run.
            semantics.asking.end(flight)
        return response

    async def _look(self, semantics: Semantics, wording: Wording) -> Looked:
        """Look until there is a hit, or nobody is asking what would be one."""
        looked = await semantics.look(wording, self._is_there)
        while looked.hit is None and (flight := semantics.awaited(wording, looked.vector)) is not None:
            await flight.landed()
            looked = await semantics.search(wording, looked.vector, self._is_there)
        return looked

    async def near(self, request: Request) -> Looked | None:
        """What was asked before in similar words, all of it judged; None where nothing of *request* is said freely.

        Nothing is asked, counted or changed.
        """
        wording = self._wording(request)
        return None if wording is None else await (await self._load()).look(wording, self._is_there, whole=True)

    def reject(self, request: Request, hit: Hit) -> None:
        """A user says that *hit* does not answer *request*: never serve the copy again, and learn from it."""
        origin, wording = self._origin(request), self._wording(request)
        if hit.kind != "semantic" or origin is None or wording is None:
            return
        self._store.mark(key_of(request, origin).draw, Status.INVALID, "rejected as a wrong semantic hit")
        self._wrong += 1
        if self._semantics is not None:
            self._remember(self._semantics, wording, hit.asked, hit.similarity, right=False)
        else:
            self._spawn(self._remember_later(wording, hit))

    def statistics(self) -> SemanticStatistics:
        """A snapshot."""
        return SemanticStatistics(
            lookups=self._lookups, hits=self._hits, checks=self._checks, wrong=self._wrong, failed=self._failed
        )

    def _wording(self, request: Request) -> Wording | None:
        origin = self._origin(request)
        return wording_of(request, origin) if origin is not None else None

    def _is_there(self, key: bytes) -> bool:
        stored = self._store.get(key, counts=False)
        return stored is not None and stored.status is Status.COMPLETE

    def _copy(self, match: Match) -> Response | None:
        """The answer of *match*, as it serves another prompt."""
        stored = self._store.get(match.entry.key)
        if stored is None:
            return None
        hit = Hit(
            kind="semantic",
            key=match.entry.key.hex(),
            asked=match.entry.text,
            similarity=match.entry.similarity,
            probability=match.verdict.probability,
            created=stored.created,
        )
        return msgspec.structs.replace(stored.response, stored=True, hit=hit)

    def _serve(self, lookup: _Lookup, match: Match, response: Response, proceed: Handler[Request, Response]) -> None:
        """Take note of a hit, and have some of them checked."""
        self._hits += 1
        lookup.semantics.library.mark_used(match.entry.key)
        verifier = lookup.semantics.verifier
        may_check = self._checking < _CHECKS_AT_ONCE and not lookup.request.parked
        if may_check and verifier.wants_check(match.verdict, self._rng):
            self._checking += 1
            self._spawn(self._check(lookup, match, response, proceed))

    async def _check(
        self, lookup: _Lookup, match: Match, served: Response, proceed: Handler[Request, Response]
    ) -> None:
        """Ask anew what was served already, and learn from the difference."""
        request, origin = lookup.request, self._origin(lookup.request) or ""
        alone = msgspec.structs.replace(
            request, stream=False, deadline=None, pack=None, ahead=True, priority=request.priority + 1
        )
        try:
            fresh = await proceed(alone)
            key = key_of(request, origin)
            right = self._learn(lookup, match, served.text, fresh)
            if right is False and not request.run:
                # Whoever asks the same again gets the answer that is known to be right. A run keeps what it was given:
                # run again, it makes the same rows.
                await self._store.put(key, fresh, Status.COMPLETE)
                await lookup.semantics.add(lookup.wording, key.draw, lookup.looked.vector)
            else:
                await self._store.put(redraw(key, Draw(AUDIT, secrets.randbits(63))), fresh, Status.COMPLETE)
        except SynthError:
            self._failed += 1
        finally:
            self._checking -= 1

    async def _settle(self, lookup: _Lookup, response: Response) -> None:
        """A miss was answered: hold that against the answer that lacked only proof, and let the prompt be found."""
        if response.finish != "stop" or not response.text.strip():
            return
        semantics, looked = lookup.semantics, lookup.looked
        try:
            match = looked.unproven
            if match is not None and semantics.verifier.wants_check(match.verdict, self._rng):
                stored = self._store.get(match.entry.key, counts=False)
                if stored is not None and stored.status is Status.COMPLETE:
                    self._learn(lookup, match, stored.response.text, response)
            for key in looked.gone:
                await semantics.library.forget(key)
            # Last, and without a pause before the answer itself is on its way to the store.
            origin = self._origin(lookup.request) or ""
            await semantics.add(lookup.wording, key_of(lookup.request, origin).draw, looked.vector)
        except SynthError:
            # What was paid for is not lost because nothing could be learned from it.
            self._failed += 1

    def _learn(self, lookup: _Lookup, match: Match, stored: str, fresh: Response) -> bool | None:
        right = agree(stored, fresh.text) if fresh.finish == "stop" else None
        if right is not None:
            self._checks += 1
            self._wrong += not right
            entry = match.entry
            self._remember(lookup.semantics, lookup.wording, entry.text, entry.similarity, right=right)
        return right

    def _remember(
        self, semantics: Semantics, wording: Wording, stored: str, similarity: float | None, *, right: bool
    ) -> None:
        """Learn at once; nobody waits for the disk."""
        semantics.learn(wording, stored, similarity or 0.0, right=right)
        self._spawn(self._flush(semantics))

    async def _remember_later(self, wording: Wording, hit: Hit) -> None:
        await self._load()
        assert self._semantics is not None
        self._remember(self._semantics, wording, hit.asked, hit.similarity, right=False)

    async def _flush(self, semantics: Semantics) -> None:
        try:
            await semantics.flush()
        except SynthError:
            self._failed += 1

    async def _load(self) -> Semantics:
        if self._semantics is None:
            self._semantics = await self._opened()
        return self._semantics


class _Lookup(msgspec.Struct, frozen=True):
    """A request that looked for its like, and what it found."""

    request: Request
    wording: Wording
    semantics: Semantics
    looked: Looked


async def _heard(
    body: DeltaStream, response: Response, ended: Callable[[Response], Awaitable[None]]
) -> AsyncGenerator[Delta, None]:
    """The deltas of a live stream; *ended* is told the whole answer, before the caller is told that it was whole."""
    joined = Joined()
    async for delta in body:
        joined.add(delta)
        yield delta
    if joined.finish is not None:
        await ended(joined.response(response))
