"""A watched body ends once, however it ends."""

import gc
from collections.abc import AsyncIterator

import pytest

from agentic_synth.errors import ConnectFailed
from agentic_synth.policies.body import Ending, WatchedBody, watch
from agentic_synth.types import Delta, Reply, Response, Usage


class Body:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.closed = 0

    async def __aiter__(self) -> AsyncIterator[Delta]:
        yield Delta(text="four")
        yield Delta(reasoning="ab")
        if self.error:
            raise self.error
        yield Delta(finish="stop", usage=Usage(3, 2))

    async def aclose(self) -> None:
        self.closed += 1


async def test_at_its_end() -> None:
    ends: list[Ending] = []
    body = WatchedBody(Body(), ends.append)
    assert [delta.text async for delta in body] == ["four", "", ""]
    await body.aclose()
    assert ends == [Ending(Usage(3, 2), 6, None, True)]


async def test_when_it_breaks() -> None:
    ends: list[Ending] = []
    error = ConnectFailed("cut")
    body = WatchedBody(Body(error), ends.append)
    with pytest.raises(ConnectFailed):
        async for _ in body:
            pass
    assert [(end.error, end.whole) for end in ends] == [(error, False)]


async def test_when_it_is_closed_early_or_twice() -> None:
    ends: list[Ending] = []
    inner = Body()
    body = WatchedBody(inner, ends.append)
    await anext(aiter(body))
    await body.aclose()
    await body.aclose()
    assert [(end.characters, end.error, end.whole) for end in ends] == [(4, None, False)]
    assert inner.closed == 2


async def test_when_it_is_thrown_away() -> None:
    ends: list[Ending] = []
    body: WatchedBody | None = WatchedBody(Body(), ends.append)
    assert body is not None
    del body
    gc.collect()
    assert len(ends) == 1


async def test_a_reply_keeps_the_rest() -> None:
    inner = Body()
    reply = Reply(response=Response(model="m", body=inner), headers={"a": "b"})
    watched = watch(reply, inner, lambda end: None)
    assert (watched.headers, watched.response.model) == ({"a": "b"}, "m")
    assert isinstance(watched.response.body, WatchedBody)
