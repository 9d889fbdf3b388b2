"""Seed rows from a Hugging Face dataset."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

from agentic_synth.errors import OutputError
from agentic_synth.sources.memory import MemorySeeds
from agentic_synth.sources.seeds import Seed

__all__ = ["HubSeeds"]

_HEAD_ROWS = 100
_REFERENCE = re.compile(r"hf:(?P<dataset>[\w.-]+(/[\w.-]+)?)(/(?P<config>[\w.-]+))?(:(?P<split>[\w.-]+))?")


class HubSeeds:
    """``hf:owner/name[/config][:split]``, streamed; the split is ``train`` unless said.

    *load* is ``datasets.load_dataset``, or something that is called like it.
    """

    def __init__(self, reference: str, *, load: Callable[..., Any] | None = None) -> None:
        found = _REFERENCE.fullmatch(reference)
        if found is None:
            raise OutputError(f"{reference}: not a dataset", mend="Write hf:owner/name or hf:owner/name/config:split.")
        self.name = reference
        self._where = (found["dataset"], found["config"])
        self._split = found["split"] or "train"
        self._load = load or _loader()

    def __iter__(self) -> Iterator[Seed]:
        return iter(self._dataset)

    def columns(self) -> list[str]:
        return list(self._dataset.column_names or next(iter(self)))

    def count(self) -> int | None:
        splits = self._dataset.info.splits or {}
        return splits[self._split].num_examples if self._split in splits else None

    def fingerprint(self) -> str:
        """The reference, what the hub tells of its version, and a hash of the first 100 rows."""
        info = self._dataset.info
        known = f"{self.name} {info.version} {info.dataset_size} {sorted(info.download_checksums or {})}"
        return f"{known} {MemorySeeds(list(itertools.islice(self, _HEAD_ROWS))).fingerprint()}"

    @cached_property
    def _dataset(self) -> Any:
        try:
            return self._load(*self._where, split=self._split, streaming=True)
        except Exception as error:  # the library's own tree is wide and moves: network, names, rights, formats
            raise OutputError(
                f"cannot load {self.name}: {error}",
                mend="Check the name, the split and the network; a private dataset needs HF_TOKEN.",
            ) from error


def _loader() -> Callable[..., Any]:
    try:
        from datasets import load_dataset  # noqa: PLC0415 - an extra, and heavy
    except ImportError:
        raise OutputError(
            "reading a Hugging Face dataset needs the datasets package",
            mend="Install it: pip install 'agentic-synth[datasets]'",
        ) from None
    return load_dataset  # type: ignore[no-any-return]
