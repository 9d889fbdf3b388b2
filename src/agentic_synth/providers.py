"""The providers that are known by name: where they live, which variables hold their keys, what they speak."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

import msgspec

__all__ = ["PROVIDERS", "Provider"]

Wire: TypeAlias = Literal["openai", "anthropic", "gemini", "offline"]


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """What can be said of a provider without asking it.

    The first of *key_variables* and *base_url_variables* that is set in the environment wins; an empty *base_url* means
    that the user must name one. *structured* says that its models commonly take a JSON Schema natively; where they do
    not, the schema is put into the prompt. *headers* are sent with every call.
    """

    name: str
    base_url: str
    key_variables: tuple[str, ...] = ()
    base_url_variables: tuple[str, ...] = ()
    wire: Wire = "openai"
    structured: bool = True
    key_required: bool = True
    headers: dict[str, str] = {}


def _hosted(name: str, base_url: str, *key_variables: str, structured: bool = True) -> Provider:
    """A hosted, OpenAI-compatible provider, whose base URL can be moved with ``NAME_BASE_URL``."""
    return Provider(
        name=name,
        base_url=base_url,
        key_variables=key_variables or (f"{name.upper()}_API_KEY",),
        base_url_variables=(f"{name.upper()}_BASE_URL",),
        structured=structured,
    )


def _local(name: str, port: int) -> Provider:
    """An OpenAI-compatible server on this machine, which usually wants no key."""
    return Provider(
        name=name,
        base_url=f"http://localhost:{port}/v1",
        key_variables=(f"{name.upper()}_API_KEY",),
        base_url_variables=(f"{name.upper()}_BASE_URL",),
        key_required=False,
    )


PROVIDERS: Mapping[str, Provider] = MappingProxyType(
    {
        provider.name: provider
        for provider in (
            Provider(name="offline", base_url="", wire="offline", key_required=False),
            _hosted("openai", "https://api.openai.com/v1"),
            Provider(
                name="anthropic",
                base_url="https://api.anthropic.com",
                key_variables=("ANTHROPIC_API_KEY",),
                base_url_variables=("ANTHROPIC_BASE_URL",),
                wire="anthropic",
            ),
            Provider(
                name="gemini",
                base_url="https://generativelanguage.googleapis.com/v1beta",
                key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
                base_url_variables=("GOOGLE_GEMINI_BASE_URL", "GEMINI_BASE_URL"),
                wire="gemini",
            ),
            Provider(
                name="azure",
                base_url="",
                key_variables=("AZURE_OPENAI_API_KEY", "AZURE_API_KEY"),
                base_url_variables=("AZURE_OPENAI_ENDPOINT", "AZURE_API_BASE"),
            ),
            _hosted("cerebras", "https://api.cerebras.ai/v1"),
            _hosted("cohere", "https://api.cohere.ai/compatibility/v1", "COHERE_API_KEY", "CO_API_KEY"),
            _hosted("deepinfra", "https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY", "DEEPINFRA_TOKEN"),
            _hosted("deepseek", "https://api.deepseek.com/v1", structured=False),
            _hosted("fireworks", "https://api.fireworks.ai/inference/v1"),
            _hosted("groq", "https://api.groq.com/openai/v1", structured=False),
            _hosted("huggingface", "https://router.huggingface.co/v1", "HF_TOKEN", "HUGGINGFACE_API_KEY"),
            _hosted("mistral", "https://api.mistral.ai/v1"),
            _hosted("moonshot", "https://api.moonshot.ai/v1", structured=False),
            _hosted("nvidia", "https://integrate.api.nvidia.com/v1", structured=False),
            _hosted("openrouter", "https://openrouter.ai/api/v1"),
            _hosted("perplexity", "https://api.perplexity.ai", "PERPLEXITY_API_KEY", "PPLX_API_KEY"),
            _hosted("sambanova", "https://api.sambanova.ai/v1", structured=False),
            _hosted("together", "https://api.together.xyz/v1", "TOGETHER_API_KEY", "TOGETHERAI_API_KEY"),
            _hosted("xai", "https://api.x.ai/v1"),
            _local("llamacpp", 8080),
            _local("lmstudio", 1234),
            _local("ollama", 11434),
            _local("sglang", 30000),
            _local("vllm", 8000),
        )
    }
)
"""Name -> provider, for the ``provider/`` part of a model reference."""
