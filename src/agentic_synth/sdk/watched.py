"""What progress sees of a run beside its statistics: how the upstreams take it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from agentic_synth.telemetry.run_statistics import Traffic

__all__ = ["traffic"]

_SIGNS_OF_USE = ("in_flight", "waiting", "success", "dropped", "ignored")


def traffic(upstreams: Iterable[dict[str, Any]]) -> Traffic | None:
    """The sum over the *upstreams* of an engine's statistics that were asked; None where none was, as offline."""
    used = [one for one in upstreams if any(one["limiter"][name] for name in _SIGNS_OF_USE)]
    if not used:
        return None
    limiters = [one["limiter"] for one in used]
    told = sum(limiter["success"] + limiter["dropped"] + limiter["ignored"] for limiter in limiters)
    states = {one["breaker"]["state"] for one in used} - {"closed"}
    return Traffic(
        in_flight=sum(limiter["in_flight"] for limiter in limiters),
        waiting=sum(limiter["waiting"] for limiter in limiters),
        limit=sum(limiter["limit"] for limiter in limiters),
        refused=sum(limiter["rate_limited"] for limiter in limiters) / told if told else 0.0,
        fallbacks=sum(one["route"]["fallbacks"] for one in used),
        hedges=sum(one["hedge"]["hedges"] for one in used if "hedge" in one),
        breaker="open" if "open" in states else next(iter(states), "closed"),
    )
