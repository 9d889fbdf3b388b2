"""What travels through the engine: frozen records without behaviour.

A caller asks a :class:`Request` and gets a :class:`Response`. One try on the wire is a :class:`Call`, its result a
:class:`Reply`. The stages before ``route`` speak of requests, those behind it of calls.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

Json: TypeAlias = Any
"""A JSON value: None, bool, int, float, str, list or dict with string keys."""

Finish: TypeAlias = Literal["stop", "length", "refusal", "tool_calls", "other"]
"""Why the model stopped: done, cut at ``max_tokens``, refused (safety), asked for tools, or something unnamed."""

Reuse: TypeAlias = Literal["exact", "replay", "pool", "semantic", "refresh", "only_if_cached", "no_store", "never"]
"""When a stored answer may serve a request.

``exact``: the same draw is served again. ``replay``: like it, and a stored answer that was found invalid comes back
too, for a caller that judges every answer itself (so that a resumed run never pays again for what it rejected).
``pool``: like ``replay``, and where this draw has no answer yet, one that another run has drawn of the same
specification serves, each at most once. ``semantic``: like ``exact``, and an answer to a prompt that means the same.
``refresh``: asked anew, then stored over the old answer. ``only_if_cached``: never asked; a miss is an error.
``no_store``: asked, not stored. ``never``: asked anew, stored for audit only.
"""


class Outcome(StrEnum):
    """How a call went, told to limits and breakers."""

    SUCCESS = "success"
    DROPPED = "dropped"
    IGNORED = "ignored"


Kind: TypeAlias = Literal["chat", "embedding"]
"""What is asked of a model: an answer to messages, or the vector of the one text in them."""


class Message(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One chat message in the field's common shape; *content* is text, or a list of content parts."""

    role: str
    content: str | list[dict[str, Json]] | None = None
    name: str | None = None
    tool_calls: list[dict[str, Json]] | None = None
    tool_call_id: str | None = None


