"""A call as the bytes its upstream takes, however they travel: alone, or as one line of a batch."""

from __future__ import annotations

import msgspec

from agentic_synth.config import UpstreamConfig
from agentic_synth.errors import ConfigError
from agentic_synth.transport.schemas import SchemaMemo, instructed, instruction_of
from agentic_synth.transport.wire import anthropic, gemini, openai_chat
from agentic_synth.transport.wire.format import WireFormat
from agentic_synth.types import Call, Json

__all__ = ["CallEncoder", "wire_of"]


class CallEncoder:
    """Encodes calls to one upstream; what a schema becomes is remembered, for a recipe asks with it over and over."""

    def __init__(self, config: UpstreamConfig) -> None:
        self._config = config
        self._wire = wire_of(config)
        self._schema_parts = SchemaMemo(self._encode_schema)
        self._instructions = SchemaMemo(instruction_of)

    def __call__(self, call: Call, *, stream: bool) -> bytes:
        schema = call.request.schema
        if schema is None:
            return self._wire.encode(self._config, call, stream=stream, schema_part=None)
        if self._config.structured:
            part = self._schema_parts(schema)
            return self._wire.encode(self._config, call, stream=stream, schema_part=part)
        messages = instructed(call.request.messages, self._instructions(schema))
        request = msgspec.structs.replace(call.request, messages=messages)
        call = msgspec.structs.replace(call, request=request)
        return self._wire.encode(self._config, call, stream=stream, schema_part=None)

    def _encode_schema(self, schema: dict[str, Json]) -> dict[str, msgspec.Raw]:
        part = self._wire.schema_part(self._config, schema)
        return {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in part.items()}


def wire_of(config: UpstreamConfig) -> WireFormat:
    """The dialect that *config* names."""
    formats = {"openai": openai_chat, "anthropic": anthropic, "gemini": gemini}
    if config.wire not in formats:
        raise ConfigError(f"{config.reference}: {config.wire} is no wire format", mend=f"one of {', '.join(formats)}")
    return formats[config.wire]
