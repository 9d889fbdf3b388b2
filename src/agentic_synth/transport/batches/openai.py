"""OpenAI's batch API (https://platform.openai.com/docs/guides/batch): a file of requests in, files of results out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing
from hashlib import blake2b

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
from agentic_synth.transport.wire.openai_chat import base_of
from agentic_synth.types import Json

__all__ = ["OpenAIBatches"]

_ENDPOINT = "/v1/chat/completions"
_METADATA = "agentic_synth"
_PAGE = 100
_CLOCK_SKEW_S = 3_600.0
_STATES = {
    "validating": BatchState.RUNNING,
    "in_progress": BatchState.RUNNING,
    "finalizing": BatchState.RUNNING,
    "cancelling": BatchState.CANCELLING,
    "completed": BatchState.COMPLETED,
    "expired": BatchState.EXPIRED,
    "cancelled": BatchState.CANCELLED,
    "failed": BatchState.FAILED,
}
_UNTOUCHED = {"batch_expired", "batch_cancelled"}


class _Counts(msgspec.Struct):
    total: int = 0
    completed: int = 0
    failed: int = 0


class _Fault(msgspec.Struct):
    code: str | None = None
    message: str | None = None
    line: int | None = None


class _Faults(msgspec.Struct):
    data: list[_Fault] | None = None


class _Batch(msgspec.Struct):
    id: str
    status: str
    created_at: float = 0.0
    expires_at: float | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    request_counts: _Counts | None = None
    metadata: dict[str, str] | None = None
    errors: _Faults | None = None


class _Page(msgspec.Struct):
    data: list[_Batch] = []
    has_more: bool = False


class _File(msgspec.Struct):
    id: str


class _Reply(msgspec.Struct):
    status_code: int
    body: msgspec.Raw = msgspec.Raw(b"null")


class _Line(msgspec.Struct):
    custom_id: str
    response: _Reply | None = None
    error: dict[str, Json] | None = None


_line = msgspec.json.Decoder(_Line)


class OpenAIBatches:
    """Implements :class:`~agentic_synth.transport.batches.api.BatchApi`.

    A batch carries its name in its metadata, so one whose submission's reply was lost is found again at once.
    """

    limits = BatchLimits(50_000, 200_000_000)

    def __init__(self, config: UpstreamConfig, client: NewClient = ClientFactory) -> None:
        self._base = base_of(config)
        self._exchange = Exchange(config, client)

    def size(self, line: BatchLine) -> int:
        return len(self._encode(line))

    def _encode(self, line: BatchLine) -> bytes:
        body = self._exchange.body_of(line)
        return b'{"custom_id":"%b","method":"POST","url":"%b","body":%b}\n' % (
            line.custom_id.encode(), _ENDPOINT.encode(), body,
        )  # fmt: skip

    async def mark(self) -> str:
        return ""

    async def submit(self, name: str, lines: Iterable[BatchLine]) -> ProviderBatch:
        file = await self._upload(name, lines)
        body = {
            "input_file_id": file,
            "endpoint": _ENDPOINT,
            "completion_window": "24h",
            "metadata": {_METADATA: name},
        }
        return await self._ask("POST", "batches", msgspec.json.encode(body))

    async def _upload(self, name: str, lines: Iterable[BatchLine]) -> str:
        # A boundary that the requests cannot hold by chance: 128 bits of the name, which no prompt knows.
        boundary = blake2b(name.encode(), digest_size=16, person=b"synth.boundary").hexdigest()
        part = f'--{boundary}\r\ncontent-disposition: form-data; name="'
        head = f'{part}purpose"\r\n\r\nbatch\r\n{part}file"; filename="{name}.jsonl"\r\n'
        head += "content-type: application/jsonl\r\n\r\n"
        items = (self._encode(line) for line in lines)
        tail = f"\r\n--{boundary}--\r\n".encode()
        async with spooled(items, self.limits, head=head.encode(), tail=tail) as spool:
            headers = {
                "content-type": f"multipart/form-data; boundary={boundary}",
                "content-length": str(spool.size),
            }
            url = f"{self._base}/files"
            return (await self._exchange.ask(_File, "POST", url, spool.pieces(), headers)).id

    async def find(self, submission: Submission, owns: Callable[[str], bool]) -> Finding:
        async for batch in self.list():
            if batch.name == submission.name:
                return Finding(batch)
            if batch.created < submission.began - _CLOCK_SKEW_S:
                break
        return Finding()

    async def poll(self, identity: str) -> ProviderBatch:
        return await self._ask("GET", f"batches/{identity}")

    async def results(self, batch: ProviderBatch) -> AsyncGenerator[BatchResult, None]:
        for file in batch.results:
            async with aclosing(self._exchange.lines(f"{self._base}/files/{file}/content")) as lines:
                async for text in lines:
                    yield self._result(text)

    def _result(self, text: bytes) -> BatchResult:
        try:
            line = _line.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._exchange.unreadable(error) from None
        if line.response is not None:
            if 200 <= line.response.status_code < 300:
                return self._exchange.answered(line.custom_id, line.response.body)
            return self._exchange.refused(line.custom_id, line.response.status_code, line.response.body)
        if line.error is None or line.error.get("code") in _UNTOUCHED:
            return BatchResult(line.custom_id)
        return self._exchange.failed(line.custom_id, line.error)

    async def cancel(self, identity: str) -> ProviderBatch:
        try:
            return await self._ask("POST", f"batches/{identity}/cancel")
        except (InvalidRequest, Overloaded):  # it says 400 or 409 of what has ended
            batch = await self.poll(identity)
            if not batch.state.final:
                raise
            return batch

    async def list(self) -> AsyncIterator[ProviderBatch]:
        after = ""
        while True:
            page = await self._exchange.ask(_Page, "GET", f"{self._base}/batches?limit={_PAGE}{after}")
            for batch in page.data:
                yield _told(batch)
            if not (page.has_more and page.data):
                return
            after = f"&after={page.data[-1].id}"

    async def _ask(self, method: str, path: str, body: bytes | None = None) -> ProviderBatch:
        return _told(await self._exchange.ask(_Batch, method, f"{self._base}/{path}", body))

    async def aclose(self) -> None:
        await self._exchange.aclose()


def _told(batch: _Batch) -> ProviderBatch:
    state = _STATES.get(batch.status, BatchState.RUNNING)
    counts = batch.request_counts or _Counts()
    rest = max(0, counts.total - counts.completed - counts.failed)
    left = {BatchState.EXPIRED: "expired", BatchState.CANCELLED: "cancelled"}.get(state, "waiting")
    faults = (batch.errors.data if batch.errors is not None else None) or []
    return ProviderBatch(
        id=batch.id,
        state=state,
        name=(batch.metadata or {}).get(_METADATA, ""),
        counts=BatchCounts(succeeded=counts.completed, failed=counts.failed, **{left: rest}),
        created=batch.created_at,
        expires=batch.expires_at,
        results=tuple(file for file in (batch.output_file_id, batch.error_file_id) if file),
        reason="; ".join(_fault(fault) for fault in faults[:3]),
    )


def _fault(fault: _Fault) -> str:
    where = f" (line {fault.line})" if fault.line is not None else ""
    return f"{fault.message or fault.code or 'unknown'}{where}"
