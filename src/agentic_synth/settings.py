"""The only place that reads the environment and TOML files.

Settings come, the first that speaks wins, from: flags (or arguments of the SDK), the environment (with a ``.env`` of
the working directory behind it), ``./synth.toml``, the user's own config file, the defaults of
:mod:`agentic_synth.config`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from agentic_synth.ages import age_in_seconds
from agentic_synth.config import Config, Timeouts, UpstreamSettings
from agentic_synth.errors import ConfigError

__all__ = [
    "CHOICES",
    "FLAGS",
    "VARIABLES",
    "Setting",
    "environment",
    "load_config",
    "read_settings",
    "store_path",
    "user_config_file",
]


class Setting(msgspec.Struct, frozen=True):
    """One setting that somebody made: which, what, and where it was said."""

    path: tuple[str, ...]
    value: Any
    origin: str

    @property
    def key(self) -> str:
        """The name as it is written in TOML: ``engine.concurrency``."""
        return ".".join(self.path)


VARIABLES: dict[str, tuple[str, ...]] = {
    "SYNTH_MODEL": ("model",),
    "SYNTH_BASE_URL": ("base_url",),
    "SYNTH_FALLBACK": ("fallback",),
    "SYNTH_HTTP": ("http",),
    "SYNTH_STORE": ("store", "path"),
    "SYNTH_SYNCHRONOUS": ("store", "synchronous"),
    "SYNTH_TTL": ("store", "ttl"),
    **{f"SYNTH_{name.upper()}": ("engine", name) for name in ("concurrency", "tries", "budget", "retry_budget")},
    **{f"SYNTH_TIMEOUT_{name.upper()}": ("timeouts", name) for name in Timeouts.__struct_fields__},
}
"""Environment variable -> setting."""

FLAGS: dict[tuple[str, ...], str] = {
    ("model",): "--model",
    ("base_url",): "--base-url",
    ("fallback",): "--fallback",
    ("http",): "--http",
    ("store", "path"): "--store",
    ("engine", "concurrency"): "--concurrency",
    ("engine", "budget"): "--budget",
    ("engine", "fallback"): "--no-fallback",
}
"""Setting -> the flag of the command line that makes it."""


WORDS = {
    "`int | null`": "a whole number",
    "`int`": "a whole number",
    "`float | null`": "a number",
    "`float`": "a number",
    "`str | null`": "text",
    "`str`": "text",
    "`bool`": "true or false",
    "`array`": "a list",
    "`object`": "a table",
    ">= 1": "from 1 up",
    "> 0.0": "above 0",
}
"""What msgspec says -> what a user says."""

CHOICES: dict[tuple[str, ...], str] = {
    ("http",): "auto, 1 or 2",
    ("engine", "concurrency"): "a number from 1 up, or auto",
    ("store", "synchronous"): "normal or full",
    ("semantic", "index"): "ivf, exact, usearch or ruvector",
    ("semantic", "max_false_hit"): "a number from 0 to 1",
    ("semantic", "check_share"): "a number from 0 to 1",
    ("warming", "share"): "a number from 0 to 1",
    ("store", "ttl"): "an age such as 12h, 30d or 8w, or seconds",
}


def environment(directory: Path | None = None) -> dict[str, str]:
    """The process's variables, with those of ``.env`` in *directory* (the working directory) behind them.

    A real variable always wins, and an empty one counts as not set. The process's own environment is left as it is.
    """
    file = (directory or Path.cwd()) / ".env"
    variables: dict[str, str | None] = {}
    if file.is_file():
        from dotenv import dotenv_values  # noqa: PLC0415 - only where there is a .env

        try:
            variables.update(dotenv_values(file))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read {file}: {error}", mend="mend or remove the file") from error
    variables.update({name: text for name, text in os.environ.items() if text})
    return {name: text for name, text in variables.items() if text}


def load_config(
    flags: Mapping[str, Any] | None = None,
    *,
    directory: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """The settings in force; *flags* are ``{"engine.concurrency": 8}``, where None means that nothing was said."""
    tree: dict[str, Any] = {}
    for setting in read_settings(flags, directory=directory, environ=environ):
        _place(tree, setting.path, setting.value)
    return msgspec.convert(tree, Config, strict=False)


def read_settings(
    flags: Mapping[str, Any] | None = None,
    *,
    directory: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> list[Setting]:
    """Every setting somebody made, the winner alone, in order of its name; what is missing has its default.

    Each source is checked by itself, so that an error names the file, variable or flag to mend.
    """
    folder = directory or Path.cwd()
    variables = environment(folder) if environ is None else environ
    winners: dict[tuple[str, ...], Setting] = {}
    for file in (user_config_file(variables), folder / "synth.toml"):
        winners.update((setting.path, setting) for setting in _from_file(file))
    for name, path in VARIABLES.items():
        if text := variables.get(name):
            winners[path] = _said(path, text, name)
    for key, value in (flags or {}).items():
        if value is not None:
            path = tuple(key.split("."))
            winners[path] = _said(path, value, FLAGS.get(path, key))
    return sorted(winners.values(), key=lambda setting: setting.path)


def user_config_file(environ: Mapping[str, str] | None = None) -> Path:
    """The user's own settings: ``config.toml`` in ``SYNTH_HOME``, or where this system keeps such files."""
    if home := _home(environ):
        return home / "config.toml"
    from platformdirs import user_config_path  # noqa: PLC0415 - keeps the import of the package light

    return user_config_path("agentic-synth", appauthor=False) / "config.toml"


