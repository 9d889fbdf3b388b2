"""From what a user names (a model, a base URL, a key) to the upstream that is meant.

A model name is never silently replaced, and no key is sent to a place the user did not connect it with.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from msgspec import structs

from agentic_synth.config import Config, Secret, UpstreamConfig, UpstreamSettings
from agentic_synth.errors import ConfigError
from agentic_synth.providers import PROVIDERS, Provider
from agentic_synth.settings import environment

__all__ = ["resolve_upstream", "upstream_of_provider"]

OFFLINE = UpstreamConfig(reference="offline", name="offline", model="offline", wire="offline")
CUSTOM = Provider(name="custom", base_url="", key_variables=("SYNTH_API_KEY",), key_required=False)
EXAMPLES = {
    "anthropic": "anthropic/claude-haiku-4-5",
    "gemini": "gemini/gemini-2.5-flash",
    "openai": "openai/gpt-4.1-mini",
}
FAMILIES = {"gpt": "openai", "o1": "openai", "o3": "openai", "o4": "openai", "claude": "anthropic", "gemini": "gemini"}


def resolve_upstream(
    reference: str | None,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    config: Config,
    environ: Mapping[str, str] | None = None,
    key_wanted: bool = True,
) -> UpstreamConfig:
    """The upstream meant by ``provider/model``, by a bare model name with a base URL, or by nothing at all.

    A base URL that is given wins over the provider's own; the provider then still says which wire format and key are
    meant. With no model, no base URL and no key in the environment it is the ``offline`` generator; with a key but no
    model it is an error, so that no money is spent on a model nobody chose. Without *key_wanted* nothing will be sent,
    and a missing key is no error.
    """
    variables = environment() if environ is None else environ
    reference = reference or config.model
    beside = (*config.fallback, config.semantic.embedder)
    if base_url is None and not (reference in beside and _provider_of(reference, config)):
        base_url = config.base_url
    if not reference:
        return _unnamed(base_url, variables)
    if reference == "offline" or reference.startswith("offline/"):
        return OFFLINE
    if provider := _provider_of(reference, config):
        model = reference.partition("/")[2]
    elif base_url:
        provider, model = CUSTOM, reference
    elif variables.get("OPENAI_BASE_URL") and "/" not in reference:
        provider, model = PROVIDERS["openai"], reference
    else:
        raise _unknown(reference, config)
    if not model:
        raise ConfigError(f"`{reference}` names no model", mend=f"for example --model {_example(provider.name)}")
    upstream = _connected(provider, reference, base_url, config, variables)
    key = _key(provider, api_key, variables)
    if key is None and key_wanted and provider.key_required and not _moved(provider, base_url, variables):
        raise _keyless(provider, ", or use --model offline")
    return structs.replace(
        upstream, model=model, api_key=key, key_variable="" if api_key else _key_variable(provider, variables)
    )


def upstream_of_provider(
    name: str | None,
    *,
    base_url: str | None = None,
    config: Config,
    environ: Mapping[str, str] | None = None,
) -> UpstreamConfig:
    """The upstream of a provider (or of a base URL alone) with no model chosen yet: to ask it which it has."""
    variables = environment() if environ is None else environ
    base_url = base_url or config.base_url
    if name in ("offline", "offline/"):
        return OFFLINE
    provider = _provider_of(f"{name.partition('/')[0]}/", config) if name else (CUSTOM if base_url else None)
    if provider is None:
        raise (
            _unknown(f"{name.rstrip('/')}/", config)
            if name
            else ConfigError(
                "no upstream is named", mend="name a provider (`synth models openai`) or add --base-url URL"
            )
        )
    upstream = _connected(provider, f"{provider.name}/", base_url, config, variables)
    key = _key(provider, None, variables)
    if key is None and provider.key_required and not _moved(provider, base_url, variables):
        raise _keyless(provider, "; `synth models` alone lists what is known without one")
    return structs.replace(upstream, api_key=key, key_variable=_key_variable(provider, variables))


def _provider_of(reference: str | None, config: Config) -> Provider | None:
    """The provider before the slash, the user's own settings of it included; None where there is none."""
    name, slash, _ = (reference or "").partition("/")
    if not slash or name == "offline":
        return None
    known, own = PROVIDERS.get(name), config.upstreams.get(name)
    if own is None:
        return known
    known = known or Provider(name=name, base_url="", key_required=False)
    return Provider(
        name=name,
        base_url=own.base_url or known.base_url,
        key_variables=(own.key_variable,) if own.key_variable else known.key_variables,
        base_url_variables=() if own.base_url else known.base_url_variables,
        wire=own.wire or known.wire,
        structured=known.structured if own.structured is None else own.structured,
        key_required=bool(own.key_variable) or known.key_required,
        headers={**known.headers, **own.headers},
    )


def _connected(
    provider: Provider, reference: str, base_url: str | None, config: Config, variables: Mapping[str, str]
) -> UpstreamConfig:
    """The upstream but for model and key."""
    own = config.upstreams.get(provider.name, UpstreamSettings())
    url = _checked_url(_moved(provider, base_url, variables) or provider.base_url, provider)
    return UpstreamConfig(
        reference=reference,
        name=provider.name,
        model="",
        wire=provider.wire,
        base_url=url,
        headers=provider.headers,
        http=config.http,
        ca_file=own.ca_file or variables.get("SSL_CERT_FILE"),
        proxy=own.proxy or _proxy(url, variables),
        timeouts=config.timeouts,
        structured=provider.structured,
        max_connections=own.max_connections,
        requests_per_minute=own.requests_per_minute,
        input_tokens_per_minute=own.input_tokens_per_minute,
        output_tokens_per_minute=own.output_tokens_per_minute,
        max_batch_size=own.max_batch_size,
        max_batch_tokens=own.max_batch_tokens,
    )


