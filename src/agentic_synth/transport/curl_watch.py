"""Who tells libcurl that a socket is ready: the event loop, a set of our own inside it, or a look now and then."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, TypeAlias

import pycurl

__all__ = ["SocketWatch", "watch_sockets"]

_SWEEP_S = 0.002
_READY_AT_ONCE = 256

Act: TypeAlias = Callable[[int, int], None]
"""Takes a descriptor and what it is ready for (``pycurl.CSELECT_*``)."""


class SocketWatch(Protocol):
    """Watches the sockets of one libcurl."""

    def want(self, descriptor: int, what: int) -> None:
        """From now on *descriptor* matters for *what*: ``POLL_IN``, ``POLL_OUT``, both, or 0 for nothing."""
        ...

    def close(self) -> None:
        """Watch nothing any more."""
        ...


def watch_sockets(loop: asyncio.AbstractEventLoop, act: Act) -> SocketWatch:
    """The cheapest way that *loop* and the system allow."""
    if type(loop).add_reader is asyncio.AbstractEventLoop.add_reader:
        return _Sweep(loop, act)
    return _Epoll(loop, act) if hasattr(select, "epoll") else _Loop(loop, act)


class _Epoll:
    """An epoll set of our own, whose descriptor is all that the loop watches.

    A kept-alive connection is wanted, not wanted and wanted again with every request. Registering it with the loop each
    time costs several times the system call below; here it stays in the set, and is taken out only if it says
    something while nobody wants it. A descriptor that was closed has left the set by itself, which its next use finds.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, act: Act) -> None:
        self._loop = loop
        self._act = act
        self._wanted: dict[int, int] = {}
        self._set = select.epoll()
        loop.add_reader(self._set.fileno(), self._on_ready)

    def want(self, descriptor: int, what: int) -> None:
        if not what:
            self._wanted.pop(descriptor, None)
        elif self._wanted.get(descriptor) != what:
            self._wanted[descriptor] = what
            self._register(descriptor, what)

    def _register(self, descriptor: int, what: int) -> None:
        events = (select.EPOLLIN if what & pycurl.POLL_IN else 0) | (select.EPOLLOUT if what & pycurl.POLL_OUT else 0)
        try:
            self._set.modify(descriptor, events)
        except FileNotFoundError:
            self._set.register(descriptor, events)

    def _on_ready(self) -> None:
        for descriptor, events in self._set.poll(0, _READY_AT_ONCE):
            what = self._wanted.get(descriptor, 0)
            if not what:
                with suppress(OSError):  # it may have been closed on behalf of the one before it
                    self._set.unregister(descriptor)
                continue
            broken = events & (select.EPOLLERR | select.EPOLLHUP)
            ready = pycurl.CSELECT_IN if events & select.EPOLLIN or broken else 0
            if events & select.EPOLLOUT or (broken and what & pycurl.POLL_OUT):
                ready |= pycurl.CSELECT_OUT
            self._act(descriptor, ready)

    def close(self) -> None:
        self._wanted.clear()
        self._loop.remove_reader(self._set.fileno())
        self._set.close()


class _Loop:
    """Each socket is registered with the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, act: Act) -> None:
        self._loop = loop
        self._act = act
        self._wanted: dict[int, int] = {}

    def want(self, descriptor: int, what: int) -> None:
        changed = what ^ self._wanted.get(descriptor, 0)
        if what:
            self._wanted[descriptor] = what
        else:
            self._wanted.pop(descriptor, None)
        if changed & pycurl.POLL_IN:
            if what & pycurl.POLL_IN:
                self._loop.add_reader(descriptor, self._act, descriptor, pycurl.CSELECT_IN)
            else:
                self._loop.remove_reader(descriptor)
        if changed & pycurl.POLL_OUT:
            if what & pycurl.POLL_OUT:
                self._loop.add_writer(descriptor, self._act, descriptor, pycurl.CSELECT_OUT)
            else:
                self._loop.remove_writer(descriptor)

    def close(self) -> None:
        for descriptor in tuple(self._wanted):
            self.want(descriptor, 0)


class _Sweep:
    """Where the loop cannot watch sockets (Windows' proactor), they are looked at every 2 ms while any matters."""

    def __init__(self, loop: asyncio.AbstractEventLoop, act: Act) -> None:
        self._loop = loop
        self._act = act
        self._wanted: set[int] = set()
        self._next: asyncio.TimerHandle | None = None

    def want(self, descriptor: int, what: int) -> None:
        if not what:
            self._wanted.discard(descriptor)
            return
        self._wanted.add(descriptor)
        if self._next is None:
            self._next = self._loop.call_later(_SWEEP_S, self._look)

    def _look(self) -> None:
        self._next = self._loop.call_later(_SWEEP_S, self._look) if self._wanted else None
        for descriptor in tuple(self._wanted):
            self._act(descriptor, 0)

    def close(self) -> None:
        self._wanted.clear()
        if self._next is not None:
            self._next.cancel()