class Draw(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Which of the many possible answers to one specification is meant.

    *lineage* names where the draw comes from (the run's seed and epoch, then after a slash the parent draws; empty for
    a plain request), *sample* is the occurrence number of the specification within that lineage, *attempt* counts
    regenerations after an answer that was rejected. A transport retry keeps all three.
    """

    lineage: str = ""
    sample: int = 0
    attempt: int = 0


class Meaning(msgspec.Struct, frozen=True, gc=False):
    """What a recipe knows of a prompt: *text* is what its values say freely, *fixed* what must be equal to match.

    Fixed are the template and every short value in it; a request without a meaning is its last message's text.
    """

    text: str
    fixed: tuple[str, ...] = ()


class Pack(msgspec.Struct, frozen=True, gc=False):
    """How a request may travel with others of its kind in one call.

    *task* is the last message with the names of its values in braces, *values* what stands there in this request;
    *size* is the most that travel together, 0 to find out.
    """

    task: str
    values: dict[str, str]
    size: int = 0


class Request(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a caller asks of a model.

    *model* is the reference of an upstream that the engine knows, ``provider/model`` as the user wrote it, and is never
    silently replaced. *parameters* hold what the model should be told beside the messages, in OpenAI's spelling
    (``temperature``, ``max_tokens``, ``top_p``, ``stop``, ``seed`` ...) plus anything extra the upstream takes.
    *schema* is the JSON Schema the answer must fit. *dedup* lets equal requests in flight share one call. *deadline* is
    an instant of the engine's clock; *priority* lower is served first, and requests of several *run*s take turns.
    *meaning* says what of the prompt a semantic match may compare, *pack* how it may share a call with others. *ahead*
    says that nobody waits for the answer yet, so it is no sign of demand. *parked* says that the request may wait for a
    provider's batch: it is written down instead of sent. A caller that judges every answer itself says *judged*: a
    stored one that it found invalid before comes back to it too. None of these is part of the key.
    """

    model: str
    messages: tuple[Message, ...]
    parameters: dict[str, Json] = {}
    schema: dict[str, Json] | None = None
    tools: tuple[dict[str, Json], ...] = ()
    tool_choice: Json = None
    namespace: str = ""
    kind: Kind = "chat"
    draw: Draw = Draw()
    reuse: Reuse = "exact"
    dedup: bool = True
    stream: bool = False
    deadline: float | None = None
    priority: int = 0
    run: str = ""
    meaning: Meaning | None = None
    pack: Pack | None = None
    ahead: bool = False
    parked: bool = False
    judged: bool = False


class Usage(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Tokens of one answer; *cached_tokens* are part of the input, *reasoning_tokens* of the output.

    *estimated* says that the upstream did not count and we did.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.estimated or other.estimated,
        )


class Delta(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A piece of a streamed answer; the last one carries *finish*, *usage*, and *cost* in dollars where one is known.

    *tool_calls* are OpenAI-shaped fragments, joined by their ``index``.
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[dict[str, Json], ...] = ()
    finish: Finish | None = None
    usage: Usage | None = None
    model: str = ""
    cost: float | None = None


class DeltaStream(Protocol):
    """The body of a streamed answer: iterate to the end, or close it to give up; closing twice is allowed."""

    def __aiter__(self) -> AsyncIterator[Delta]: ...

    async def aclose(self) -> None: ...


class Hit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """How a stored answer came to serve a request.

    *key* is the stored draw in hexadecimal (empty for ``dedup``: the answer of an equal request in flight). Of a
    semantic hit, *asked* is the text that the answer was first given to, *similarity* the cosine of the two texts, and
    *probability* the calibrated chance that one answer serves both. *created* is the unix time at which the answer was
    made, where it serves another draw than its own: a copy is as old as its original.
    """

    kind: Literal["exact", "pool", "semantic", "dedup"]
    key: str = ""
    asked: str = ""
    similarity: float | None = None
    probability: float | None = None
    created: float | None = None


class Feedback(Protocol):
    """Where it is told that a semantic hit was wrong."""

    def __call__(self) -> None: ...


class Response(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A model's answer.

    *model* is what the upstream says answered, *upstream* the name of the upstream that did (a fallback, perhaps).
    *stored* is true when the answer was paid for before, and *hit* then says how it came to serve. *cost* is dollars,
    None where no price is known. *ttft* and *seconds* are wire times of the attempt that succeeded; *data* is the
    answer's value where a schema was asked and checked, *vector* the little-endian 32-bit floats of an embedding. For
    ``Request.stream`` the text arrives through *body* and the other fields are not final.
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[dict[str, Json], ...] = ()
    finish: Finish = "stop"
    usage: Usage = Usage()
    model: str = ""
    upstream: str = ""
    cost: float | None = None
    ttft: float | None = None
    seconds: float = 0.0
    attempts: int = 1
    stored: bool = False
    hit: Hit | None = None
    data: Json = None
    vector: bytes | None = None
    body: DeltaStream | None = None
    feedback: Feedback | None = None

    def reject_cache_hit(self) -> None:
        """Say that this answer, which a semantic hit served, does not answer what was asked.

        The pair is remembered as a wrong one, and the cache grows more careful. Does nothing for any other answer.
        """
        if self.feedback is not None:
            self.feedback()


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One try on the wire at one upstream.

    *model* is the upstream's own name for the model (without the provider). *try_number* counts the transport tries
    of the request from 0. *joined* are the requests that travel in this one call, *request* stands for them all, and
    *ids* are their names in a packed prompt; both are empty where a request travels alone.
    """

    request: Request
    model: str
    try_number: int = 0
    joined: tuple[Request, ...] = ()
    ids: tuple[str, ...] = ()


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What one call brought back: the answer, and the reply headers (lower-case names) that limits are read from.

    *parts* are the answers to ``Call.joined``, in its order; *response* then has the usage of them all.
    """

    response: Response
    headers: dict[str, str] = {}
    parts: tuple[Response, ...] = ()
