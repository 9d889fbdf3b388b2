"""Sockets are watched for what is wanted, and for nothing else, however the system lets us."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator

import pycurl
import pytest

from agentic_synth.transport.curl_watch import Act, SocketWatch, _Epoll, _Loop, _Sweep, watch_sockets

IN, OUT = pycurl.POLL_IN, pycurl.POLL_OUT
Making = Callable[[asyncio.AbstractEventLoop, Act], SocketWatch]


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    for end in (one, other):
        end.setblocking(False)
    with one, other:
        yield one, other


class Seen:
    """What was said to be ready; reads what there is, as libcurl does."""

    def __init__(self) -> None:
        self.ready: list[tuple[int, int]] = []

    def __call__(self, descriptor: int, ready: int) -> None:
        self.ready.append((descriptor, ready))
        if ready & pycurl.CSELECT_IN:
            os.read(descriptor, 100)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("make", [_Epoll, _Loop])
async def test_a_socket_is_told_while_it_is_wanted(make: Making, pair: tuple[socket.socket, socket.socket]) -> None:
    seen, (one, other) = Seen(), pair
    watch = make(asyncio.get_running_loop(), seen)
    for wanted in (IN, 0, IN, 0):
        watch.want(one.fileno(), wanted)
        other.send(b"x")
        await turns()
        assert bool(seen.ready) == bool(wanted)
        if wanted:
            assert set(seen.ready) == {(one.fileno(), pycurl.CSELECT_IN)}
        else:
            one.recv(100)
        seen.ready.clear()
    watch.close()


@pytest.mark.parametrize("make", [_Epoll, _Loop])
async def test_writing_is_told_apart_from_reading(make: Making, pair: tuple[socket.socket, socket.socket]) -> None:
    seen, (one, other) = Seen(), pair
    watch = make(asyncio.get_running_loop(), seen)
    watch.want(one.fileno(), IN | OUT)
    await turns()
    assert {ready for _, ready in seen.ready} == {pycurl.CSELECT_OUT}
    watch.want(one.fileno(), IN)
    seen.ready.clear()
    await turns()
    assert seen.ready == []
    other.send(b"x")
    await turns()
    assert seen.ready == [(one.fileno(), pycurl.CSELECT_IN)]
    watch.close()


async def test_a_descriptor_that_was_closed_and_given_again_is_watched(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    seen, (one, other) = Seen(), pair
    watch = watch_sockets(asyncio.get_running_loop(), seen)
    watch.want(one.fileno(), IN)
    watch.want(one.fileno(), 0)
    number = one.fileno()
    one.close()
    third, fourth = socket.socketpair()
    with third, fourth:
        assert third.fileno() == number
        watch.want(number, IN)
        fourth.send(b"x")
        await turns()
        assert seen.ready == [(number, pycurl.CSELECT_IN)]
        watch.want(number, 0)
    watch.close()
    assert other.recv(1) == b""


async def test_one_that_speaks_while_nobody_wants_it_is_heard_once(pair: tuple[socket.socket, socket.socket]) -> None:
    seen, (one, other) = Seen(), pair
    watch = _Epoll(asyncio.get_running_loop(), seen)
    watch.want(one.fileno(), IN)
    watch.want(one.fileno(), 0)
    other.close()
    await turns(20)
    assert seen.ready == []
    watch.want(one.fileno(), IN)
    await turns()
    assert seen.ready != []
    watch.close()


async def test_where_nothing_can_be_watched_it_is_looked_at(pair: tuple[socket.socket, socket.socket]) -> None:
    told = asyncio.Event()
    watch = _Sweep(asyncio.get_running_loop(), lambda descriptor, ready: told.set())
    watch.want(pair[0].fileno(), IN)
    await asyncio.wait_for(told.wait(), 5.0)
    watch.want(pair[0].fileno(), 0)
    watch.close()
