"""The server as a process: ready when it says so, gone within a second of Ctrl+C."""

from __future__ import annotations

import http.client
import signal
import subprocess
import sys
import time
from urllib.parse import urlsplit

import pytest

from agentic_synth.errors import ConfigError
from agentic_synth.testing.flags import parse_behaviour
from agentic_synth.testing.serve import SimulatorProcess


def test_the_process_serves_keeps_books_and_resets() -> None:
    with SimulatorProcess(parse_behaviour({"answers": "brief", "faults": "error=1"}), seed=4) as simulator:
        assert simulator.url.startswith("http://127.0.0.1:")
        assert simulator.pid is not None
        simulator.reset(latency="1ms", seed=5)
        body = b'{"model": "m", "messages": [{"role": "user", "content": "x"}]}'
        connection = http.client.HTTPConnection(urlsplit(simulator.url).netloc)
        connection.request("POST", "/v1/chat/completions", body)
        assert connection.getresponse().status == 200
        connection.close()
        assert simulator.statistics()["answered"] == 1
        with pytest.raises(ConfigError, match="latncy"):
            simulator.reset(latncy="1ms")


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_within_a_second(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "agentic_synth.testing.serve"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("listening on http://127.0.0.1:")
        start = time.monotonic()
        process.send_signal(number)
        assert process.wait(10) == 0
        assert time.monotonic() - start < 1
        assert process.stderr.read() == ""


def test_a_process_that_cannot_start_says_why() -> None:
    with SimulatorProcess() as first:
        port = int(first.url.removesuffix("/v1").rpartition(":")[2])
        with pytest.raises(ConfigError, match="cannot listen"), SimulatorProcess(port=port):
            pass