def _moved(provider: Provider, base_url: str | None, variables: Mapping[str, str]) -> str | None:
    """Where the user says the provider is, if not at its own address; whoever is there may want no key."""
    return base_url or _first(provider.base_url_variables, variables)


def _unnamed(base_url: str | None, variables: Mapping[str, str]) -> UpstreamConfig:
    """Nobody named a model: offline on a bare machine, otherwise the user must choose."""
    if base_url:
        raise ConfigError(
            f"no model is named for {base_url}",
            mend=f"add --model NAME; `synth models --base-url {base_url}` lists what it has",
        )
    for provider in PROVIDERS.values():
        keys = [name for name in provider.key_variables if name.endswith("_API_KEY")]
        for variable in (*keys, *provider.base_url_variables):
            if variables.get(variable):
                raise ConfigError(
                    f"{variable} is set, but no model is named",
                    mend=f"add --model {_example(provider.name)} to use it, or --model offline to use no model at all",
                )
    return OFFLINE


def _unknown(reference: str, config: Config) -> ConfigError:
    import difflib  # noqa: PLC0415 - only for an error

    name, slash, model = reference.partition("/")
    known = sorted({*PROVIDERS, *config.upstreams})
    if not slash:
        family = next((owner for prefix, owner in FAMILIES.items() if reference.startswith(prefix)), None)
        near = [name] if name in known else difflib.get_close_matches(name, known, 1, cutoff=0.75)
        if near:
            return ConfigError(f"`{reference}` names no model", mend=f"for example --model {_example(near[0])}")
        mend = f"write {family or 'PROVIDER'}/{reference}, or add --base-url URL of an OpenAI-compatible server"
        return ConfigError(f"`{reference}` does not say which provider has it", mend=mend)
    near = difflib.get_close_matches(name, known, 1, cutoff=0.7)
    hint = f"did you mean {f'{near[0]}/{model}'.rstrip('/')}?" if near else f"known are {', '.join(known)}."
    return ConfigError(
        f"there is no provider `{name}`", mend=f"{hint} Any other OpenAI-compatible server: --base-url URL"
    )


def _example(provider: str) -> str:
    return EXAMPLES.get(provider, f"{provider}/MODEL")


def _key(provider: Provider, given: str | None, variables: Mapping[str, str]) -> Secret | None:
    text = (given or _first(provider.key_variables, variables) or "").strip()
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ConfigError(
            f"the key for {provider.name} holds characters that no key has",
            mend="copy it again, without quotes, blanks or line ends",
        )
    return Secret(text) if text else None


def _key_variable(provider: Provider, variables: Mapping[str, str]) -> str:
    """The variable that holds the key, or the one that would."""
    names = provider.key_variables
    return next((name for name in names if variables.get(name)), names[0] if names else "")


def _keyless(provider: Provider, instead: str) -> ConfigError:
    return ConfigError(
        f"{provider.name} needs a key, and {' or '.join(provider.key_variables)} is not set",
        mend=f"export {provider.key_variables[0]}=... (or put it into .env){instead}",
    )


def _checked_url(text: str, provider: Provider) -> str:
    if not text:
        names = " or ".join(provider.base_url_variables)
        raise ConfigError(
            f"{provider.name} has no base URL of its own",
            mend=f"set {names}, or add --base-url URL" if names else f"set base_url in [upstreams.{provider.name}]",
        )
    url = text.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        bad = parts.scheme not in ("http", "https") or not parts.hostname or (parts.port is not None and parts.port < 1)
    except ValueError:
        bad = True
    if bad:
        hint = f"perhaps http://{url}" if "://" not in url else "it begins with http:// or https:// and names a host"
        raise ConfigError(f"`{text}` is not a base URL", mend=hint)
    for tail in ("/chat/completions", "/completions", "/embeddings", "/messages"):
        if url.endswith(tail):
            raise ConfigError(f"`{text}` is an endpoint, not a base URL", mend=f"write {url.removesuffix(tail)}")
    return url


def _proxy(url: str, variables: Mapping[str, str]) -> str | None:
    """The proxy of the usual variables; never for this machine, nor for what ``NO_PROXY`` names."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    exempt = [name.strip().lower().lstrip("*.") for name in _either("no_proxy", variables).split(",") if name.strip()]
    local = host in ("localhost", "::1") or host.startswith("127.")
    if local or any(name in ("", host) or host.endswith(f".{name}") for name in exempt):
        return None
    return _either(f"{parts.scheme}_proxy", variables) or _either("all_proxy", variables) or None


def _either(name: str, variables: Mapping[str, str]) -> str:
    return variables.get(name) or variables.get(name.upper()) or ""


def _first(names: tuple[str, ...], variables: Mapping[str, str]) -> str | None:
    return next((variables[name] for name in names if variables.get(name)), None)
