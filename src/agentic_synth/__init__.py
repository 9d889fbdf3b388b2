"""Synthetic data with language models: exactly N valid rows, fast, for the least money, nothing lost or paid twice."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentic_synth.errors import SynthError
    from agentic_synth.recipes.model import Recipe
    from agentic_synth.sdk.blocking import BlockingSynth
    from agentic_synth.sdk.recipe_run import Run
    from agentic_synth.sdk.synth import Synth
    from agentic_synth.types import Delta, Message, Request, Response, Usage

__version__ = "0.1.0"

_HOMES = {
    "BlockingSynth": "agentic_synth.sdk.blocking",
    "Delta": "agentic_synth.types",
    "Message": "agentic_synth.types",
    "Recipe": "agentic_synth.recipes.model",
    "Request": "agentic_synth.types",
    "Response": "agentic_synth.types",
    "Run": "agentic_synth.sdk.recipe_run",
    "Synth": "agentic_synth.sdk.synth",
    "SynthError": "agentic_synth.errors",
    "Usage": "agentic_synth.types",
}

__all__ = [
    "BlockingSynth",
    "Delta",
    "Message",
    "Recipe",
    "Request",
    "Response",
    "Run",
    "Synth",
    "SynthError",
    "Usage",
    "__version__",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
