"""What a run came to, in a few lines: rows, calls, tokens, dollars, where the file is and what to do next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agentic_synth.cli.terminal import clipped
from agentic_synth.providers import PROVIDERS
from agentic_synth.telemetry.figures import counted, dollars, duration, short

__all__ = ["next_step", "summary"]

MOST_REASONS = 5
HEADLINES = {
    "complete": "done",
    "short": "short",
    "interrupted": "interrupted",
    "failed": "failed",
    "running": "running",
}


def summary(state: str, statistics: Mapping[str, Any], file: str | None) -> list[str]:
    """The lines about a run that ended in *state*, from its statistics (see ``docs/reference/statistics.md``)."""
    rows, asked = statistics["rows"], statistics["rows"]["asked"]
    seconds, speed = statistics["seconds"], statistics["rows_per_second"]
    partial = asked is not None and asked != rows["accepted"]
    made = f"{rows['accepted']:,} of {counted(asked, 'row')}" if partial else counted(rows["accepted"], "row")
    rate = f" ({speed:,.0f} rows/s)" if speed and rows["accepted"] > 1 else ""
    lines = [f"{HEADLINES.get(state, state)}: {made} in {duration(seconds)}{rate}"]
    lines += [f"  {name:<9} {text}" for name, text in _details(statistics)]
    if file:
        lines.append(f"  {'file':<9} {file}")
    return lines


def next_step(
    state: str,
    statistics: Mapping[str, Any],
    *,
    budget_spent: bool = False,
    remembered: bool = True,
    batches: int = 0,
) -> str | None:
    """What the user may want to do now.

    *remembered* says that the answers are stored, and the run is in the ledger; *batches* go on at a provider.
    """
    if not remembered and state != "complete":
        return "nothing was stored (:none:), so the same command begins anew; leave out --store to go on where it ended"
    if budget_spent:
        return "the same command with a larger --budget goes on from here; nothing is paid twice"
    if state in ("interrupted", "failed"):
        left = "1 batch goes" if batches == 1 else f"{batches:,} batches go"
        there = f"{left} on at the provider (`synth batches list`); " if batches else ""
        return f"{there}the same command goes on from here; nothing is paid twice"
    if state == "short":
        return "the same command tries new candidates for the missing rows; --rejects FILE shows what was wrong"
    if statistics["offline"]:
        return "for rows of a model: export OPENAI_API_KEY=... and add --model openai/gpt-4.1-mini --budget 1usd"
    return "synth report last" if remembered else None


def _details(statistics: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    requests, tokens = statistics["requests"], statistics["tokens"]
    if models := [name for name in statistics["models"] if name and name != "offline"]:
        yield "model", ", ".join(models[:3]) + (f" and {len(models) - 3} more" if len(models) > 3 else "")
    if statistics["offline"]:
        yield "offline", "made by the local generator; no model was used"
    if requests["attempts"] or requests["from_store"] or requests["failures"]:
        verb = "made here" if list(statistics["upstreams"]) == ["offline"] else "sent"
        yield "calls", _calls(requests, verb, statistics.get("from", {}))  # older runs did not count it
    if tokens["input"] or tokens["output"]:
        estimated = " (estimated)" if tokens["estimated"] else ""
        yield "tokens", f"{short(tokens['input'])} in, {short(tokens['output'])} out{estimated}"
    if money := _money(statistics):
        yield "dollars", money
    if statistics["rows"]["rejected"]:
        yield "rejected", counted(statistics["rows"]["rejected"], "candidate")
        yield from (("", line) for line in _reasons(statistics["rows"]["reasons"]))
    if requests["failures"]:
        yield "failed", counted(requests["failures"], "request")
        yield from (("", line) for line in _reasons(requests["failure_reasons"]))


def _calls(requests: Mapping[str, Any], verb: str, sources: Mapping[str, int]) -> str:
    kinds = [f"{requests[name]:,} {name}" for name in ("repairs", "regenerations", "retries") if requests[name]]
    said = f"{requests['attempts']:,} {verb}" + (f" (of these {', '.join(kinds)})" if kinds else "")
    if requests["from_store"]:
        named = [f"{count:,} {name}" for name, count in sources.items() if name not in ("answered", "exact")]
        said += f", {requests['from_store']:,} answered from the store" + (f" ({', '.join(named)})" if named else "")
    return said


def _money(statistics: Mapping[str, Any]) -> str:
    spent, saved, unpriced = statistics["dollars"], statistics["dollars_saved"], statistics["unpriced"]
    said = []
    if spent:
        said.append(dollars(spent))
    if saved:
        said.append(f"{dollars(saved)} saved by the store")
    if unpriced and any(_is_paid(name) for name in statistics["upstreams"]):
        said.append(f'{counted(unpriced, "answer")} of unknown price (add [prices."MODEL"] to synth.toml)')
    return ", ".join(said)


def _is_paid(upstream: str) -> bool:
    """Whether *upstream* is a hosted provider, which somebody pays; a server of one's own has no price to miss."""
    provider = PROVIDERS.get(upstream.partition("/")[0])
    return provider is not None and provider.key_required


def _reasons(reasons: Mapping[str, int]) -> Iterator[str]:
    for reason, count in list(reasons.items())[:MOST_REASONS]:
        yield f"{count:,} x {clipped(' '.join(reason.split()), 90)}"
    if len(reasons) > MOST_REASONS:
        yield f"and {len(reasons) - MOST_REASONS} other reasons"
