"""What a user names leads to the upstream that is meant, or to a message that says what to add."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentic_synth.config import Config, UpstreamConfig, UpstreamSettings
from agentic_synth.errors import ConfigError
from agentic_synth.providers import PROVIDERS
from agentic_synth.settings import load_config
from agentic_synth.upstreams import resolve_upstream, upstream_of_provider

LOCAL = "http://127.0.0.1:8000/v1"
KEYS = {"OPENAI_API_KEY": "sk-o", "ANTHROPIC_API_KEY": "sk-a"}


def resolve(reference: str | None, variables: dict[str, str] | None = None, **rest: Any) -> UpstreamConfig:
    config = rest.pop("config", Config())
    return resolve_upstream(reference, config=config, environ=variables or {}, **rest)


def key_of(upstream: UpstreamConfig) -> str | None:
    return upstream.api_key.reveal() if upstream.api_key else None


def test_a_bare_machine_gets_the_offline_generator() -> None:
    for reference in (None, "offline", "offline/anything"):
        upstream = resolve(reference)
        assert (upstream.wire, upstream.reference, upstream.name) == ("offline", "offline", "offline")


def test_provider_and_model() -> None:
    upstream = resolve("openai/gpt-4.1-mini", KEYS)
    assert (upstream.name, upstream.model, upstream.wire) == ("openai", "gpt-4.1-mini", "openai")
    assert (upstream.reference, upstream.base_url) == ("openai/gpt-4.1-mini", PROVIDERS["openai"].base_url)
    assert key_of(upstream) == "sk-o"
    assert key_of(resolve("anthropic/claude", KEYS)) == "sk-a"


def test_a_model_name_may_hold_slashes() -> None:
    upstream = resolve("openrouter/meta-llama/llama-3:free", {"OPENROUTER_API_KEY": "k"})
    assert (upstream.name, upstream.model) == ("openrouter", "meta-llama/llama-3:free")


@pytest.mark.parametrize("model", ["qwen", "meta-llama/Llama-3-8B", "sentence transformers"])
def test_any_model_at_a_base_url(model: str) -> None:
    upstream = resolve(model, KEYS, base_url=LOCAL + "/")
    assert (upstream.name, upstream.model, upstream.wire, upstream.base_url) == ("custom", model, "openai", LOCAL)
    assert upstream.api_key is None, "a key of a provider goes to nobody else"
    assert key_of(resolve(model, {**KEYS, "SYNTH_API_KEY": "mine"}, base_url=LOCAL)) == "mine"
    assert key_of(resolve(model, KEYS, base_url=LOCAL, api_key="given")) == "given"


def test_the_base_url_wins_over_the_providers_and_needs_no_key() -> None:
    upstream = resolve("openai/gpt-4.1", base_url=LOCAL)
    assert (upstream.reference, upstream.model, upstream.base_url) == ("openai/gpt-4.1", "gpt-4.1", LOCAL)
    assert upstream.api_key is None
    assert resolve("openai/gpt-4.1", {"OPENAI_BASE_URL": LOCAL}).base_url == LOCAL
    assert resolve("openai/x", {"OPENAI_BASE_URL": "http://other/v1"}, base_url=LOCAL).base_url == LOCAL


def test_a_bare_model_goes_to_the_servers_of_openai_base_url() -> None:
    upstream = resolve("qwen3", {"OPENAI_BASE_URL": LOCAL, "OPENAI_API_KEY": "k"})
    assert (upstream.name, upstream.model, upstream.base_url, key_of(upstream)) == ("openai", "qwen3", LOCAL, "k")


def test_settings_say_model_and_base_url_where_the_call_does_not() -> None:
    config = Config(model="qwen", base_url=LOCAL, http="1", fallback=("anthropic/claude", "small"))
    assert resolve(None, config=config).model == "qwen"
    assert resolve(None, config=config).http == "1"
    assert resolve("openai/x", config=config).base_url == LOCAL
    assert resolve("anthropic/claude", KEYS, config=config).base_url == PROVIDERS["anthropic"].base_url
    assert resolve("small", config=config).base_url == LOCAL


def test_the_users_own_upstreams() -> None:
    lab = UpstreamSettings(base_url=LOCAL, key_variable="LAB_KEY", headers={"x-team": "a"}, requests_per_minute=60)
    config = Config(upstreams={"lab": lab, "openai": UpstreamSettings(structured=False, max_connections=5)})
    upstream = resolve("lab/qwen", {"LAB_KEY": "k"}, config=config)
    assert (upstream.name, upstream.base_url, key_of(upstream)) == ("lab", LOCAL, "k")
    assert (upstream.headers, upstream.requests_per_minute) == ({"x-team": "a"}, 60)
    adjusted = resolve("openai/x", KEYS, config=config)
    assert (adjusted.structured, adjusted.max_connections, key_of(adjusted)) == (False, 5, "sk-o")
    with pytest.raises(ConfigError, match="LAB_KEY is not set"):
        resolve("lab/qwen", config=config)


@pytest.mark.parametrize(
    ("reference", "base_url", "variables", "told", "mend"),
    [
        (None, None, {"OPENAI_API_KEY": "k"}, "OPENAI_API_KEY is set, but no model", "--model openai/gpt-4.1-mini"),
        (None, None, {"GROQ_API_KEY": "k"}, "GROQ_API_KEY is set", "--model offline"),
        (None, None, {"OPENAI_BASE_URL": LOCAL}, "OPENAI_BASE_URL is set, but no model", "--model"),
        (None, LOCAL, {}, f"no model is named for {LOCAL}", f"synth models --base-url {LOCAL}"),
        ("openai/gpt", None, {}, "OPENAI_API_KEY is not set", "export OPENAI_API_KEY="),
        ("gemini/g", None, {}, "GEMINI_API_KEY or GOOGLE_API_KEY is not set", "export GEMINI_API_KEY="),
        ("openai/", None, KEYS, "names no model", "openai/gpt-4.1-mini"),
        ("openai", None, KEYS, "names no model", "openai/gpt-4.1-mini"),
        ("gpt-5", None, KEYS, "does not say which provider", "write openai/gpt-5"),
        ("claude-x", None, KEYS, "does not say which provider", "write anthropic/claude-x"),
        ("qwen", None, KEYS, "does not say which provider", "--base-url URL"),
        ("opnai/x", None, KEYS, "no provider `opnai`", "did you mean openai/x?"),
        ("q/x", None, KEYS, "no provider `q`", "known are anthropic, "),
        ("azure/x", None, {"AZURE_API_KEY": "k"}, "azure has no base URL", "AZURE_OPENAI_ENDPOINT"),
        ("qwen", "localhost:8000/v1", {}, "is not a base URL", "perhaps http://localhost:8000/v1"),
        ("qwen", "ftp://host", {}, "is not a base URL", "http://"),
        ("qwen", "http://host:99999", {}, "is not a base URL", "http://"),
        ("qwen", LOCAL + "/chat/completions", {}, "is an endpoint", f"write {LOCAL}"),
        ("openai/x", None, {"OPENAI_API_KEY": "two words"}, "characters that no key has", "copy it again"),
    ],
)
def test_what_is_missing_is_told_with_the_mend(
    reference: str | None, base_url: str | None, variables: dict[str, str], told: str, mend: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(reference, variables, base_url=base_url)
    assert told in caught.value.message
    assert mend in caught.value.mend
    assert "two words" not in str(caught.value), "a key is never shown"


def test_keys_of_shared_use_do_not_ask_for_a_model() -> None:
    assert resolve(None, {"HF_TOKEN": "k"}).wire == "offline"


@pytest.mark.parametrize(
    ("reference", "base_url", "exempt", "proxy"),
    [
        ("openai/x", None, "", "http://proxy:1"),
        ("openai/x", None, "openai.com", None),
        ("openai/x", None, "*", None),
        ("openai/x", None, "ai.com", "http://proxy:1"),
        ("qwen", LOCAL, "", None),
        ("qwen", "http://localhost:1", "", None),
        ("qwen", "http://lab:1", "", "http://all:2"),
    ],
)
def test_the_usual_proxy_variables_hold_but_not_for_this_machine(
    reference: str, base_url: str | None, exempt: str, proxy: str | None
) -> None:
    variables = {**KEYS, "HTTPS_PROXY": "http://proxy:1", "all_proxy": "http://all:2", "NO_PROXY": exempt}
    assert resolve(reference, variables, base_url=base_url).proxy == proxy


def test_an_upstream_can_be_had_before_its_model_is_chosen() -> None:
    upstream = upstream_of_provider("openai", config=Config(), environ=KEYS)
    assert (upstream.name, upstream.model, key_of(upstream)) == ("openai", "", "sk-o")
    assert upstream_of_provider(None, base_url=LOCAL, config=Config(), environ={}).base_url == LOCAL
    with pytest.raises(ConfigError, match="no upstream is named"):
        upstream_of_provider(None, config=Config(), environ={})


def test_looking_wants_no_key() -> None:
    upstream = resolve("openai/gpt-4.1", key_wanted=False)
    assert (upstream.reference, upstream.api_key, upstream.key_variable) == ("openai/gpt-4.1", None, "OPENAI_API_KEY")


def test_the_variable_of_the_key_is_known() -> None:
    assert resolve("gemini/x", {"GOOGLE_API_KEY": "k"}).key_variable == "GOOGLE_API_KEY"
    assert resolve("any", base_url=LOCAL).key_variable == "SYNTH_API_KEY"
    assert resolve("openai/x", KEYS, api_key="given").key_variable == "", "it came from no variable"


def test_a_far_name_is_no_suggestion() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve("nope/x")
    assert caught.value.mend.startswith("known are ")


@pytest.mark.parametrize("value", [2, "2"])
def test_an_http_version_may_be_a_number(value: object, tmp_path: Path) -> None:
    assert load_config({"http": value}, directory=tmp_path, environ={"SYNTH_HOME": str(tmp_path)}).http == "2"
