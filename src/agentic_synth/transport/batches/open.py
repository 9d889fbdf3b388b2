"""From an upstream to its batch API."""

from __future__ import annotations

from agentic_synth.config import UpstreamConfig
from agentic_synth.errors import ConfigError
from agentic_synth.transport.batches.anthropic import AnthropicBatches
from agentic_synth.transport.batches.api import BatchApi
from agentic_synth.transport.batches.exchange import ClientFactory, NewClient
from agentic_synth.transport.batches.openai import OpenAIBatches

__all__ = ["batch_api"]


def batch_api(config: UpstreamConfig, client: NewClient = ClientFactory) -> BatchApi:
    """The batch API of the upstream *config*; nothing is connected yet.

    Raises:
        ConfigError: its wire format has none.
    """
    match config.wire:
        case "openai":
            return OpenAIBatches(config, client)
        case "anthropic":
            return AnthropicBatches(config, client)
    raise ConfigError(
        f"{config.reference}: there is no batch API for the wire format {config.wire}", mend="use --mode online"
    )
