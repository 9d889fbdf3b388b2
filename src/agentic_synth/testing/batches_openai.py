"""OpenAI's files and batches as the simulated server speaks them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice
from typing import Any
from urllib.parse import parse_qs

import msgspec

from agentic_synth.testing.answers import AnswerLaw, compose
from agentic_synth.testing.batches import Batch, BatchFile, Desk, Fortune, Item
from agentic_synth.testing.download import send_lines
from agentic_synth.testing.http import Exchange
from agentic_synth.testing.wire import BadBody, completion, error_body, read_chat
from agentic_synth.types import Json

__all__ = ["OpenAIBatchRoutes"]

_encode = msgspec.json.encode
_ENDPOINT = "/v1/chat/completions"
_MOST_REQUESTS = 50_000
_UNTOUCHED = {
    "expired": ("batch_expired", "this request could not be executed before the completion window expired"),
    "cancelled": ("batch_cancelled", "this request was not executed because the batch was cancelled"),
}


class _Line(msgspec.Struct):
    custom_id: str
    method: str
    url: str
    body: msgspec.Raw


class _Order(msgspec.Struct):
    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: dict[str, str] | None = None


_line = msgspec.json.Decoder(_Line)


class OpenAIBatchRoutes:
    """Answers the exchanges below ``/files`` and ``/batches``."""

    def __init__(self, desk: Desk, loop: asyncio.AbstractEventLoop, law: AnswerLaw) -> None:
        self._desk = desk
        self._loop = loop
        self._law = law

    def handle(self, exchange: Exchange, parts: list[str]) -> None:
        """Answer one exchange; *parts* are those of its path."""
        now = self._desk.moment(self._loop.time())
        match (exchange.method, *parts):
            case ("POST", "files"):
                self._upload(exchange, now)
            case ("GET", "files"):
                files = [self._file(file) for file in reversed(self._desk.files.values())]
                exchange.reply(200, _page(files, exchange.query, 10_000))
            case (_, "files", name, *rest):
                self._one_file(exchange, name, rest, now)
            case ("POST", "batches"):
                self._create(exchange, now)
            case ("GET", "batches", *names) if len(names) < 2:
                self._tell(exchange, names, now)
            case ("POST", "batches", name, "cancel"):
                self._cancel(exchange, name, now)
            case _:
                _fail(exchange, 404, f"unknown URL {exchange.method} {exchange.path}")

    def _upload(self, exchange: Exchange, now: float) -> None:
        if self._refused(exchange, "upload"):
            return
        fields = _multipart(exchange.body)
        if "purpose" not in fields or "file" not in fields:
            raise BadBody("an upload needs the fields purpose and file", "file")
        name, content = fields["file"]
        file = self._desk.upload(name, fields["purpose"][1].decode("utf-8", "replace"), content, now)
        exchange.reply(200, _encode(self._file(file)))

    def _one_file(self, exchange: Exchange, name: str, rest: list[str], now: float) -> None:
        file = self._desk.files.get(name)
        lines = self._output(name, now) if file is None else None
        match (exchange.method, rest):
            case ("GET", ["content"]) if file is not None:
                exchange.reply(200, file.content)
            case ("GET", ["content"]) if lines is not None:
                share = self._desk.unlucky("results")
                count = len(self._desk.batches[name.partition("-of-")[2]].items)
                send_lines(self._loop, exchange, lines, cut_after=None if share is None else int(share * count))
            case ("GET", []) if file is not None:
                exchange.reply(200, _encode(self._file(file)))
            case ("GET", []) if lines is not None:
                made = BatchFile(name, f"{name}.jsonl", "batch_output", now, b"")
                exchange.reply(200, _encode(self._file(made) | {"bytes": sum(map(len, lines))}))
            case ("DELETE", []) if file is not None:
                self._desk.forget(file)
                exchange.reply(200, _encode({"id": name, "object": "file", "deleted": True}))
            case _:
                _fail(exchange, 404, f"no such file: {name}", "file_not_found")

    def _create(self, exchange: Exchange, now: float) -> None:
        if self._refused(exchange, "submit"):
            return
        order = msgspec.json.decode(exchange.body, type=_Order)
        file = self._desk.files.get(order.input_file_id)
        if file is None or file.purpose != "batch":
            raise BadBody(f"there is no file {order.input_file_id} for a batch", "input_file_id")
        if order.endpoint != _ENDPOINT or order.completion_window != "24h":
            raise BadBody(f"endpoint must be {_ENDPOINT}, completion_window 24h", "endpoint")
        requests, fault = _read_lines(file.content)
        about = {"file": file.id, "metadata": order.metadata, "fault": fault}
        message = fault["message"] if fault else ""
        batch = self._desk.submit("batch", requests, now, about, read_chat, message)
        if self._desk.unlucky("lost") is not None:
            exchange.reset()
        else:
            exchange.reply(200, _encode(self._batch(batch, now)))

    def _tell(self, exchange: Exchange, names: list[str], now: float) -> None:
        if self._refused(exchange, "poll"):
            return
        if not names:
            mine = [batch for batch in reversed(self._desk.batches.values()) if _is_ours(batch)]
            exchange.reply(200, _page([self._batch(batch, now) for batch in mine], exchange.query, 20))
        elif (batch := self._find(exchange, names[0])) is not None:
            exchange.reply(200, _encode(self._batch(batch, now)))

    def _cancel(self, exchange: Exchange, name: str, now: float) -> None:
        if (batch := self._find(exchange, name)) is None:
            return
        if self._desk.cancel(batch, now):
            exchange.reply(200, _encode(self._batch(batch, now)))
        else:
            status = self._desk.look(batch, now).status
            _fail(exchange, 409, f"a batch with the status {status} cannot be cancelled")

    def _find(self, exchange: Exchange, name: str) -> Batch | None:
        batch = self._desk.batches.get(name)
        if batch is None or not _is_ours(batch):
            _fail(exchange, 404, f"no batch found with id {name!r}")
            return None
        return batch

    def _refused(self, exchange: Exchange, kind: Any) -> bool:
        if self._desk.unlucky(kind) is None:
            return False
        exchange.reply(503, error_body("the server is overloaded, try again later", "server_error"))
        return True

    def _file(self, file: BatchFile) -> dict[str, Json]:
        return {
            "id": file.id,
            "object": "file",
            "bytes": len(file.content),
            "created_at": self._desk.unix(file.created),
            "filename": file.name,
            "purpose": file.purpose,
            "status": "processed",
        }

    def _batch(self, batch: Batch, now: float) -> dict[str, Json]:
        desk, standing = self._desk, self._desk.look(batch, now)
        tally, status = desk.tally(batch, standing), standing.status
        shown = {"running": "in_progress"}.get(status, status)
        ended = {f"{status}_at": desk.unix(batch.ended)} if batch.ended is not None else {}
        has_results = status in {"completed", "expired", "cancelled"}
        untold = tally.failed + tally.cancelled + tally.expired
        fault = batch.about["fault"]
        return {
            "id": batch.id,
            "object": "batch",
            "endpoint": _ENDPOINT,
            "errors": {"object": "list", "data": [fault]} if fault else None,
            "input_file_id": batch.about["file"],
            "completion_window": "24h",
            "status": shown,
            "output_file_id": f"file-output-of-{batch.id}" if has_results and tally.answered else None,
            "error_file_id": f"file-error-of-{batch.id}" if has_results and untold else None,
            "created_at": desk.unix(batch.created),
            "in_progress_at": desk.unix(batch.created),
            "expires_at": desk.unix(batch.created + desk.behaviour.expiry),
            "request_counts": {"total": len(batch.items), "completed": tally.answered, "failed": tally.failed},
            "metadata": batch.about["metadata"],
            **ended,
        }

    def _output(self, name: str, now: float) -> Iterator[bytes] | None:
        """The lines of a file of results, None where there is none of this name."""
        kind, _, identity = name.removeprefix("file-").partition("-of-")
        batch = self._desk.batches.get(identity)
        if batch is None or kind not in {"output", "error"}:
            return None
        self._desk.look(batch, now)
        if batch.ended is None:
            return None
        fortunes = self._desk.fortunes(batch, now)
        wanted = ((item, fortune) for item, fortune in fortunes if (fortune == "answered") == (kind == "output"))
        return (self._result(batch, item, fortune) for item, fortune in wanted)

    def _result(self, batch: Batch, item: Item, fortune: Fortune) -> bytes:
        response: dict[str, Json] | None = None
        error = None
        if fortune == "answered":
            simulation = self._desk.simulation
            request = read_chat(msgspec.json.decode(item.body))
            answer = compose(request, item.fate, simulation.behaviour, simulation.seed, self._law)
            response = {"status_code": 200, "body": msgspec.Raw(completion(request, item.fate, answer))}
        elif fortune == "failed":
            status, kind = (400, "invalid_request_error") if item.fault else (500, "server_error")
            message = item.fault or "the server had an error while processing your request"
            response = {"status_code": status, "body": msgspec.Raw(error_body(message, kind))}
        else:
            code, message = _UNTOUCHED[fortune]
            error = {"code": code, "message": message}
        number = f"batch_req_{item.fate.key:016x}"
        if response is not None:
            response["request_id"] = f"req_{item.fate.key:016x}"
        return _encode({"id": number, "custom_id": item.custom_id, "response": response, "error": error}) + b"\n"


def _is_ours(batch: Batch) -> bool:
    return batch.id.startswith("batch_")


def _read_lines(content: bytes) -> tuple[list[tuple[str, bytes]], dict[str, Json] | None]:
    """The requests of an input file, or what is wrong with it."""
    requests: dict[str, bytes] = {}
    for number, text in enumerate(content.split(b"\n"), 1):
        if not text.strip():
            continue
        try:
            line = _line.decode(text)
        except msgspec.DecodeError as error:
            return [], _fault("invalid_json_line", f"this line cannot be read: {error}", number)
        if line.url != _ENDPOINT or line.method != "POST":
            return [], _fault("invalid_url", f"the url of every line must be {_ENDPOINT}", number)
        if line.custom_id in requests:
            return [], _fault("duplicate_custom_id", f"the custom_id {line.custom_id!r} is not unique", number)
        requests[line.custom_id] = bytes(line.body)
    if not requests:
        return [], _fault("empty_file", "the input file is empty", None)
    if len(requests) > _MOST_REQUESTS:
        return [], _fault("too_many_tasks", f"a batch holds at most {_MOST_REQUESTS} requests", None)
    return list(requests.items()), None


def _fault(code: str, message: str, line: int | None) -> dict[str, Json]:
    return {"code": code, "message": message, "param": None, "line": line}


def _multipart(body: bytes) -> dict[str, tuple[str, bytes]]:
    """The fields of a form: file name and content (RFC 7578)."""
    boundary, _, _ = body.partition(b"\r\n")
    fields: dict[str, tuple[str, bytes]] = {}
    if not boundary.startswith(b"--"):
        raise BadBody("an upload must be multipart/form-data", "file")
    for section in body.removeprefix(boundary).split(b"\r\n" + boundary)[:-1]:
        head, _, content = section.partition(b"\r\n\r\n")
        quoted = head.decode("utf-8", "replace").split('"')
        named = dict(zip((text.rpartition(" ")[2] for text in quoted[::2]), quoted[1::2], strict=False))
        fields[named.get("name=", "")] = (named.get("filename=", ""), content)
    return fields


def _page(newest_first: list[dict[str, Json]], query: str, default: int) -> bytes:
    asked = parse_qs(query)
    rest = iter(newest_first)
    if after := asked.get("after"):
        for value in rest:
            if value["id"] == after[0]:
                break
    text = asked.get("limit", [""])[0]
    limit = int(text) if text.isdecimal() else default
    data = list(islice(rest, limit))
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
    return _encode({"object": "list", "data": data, **ends, "has_more": next(rest, None) is not None})


def _fail(exchange: Exchange, status: int, message: str, code: str | None = None) -> None:
    exchange.reply(status, error_body(message, "invalid_request_error", code))
