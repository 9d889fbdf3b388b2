"""Gemini generateContent (https://ai.google.dev/api/generate-content)."""

from __future__ import annotations

import msgspec

from agentic_synth.config import UpstreamConfig
from agentic_synth.transport.wire.format import WireFault
from agentic_synth.transport.wire.gemini_request import encode
from agentic_synth.types import Delta, Finish, Json, Response, Usage

__all__ = ["Decoder", "decode", "decode_models", "decoder", "encode", "headers", "models_url", "schema_part", "url"]

_FINISH: dict[str, Finish] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "refusal",
    "RECITATION": "refusal",
    "BLOCKLIST": "refusal",
    "PROHIBITED_CONTENT": "refusal",
    "SPII": "refusal",
    "IMAGE_SAFETY": "refusal",
}


class _FunctionCall(msgspec.Struct):
    name: str = ""
    args: Json = None
    id: str | None = None


class _Part(msgspec.Struct, rename="camel"):
    text: str = ""
    thought: bool = False
    function_call: _FunctionCall | None = None


class _Content(msgspec.Struct):
    parts: list[_Part] = []


class _Candidate(msgspec.Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None


class _Usage(msgspec.Struct, rename="camel", gc=False):
    prompt_token_count: int = 0
    candidates_token_count: int = 0
    thoughts_token_count: int = 0
    cached_content_token_count: int = 0


class _Answer(msgspec.Struct, rename="camel"):
    candidates: list[_Candidate] = []
    prompt_feedback: _Feedback | None = None
    usage_metadata: _Usage | None = None
    model_version: str = ""
    error: Json = None


class _Model(msgspec.Struct):
    name: str


class _Models(msgspec.Struct):
    models: list[_Model] = []


_answer = msgspec.json.Decoder(_Answer)


def base_of(config: UpstreamConfig) -> str:
    """The base URL with its version, which Google's own variable leaves out."""
    base = config.base_url.rstrip("/")
    return base if base.rpartition("/")[2].startswith("v1") else f"{base}/v1beta"


def url(config: UpstreamConfig, model: str, *, stream: bool) -> str:
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return f"{base_of(config)}/models/{model.removeprefix('models/')}:{verb}"


def headers(key: str | None) -> dict[str, str]:
    """The key goes in a header, never in the URL, where logs would keep it."""
    found = {"content-type": "application/json"}
    if key:
        found["x-goog-api-key"] = key
    return found


def schema_part(config: UpstreamConfig, schema: dict[str, Json]) -> Json:
    """``responseJsonSchema`` takes a plain JSON Schema, unlike ``responseSchema`` with its OpenAPI subset."""
    return {"generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": schema}}


def decode(body: bytes) -> Response:
    answer = _answer.decode(body)
    if answer.error:
        raise WireFault(answer.error)
    finish = _finish(answer)
    if finish is None:
        raise msgspec.ValidationError("the reply has no candidate that finished")
    text, reasoning, calls = _pieces(answer, 0)
    return Response(
        text=text,
        reasoning=reasoning,
        tool_calls=calls,
        finish="tool_calls" if calls and finish == "stop" else finish,
        usage=_usage(answer.usage_metadata),
        model=answer.model_version,
    )


def _pieces(answer: _Answer, calls_before: int) -> tuple[str, str, tuple[dict[str, Json], ...]]:
    """Text, thoughts and calls of the first candidate."""
    content = answer.candidates[0].content if answer.candidates else None
    parts = content.parts if content is not None else []
    functions = [part.function_call for part in parts if part.function_call is not None]
    return (
        "".join([part.text for part in parts if not part.thought]),
        "".join([part.text for part in parts if part.thought]),
        tuple(_call(call, number) for number, call in enumerate(functions, calls_before)),
    )


def _call(call: _FunctionCall, number: int) -> dict[str, Json]:
    arguments = msgspec.json.encode(call.args if call.args is not None else {}).decode()
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.id or f"call_{number}", "type": "function", "function": function}


def _finish(answer: _Answer) -> Finish | None:
    """A blocked prompt has no candidate, only feedback."""
    if answer.prompt_feedback is not None and answer.prompt_feedback.block_reason:
        return "refusal"
    reason = answer.candidates[0].finish_reason if answer.candidates else None
    return None if reason is None else _FINISH.get(reason, "other")


def _usage(usage: _Usage | None) -> Usage:
    """Thoughts are billed as output and counted apart from the candidates."""
    if usage is None:
        return Usage()
    thoughts = usage.thoughts_token_count
    received = usage.candidates_token_count + thoughts
    return Usage(usage.prompt_token_count, received, usage.cached_content_token_count, thoughts)


class Decoder:
    """One streamed answer: whole answers with a piece of text each; the end of the stream is the only terminal mark."""

    __slots__ = ("_calls", "_finish", "_model", "_usage")

    def __init__(self) -> None:
        self._calls = 0
        self._finish: Finish | None = None
        self._model = ""
        self._usage: _Usage | None = None

    def push(self, data: bytes | bytearray) -> Delta | None:
        answer = _answer.decode(data)
        if answer.error:
            raise WireFault(answer.error)
        self._model = answer.model_version or self._model
        self._usage = answer.usage_metadata or self._usage
        self._finish = _finish(answer) or self._finish
        text, reasoning, calls = _pieces(answer, self._calls)
        numbered = tuple({"index": number, **call} for number, call in enumerate(calls, self._calls))
        self._calls += len(calls)
        return Delta(text, reasoning, numbered) if text or reasoning or calls else None

    def end(self) -> Delta | None:
        if self._finish is None:
            return None
        finish: Finish = "tool_calls" if self._calls and self._finish == "stop" else self._finish
        usage = _usage(self._usage) if self._usage is not None else None
        return Delta(finish=finish, usage=usage, model=self._model)


decoder = Decoder


def models_url(config: UpstreamConfig) -> str:
    return f"{base_of(config)}/models?pageSize=1000"


def decode_models(body: bytes) -> list[str]:
    found = msgspec.json.decode(body, type=_Models)
    return [model.name.removeprefix("models/") for model in found.models]
