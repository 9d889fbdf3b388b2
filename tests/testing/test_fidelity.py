"""The provider in process is what the real transport sees at the server: same answers, same errors."""

from __future__ import annotations

from typing import Any

import pytest

from agentic_synth.config import Timeouts, UpstreamConfig
from agentic_synth.errors import UpstreamError
from agentic_synth.stage import Handler
from agentic_synth.testing.clock import FakeClock
from agentic_synth.testing.flags import parse_behaviour
from agentic_synth.testing.serve import simulated_server
from agentic_synth.testing.simulated import SimulatedProvider
from agentic_synth.transport.upstream import HttpUpstream
from agentic_synth.types import Call, Message, Reply, Request

SCHEMA = {"type": "object", "required": ["subject"], "properties": {"subject": {"type": "string"}}}
IMPATIENT = Timeouts(first_token=0.2, inter_token=0.2, total=0.4)


def call(**fields: Any) -> Call:
    return Call(request=Request(model="sim/m", messages=(Message("user", "Tell me of rain"),), **fields), model="m")


async def outcome(upstream: Handler[Call, Reply], asked: Call) -> tuple[object, ...]:
    """All that a caller can see of how *asked* went."""
    try:
        response = (await upstream(asked)).response
        if response.body is None:
            return response.text, response.finish, response.usage.output_tokens
        deltas = [delta async for delta in response.body]
    except UpstreamError as error:
        return (type(error),)
    usages = [delta.usage.output_tokens for delta in deltas if delta.usage is not None]
    finishes = [delta.finish for delta in deltas if delta.finish is not None]
    return "".join(delta.text for delta in deltas), finishes, usages


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "faults", ["none", "error=1", "reset=1", "cut=1", "malformed=1", "stall=1", "refusal=1", "invalid=1"]
)
async def test_both_have_the_same_outcome(faults: str, stream: bool) -> None:
    behaviour = parse_behaviour({"faults": faults})
    asked = call(stream=stream, schema=SCHEMA if faults == "invalid=1" else None)
    inside = await outcome(SimulatedProvider(behaviour, seed=1, clock=FakeClock(autojump=True)), asked)
    async with simulated_server(behaviour, seed=1) as url:
        config = UpstreamConfig(
            reference="sim/m", name="sim", model="m", wire="openai", base_url=url, timeouts=IMPATIENT
        )
        upstream = HttpUpstream(config)
        outside = await outcome(upstream, asked)
        await upstream.aclose()
    if faults == "invalid=1":  # how it is spoilt depends on the request as it is spelt on the wire
        assert len(inside) == len(outside) == 3
    else:
        assert inside == outside
