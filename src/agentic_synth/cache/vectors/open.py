"""The door: a kind of index by the name a user writes."""

from __future__ import annotations

from typing import Literal, TypeAlias

from agentic_synth.cache.vectors.index import Format
from agentic_synth.errors import ConfigError

__all__ = ["IndexName", "open_format"]

IndexName: TypeAlias = Literal["ivf", "exact", "usearch", "ruvector"]


def open_format(name: IndexName = "ivf") -> Format:
    """The index *name*, for partitions that have outgrown a plain scan.

    Raises:
        ConfigError: there is none of this name, or its package is not installed.
    """
    extra = name if name in {"usearch", "ruvector"} else "semantic"
    try:
        match name:
            case "ivf":
                from agentic_synth.cache.vectors.ivf import IvfFormat  # noqa: PLC0415

                return IvfFormat()
            case "usearch":
                from agentic_synth.cache.vectors.usearch import UsearchFormat  # noqa: PLC0415

                return UsearchFormat()
            case "exact":
                from agentic_synth.cache.vectors.exact import ExactFormat  # noqa: PLC0415

                return ExactFormat()
            case "ruvector":
                from agentic_synth.cache.vectors.ruvector import RuvectorFormat  # noqa: PLC0415

                return RuvectorFormat()
    except ImportError as error:
        raise ConfigError(
            f"the vector index {name!r} needs a package that is not installed ({error})",
            mend=f"pip install 'agentic-synth[{extra}]'",
        ) from error
    raise ConfigError(f"there is no vector index {name!r}", mend="choose one of: ivf, exact, usearch, ruvector")
