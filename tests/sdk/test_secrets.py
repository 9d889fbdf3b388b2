"""A key goes into the header of a request and nowhere else."""

from __future__ import annotations

import asyncio
import pickle
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agentic_synth import Synth
from agentic_synth.config import Config, UpstreamSettings
from agentic_synth.errors import SynthError
from agentic_synth.testing.flags import parse_behaviour
from agentic_synth.testing.serve import SimulatorProcess, simulated_server
from tests.sdk.sdk_examples import tickets

KEY = "sk-planted-7f3a9c2e51d84b60"


@asynccontextmanager
async def gossip(status: int) -> AsyncIterator[str]:
    """A server that says in its error everything that it was sent."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        body = msgspec.json.encode({"error": {"message": f"what is this? {head}", "code": head}})
        lines = f"HTTP/1.1 {status} No\r\ncontent-type: application/json\r\nx-echo: {KEY}\r\nconnection: close\r\n"
        writer.write(f"{lines}content-length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()
        await server.wait_closed()


def everything_said(error: BaseException) -> str:
    return "\n".join([str(error), repr(error), repr(vars(error)), *traceback.format_exception(error)])


@pytest.mark.parametrize("status", [400, 401, 404, 422])
async def test_an_error_does_not_repeat_the_key_even_where_the_upstream_does(status: int) -> None:
    async with gossip(status) as url, Synth("m", base_url=url, api_key=KEY, store=":none:") as synth:
        with pytest.raises(SynthError) as caught:
            await synth.complete("Hello")
        assert KEY not in everything_said(caught.value)
        assert KEY not in repr(synth.statistics())


async def test_no_repr_shows_the_key() -> None:
    async with Synth("openai/gpt-4.1-mini", api_key=KEY, store=":none:") as synth:
        synth.session.name_of(None, None)
        held: list[Any] = [synth, vars(synth), synth.config, synth.upstream, synth.session, vars(synth.session)]
        assert not [thing for thing in held if KEY in repr(thing)]
        with pytest.raises(TypeError, match="never serialised"):
            pickle.dumps(synth.upstream.api_key)


async def test_neither_store_nor_ledger_nor_output_holds_the_key(tmp_path: Path) -> None:
    behaviour = parse_behaviour({"faults": "error=0.2", "latency": "1ms"})
    async with (
        simulated_server(msgspec.structs.replace(behaviour, api_key=KEY)) as url,
        Synth("m", base_url=url, api_key=KEY, store=str(tmp_path / "store")) as synth,
    ):
        await synth.complete("Hello")
        run = await synth.run(tickets(), out="t.jsonl", rejects="r.jsonl")
        assert run.state == "complete"
        assert KEY not in repr((run, synth.statistics(), synth.session.ledger.runs()))
        written = [file for file in tmp_path.rglob("*") if file.is_file()]
        assert len(written) >= 3
        assert not [file for file in written if KEY.encode() in file.read_bytes()]
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and KEY.encode() in file.read_bytes()]


async def test_the_key_goes_to_the_place_it_was_given_for_and_to_no_other(simulator: SimulatorProcess) -> None:
    simulator.reset()
    config = Config(upstreams={"other": UpstreamSettings(base_url=simulator.url)})
    async with Synth("m", base_url=simulator.url, api_key=KEY, store=":none:", config=config) as synth:
        resolve = synth._resolve
        for mine in (resolve(None, None), resolve("m", None), resolve("m", simulator.url)):
            assert mine.api_key is not None
            assert mine.api_key.reveal() == KEY
        for other in (resolve("m", "http://elsewhere.example.com/v1"), resolve("other/m", None)):
            assert other.api_key is None
