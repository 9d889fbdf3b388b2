"""Anthropic Messages (https://docs.anthropic.com/en/api/messages)."""

from __future__ import annotations

import msgspec

from agentic_synth.config import UpstreamConfig
from agentic_synth.transport.schemas import fit, instruction_of
from agentic_synth.transport.wire.anthropic_request import encode
from agentic_synth.transport.wire.format import WireFault
from agentic_synth.types import Delta, Finish, Json, Response, Usage

__all__ = ["Decoder", "decode", "decode_models", "decoder", "encode", "headers", "models_url", "schema_part", "url"]

_VERSION = "2023-06-01"

_FINISH: dict[str, Finish] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
}


class _OutputDetails(msgspec.Struct, gc=False):
    thinking_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens_details: _OutputDetails | None = None


class _Block(msgspec.Struct):
    type: str = ""
    text: str = ""
    thinking: str = ""
    id: str = ""
    name: str = ""
    input: Json = None
    partial_json: str = ""
    stop_reason: str | None = None


class _Answer(msgspec.Struct):
    type: str = "message"
    content: list[_Block] = []
    model: str = ""
    stop_reason: str | None = None
    usage: _Usage | None = None
    error: Json = None


class _Event(msgspec.Struct):
    type: str = ""
    index: int = 0
    message: _Answer | None = None
    content_block: _Block | None = None
    delta: _Block | None = None
    usage: _Usage | None = None
    error: Json = None


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model] = []


_answer = msgspec.json.Decoder(_Answer)
_event = msgspec.json.Decoder(_Event)


def _base(config: UpstreamConfig) -> str:
    base = config.base_url.rstrip("/")
    return base if base.endswith("/v1") else f"{base}/v1"


def url(config: UpstreamConfig, model: str, *, stream: bool) -> str:
    return f"{_base(config)}/messages"


def headers(key: str | None) -> dict[str, str]:
    found = {"content-type": "application/json", "anthropic-version": _VERSION}
    if key:
        found["x-api-key"] = key
    return found


def schema_part(config: UpstreamConfig, schema: dict[str, Json]) -> Json:
    """``output_config.format``, or words in the prompt where the schema is more than the decoder can be held to."""
    fitted = fit(schema, require_all=False)
    if fitted is None:
        return {"system": instruction_of(schema)}
    return {"output_config": {"format": {"type": "json_schema", "schema": fitted}}}


def decode(body: bytes) -> Response:
    answer = _answer.decode(body)
    if answer.error or answer.type == "error":
        raise WireFault(answer.error)
    if answer.stop_reason is None and not answer.content:
        raise msgspec.ValidationError("the reply has neither content nor a stop reason")
    calls = [block for block in answer.content if block.type == "tool_use"]
    return Response(
        text="".join([block.text for block in answer.content if block.type == "text"]),
        reasoning="".join([block.thinking for block in answer.content]),
        tool_calls=tuple(_call(block) for block in calls),
        finish=_FINISH.get(answer.stop_reason or "", "other"),
        usage=_usage(answer.usage),
        model=answer.model,
    )


def _call(block: _Block) -> dict[str, Json]:
    arguments = msgspec.json.encode(block.input if block.input is not None else {}).decode()
    return {"id": block.id, "type": "function", "function": {"name": block.name, "arguments": arguments}}


def _usage(usage: _Usage | None) -> Usage:
    """Anthropic counts cached input apart; our input is all of it."""
    if usage is None:
        return Usage()
    cached = usage.cache_read_input_tokens or 0
    sent = (usage.input_tokens or 0) + (usage.cache_creation_input_tokens or 0) + cached
    details = usage.output_tokens_details
    return Usage(sent, usage.output_tokens or 0, cached, (details.thinking_tokens if details else None) or 0)


class Decoder:
    """One streamed message: usage begins in ``message_start`` and ends in ``message_delta``."""

    __slots__ = ("_finish", "_model", "_tools", "_usage")

    def __init__(self) -> None:
        self._finish: Finish | None = None
        self._usage = _Usage()
        self._model = ""
        self._tools: dict[int, int] = {}

    def push(self, data: bytes | bytearray) -> Delta | None:
        event = _event.decode(data)
        if event.type == "content_block_delta" and event.delta is not None:
            return self._piece(event.index, event.delta)
        if event.type == "error":
            raise WireFault(event.error)
        if event.type == "message_start" and event.message is not None:
            self._model = event.message.model
            self._count(event.message.usage)
        elif event.type == "content_block_start" and event.content_block is not None:
            return self._begin(event.index, event.content_block)
        elif event.type == "message_delta":
            self._count(event.usage)
            if event.delta is not None and event.delta.stop_reason is not None:
                self._finish = _FINISH.get(event.delta.stop_reason, "other")
        elif event.type == "message_stop":
            return Delta(finish=self._finish or "other", usage=_usage(self._usage), model=self._model)
        return None

    def _begin(self, index: int, block: _Block) -> Delta | None:
        if block.type == "tool_use":
            number = self._tools[index] = len(self._tools)
            function = {"name": block.name, "arguments": ""}
            call = {"index": number, "id": block.id, "type": "function", "function": function}
            return Delta(tool_calls=(call,))
        return Delta(block.text, block.thinking) if block.text or block.thinking else None

    def _piece(self, index: int, piece: _Block) -> Delta | None:
        if piece.partial_json:
            call = {"index": self._tools.get(index, 0), "function": {"arguments": piece.partial_json}}
            return Delta(tool_calls=(call,))
        return Delta(piece.text, piece.thinking) if piece.text or piece.thinking else None

    def _count(self, usage: _Usage | None) -> None:
        """Later counts are cumulative, so they replace what they name."""
        for field in _Usage.__struct_fields__ if usage is not None else ():
            if (value := getattr(usage, field)) is not None:
                setattr(self._usage, field, value)

    def end(self) -> Delta | None:
        return (
            None if self._finish is None else Delta(finish=self._finish, usage=_usage(self._usage), model=self._model)
        )


decoder = Decoder


def models_url(config: UpstreamConfig) -> str:
    return f"{_base(config)}/models?limit=1000"


def decode_models(body: bytes) -> list[str]:
    return [model.id for model in msgspec.json.decode(body, type=_Models).data]
