"""The only shape to learn: handlers, stages, and the fold that chains them."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, Protocol, TypeVar

__all__ = ["Handler", "Stage", "chain"]

In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)
In = TypeVar("In")
Out = TypeVar("Out")


class Handler(Protocol[In_contra, Out_co]):
    """Anything that turns one item into one result."""

    async def __call__(self, item: In_contra, /) -> Out_co: ...


class Stage(Protocol[In, Out]):
    """A step that may act before, after or instead of *proceed*.

    One that most items pass by may be a plain function that returns ``proceed(item)``, which then costs no frame.
    """

    async def __call__(self, item: In, proceed: Handler[In, Out], /) -> Out: ...


def chain(stages: Sequence[Stage[In, Out]], handler: Handler[In, Out]) -> Handler[In, Out]:
    """Wrap *handler* in *stages*; the first stage is the outermost."""
    for stage in reversed(stages):
        handler = _bind(stage, handler)
    return handler


def _bind(stage: Stage[In, Out], proceed: Handler[In, Out]) -> Handler[In, Out]:
    # Not async: it hands on the stage's own coroutine, for each frame more is woken through at every await.
    def handle(item: In, /) -> Coroutine[Any, Any, Out]:
        return stage(item, proceed)

    return handle
