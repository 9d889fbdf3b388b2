"""What the stages' tests have in common: a scripted next handler, requests, and a clock that jumps by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Generic, TypeVar

from agentic_synth.testing.clock import FakeClock
from agentic_synth.types import Call, Delta, Message, Reply, Request, Response, Usage

In = TypeVar("In")
Out = TypeVar("Out")


class Scripted(Generic[In, Out]):
    """A handler that does the steps of its script in turn, the last one for ever; a step is an answer or an error.

    Each call takes *seconds* of *clock*. *asked* are the calls, *instants* when they came, *most* how many ran at once.
    """

    def __init__(self, steps: Iterable[Out | Exception], clock: FakeClock, seconds: float = 0.0) -> None:
        self.steps = list(steps)
        self.clock = clock
        self.seconds = seconds
        self.asked: list[In] = []
        self.instants: list[float] = []
        self.running = self.most = 0

    async def __call__(self, item: In, /) -> Out:
        step = self.steps[min(len(self.asked), len(self.steps) - 1)]
        self.asked.append(item)
        self.instants.append(self.clock.now())
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.clock.sleep(self.seconds)
        finally:
            self.running -= 1
        if isinstance(step, Exception):
            raise step
        return step


class Body:
    """A streamed answer of three deltas, a second apart; breaks with *error* after the second."""

    def __init__(self, clock: FakeClock, error: Exception | None = None) -> None:
        self.clock, self.error, self.closed = clock, error, False

    async def __aiter__(self) -> AsyncIterator[Delta]:
        yield Delta(text="one ")
        await self.clock.sleep(1.0)
        yield Delta(text="two ")
        await self.clock.sleep(1.0)
        if self.error:
            raise self.error
        yield Delta(finish="stop", usage=Usage(10, 3))

    async def aclose(self) -> None:
        self.closed = True


def asking(text: str = "hi", **fields: object) -> Request:
    return Request(model="p/m", messages=(Message("user", text),), **fields)  # type: ignore[arg-type]


def calling(text: str = "hi", **fields: object) -> Call:
    return Call(request=asking(text, **fields), model="m")


def reply(usage: Usage = Usage(10, 5), **fields: object) -> Reply:  # noqa: B008 - a frozen value
    headers = fields.pop("headers", {})
    response = Response(text="ok", usage=usage, model="m", upstream="p/m", **fields)  # type: ignore[arg-type]
    return Reply(response=response, headers=headers)  # type: ignore[arg-type]


async def cancelled_at_every_await(start: Callable[[], asyncio.Task[object]], clock: FakeClock, most: int = 400) -> int:
    """Run the task again and again, cancelling it one step later each time; how often it was cut short.

    A step is a turn of the loop; every fourth also moves the clock, so that sleeps end too.
    """
    for steps in range(most):
        task = start()
        for step in range(steps):
            await (asyncio.sleep(0) if step % 4 < 3 else clock.advance(0.3))
        if task.done():
            await asyncio.gather(task, return_exceptions=True)
            return steps
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    raise AssertionError("the task never came to its end")
