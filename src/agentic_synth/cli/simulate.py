"""``synth simulate``: a provider that misbehaves on request."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

__all__ = ["simulate"]

Host: TypeAlias = Annotated[str, typer.Option(help="The address to listen at.")]
Port: TypeAlias = Annotated[int, typer.Option("--port", "-p", help="The port; 0 takes a free one.", min=0, max=65535)]
Seed: TypeAlias = Annotated[int, typer.Option(help="The same seed gives the same answers and the same faults.")]
Latency: TypeAlias = Annotated[
    str | None, typer.Option(help="50ms, uniform:10ms:30ms, lognormal:50ms:0.3; +2ms/token may follow.", metavar="LAW")
]
Faults: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Shares of error, stall, cut, malformed, reset, invalid, refusal.", metavar="NAME=SHARE,..."),
]
Rate: TypeAlias = Annotated[str | None, typer.Option(help="Requests it takes: 9000/min, 150/s.", metavar="RATE")]
Tokens: TypeAlias = Annotated[str | None, typer.Option(help="Tokens it takes: 1M/min.", metavar="RATE")]
Knee: TypeAlias = Annotated[str | None, typer.Option(help="Calls in flight beyond which it slows down.", metavar="N")]
Headers: TypeAlias = Annotated[
    str | None, typer.Option(help="Rate-limit headers: truthful, absent or lying.", metavar="KIND")
]
Bursts: TypeAlias = Annotated[
    str | None, typer.Option(help="EVERY:LENGTH:SHARE of errors, e.g. 30s:2s:0.9.", metavar="BURSTS")
]
Schedule: TypeAlias = Annotated[
    str | None, typer.Option(help='What changes and when: "10s rate=6000/min; 20s knee=off".', metavar="STEPS")
]
Answers: TypeAlias = Annotated[str | None, typer.Option(help="full, or brief for benchmarks.", metavar="KIND")]
Batches: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Times and shares of the batch APIs: processing, expiry; failed, upload, submit, lost, poll, results.",
        metavar="NAME=VALUE,...",
    ),
]
ApiKey: TypeAlias = Annotated[str | None, typer.Option(help="Refuse calls that do not bring this key.", metavar="KEY")]


def simulate(
    host: Host = "127.0.0.1",
    port: Port = 8700,
    seed: Seed = 0,
    latency: Latency = None,
    faults: Faults = None,
    rate: Rate = None,
    tokens: Tokens = None,
    knee: Knee = None,
    headers: Headers = None,
    bursts: Bursts = None,
    schedule: Schedule = None,
    answers: Answers = None,
    batches: Batches = None,
    api_key: ApiKey = None,
) -> None:
    """Run a provider that misbehaves on request.

    It is an OpenAI-compatible server on this machine, with OpenAI's and Anthropic's batch APIs. Rehearse time, cost and
    failures of a run without a key:

    \b
      synth simulate --latency lognormal:50ms:0.3 --faults error=0.05,invalid=0.1 --rate 9000/min
      synth generate RECIPE --base-url http://127.0.0.1:8700/v1 --model any-name

    GET /stats tells what it was asked and what was asked twice; POST /reset starts anew. POST /advance with
    {"seconds": 3600} lets time pass for the batches.
    """
    from agentic_synth.testing.flags import parse_behaviour  # noqa: PLC0415 - keeps --help fast
    from agentic_synth.testing.serve import run_server  # noqa: PLC0415

    said = {"latency": latency, "faults": faults, "rate": rate, "tokens": tokens, "knee": knee, "headers": headers}
    said |= {"bursts": bursts, "schedule": schedule, "answers": answers}
    said |= {"batches": batches, "api_key": api_key}
    run_server(host, port, parse_behaviour(said), seed)
