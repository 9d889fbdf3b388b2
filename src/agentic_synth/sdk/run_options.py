"""What a run may be told beside its recipe, rows and seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias, TypedDict, get_args

from agentic_synth.errors import ConfigError

__all__ = ["Mode", "RunOptions", "known_options"]

Mode: TypeAlias = Literal["online", "batch", "mixed"]
"""How answers are fetched: one by one and now, through the providers' batch APIs at half price within a day, or the
first rows and the last few at once and all others by batch."""


class RunOptions(TypedDict, total=False):
    """What a run may be told."""

    mode: Mode
    """``online`` (the default), ``batch`` or ``mixed``."""
    seed: int
    """Another seed than the recipe's: other draws everywhere."""
    fresh: bool
    """Draw anew instead of taking what earlier runs of this output drew."""
    unordered: bool
    """Write rows as they come, not in candidate order."""
    rejects: str
    """A file for the candidates that were rejected, with reason and raw answer."""
    overrides: Mapping[str, str]
    """Changes to the recipe: ``{"columns.tone.choice": "[calm, angry]"}``."""
    provenance: bool
    """A column beside each model column that says where its answer came from: ``_source_NAME``."""
    window: int
    """Rows in the making at once."""


def known_options(options: RunOptions) -> RunOptions:
    """*options*, which no type checker may have looked at.

    Raises:
        ConfigError: there is no such option, or not with this value.
    """
    known = RunOptions.__annotations__
    if unknown := options.keys() - known:
        raise ConfigError(f"a run has no option {', '.join(sorted(unknown))}", mend=f"there are: {', '.join(known)}")
    if options.get("window", 1) < 1:
        raise ConfigError(f"window is {options['window']}, which makes no row", mend="give a number from 1 up")
    if (mode := options.get("mode", "online")) not in get_args(Mode):
        raise ConfigError(f"there is no mode {mode!r}", mend=f"choose one of {', '.join(get_args(Mode))}")
    return options
