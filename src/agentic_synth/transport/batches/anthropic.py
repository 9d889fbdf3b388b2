"""Anthropic's Message Batches (docs.anthropic.com/en/api/creating-message-batches).

A batch there carries nothing of ours that could be asked for before it has ended, so one whose submission's reply was
lost is found by what it must be: listed after the mark that was noted before the submission, of just as many requests,
and none of the batches that are accounted for. Where one such is still running, nobody can tell yet whose it is; once
it has ended, the name of any one of its results does. Until then the submission stays open: late rather than twice.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing
from datetime import datetime

import msgspec

from agentic_synth.config import UpstreamConfig
from agentic_synth.errors import InvalidRequest, Overloaded
from agentic_synth.transport.batches.api import (
    BatchCounts,
    BatchLimits,
    BatchLine,
    BatchResult,
    BatchState,
    Finding,
    ProviderBatch,
    Submission,
)
from agentic_synth.transport.batches.exchange import ClientFactory, Exchange, NewClient
from agentic_synth.transport.batches.spool import spooled
from agentic_synth.types import Json

__all__ = ["AnthropicBatches"]

_PAGE = 100
_ENOUGH = 100
_CLOCK_SKEW_S = 3_600.0


class _Counts(msgspec.Struct):
    processing: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0


class _Batch(msgspec.Struct):
    id: str
    processing_status: str
    created_at: datetime
    expires_at: datetime | None = None
    archived_at: datetime | None = None
    cancel_initiated_at: datetime | None = None
    request_counts: _Counts = msgspec.field(default_factory=_Counts)
    results_url: str | None = None


class _Page(msgspec.Struct):
    data: list[_Batch] = []
    has_more: bool = False


class _Failure(msgspec.Struct):
    error: Json = None


class _Result(msgspec.Struct):
    type: str
    message: msgspec.Raw = msgspec.Raw(b"null")
    error: _Failure | None = None


class _Line(msgspec.Struct):
    custom_id: str
    result: _Result


_line = msgspec.json.Decoder(_Line)


class AnthropicBatches:
    """Implements :class:`~agentic_synth.transport.batches.api.BatchApi`; how it finds a batch again, see above."""

    limits = BatchLimits(100_000, 256_000_000)

    def __init__(self, config: UpstreamConfig, client: NewClient = ClientFactory) -> None:
        base = config.base_url.rstrip("/")
        self._url = f"{base if base.endswith('/v1') else f'{base}/v1'}/messages/batches"
        self._exchange = Exchange(config, client)

    def size(self, line: BatchLine) -> int:
        return len(self._encode(line)) + 1

    def _encode(self, line: BatchLine) -> bytes:
        body = self._exchange.body_of(line)
        return b'{"custom_id":"%b","params":%b}' % (line.custom_id.encode(), body)

    async def mark(self) -> str:
        page = await self._exchange.ask(_Page, "GET", f"{self._url}?limit=1")
        return page.data[0].id if page.data else ""

    async def submit(self, name: str, lines: Iterable[BatchLine]) -> ProviderBatch:
        items = (self._encode(line) for line in lines)
        async with spooled(items, self.limits, head=b'{"requests":[', between=b",", tail=b"]}") as spool:
            headers = {"content-length": str(spool.size)}
            return _told(await self._exchange.ask(_Batch, "POST", self._url, spool.pieces(), headers))

    async def find(self, submission: Submission, owns: Callable[[str], bool]) -> Finding:
        undecided: list[ProviderBatch] = []
        async for batch in self.list():
            if batch.id == submission.mark or batch.created < submission.began - _CLOCK_SKEW_S:
                break
            if batch.counts.total != submission.requests or batch.id in submission.known:
                continue
            if not batch.state.final:
                undecided.append(batch)
            elif batch.results and await self._is_ours(batch, owns):
                return Finding(batch)
        return Finding(None, tuple(undecided))

    async def _is_ours(self, batch: ProviderBatch, owns: Callable[[str], bool]) -> bool:
        # Some, not one: of ours, a few may have been answered elsewhere meanwhile and be no longer known.
        looked = 0
        async with aclosing(self.results(batch)) as results:
            async for result in results:
                looked += 1
                if owns(result.custom_id) or looked >= _ENOUGH:
                    return owns(result.custom_id)
        return False

    async def poll(self, identity: str) -> ProviderBatch:
        return _told(await self._exchange.ask(_Batch, "GET", f"{self._url}/{identity}"))

    async def results(self, batch: ProviderBatch) -> AsyncGenerator[BatchResult, None]:
        for _ in batch.results:
            # The address is built here, not taken from the reply: the key goes to no other place than it was given for.
            async with aclosing(self._exchange.lines(f"{self._url}/{batch.id}/results")) as lines:
                async for text in lines:
                    yield self._result(text)

    def _result(self, text: bytes) -> BatchResult:
        try:
            line = _line.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._exchange.unreadable(error) from None
        match line.result.type:
            case "succeeded":
                return self._exchange.answered(line.custom_id, line.result.message)
            case "canceled" | "expired":
                return BatchResult(line.custom_id)
        fault = line.result.error.error if line.result.error is not None else None
        return self._exchange.failed(line.custom_id, fault)

    async def cancel(self, identity: str) -> ProviderBatch:
        try:
            return _told(await self._exchange.ask(_Batch, "POST", f"{self._url}/{identity}/cancel"))
        except (InvalidRequest, Overloaded):  # so it answers where the batch has ended
            batch = await self.poll(identity)
            if not batch.state.final:
                raise
            return batch

    async def list(self) -> AsyncIterator[ProviderBatch]:
        after = ""
        while True:
            page = await self._exchange.ask(_Page, "GET", f"{self._url}?limit={_PAGE}{after}")
            for batch in page.data:
                yield _told(batch)
            if not (page.has_more and page.data):
                return
            after = f"&after_id={page.data[-1].id}"

    async def aclose(self) -> None:
        await self._exchange.aclose()


def _told(batch: _Batch) -> ProviderBatch:
    counts = batch.request_counts
    return ProviderBatch(
        id=batch.id,
        state=_state(batch),
        counts=BatchCounts(counts.processing, counts.succeeded, counts.errored, counts.canceled, counts.expired),
        created=batch.created_at.timestamp(),
        expires=batch.expires_at.timestamp() if batch.expires_at is not None else None,
        results=(batch.id,) if batch.results_url and batch.archived_at is None else (),
    )


def _state(batch: _Batch) -> BatchState:
    if batch.processing_status == "canceling":
        return BatchState.CANCELLING
    if batch.processing_status != "ended":
        return BatchState.RUNNING
    if batch.cancel_initiated_at is not None:
        return BatchState.CANCELLED
    return BatchState.EXPIRED if batch.request_counts.expired else BatchState.COMPLETED
