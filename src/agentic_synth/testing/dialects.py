"""The three formats that the simulated server answers in; the path of a request says which."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import msgspec

from agentic_synth.testing.answers import Answer
from agentic_synth.testing.gemini import content, content_error, content_events, content_models, read_contents
from agentic_synth.testing.messages import message, message_error, message_events, read_messages
from agentic_synth.testing.simulation import Fate
from agentic_synth.testing.wire import completion, error_body, events, model_list, read_chat
from agentic_synth.types import Request

__all__ = ["ANTHROPIC", "GEMINI", "OPENAI", "Dialect", "Fault", "dialect_of"]

Body: TypeAlias = dict[str, Any]
Headers: TypeAlias = Mapping[str, str]


class Fault(msgspec.Struct, frozen=True):
    """What goes wrong, before a dialect says it."""

    status: int
    message: str
    kind: str = "invalid_request_error"
    code: str | None = None
    param: str | None = None


class Dialect(msgspec.Struct, frozen=True):
    """How one provider says it all.

    *read* raises BadBody. The list that *stream* makes has a head in front of the first token, and an end that no
    shorter stream has. *headers* are given in OpenAI's spelling, as the simulation keeps them.
    """

    read: Callable[[Body], Request]
    reply: Callable[[Request, Fate, Answer], bytes]
    stream: Callable[[Body, Request, Fate, Answer], list[bytes]]
    fault: Callable[[Fault, Headers], bytes]
    headers: Callable[[Headers], Headers]
    models: Callable[[tuple[str, ...]], bytes]


_ANTHROPIC_KINDS = {401: "authentication_error", 404: "not_found_error", 413: "request_too_large"}
_ANTHROPIC_KINDS |= {429: "rate_limit_error", 529: "overloaded_error"}
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0}


def dialect_of(path: str) -> Dialect:
    """The format that *path* asks for; OpenAI's where it is none of the others' own."""
    if path.startswith("/v1beta/") or path.endswith((":generateContent", ":streamGenerateContent")):
        return GEMINI
    return ANTHROPIC if "/messages" in path else OPENAI


def _openai_events(body: Body, request: Request, fate: Fate, answer: Answer) -> list[bytes]:
    usage = bool((body.get("stream_options") or {}).get("include_usage"))
    return list(events(request, fate, answer, usage=usage))


def _openai_fault(fault: Fault, headers: Headers) -> bytes:
    return error_body(fault.message, fault.kind, fault.code, fault.param)


def _anthropic_fault(fault: Fault, headers: Headers) -> bytes:
    usual = "api_error" if fault.status >= 500 else "invalid_request_error"
    return message_error(fault.message, _ANTHROPIC_KINDS.get(fault.status, usual))


def _anthropic_headers(headers: Headers) -> Headers:
    """``anthropic-ratelimit-requests-reset`` and its kin, whose resets are instants (RFC 3339)."""
    found: dict[str, str] = {}
    for name, value in headers.items():
        if not name.startswith("x-ratelimit-"):
            found[name] = value
            continue
        fact, what = name.removeprefix("x-ratelimit-").split("-")
        if fact == "reset":
            seconds = sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([\d.]+)(ms|s|m|h)", value))
            value = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")  # noqa: PLW2901
        found[f"anthropic-ratelimit-{what}-{fact}"] = value
    return found


def _gemini_headers(headers: Headers) -> Headers:
    """None: Google says in the body how long to wait, and nothing of the limits."""
    return {}


def _gemini_events(body: Body, request: Request, fate: Fate, answer: Answer) -> list[bytes]:
    return content_events(request, fate, answer)


def _anthropic_events(body: Body, request: Request, fate: Fate, answer: Answer) -> list[bytes]:
    return message_events(request, fate, answer)


def _gemini_fault(fault: Fault, headers: Headers) -> bytes:
    return content_error(fault.status, fault.message, headers.get("retry-after"))


OPENAI = Dialect(
    read=read_chat,
    reply=completion,
    stream=_openai_events,
    fault=_openai_fault,
    headers=lambda headers: headers,
    models=model_list,
)
ANTHROPIC = Dialect(
    read=read_messages,
    reply=message,
    stream=_anthropic_events,
    fault=_anthropic_fault,
    headers=_anthropic_headers,
    models=model_list,
)
GEMINI = Dialect(
    read=read_contents,
    reply=content,
    stream=_gemini_events,
    fault=_gemini_fault,
    headers=_gemini_headers,
    models=content_models,
)
