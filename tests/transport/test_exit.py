"""A process that used the transport ends cleanly, whatever was under way last."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

import agentic_synth

CHILD = """
import asyncio
from agentic_synth.transport.pycurl_client import PycurlClient
from tests.transport.loopback import config_of, serving

async def paced(exchange):
    await exchange.begin_stream()
    for _ in range(3):
        await exchange.piece(b"x")
        await asyncio.sleep(0.02)
    await exchange.raw(b"0\\r\\n\\r\\n")

async def main():
    async with serving(paced) as loopback:
        client = PycurlClient(config_of(loopback.url))
        for _ in range(3):
            body = await client.open("POST", loopback.url)
            while await body.read() is not None:
                pass
            await body.aclose()
        await client.open("POST", loopback.url)

asyncio.run(main())
"""


@pytest.mark.slow
async def test_a_process_ends_cleanly_right_after_its_last_stream() -> None:
    paths = [str(Path(agentic_synth.__file__).parents[1]), str(Path(__file__).parents[2])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    for _ in range(10):
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CHILD, env=environment, stderr=asyncio.subprocess.PIPE
        )
        _, said = await child.communicate()
        assert (child.returncode, said) == (0, b"")