def store_path(config: Config, environ: Mapping[str, str] | None = None) -> Path | None:
    """Where the response store is (a folder, or a file named ``.sqlite`` or ``.db``); None to keep nothing."""
    if config.store.path == ":none:":
        return None
    if config.store.path:
        return Path(config.store.path).expanduser().absolute()
    if home := _home(environ):
        return home
    from platformdirs import user_data_path  # noqa: PLC0415 - keeps the import of the package light

    return user_data_path("agentic-synth", appauthor=False)


def _home(environ: Mapping[str, str] | None) -> Path | None:
    text = (environment() if environ is None else environ).get("SYNTH_HOME")
    return Path(text).expanduser().absolute() if text else None


def _said(path: tuple[str, ...], value: Any, origin: str, folder: Path | None = None) -> Setting:
    """One setting, checked by itself, so that what is wrong with it can be told by its full name."""
    setting = Setting(path, _meant(path, value, folder), origin)
    tree: dict[str, Any] = {}
    _place(tree, path, setting.value)
    try:
        msgspec.convert(tree, Config, strict=False)
    except msgspec.ValidationError as error:
        raise _explained(setting, str(error)) from None
    return setting


def _from_file(file: Path) -> Iterator[Setting]:
    if not file.is_file():
        return
    import tomllib  # noqa: PLC0415 - only where there is a file

    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {file}: {error}", mend="mend or remove the file") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: {error}", mend="TOML wants `name = value`, and text in quotes") from error
    yield from (_said(path, value, str(file), file.parent) for path, value in _leaves(tree))


def _leaves(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name), value


def _place(tree: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value


def _meant(path: tuple[str, ...], value: Any, folder: Path | None = None) -> Any:
    """What the text of a setting stands for: ``auto``, lists with commas, paths that start at their file."""
    if path == ("engine", "concurrency") and value == "auto":
        return None
    if path == ("http",) and isinstance(value, int):
        return str(value)
    if path == ("fallback",) and isinstance(value, str):
        return [name.strip() for name in value.split(",") if name.strip()]
    if path == ("store", "ttl") and isinstance(value, str):
        return age_in_seconds(value) or value
    if path == ("store", "path") and isinstance(value, str) and folder and value != ":none:":
        return str(folder / Path(value).expanduser())
    return value


def _explained(setting: Setting, text: str) -> ConfigError:
    """msgspec's message in the user's terms: where, which setting, and the nearest name there is."""
    problem = text.partition(" - at `$")[0]
    if "unknown field" in problem:
        import difflib  # noqa: PLC0415 - only for an error

        known = [".".join(path) for path in _known(setting.path)]
        near = difflib.get_close_matches(setting.key, known, 1, cutoff=0.5)
        mend = f"did you mean `{near[0]}`?" if near else f"there are: {', '.join(known)}"
        return ConfigError(f"{setting.origin}: there is no setting `{setting.key}`", mend=mend)
    for word, meaning in WORDS.items():
        problem = problem.replace(word, meaning)
    if problem.startswith("Invalid enum value"):
        problem = f"{setting.value!r} is not one of its values"
    name = f"`{setting.key}` " if setting.origin not in (*VARIABLES, *FLAGS.values()) else ""
    given = "" if repr(setting.value) in problem else f" ({setting.value!r})"
    mend = f"write {CHOICES.get(setting.path, 'a value of that kind')}; `synth doctor` shows the settings in force"
    return ConfigError(f"{setting.origin}: {name}{problem[0].lower()}{problem[1:]}{given}", mend=mend)


def _known(path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The settings there are; within ``upstreams.NAME`` only those of an upstream."""
    if path[0] == "upstreams" and len(path) > 2:
        yield from ((*path[:2], name) for name in UpstreamSettings.__struct_fields__)
        return
    for field in msgspec.structs.fields(Config):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from ((field.name, name) for name in field.type.__struct_fields__)
        else:
            yield (field.name,)
