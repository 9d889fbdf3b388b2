"""Rows that are packed: which may share a call, how many, and what is seen of their answers."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable
from random import Random
from typing import Any, TypeAlias

from agentic_synth.policies.batch_size import BatchSize
from agentic_synth.policies.batching import Batch, Batching, BatchLimits
from agentic_synth.policies.company import Company
from agentic_synth.policies.pack_trial import PackTrial
from agentic_synth.policies.packing import Packing
from agentic_synth.types import Draw, Request, Response

__all__ = ["SELF_BATCHING", "Packs"]

SELF_BATCHING = frozenset({"vllm", "sglang", "tgi"})
"""Providers whose servers batch by themselves: concurrent requests serve them better than long ones."""

_MOST_TRIALS = 256
_MOST_REMEMBERED = 4_096
_MOST_PACK_TOKENS = 100_000.0
_Cell: TypeAlias = tuple[Draw, Any]


class Packs:
    """Joins rows of one column into packed prompts, and remembers what that did to the answers."""

    def __init__(self, rng: Random, *, linger: float) -> None:
        self._packing = Packing(rng)
        self._linger = linger
        self._trials: OrderedDict[Hashable, PackTrial] = OrderedDict()
        self._asked_in: OrderedDict[_Cell, tuple[PackTrial, int]] = OrderedDict()
        self.size = 0
        """How many rows share a call now, in the column that was asked last; 0 before the first."""

    def lane(self, request: Request) -> Hashable | None:
        """Equal in all but the values; see :meth:`Packing.lane`."""
        return self._packing.lane(request) if request.pack is not None else None

    def open(self, lane: Hashable, request: Request, share: float) -> Company:
        """See :class:`~agentic_synth.policies.company.Joint`."""
        assert request.pack is not None
        trial = self._trials.get(lane)
        if trial is None and not request.pack.size:
            trial = self._trials[lane] = PackTrial()
            if len(self._trials) > _MOST_TRIALS:
                self._trials.popitem(last=False)
        return _Packed(self, self._packing, trial, request.pack.size, self._linger, share)

    def remember(self, request: Request, trial: PackTrial, company: int) -> None:
        """Note in what company *request* was answered, in case the answer turns out to be unusable."""
        self._asked_in[_cell(request)] = (trial, company)
        if len(self._asked_in) > _MOST_REMEMBERED:
            self._asked_in.popitem(last=False)

    def reject(self, request: Request) -> None:
        """The answer to *request* could not be used."""
        found = self._asked_in.pop(_cell(request), None)
        if found is not None:
            trial, company = found
            trial.reject(company=company)


def _cell(request: Request) -> _Cell:
    return request.draw, request.messages[-1].content


class _Packed:
    """One lane; *fixed* is the size that was asked for, 0 where the trial finds it."""

    def __init__(
        self, packs: Packs, packing: Packing, trial: PackTrial | None, fixed: int, linger: float, share: float
    ) -> None:
        self._packs = packs
        self._trial = trial
        self._fixed = fixed
        self.join = packing.join
        self.parts = packing.parts
        self.size = BatchSize(start=math.inf, most=math.inf)
        limits = BatchLimits(tokens=_MOST_PACK_TOKENS)
        self.batching: Batching[Any] = Batching(self.size, limits, linger=linger, share=share, eager=False)
        self.size.most_items = fixed or 1

    def admits(self) -> bool:
        most = self._fixed if self._trial is None else self._trial.admit()
        self._packs.size = self._fixed if self._trial is None else self._trial.size
        if most > 1:
            self.size.most_items = most
        return most > 1

    def learn(self, batch: Batch[Any], items: int, seconds: float) -> None:
        """Rows are packed to save money; how long a call takes does not matter."""

    def answered(self, request: Request, response: Response | None, company: int) -> None:
        trial = self._trial
        if trial is None:
            return
        if response is None:
            trial.reject(company=company, missing=True)
        else:
            trial.record(response.text, company=company)
            self._packs.remember(request, trial, company)
