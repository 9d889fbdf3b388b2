"""The HTTP client on pycurl (libcurl below): HTTP/1.1 and HTTP/2, on the event loop itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Mapping

import pycurl

from agentic_synth.config import UpstreamConfig
from agentic_synth.errors import AttemptTimeout
from agentic_synth.transport.client import MEND_FIRST_TOKEN, Answer, Content, HttpStatistics
from agentic_synth.transport.curl_driver import CurlDriver, CurlFault
from agentic_synth.transport.curl_lane import Lane, Settings, Transfer, read_head
from agentic_synth.transport.curl_upload import Upload
from agentic_synth.transport.peer import HTTP1, Peer, discover, speaks_http1
from agentic_synth.transport.pool import Lease

__all__ = ["PycurlClient"]

_HELD_BYTES = 32 * 1024
_USUAL_STREAMS = 100
_REPLAYS = 3


class PycurlClient:
    """Implements :class:`~agentic_synth.transport.client.HttpClient`; *headers* go with every request.

    A caller that is cancelled, at whatever moment, closes its connection or resets its HTTP/2 stream at once.

    Where the peer speaks both protocols, plain exchanges share HTTP/2 connections and opened ones each have one of
    HTTP/1.1: there a stalled reader holds no more than the socket's buffers and ours, while libcurl lets the peer send
    10 MiB ahead on each HTTP/2 stream. A peer that speaks HTTP/2 alone, or *http* ``2``, gets it for both.
    """

    def __init__(self, config: UpstreamConfig, headers: Mapping[str, str] | None = None) -> None:
        self._config = config
        self._settings = Settings(config, headers or {})
        self._plain: Lane | None = None
        self._opened: Lane | None = None
        self._opening = asyncio.Lock()

    async def send(
        self, method: str, url: str, body: Content | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        lane = self._plain or await self._open_plain()
        lease = await lane.pool.acquire()
        try:
            transfer = lane.take(method, url, body, headers)
            try:
                if body is None or isinstance(body, bytes):
                    fault = await _exchange(lane, lease.client, transfer)
                else:
                    fault = await _upload(lease.client, transfer, body)
                if fault is not None:
                    raise lane.error(transfer, fault)
                status, found = read_head(transfer.head)
                return Answer(status, found, b"".join(transfer.pieces), lease.age())
            finally:
                lane.put_back(transfer, lease)
        finally:
            lease.release()

    async def open(self, method: str, url: str, body: bytes | None = None) -> PycurlBody:
        timeout = self._config.timeouts.first_token
        lane = self._opened or await self._open_opened()
        lease = await lane.pool.acquire()
        try:
            opened = PycurlBody(lane, lane.take(method, url, body, None), lease)
        except BaseException:
            lease.release()
            raise
        try:
            async with asyncio.timeout(timeout):
                await opened.begin()
        except TimeoutError:
            await opened.aclose()
            raise AttemptTimeout(f"no reply within {timeout:g} s", mend=MEND_FIRST_TOKEN) from None
        except BaseException:
            await opened.aclose()
            raise
        return opened

    async def _open_plain(self) -> Lane:
        config = self._config
        async with self._opening:
            if self._plain is None:
                peer = Peer("2", _USUAL_STREAMS) if config.http == "2" else HTTP1
                if config.proxy is None:
                    peer = await discover(config.base_url, config.http, config.timeouts.connect)
                self._plain = Lane(self._settings, peer)
        return self._plain

    async def _open_opened(self) -> Lane:
        plain, config = self._plain or await self._open_plain(), self._config
        async with self._opening:
            if self._opened is None:
                split = plain.peer.protocol == "2" and config.http == "auto"
                if split and await speaks_http1(config.base_url, config.timeouts.connect):
                    self._opened = Lane(self._settings, HTTP1)
                else:
                    self._opened = plain
        return self._opened

    def statistics(self) -> HttpStatistics:
        plain, opened = self._plain, self._opened
        if plain is None:
            return HttpStatistics()
        snapshot = plain.pool.statistics(f"HTTP/{plain.peer.protocol}")
        if opened is None or opened is plain:
            return snapshot
        other = opened.pool.statistics("")
        return HttpStatistics(
            requests=snapshot.requests + other.requests,
            in_flight=snapshot.in_flight + other.in_flight,
            waiting=snapshot.waiting + other.waiting,
            shards=snapshot.shards + other.shards,
            protocol=snapshot.protocol,
        )

    async def aclose(self) -> None:
        lanes = {self._plain, self._opened}
        self._plain = self._opened = None
        for lane in lanes:
            if lane is not None:
                await lane.pool.aclose()


class PycurlBody:
    """Implements :class:`~agentic_synth.transport.client.Body`.

    At most 32 KiB and one piece wait here; then reading from the socket stops.
    """

    __slots__ = (
        "_closed", "_ended", "_held", "_lane", "_lease", "_paused", "_transfer", "_waiter",
        "headers", "started", "status",
    )  # fmt: skip

    def __init__(self, lane: Lane, transfer: Transfer, lease: Lease[CurlDriver]) -> None:
        self._lane = lane
        self._transfer = transfer
        self._lease = lease
        self._held = 0
        self._paused = False
        self._closed = False
        self._waiter: asyncio.Future[None] | None = None
        self._ended: asyncio.Future[CurlFault | None] | None = None
        self.started = lease.started
        self.status = 0
        self.headers: dict[str, str] = {}

    async def begin(self) -> None:
        """Send the request and wait for the head of the reply."""
        curl = self._transfer.curl
        curl.setopt(pycurl.MAXFILESIZE, 0)
        curl.setopt(pycurl.HEADERFUNCTION, self._take_line)
        curl.setopt(pycurl.WRITEFUNCTION, self._take_piece)
        for _ in range(_REPLAYS):
            fault = await self._head()
            if fault is None or not self._lane.is_unseen(self._transfer, fault):
                break
            self._lease.client.remove(curl)
            self._transfer.rewind()
        else:
            fault = await self._head()
        if fault is not None:
            raise self._lane.error(self._transfer, fault)

    async def _head(self) -> CurlFault | None:
        self._ended = self._lease.client.start(self._transfer.curl)
        self._ended.add_done_callback(self._wake)
        while not self.status:
            if self._ended.done():
                return self._ended.result()
            await self._wait()
        return None

    async def read(self) -> bytes | None:
        while not self._held:
            if self._is_complete():
                return None
            await self._wait()
        pieces = self._transfer.pieces
        content = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._held = 0
        if self._paused:
            self._paused = False
            self._transfer.curl.pause(pycurl.PAUSE_CONT)
        return content

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._lane.put_back(self._transfer, self._lease)
        self._transfer.collect()
        self._lease.release()

    def _take_line(self, line: bytes) -> None:
        """Called by libcurl with each line of the head."""
        head = self._transfer.head
        head.append(line)
        if line == b"\r\n" and not self.status:
            status, self.headers = read_head(head)
            if status >= 200:
                self.status = status
                self._wake()

    def _take_piece(self, piece: bytes) -> int | None:
        """Called by libcurl with each piece of the body; what is not taken now it keeps."""
        if self._held >= _HELD_BYTES:
            self._paused = True
            return int(pycurl.WRITEFUNC_PAUSE)
        self._transfer.pieces.append(piece)
        self._held += len(piece)
        self._wake()
        return None

    def _is_complete(self) -> bool:
        if self._ended is None or not self._ended.done():
            return False
        fault = self._ended.result()
        if fault is not None:
            raise self._lane.error(self._transfer, fault)
        return True

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self, _: object = None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def _exchange(lane: Lane, driver: CurlDriver, transfer: Transfer) -> CurlFault | None:
    for _ in range(_REPLAYS):
        fault = await driver.start(transfer.curl)
        if fault is None or not lane.is_unseen(transfer, fault):
            return fault
        driver.remove(transfer.curl)
        transfer.rewind()
    return await driver.start(transfer.curl)


async def _upload(driver: CurlDriver, transfer: Transfer, pieces: AsyncIterable[bytes]) -> CurlFault | None:
    size = int({name.lower(): value for name, value in (transfer.headers or {}).items()}["content-length"])
    upload = Upload(transfer.curl, pieces, size)
    async with asyncio.TaskGroup() as group:
        ended = driver.start(transfer.curl)
        feeding = group.create_task(upload.feed())
        fault = await ended
        feeding.cancel()
    if upload.error is not None:
        raise upload.error
    return fault
