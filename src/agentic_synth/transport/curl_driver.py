"""libcurl on the event loop: transfers run by its multi interface, woken by the loop's own readiness and timers."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import pycurl

from agentic_synth.transport.curl_watch import watch_sockets

__all__ = ["CurlDriver", "CurlFault"]


class CurlFault(NamedTuple):
    """Why a transfer failed: libcurl's error number (https://curl.se/libcurl/c/libcurl-errors.html) and its words."""

    code: int
    reason: str


class CurlDriver:
    """Runs transfers over one set of kept-alive connections, on the loop it is made on and without a thread.

    Whoever starts a transfer must remove it; removing an unfinished one closes its connection, or resets its HTTP/2
    stream, at once.
    """

    def __init__(self, *, max_connections: int, max_streams: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._sockets = watch_sockets(self._loop, self._act)
        self._running: dict[pycurl.Curl, asyncio.Future[CurlFault | None]] = {}
        self._live = 0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._turn: asyncio.Handle | None = None
        self._closed = False
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self._multi.setopt(pycurl.M_MAXCONNECTS, max_connections)
        self._multi.setopt(pycurl.M_MAX_CONCURRENT_STREAMS, max_streams)

    def start(self, curl: pycurl.Curl) -> asyncio.Future[CurlFault | None]:
        """Begin the transfer that *curl* describes; the result is None once it is complete, or why it is not."""
        self._multi.add_handle(curl)
        self._live += 1
        ended = self._running[curl] = self._loop.create_future()
        return ended

    def remove(self, curl: pycurl.Curl) -> None:
        """Let go of a transfer that was started, whether it has ended or not."""
        ended = self._running.pop(curl, None)
        self._live -= ended is not None and not ended.done()
        if not self._closed:
            self._multi.remove_handle(curl)

    async def close(self) -> None:
        """Close every connection; transfers under way end with a fault."""
        if self._closed:
            return
        self._closed = True
        for curl, ended in self._running.items():
            self._multi.remove_handle(curl)
            if not ended.done():
                ended.set_result(CurlFault(pycurl.E_ABORTED_BY_CALLBACK, "the client was closed"))
        self._running.clear()
        self._multi.close()
        for handle in (self._timer, self._turn):
            if handle is not None:
                handle.cancel()
        self._sockets.close()

    def _watch(self, what: int, descriptor: int, multi: pycurl.CurlMulti, data: object) -> None:
        """Called by libcurl: from now on *descriptor* matters for *what*."""
        self._sockets.want(descriptor, what & pycurl.POLL_INOUT if what != pycurl.POLL_REMOVE else 0)

    def _set_timer(self, milliseconds: int) -> None:
        """Called by libcurl, at least once a transfer: its timers want to be looked at then.

        A timer that is set already and fires earlier is left alone; when it fires, it is set to what is due then.
        """
        if milliseconds < 0:
            self._due = 0.0
        elif milliseconds == 0:
            if self._turn is None:
                self._turn = self._loop.call_soon(self._on_turn)
        else:
            self._due = self._loop.time() + milliseconds / 1_000
            if self._timer is not None:
                if self._timer.when() <= self._due:
                    return
                self._timer.cancel()
            self._timer = self._loop.call_at(self._due, self._on_timer)

    def _on_turn(self) -> None:
        self._turn = None
        self._act(pycurl.SOCKET_TIMEOUT, 0)

    def _on_timer(self) -> None:
        self._timer = None
        if self._due > self._loop.time():
            self._timer = self._loop.call_at(self._due, self._on_timer)
        elif self._due:
            self._act(pycurl.SOCKET_TIMEOUT, 0)

    def _act(self, descriptor: int, ready: int) -> None:
        _, running = self._multi.socket_action(descriptor, ready)
        more = int(running < self._live)
        while more:
            more, complete, failed = self._multi.info_read()
            for curl in complete:
                self._end(curl, None)
            for curl, code, reason in failed:
                self._end(curl, CurlFault(code, reason))

    def _end(self, curl: pycurl.Curl, fault: CurlFault | None) -> None:
        ended = self._running.get(curl)
        if ended is not None and not ended.done():
            self._live -= 1
            ended.set_result(fault)
