"""How many texts one embeddings call may hold, by provider."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from agentic_synth.config import UpstreamConfig
from agentic_synth.policies.batching import BatchLimits

__all__ = ["input_limits"]

_MARGIN = 0.8
"""Tokens are estimated before a call, and a batch that is refused for a few too many costs a call."""

_LIMITS: Mapping[str, BatchLimits] = MappingProxyType(
    {
        # https://platform.openai.com/docs/api-reference/embeddings/create
        "openai": BatchLimits(items=2_048, tokens=300_000, item_tokens=8_192),
        "azure": BatchLimits(items=2_048, tokens=300_000, item_tokens=8_192),
        # batchEmbedContents, which its OpenAI-compatible door ends in, takes 100.
        "gemini": BatchLimits(items=100, item_tokens=2_048),
        # https://docs.cohere.com/reference/embed
        "cohere": BatchLimits(items=96),
        "mistral": BatchLimits(tokens=16_384, item_tokens=8_192),
        "deepinfra": BatchLimits(items=1_024),
    }
)
_UNKNOWN = BatchLimits()


def input_limits(upstream: UpstreamConfig) -> BatchLimits:
    """What is known of the provider of *upstream*, and before that what the user says of it.

    A provider that is not in the table takes what it takes: a batch that it refuses is split, and its size remembered.
    """
    known = _LIMITS.get(upstream.name, _UNKNOWN)
    tokens = known.tokens * _MARGIN if upstream.max_batch_tokens is None else upstream.max_batch_tokens
    items = known.items if upstream.max_batch_size is None else upstream.max_batch_size
    likely = min(known.item_tokens * _MARGIN, tokens)
    return msgspec.structs.replace(known, items=items, tokens=tokens, item_tokens=likely)
