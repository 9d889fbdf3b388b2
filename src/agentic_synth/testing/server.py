"""The simulated provider as an HTTP server: chat completions, embeddings, models, and its own books.

The path says the format: ``/chat/completions`` is OpenAI's, ``/messages`` Anthropic's, and
``/models/NAME:generateContent`` or ``:streamGenerateContent`` Gemini's (below ``/v1beta`` as a rule).

Both batch APIs are there too: OpenAI's ``/files`` and ``/batches``, Anthropic's ``/messages/batches``.
``POST /advance`` with ``{"seconds": 3600}`` lets time pass for them.

``GET /stats`` shows the books, ``POST /reset`` begins them anew (an optional JSON object of text flags and ``seed``
sets another behaviour), ``GET /health`` says that it is up. Every path works with and without ``/v1`` before it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import msgspec

from agentic_synth.errors import ConfigError, InvalidRequest
from agentic_synth.testing.answers import AnswerLaw, compose, count_input, count_tokens, offline_law
from agentic_synth.testing.batches import Desk
from agentic_synth.testing.batches_anthropic import AnthropicBatchRoutes
from agentic_synth.testing.batches_openai import OpenAIBatchRoutes
from agentic_synth.testing.behaviour import Behaviour
from agentic_synth.testing.dialects import Fault, dialect_of
from agentic_synth.testing.embeddings import embeddings_reply, read_inputs
from agentic_synth.testing.flags import parse_behaviour
from agentic_synth.testing.http import Connection, Exchange
from agentic_synth.testing.simulation import Simulation
from agentic_synth.testing.visit import Visit
from agentic_synth.testing.wire import BadBody, model_list

__all__ = ["SimulatedServer"]

_VOLATILE = frozenset(
    {"metadata", "prompt_cache_key", "safety_identifier", "service_tier", "store", "stream", "stream_options", "user"}
)
"""Fields of a body that do not change what is asked."""
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode_key = msgspec.json.Encoder(order="deterministic").encode


class SimulatedServer:
    """Answers exchanges; :meth:`connection` is the protocol factory of a socket server on *loop*."""

    def __init__(
        self,
        behaviour: Behaviour | None = None,
        *,
        seed: int = 0,
        answer: AnswerLaw | None = None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.simulation = Simulation(behaviour, seed=seed)
        self._initial = self.simulation.behaviour
        self._seed = seed
        self._law = answer or offline_law
        self._loop = loop
        self._connections: set[Connection] = set()
        self._open_desk()
        self._routes: dict[str, tuple[str, Callable[[Exchange], None]]] = {
            "/chat/completions": ("POST", self._chat),
            "/messages": ("POST", self._chat),
            "/embeddings": ("POST", self._embeddings),
            "/models": ("GET", self._models),
            "/stats": ("GET", self._stats),
            "/advance": ("POST", self._advance),
            "/reset": ("POST", self._reset),
            "/health": ("GET", self._health),
        }

    def connection(self) -> Connection:
        """A protocol for one more client."""
        return Connection(self.handle, self._connections)

    def close(self) -> None:
        """Drop every connection."""
        for connection in tuple(self._connections):
            connection.abort()

    def handle(self, exchange: Exchange) -> None:
        """Answer one exchange, at once or later."""
        path = exchange.path.removeprefix("/v1beta").removeprefix("/v1")
        method, route = self._routes.get(path, ("", self._unknown))
        if path.endswith((":generateContent", ":streamGenerateContent")):
            method, route = "POST", self._chat
        elif not method and path.startswith("/models/"):
            method, route = "GET", self._model
        elif path.startswith(("/files", "/batches", "/messages/batches")):
            method, route = exchange.method, self._batches
        if method and exchange.method != method:
            self._fail(exchange, 405, f"{exchange.path} takes {method}, not {exchange.method}")
            return
        try:
            route(exchange)
        except BadBody as error:
            self._fail(exchange, 400, error.message, param=error.param)
        except msgspec.DecodeError as error:
            self._fail(exchange, 400, f"the body is no JSON object: {error}")
        except (InvalidRequest, ConfigError) as error:
            self._fail(exchange, 400, str(error))

    def _chat(self, exchange: Exchange) -> None:
        body, dialect = _decode(exchange.body), dialect_of(exchange.path)
        name, _, verb = exchange.path.rpartition("/")[2].partition(":")
        if verb:
            body["model"] = name
        request = dialect.read(body)
        if not self._admits(exchange, request.model):
            return
        simulation = self.simulation
        fate = simulation.arrive(self._loop.time(), _key(body), count_input(request))
        visit = Visit(self._loop, simulation, exchange, fate, dialect)
        if fate.kind in {"rate_limited", "error", "reset"}:
            visit.fail()
            return
        try:
            answer = compose(request, fate, simulation.behaviour, simulation.seed, self._law)
        except InvalidRequest:
            visit.withdraw()
            raise
        if request.stream or verb.startswith("stream"):
            visit.stream(dialect.stream(body, request, fate, answer), answer.output_tokens)
        else:
            visit.reply(dialect.reply(request, fate, answer), answer.output_tokens)

    def _embeddings(self, exchange: Exchange) -> None:
        body = _decode(exchange.body)
        texts = read_inputs(body)
        model = body.get("model")
        if not isinstance(model, str):
            raise BadBody("you must provide a model parameter", "model")
        if not self._admits(exchange, model):
            return
        tokens = sum(count_tokens(text) for text in texts)
        fate = self.simulation.arrive(self._loop.time(), _key(body), tokens)
        visit = Visit(self._loop, self.simulation, exchange, fate)
        if fate.kind in {"rate_limited", "error", "reset"}:
            visit.fail()
            return
        try:
            visit.reply(embeddings_reply(body, texts, self.simulation.seed), 0)
        except BadBody:
            visit.withdraw()
            raise

    def _models(self, exchange: Exchange) -> None:
        if self._admits(exchange):
            names = self.simulation.behaviour.models or ("simulated",)
            exchange.reply(200, dialect_of(exchange.path).models(names))

    def _model(self, exchange: Exchange) -> None:
        name = exchange.path.partition("/models/")[2]
        if self._admits(exchange, name):
            exchange.reply(200, msgspec.json.encode(msgspec.json.decode(model_list((name,)))["data"][0]))

    def _stats(self, exchange: Exchange) -> None:
        batches = self._desk.statistics(self._desk.moment(self._loop.time()))
        exchange.reply(200, msgspec.json.encode({**self.simulation.statistics(), "batches": batches}))

    def _advance(self, exchange: Exchange) -> None:
        seconds = _decode(exchange.body).get("seconds")
        if not isinstance(seconds, int | float) or seconds < 0:
            raise BadBody("seconds must be a number from 0 up", "seconds")
        self._desk.advance(seconds)
        exchange.reply(200, b'{"status":"advanced"}')

    def _batches(self, exchange: Exchange) -> None:
        if not self._admits(exchange):
            return
        parts = exchange.path.removeprefix("/v1").strip("/").split("/")
        if parts[0] == "messages":
            self._anthropic.handle(exchange, parts[2:])
        else:
            self._openai.handle(exchange, parts)

    def _open_desk(self) -> None:
        self._desk = Desk(self.simulation, _key, wall=time.time() - self._loop.time())
        self._openai = OpenAIBatchRoutes(self._desk, self._loop, self._law)
        self._anthropic = AnthropicBatchRoutes(self._desk, self._loop, self._law)

    def _reset(self, exchange: Exchange) -> None:
        behaviour, seed = self._initial, self._seed
        if exchange.body.strip():
            settings = _decode(exchange.body)
            seed = settings.pop("seed", seed)
            if not isinstance(seed, int):
                raise BadBody("seed must be an integer", "seed")
            if settings:
                behaviour = parse_behaviour({name: _text(value) for name, value in settings.items()})
        self.simulation = Simulation(behaviour, seed=seed)
        self._open_desk()
        exchange.reply(200, b'{"status":"reset"}')

    def _health(self, exchange: Exchange) -> None:
        exchange.reply(200, b'{"status":"ok"}')

    def _unknown(self, exchange: Exchange) -> None:
        self._fail(exchange, 404, f"unknown URL {exchange.method} {exchange.path}")

    def _admits(self, exchange: Exchange, model: str | None = None) -> bool:
        """Whether the key and the model are known; where not, the client has been told."""
        behaviour = self.simulation.behaviour
        if behaviour.api_key is not None and exchange.authorization != f"Bearer {behaviour.api_key}":
            self._fail(exchange, 401, "incorrect API key provided", code="invalid_api_key")
            return False
        if model is not None and behaviour.models and model not in behaviour.models:
            message = f"the model {model!r} does not exist or you do not have access to it"
            self._fail(exchange, 404, message, code="model_not_found", param="model")
            return False
        return True

    def _fail(
        self, exchange: Exchange, status: int, message: str, *, code: str | None = None, param: str | None = None
    ) -> None:
        self.simulation.count("invalid_request", status)
        fault = Fault(status, message, code=code, param=param)
        exchange.reply(status, dialect_of(exchange.path).fault(fault, {}))


def _key(body: dict[str, Any]) -> int:
    """64 bits that name what is asked, whatever the order of the fields and the way the answer shall come."""
    asked = {name: value for name, value in body.items() if name not in _VOLATILE}
    return int.from_bytes(blake2b(_encode_key(asked), digest_size=8).digest(), "little")


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
