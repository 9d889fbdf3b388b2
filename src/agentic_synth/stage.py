"""The only shape to learn: handlers, stages, and the fold that chains them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

__all__ = ["Handler", "Stage", "chain"]

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)
In_ = TypeVar("In_")
Out_ = TypeVar("Out_")


class Handler(Protocol[In, Out]):
    """Anything that turns one item into one result."""

    async def __call__(self, item: In, /) -> Out: ...


class Stage(Protocol[In_, Out_]):
    """A step that may act before, after or instead of *proceed*."""

    async def __call__(self, item: In_, proceed: Handler[In_, Out_], /) -> Out_: ...


def chain(stages: Sequence[Stage[In_, Out_]], handler: Handler[In_, Out_]) -> Handler[In_, Out_]:
    """Wrap *handler* in *stages*; the first stage is the outermost."""
    for stage in reversed(stages):
        handler = _bind(stage, handler)
    return handler


def _bind(stage: Stage[In_, Out_], proceed: Handler[In_, Out_]) -> Handler[In_, Out_]:
    async def handle(item: In_, /) -> Out_:
        return await stage(item, proceed)

    return handle
