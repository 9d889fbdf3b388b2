"""``synth models``: which models an upstream has, what they cost, and which providers are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from agentic_synth.cli.options import BaseUrl, Json
from agentic_synth.cli.outcome import run_async
from agentic_synth.cli.terminal import say, table, write, write_json
from agentic_synth.config import Config, UpstreamConfig
from agentic_synth.settings import environment, load_config

if TYPE_CHECKING:
    from agentic_synth.providers import Provider

__all__ = ["models", "models_of"]


def models(
    provider: Annotated[
        str | None,
        typer.Argument(
            help="Ask this provider for its models: openai, ollama, ...", show_default=False, metavar="PROVIDER"
        ),
    ] = None,
    base_url: BaseUrl = None,
    json: Json = False,
) -> None:
    """List models, prices and providers.

    Without a provider: the price table, and the providers that are known with the variable that holds their key. With
    one (or with --base-url): the models that it has for your key.

    \b
      synth models
      synth models openai
      synth models --base-url http://localhost:8000/v1
    """
    config = load_config({"base_url": base_url})
    if provider is None and config.base_url is None:
        _known(config, json)
        return
    from agentic_synth.upstreams import upstream_of_provider  # noqa: PLC0415 - keeps --help fast

    upstream = upstream_of_provider(provider, config=config)
    names = ["offline"] if upstream.wire == "offline" else run_async(models_of(upstream))
    if json:
        write_json(names)
        return
    prefix = "" if upstream.name in ("offline", "custom") else f"{upstream.name}/"
    for name in sorted(names):
        write(f"{prefix}{name}")
    if not names:
        say(f"{upstream.name} lists no models")


async def models_of(upstream: UpstreamConfig) -> list[str]:
    """The models that *upstream* says it has."""
    from agentic_synth.transport.upstream import HttpUpstream  # noqa: PLC0415 - keeps --help fast

    asked = HttpUpstream(upstream)
    try:
        return await asked.models()
    finally:
        await asked.aclose()


def _known(config: Config, json: bool) -> None:
    """The price table and the providers, from what ships with the package and the user's settings."""
    from agentic_synth.policies.pricing import Prices  # noqa: PLC0415 - keeps --help fast
    from agentic_synth.providers import PROVIDERS  # noqa: PLC0415

    prices = Prices.load(config.prices)
    priced = sorted(prices)
    providers = [one for one in PROVIDERS.values() if one.wire != "offline"]
    if json:
        write_json({"dated": prices.dated, "prices": dict(priced), "providers": [one.name for one in providers]})
        return
    variables = environment()
    write(f"Dollars a million tokens, of {prices.dated}; yours go into [prices] of synth.toml:\n")
    write(
        table(
            ["model", "input", "cached", "output"],
            [(name, price.input, price.cached, price.output) for name, price in priced],
        )
    )
    write("\nProviders, to be written before the model (openai/...):\n")
    rows: list[tuple[str | None, ...]] = []
    rows += [(one.name, one.base_url or "(name it)", _key_of(one, variables)) for one in providers]
    rows += [(name, own.base_url, own.key_variable) for name, own in config.upstreams.items() if name not in PROVIDERS]
    write(table(["provider", "base URL", "key"], rows))


def _key_of(provider: Provider, variables: Mapping[str, str]) -> str:
    if found := next((name for name in provider.key_variables if variables.get(name)), None):
        return f"set (from {found})"
    return " or ".join(provider.key_variables) if provider.key_required else "none needed"
