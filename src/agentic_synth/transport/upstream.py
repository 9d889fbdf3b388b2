"""An upstream reached over HTTP: calls in, replies out, every failure one of our classes."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import AsyncGenerator, Callable, Mapping
from urllib.parse import urlsplit

import msgspec

from agentic_synth.config import UpstreamConfig
from agentic_synth.errors import AttemptTimeout, BadReply, InvalidRequest, SynthError, UnknownModel
from agentic_synth.errors import UpstreamError as UpstreamFailure
from agentic_synth.transport.client import (
    MAX_ANSWER_BYTES,
    Answer,
    Body,
    HttpClient,
    HttpStatistics,
    read_all,
    too_long,
)
from agentic_synth.transport.deltas import HttpDeltaStream
from agentic_synth.transport.encoding import CallEncoder, wire_of
from agentic_synth.transport.failures import failure_of, failure_of_event, host_of
from agentic_synth.transport.pycurl_client import PycurlClient
from agentic_synth.transport.wire import openai_chat, openai_embeddings
from agentic_synth.transport.wire.format import WireFault, assemble, estimated, input_estimate
from agentic_synth.types import Call, Delta, Reply, Response

__all__ = ["HttpUpstream"]

_MAX_ERROR_BYTES = 64 * 1024
_MODELS_S = 5.0


class HttpUpstream:
    """A ``Handler[Call, Reply]``: one try on the wire a call, nothing retried, nothing waited for but the wire.

    A plain call returns when the answer is complete. A call whose request streams returns when the first delta is
    there; the rest comes through ``Response.body``, which must be iterated to its end or closed. With *stream_inside*
    plain calls travel as streams too, so that gateways which cut silent connections let long answers live, and the
    token timeouts apply instead of the total alone. *client* makes the HTTP client.
    """

    def __init__(
        self,
        config: UpstreamConfig,
        client: Callable[[UpstreamConfig, Mapping[str, str]], HttpClient] = PycurlClient,
        *,
        stream_inside: bool = False,
    ) -> None:
        self.name = config.reference
        self._config = config
        self._wire = wire_of(config)
        self._encode = CallEncoder(config)
        key = config.api_key.reveal() if config.api_key is not None else None
        self._client = client(config, {**self._wire.headers(key), **config.headers})
        self._stream_inside = stream_inside
        self._models: list[str] | None = None
        self._asking_models = asyncio.Lock()

    async def __call__(self, call: Call, /) -> Reply:
        try:
            if call.request.kind == "embedding":
                return await self._embed(call)
            if call.request.stream or self._stream_inside:
                return await self._stream(call)
            url = self._wire.url(self._config, call.model, stream=False)
            return self._whole(call, await self._client.send("POST", url, self._encode(call, stream=False)))
        except UnknownModel as error:
            error.mend = await self._nearest(call.model) or error.mend
            raise
        except UpstreamFailure as error:
            error.upstream = self.name
            raise

    def _whole(self, call: Call, answer: Answer) -> Reply:
        response = estimated(self._decode(answer), call.request)
        seconds = answer.seconds
        response = msgspec.structs.replace(response, upstream=self.name, seconds=seconds)
        return Reply(response=response, headers=answer.headers)

    def _decode(self, answer: Answer) -> Response:
        if not 200 <= answer.status < 300:
            raise failure_of(self._config, answer.status, answer.headers, answer.body)
        try:
            return self._wire.decode(answer.body)
        except WireFault as fault:
            raise failure_of_event(self._config, fault.error, answer.headers) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._unreadable(answer.headers, error) from None

    def _unreadable(self, headers: Mapping[str, str], error: Exception) -> BadReply:
        kind = headers.get("content-type", "no content type")
        where = host_of(self._config.base_url)
        message = f"{self._config.reference}: the reply cannot be read ({kind}): {error}"
        return BadReply(message, upstream=self.name, status=200, mend=f"check that {where} is the API's base URL")

    async def _stream(self, call: Call) -> Reply:
        url = self._wire.url(self._config, call.model, stream=True)
        body = await self._client.open("POST", url, self._encode(call, stream=True))
        if not 200 <= body.status < 300 or not _is_event_stream(body.headers):
            return await self._unstreamed(call, body)
        stream = HttpDeltaStream(self._config, body, self._wire.decoder(), input_estimate(call.request))
        await stream.first()
        ttft = asyncio.get_running_loop().time() - body.started
        if call.request.stream:
            response = Response(finish="other", upstream=self.name, ttft=ttft, body=stream)
        else:
            answer = assemble([delta async for delta in stream])
            seconds = asyncio.get_running_loop().time() - body.started
            response = msgspec.structs.replace(answer, upstream=self.name, ttft=ttft, seconds=seconds)
        return Reply(response=response, headers=body.headers)

    async def _unstreamed(self, call: Call, body: Body) -> Reply:
        """A reply that is no event stream: an error, or an answer from a server that does not stream."""
        timeout = self._config.timeouts.inter_token
        limit = MAX_ANSWER_BYTES if body.status < 300 else _MAX_ERROR_BYTES
        try:
            async with asyncio.timeout(timeout):
                content = await read_all(body, limit)
        except TimeoutError:
            raise AttemptTimeout(f"{self._config.reference}: the reply stopped for {timeout:g} s") from None
        if body.status < 300 and len(content) >= limit:
            raise too_long(urlsplit(self._config.base_url).hostname)
        seconds = asyncio.get_running_loop().time() - body.started
        answer = Answer(body.status, body.headers, content, seconds)
        whole = estimated(self._decode(answer), call.request)
        response = msgspec.structs.replace(whole, upstream=self.name, seconds=seconds)
        if call.request.stream:
            response = msgspec.structs.replace(response, body=_one(whole))
        return Reply(response=response, headers=body.headers)

    async def models(self) -> list[str]:
        """The names of the models that this upstream offers, as it lists them."""
        answer = await self._client.send("GET", self._wire.models_url(self._config))
        if not 200 <= answer.status < 300:
            raise failure_of(self._config, answer.status, answer.headers, answer.body)
        try:
            return self._wire.decode_models(answer.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._unreadable(answer.headers, error) from None

    async def _embed(self, call: Call) -> Reply:
        """The vector of every text in *call*."""
        if self._config.wire not in {"openai", "gemini"}:
            raise InvalidRequest(
                f"{self._config.reference}: this provider has no embeddings",
                upstream=self.name,
                mend="name a model that makes them, for example openai/text-embedding-3-small",
            )
        requests = call.joined or (call.request,)
        key = self._config.api_key.reveal() if self._config.api_key is not None else None
        url, body = openai_embeddings.url(self._config), openai_embeddings.encode(call.model, requests)
        answer = await self._client.send("POST", url, body, openai_chat.headers(key))
        if not 200 <= answer.status < 300:
            raise failure_of(self._config, answer.status, answer.headers, answer.body)
        try:
            parts = openai_embeddings.decode(answer.body, requests, self.name, answer.seconds)
        except (msgspec.DecodeError, ValueError) as error:
            raise self._unreadable(answer.headers, error) from None
        return openai_embeddings.reply_of(parts, answer.headers, joined=bool(call.joined))

    async def _nearest(self, model: str) -> str:
        """What to write instead of *model*, from the upstream's own list, which is asked for once."""
        async with self._asking_models:
            if self._models is None:
                try:
                    async with asyncio.timeout(_MODELS_S):
                        self._models = await self.models()
                except (SynthError, TimeoutError):
                    self._models = []
        near = difflib.get_close_matches(model, self._models, n=3, cutoff=0.4) or self._models[:3]
        return f"the nearest models it offers: {', '.join(near)}" if near else ""

    def statistics(self) -> HttpStatistics:
        """A snapshot of the connections."""
        return self._client.statistics()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()


def _is_event_stream(headers: Mapping[str, str]) -> bool:
    kind = headers.get("content-type", "")
    return "json" not in kind and "html" not in kind


async def _one(response: Response) -> AsyncGenerator[Delta, None]:
    """A whole answer as a stream of one delta."""
    yield Delta(response.text, response.reasoning, response.tool_calls, response.finish, response.usage, response.model)
