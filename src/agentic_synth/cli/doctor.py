"""``synth doctor``: what is installed, which settings hold and who said so, and whether things work."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from agentic_synth import __version__
from agentic_synth.cli.opened import opened_store
from agentic_synth.cli.options import BaseUrl, Model, Store
from agentic_synth.cli.outcome import ExitCode, run_async
from agentic_synth.cli.terminal import say, write
from agentic_synth.config import Config, UpstreamConfig
from agentic_synth.errors import ConfigError, SynthError
from agentic_synth.settings import (
    VARIABLES,
    Setting,
    environment,
    load_config,
    read_settings,
    store_path,
    user_config_file,
)
from agentic_synth.telemetry.figures import counted

__all__ = ["doctor"]

Finding: TypeAlias = tuple[str, str, bool]
"""What was looked at, what was found, and whether it is a problem."""

PACKAGES = ("pycurl", "pyarrow", "pydantic", "msgspec", "uvloop", "aiohttp", "datasets")
READ_ELSEWHERE = ("SYNTH_HOME", "SYNTH_API_KEY", "SYNTH_DEBUG")
SCARCE_BYTES = 1_000_000_000


def doctor(
    model: Model = None,
    base_url: BaseUrl = None,
    store: Store = None,
    online: Annotated[
        bool, typer.Option("--online", help="Ask the upstream for its models: free, but it is a call.")
    ] = False,
) -> None:
    """Show which settings hold, and what is wrong.

    Keys are never shown. Without --online nothing is sent anywhere.

    \b
      synth doctor
      synth doctor --model openai/gpt-4.1-mini --online
    """
    flags = {"model": model, "base_url": base_url, "store.path": store}
    config = load_config(flags)
    problems = 0
    for name, found, is_problem in _findings(config, flags, online):
        problems += is_problem
        write(f"{'!' if is_problem else ' '} {name:<10} {found}")
    if problems:
        say(f"\n{counted(problems, 'problem')}, marked with !")
        raise typer.Exit(ExitCode.FAILED)


def _findings(config: Config, flags: dict[str, str | None], online: bool) -> Iterator[Finding]:
    yield "python", f"{platform.python_version()} ({sys.executable}), {platform.platform()}", False
    yield "packages", ", ".join(_packages()), False
    yield "terminal", _terminal(), False
    yield from _settings(flags)
    yield from _keys(config)
    yield from _upstream(config, online)
    yield from _store(config)


def _packages() -> Iterator[str]:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - keeps --help fast

    yield f"agentic-synth {__version__}"
    for name in PACKAGES:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            yield f"{name} not installed"


def _terminal() -> str:
    shown = "a live line" if sys.stderr.isatty() else "plain lines (stderr is no terminal)"
    return f"progress is {shown}; {shutil.get_terminal_size().columns} columns"


def _settings(flags: dict[str, str | None]) -> Iterator[Finding]:
    variables = environment()
    for file in (Path("synth.toml").absolute(), user_config_file(variables)):
        yield "settings", f"{file}{'' if file.is_file() else ' (not there)'}", False
    said = read_settings(flags, environ=variables)
    for setting in said:
        yield "", f"{setting.key} = {_shown(setting)}  (from {setting.origin})", False
    if not said:
        yield "", "every setting has its default", False
    for name in sorted(variables):
        if name.startswith("SYNTH_") and name not in VARIABLES and name not in READ_ELSEWHERE:
            yield "", f"the variable {name} is set, but means nothing here", True


def _shown(setting: Setting) -> str:
    """The value, without what may be a secret: a header's text, a password in a URL."""
    if "headers" in setting.path:
        return "(set)"
    return _host(setting.value) if setting.path[-1] == "proxy" else str(setting.value)


def _keys(config: Config) -> Iterator[Finding]:
    from agentic_synth.providers import PROVIDERS  # noqa: PLC0415 - keeps --help fast

    variables = environment()
    own = {name: (one.key_variable,) for name, one in config.upstreams.items() if one.key_variable}
    names = {"custom": ("SYNTH_API_KEY",), **{name: one.key_variables for name, one in PROVIDERS.items()}, **own}
    found = [
        f"{provider}: set (from {variable})"
        for provider, wanted in names.items()
        for variable in wanted
        if variables.get(variable)
    ]
    for line in found or ["none is set"]:
        yield "keys", line, False


def _upstream(config: Config, online: bool) -> Iterator[Finding]:
    from agentic_synth.upstreams import resolve_upstream  # noqa: PLC0415 - keeps --help fast

    try:
        upstream = resolve_upstream(None, config=config)
    except ConfigError as error:
        yield "upstream", f"{error.message}: {error.mend}", bool(config.model or config.base_url)
        return
    if upstream.wire == "offline":
        yield "upstream", "offline: the local generator, no model is used", False
        return
    key = "with a key" if upstream.api_key else "without a key"
    proxy = f", through the proxy {_host(upstream.proxy)}" if upstream.proxy else ""
    yield "upstream", f"{upstream.reference} at {upstream.base_url}, {key}{proxy}", False
    if online:
        yield _reached(upstream)


def _reached(upstream: UpstreamConfig) -> Finding:
    from agentic_synth.cli.models import models_of  # noqa: PLC0415 - keeps --help fast

    try:
        models = run_async(models_of(upstream))
    except SynthError as error:
        return "online", " ".join(str(error).split()), True
    if models and upstream.model not in models:
        return (
            "online",
            f"reached, but it does not list {upstream.model!r} among its {counted(len(models), 'model')}",
            True,
        )
    return "online", f"reached; {counted(len(models), 'model')}", False


def _store(config: Config) -> Iterator[Finding]:
    path = store_path(config)
    if path is None:
        yield "store", "none is kept (:none:): every answer is paid again", False
        return
    from agentic_synth.cache.schema import network_file_system, store_file  # noqa: PLC0415 - keeps --help fast

    file = store_file(path)
    folder = file.parent
    while not folder.is_dir():
        folder = folder.parent
    if file.exists():
        yield run_async(_health(file))
    elif os.access(folder, os.W_OK):
        yield "store", f"{file} (made by the first run)", False
    else:
        yield "store", f"{file} cannot be made: {folder} is not writable; choose --store PATH", True
    if kind := network_file_system(folder, Path("/proc/mounts")):
        yield "", f"it lies on a network file system ({kind}), where SQLite is slow and may be damaged", True
    free = shutil.disk_usage(folder).free
    yield "disk", f"{free / 1e9:,.1f} GB free at {folder}", free < SCARCE_BYTES


async def _health(file: Path) -> Finding:
    try:
        async with opened_store(file) as store:
            held = store.contents()
    except SynthError as error:
        return "store", " ".join(str(error).split()), True
    return "store", f"{file}: {counted(sum(held.entries.values()), 'answer')}, {held.file_bytes / 1e6:,.1f} MB", False


def _host(url: str) -> str:
    """The proxy without the password that its URL may hold."""
    return url.rpartition("@")[2].removeprefix("http://").removeprefix("https://")
