"""Whether rows may be packed, and how many at a time: tried on the first rows, and taken back where it hurts."""

from __future__ import annotations

import math

import msgspec

from agentic_synth.policies.sketches import Sketches

__all__ = ["Arm", "PackTrial"]

_ALONE_FIRST = 64
_JUDGED_FROM = 32
_CONTROL_EVERY = 64
_FIRST_SIZE = 4
_WORSE = 0.02
_SIGNIFICANT = 2.5
_JUDGED_EVERY = 16
_KEPT = 400


class Arm(msgspec.Struct):
    """What was seen of answers that came alone, or in company: how many, how many unusable, how many repetitive."""

    answers: float = 0.0
    invalid: float = 0.0
    repeats: float = 0.0

    def fade(self) -> None:
        """Let the old count less, so that the figures follow the run and stay bounded."""
        if self.answers > _KEPT:
            self.answers /= 2
            self.invalid /= 2
            self.repeats /= 2


class PackTrial:
    """Finds how many rows may share a call without making answers worse.

    The first rows are asked alone and every 64th thereafter, which tells what is usual: the share of answers that are
    unusable, and of those that nearly repeat another. Then packs of four, doubled while the packed answers are not
    worse. Where they are, by two points and two and a half standard errors, the size is halved and never grows beyond
    that again; below two there is no packing.
    """

    __slots__ = ("_asked", "_cap", "_since", "_sketches", "_unjudged", "alone", "packed", "size")

    def __init__(self, most: int = 32) -> None:
        self.alone = Arm()
        self.packed = Arm()
        self.size = 1
        self._cap = most
        self._asked = 0
        self._since = self._unjudged = 0
        self._sketches = Sketches()

    def admit(self) -> int:
        """How many may travel together with the request that comes now."""
        self._asked += 1
        if self._asked <= _ALONE_FIRST or self._cap < 2 or self._asked % _CONTROL_EVERY == 0:
            return 1
        if self.size == 1:
            self.size = min(_FIRST_SIZE, self._cap)
        return self.size

    def record(self, text: str, *, company: int) -> None:
        """An answer came, of a call for so many."""
        arm = self.packed if company > 1 else self.alone
        arm.answers += 1
        arm.repeats += self._sketches.add(text)
        arm.fade()
        if company > 1:
            self._since += 1
            self._judge()

    def reject(self, *, company: int, missing: bool = False) -> None:
        """An answer that was recorded could not be used; *missing* is one that never came, so that it counts here."""
        arm = self.packed if company > 1 else self.alone
        arm.answers += missing
        if arm.invalid >= arm.answers:
            return  # it was recorded before the size was changed
        arm.invalid += 1
        if company > 1:
            self._judge()

    def _judge(self) -> None:
        alone, packed = self.alone, self.packed
        self._unjudged += 1
        if self._unjudged < _JUDGED_EVERY or alone.answers < _JUDGED_FROM or self.size < 2:
            return
        self._unjudged = 0
        if _worse(packed.invalid, packed.answers, alone.invalid, alone.answers) or _worse(
            packed.repeats, packed.answers, alone.repeats, alone.answers
        ):
            self._cap = self.size // 2
            self.size = max(1, self._cap)
            self.packed = Arm()
            self._since = 0
        elif self._since >= 8 * self.size:
            self.size = min(2 * self.size, self._cap)
            self._since = 0


def _worse(bad: float, of: float, usual: float, of_usual: float) -> bool:
    """Whether the first share is larger than the second, by more than chance and by enough to matter."""
    difference = bad / of - usual / of_usual
    if difference <= _WORSE:
        return False
    together = (bad + usual) / (of + of_usual)
    error = math.sqrt(together * (1 - together) * (1 / of + 1 / of_usual))
    return difference > _SIGNIFICANT * error
