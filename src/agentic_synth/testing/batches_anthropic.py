"""Anthropic's Message Batches as the simulated server speaks them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import msgspec

from agentic_synth.testing.answers import AnswerLaw, compose
from agentic_synth.testing.batches import Batch, Desk, Fortune, Item
from agentic_synth.testing.download import send_lines
from agentic_synth.testing.http import Exchange
from agentic_synth.testing.messages import message, message_error, read_messages
from agentic_synth.testing.wire import BadBody
from agentic_synth.types import Json

__all__ = ["AnthropicBatchRoutes"]

_encode = msgspec.json.encode
_MOST_REQUESTS = 100_000
_STATUSES = {"running": "in_progress", "cancelling": "canceling"}


class _Asked(msgspec.Struct):
    custom_id: str
    params: msgspec.Raw


class _Order(msgspec.Struct):
    requests: list[_Asked]


class AnthropicBatchRoutes:
    """Answers the exchanges below ``/messages/batches``."""

    def __init__(self, desk: Desk, loop: asyncio.AbstractEventLoop, law: AnswerLaw) -> None:
        self._desk = desk
        self._loop = loop
        self._law = law

    def handle(self, exchange: Exchange, parts: list[str]) -> None:
        """Answer one exchange; *parts* are those of its path behind ``/messages/batches``."""
        now = self._desk.moment(self._loop.time())
        try:
            match (exchange.method, parts):
                case ("POST", []):
                    self._create(exchange, now)
                case ("GET", []):
                    if not self._refused(exchange, "poll"):
                        exchange.reply(200, self._page(exchange, now))
                case (_, [name, *rest]):
                    self._one(exchange, name, rest, now)
                case _:
                    _fail(exchange, 405, "method not allowed")
        except (BadBody, msgspec.DecodeError) as error:
            _fail(exchange, 400, str(error))

    def _create(self, exchange: Exchange, now: float) -> None:
        if self._refused(exchange, "submit"):
            return
        asked = msgspec.json.decode(exchange.body, type=_Order).requests
        if not 0 < len(asked) <= _MOST_REQUESTS:
            raise BadBody(f"requests: from 1 to {_MOST_REQUESTS} are required", "requests")
        if len({one.custom_id for one in asked}) < len(asked):
            raise BadBody("requests: custom_id must be unique within a batch", "requests")
        requests = [(one.custom_id, bytes(one.params)) for one in asked]
        batch = self._desk.submit("msgbatch", requests, now, {}, read_messages)
        if self._desk.unlucky("lost") is not None:
            exchange.reset()
        else:
            exchange.reply(200, _encode(self._batch(exchange, batch, now)))

    def _one(self, exchange: Exchange, name: str, rest: list[str], now: float) -> None:
        desk, batch = self._desk, self._desk.batches.get(name)
        if batch is None or not _is_ours(batch):
            _fail(exchange, 404, f"there is no batch {name}", "not_found_error")
            return
        match (exchange.method, rest):
            case ("GET", []):
                if not self._refused(exchange, "poll"):
                    exchange.reply(200, _encode(self._batch(exchange, batch, now)))
            case ("POST", ["cancel"]):
                if not desk.cancel(batch, now):
                    raise BadBody(f"the batch {name} has ended and cannot be canceled")
                exchange.reply(200, _encode(self._batch(exchange, batch, now)))
            case ("GET", ["results"]):
                self._results(exchange, batch, now)
            case ("DELETE", []):
                desk.look(batch, now)
                if batch.ended is None:
                    raise BadBody(f"the batch {name} is in progress and cannot be deleted")
                desk.forget(batch)
                exchange.reply(200, _encode({"id": name, "type": "message_batch_deleted"}))
            case _:
                _fail(exchange, 404, f"unknown URL {exchange.method} {exchange.path}", "not_found_error")

    def _results(self, exchange: Exchange, batch: Batch, now: float) -> None:
        self._desk.look(batch, now)
        if batch.ended is None:
            _fail(exchange, 404, f"the batch {batch.id} has no results before it has ended", "not_found_error")
            return
        share = self._desk.unlucky("results")
        lines = (self._result(item, fortune) for item, fortune in self._desk.fortunes(batch, now))
        send_lines(self._loop, exchange, lines, cut_after=None if share is None else int(share * len(batch.items)))

    def _result(self, item: Item, fortune: Fortune) -> bytes:
        result: dict[str, Json] = {"type": {"cancelled": "canceled"}.get(fortune, fortune)}
        if fortune == "answered":
            simulation = self._desk.simulation
            request = read_messages(msgspec.json.decode(item.body))
            answer = compose(request, item.fate, simulation.behaviour, simulation.seed, self._law)
            result = {"type": "succeeded", "message": msgspec.Raw(message(request, item.fate, answer))}
        elif fortune == "failed":
            kind = "invalid_request_error" if item.fault else "api_error"
            error = message_error(item.fault or "internal server error", kind)
            result = {"type": "errored", "error": msgspec.Raw(error)}
        return _encode({"custom_id": item.custom_id, "result": result}) + b"\n"

    def _batch(self, exchange: Exchange, batch: Batch, now: float) -> dict[str, Json]:
        desk, standing = self._desk, self._desk.look(batch, now)
        ended = batch.ended is not None
        # As the provider does: the other counts stay zero until all is over.
        tally = desk.tally(batch, standing)
        counts = {"processing": 0 if ended else len(batch.items)}
        counts |= dict(
            zip(("succeeded", "errored", "canceled", "expired"), tally[1:] if ended else (0,) * 4, strict=True)
        )
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": "ended" if ended else _STATUSES[standing.status],
            "request_counts": counts,
            "created_at": self._time(batch.created),
            "expires_at": self._time(batch.created + desk.behaviour.expiry),
            "ended_at": self._time(batch.ended) if batch.ended is not None else None,
            "cancel_initiated_at": self._time(batch.cancelled) if batch.cancelled is not None else None,
            "archived_at": None,
            "results_url": f"{exchange.origin}/v1/messages/batches/{batch.id}/results" if ended else None,
        }

    def _time(self, moment: float) -> str:
        return datetime.fromtimestamp(self._desk.unix(moment), UTC).isoformat().replace("+00:00", "Z")

    def _page(self, exchange: Exchange, now: float) -> bytes:
        asked = {name: values[0] for name, values in parse_qs(exchange.query).items()}
        batches = [batch for batch in reversed(self._desk.batches.values()) if _is_ours(batch)]
        names = [batch.id for batch in batches]
        limit = int(asked["limit"]) if asked.get("limit", "").isdecimal() else 20
        if "before_id" in asked:
            end = names.index(asked["before_id"]) if asked["before_id"] in names else 0
            start, more = max(0, end - limit), end > limit
        else:
            start = names.index(asked["after_id"]) + 1 if asked.get("after_id") in names else 0
            end = start + limit
            more = end < len(names)
        data: list[Any] = [self._batch(exchange, batch, now) for batch in batches[start:end]]
        ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
        return _encode({"data": data, "has_more": more, **ends})

    def _refused(self, exchange: Exchange, kind: Any) -> bool:
        if self._desk.unlucky(kind) is None:
            return False
        _fail(exchange, 503, "the server is overloaded, try again later", "api_error")
        return True


def _is_ours(batch: Batch) -> bool:
    return batch.id.startswith("msgbatch_")


def _fail(exchange: Exchange, status: int, text: str, kind: str = "invalid_request_error") -> None:
    exchange.reply(status, message_error(text, kind))
