"""The only shape to learn: handlers, stages, and the fold that chains them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

__all__ = ["Handler", "Stage", "chain"]

In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)
In = TypeVar("In")
Out = TypeVar("Out")


class Handler(Protocol[In_contra, Out_co]):
    """Anything that turns one item into one result."""

    async def __call__(self, item: In_contra, /) -> Out_co: ...


class Stage(Protocol[In, Out]):
    """A step that may act before, after or instead of *proceed*."""

    async def __call__(self, item: In, proceed: Handler[In, Out], /) -> Out: ...


def chain(stages: Sequence[Stage[In, Out]], handler: Handler[In, Out]) -> Handler[In, Out]:
    """Wrap *handler* in *stages*; the first stage is the outermost."""
    for stage in reversed(stages):
        handler = _bind(stage, handler)
    return handler


def _bind(stage: Stage[In, Out], proceed: Handler[In, Out]) -> Handler[In, Out]:
    async def handle(item: In, /) -> Out:
        return await stage(item, proceed)

    return handle
