"""OpenAI chat completions, and the many servers that speak it (https://platform.openai.com/docs/api-reference/chat)."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from agentic_synth.config import UpstreamConfig
from agentic_synth.transport.schemas import fit
from agentic_synth.transport.wire.format import WireFault, text_of
from agentic_synth.types import Call, Delta, Finish, Json, Response, Usage

__all__ = ["Decoder", "decode", "decode_models", "decoder", "encode", "headers", "models_url", "schema_part", "url"]

_FINISH: dict[str, Finish] = {
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "length": "length",
    "max_tokens": "length",
    "content_filter": "refusal",
    "refusal": "refusal",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}

# Hosts that count the tokens of a stream anyway, and refuse fields they do not know.
_COUNTS_UNASKED = {"api.mistral.ai"}


class _Details(msgspec.Struct, gc=False):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    # DeepSeek's name for the cached part.
    prompt_cache_hit_tokens: int | None = None


class _Message(msgspec.Struct):
    content: str | list[dict[str, Json]] | None = None
    refusal: str | None = None
    # DeepSeek, vLLM and SGLang say the one, OpenRouter, Groq and newer vLLM the other.
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[dict[str, Json]] | None = None


class _Choice(msgspec.Struct):
    message: _Message | None = None
    delta: _Message | None = None
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice] | None = None
    model: str | None = None
    usage: _Usage | None = None
    error: Json = None


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model] = []


_completion = msgspec.json.Decoder(_Completion)
_models = msgspec.json.Decoder(_Models | list[_Model])
_encoder = msgspec.json.Encoder()


def base_of(config: UpstreamConfig) -> str:
    """The base URL; an Azure resource's bare endpoint gets the path of its OpenAI-compatible API."""
    base = config.base_url.rstrip("/")
    parts = urlsplit(base)
    if (parts.hostname or "").endswith(".azure.com") and parts.path in {"", "/openai"}:
        return f"{parts.scheme}://{parts.netloc}/openai/v1"
    return base


def url(config: UpstreamConfig, model: str, *, stream: bool) -> str:
    return f"{base_of(config)}/chat/completions"


def headers(key: str | None) -> dict[str, str]:
    found = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    if key:
        found["authorization"] = f"Bearer {key}"
    return found


def is_openai(config: UpstreamConfig) -> bool:
    """Whether OpenAI's own rules hold here, which compatible servers do not share."""
    host = urlsplit(config.base_url).hostname or ""
    return host == "api.openai.com" or host.endswith(".azure.com")


def schema_part(config: UpstreamConfig, schema: dict[str, Json]) -> Json:
    """``response_format``; strict where OpenAI's rules for strict schemas allow it.

    Compatible servers compile the schema as it is, with the bounds OpenAI does not know, so they get it untouched.
    """
    fitted = fit(schema, require_all=True) if schema.get("type") == "object" else None
    strict = fitted is not None
    if fitted is not None and not is_openai(config):
        strict = fitted == schema
        fitted = schema
    name = "".join(c if c.isalnum() and c.isascii() else "_" for c in str(schema.get("title") or "answer"))[:64]
    body = {"name": name, "schema": fitted if fitted is not None else schema, "strict": strict}
    return {"response_format": {"type": "json_schema", "json_schema": body}}


def encode(config: UpstreamConfig, call: Call, *, stream: bool, schema_part: Mapping[str, msgspec.Raw] | None) -> bytes:
    request = call.request
    body: dict[str, Json] = {"model": call.model, "messages": request.messages}
    if schema_part is not None:
        body.update(schema_part)
    if request.tools:
        body["tools"] = request.tools
    if request.tool_choice is not None:
        body["tool_choice"] = request.tool_choice
    if stream:
        body["stream"] = True
        if urlsplit(config.base_url).hostname not in _COUNTS_UNASKED:
            body["stream_options"] = {"include_usage": True}
    if request.parameters:
        body.update(request.parameters)
        if "max_tokens" in body and is_openai(config):
            body["max_completion_tokens"] = body.pop("max_tokens")
    return _encoder.encode(body)


def decode(body: bytes) -> Response:
    completion = _completion.decode(body)
    if completion.error:
        raise WireFault(completion.error)
    if not completion.choices or completion.choices[0].message is None:
        raise msgspec.ValidationError("the reply has no choices")
    choice = completion.choices[0]
    message = completion.choices[0].message
    return Response(
        text=message.refusal or text_of(message.content),
        reasoning=message.reasoning_content or message.reasoning or "",
        tool_calls=tuple(message.tool_calls or ()),
        finish="refusal" if message.refusal else _FINISH.get(choice.finish_reason or "", "other"),
        usage=_usage(completion.usage),
        model=completion.model or "",
    )


def _usage(usage: _Usage | None) -> Usage:
    if usage is None:
        return Usage()
    sent, received = usage.prompt_tokens_details, usage.completion_tokens_details
    cached = (sent.cached_tokens if sent is not None else None) or usage.prompt_cache_hit_tokens or 0
    reasoned = (received.reasoning_tokens if received is not None else None) or 0
    return Usage(usage.prompt_tokens or 0, usage.completion_tokens or 0, cached, reasoned)


class Decoder:
    """One streamed completion: the finish is held back until the usage that follows it, or ``[DONE]``."""

    __slots__ = ("_finish", "_model", "_refused", "_usage")

    def __init__(self) -> None:
        self._finish: Finish | None = None
        self._usage: Usage | None = None
        self._model = ""
        self._refused = False

    def push(self, data: bytes | bytearray) -> Delta | None:
        if data == b"[DONE]":
            return self._last("other")
        chunk = _completion.decode(data)
        if chunk.error:
            raise WireFault(chunk.error)
        self._model = self._model or chunk.model or ""
        if chunk.usage is not None:
            self._usage = _usage(chunk.usage)
        if not chunk.choices:
            return None
        choice = chunk.choices[0]
        if choice.finish_reason is not None:
            self._finish = _FINISH.get(choice.finish_reason, "other")
        piece = choice.delta or choice.message
        return self._delta(piece) if piece is not None else None

    def _delta(self, piece: _Message) -> Delta | None:
        text = text_of(piece.content) if piece.content else ""
        if piece.refusal:
            self._refused = True
            text += piece.refusal
        reasoning = piece.reasoning_content or piece.reasoning or ""
        if not (text or reasoning or piece.tool_calls):
            return None
        return Delta(text, reasoning, tuple(piece.tool_calls or ()))

    def end(self) -> Delta | None:
        return self._last(None)

    def _last(self, unnamed: Finish | None) -> Delta | None:
        finish = self._finish or unnamed
        if finish is None:
            return None
        return Delta(finish="refusal" if self._refused else finish, usage=self._usage, model=self._model)


decoder = Decoder


def models_url(config: UpstreamConfig) -> str:
    return f"{base_of(config)}/models"


def decode_models(body: bytes) -> list[str]:
    found = _models.decode(body)
    return [model.id for model in (found.data if isinstance(found, _Models) else found)]
