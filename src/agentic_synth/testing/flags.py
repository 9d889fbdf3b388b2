"""Behaviour from text: what the command line, ``POST /reset`` and a schedule spell."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_args

import msgspec

from agentic_synth.errors import ConfigError
from agentic_synth.testing.behaviour import (
    CALL_FAULTS,
    Answers,
    BatchBehaviour,
    Behaviour,
    Bursts,
    Change,
    Faults,
    Honesty,
    Latency,
    Rate,
    SlowStart,
)

__all__ = ["parse_batches", "parse_behaviour", "parse_faults", "parse_latency", "parse_rate", "parse_schedule"]

Parsed = TypeVar("Parsed")

_DURATION = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(us|ms|s|min|m|h)?")
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?|\.\d+)([kM]?)")
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, None: 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}
_PERIODS = {"s": 1.0, "sec": 1.0, "second": 1.0, "min": 60.0, "m": 60.0, "minute": 60.0, "h": 3600.0, "hour": 3600.0}
_MULTIPLES = {"": 1.0, "k": 1e3, "M": 1e6}


def parse_behaviour(texts: Mapping[str, str | None], base: Behaviour | None = None) -> Behaviour:
    """*base* (the default behaviour) with the fields named in *texts*, each spelt as its flag; None leaves a field be.

    Raises:
        ConfigError: an unknown field or a value that cannot be read, with the spelling that can.
    """
    changes: dict[str, Any] = {}
    for name, text in texts.items():
        if text is None:
            continue
        field = name.replace("-", "_")
        parser = _PARSERS.get(field)
        if parser is None:
            raise _unknown("setting of the simulator", name, _PARSERS)
        changes[field] = parser(str(text))
    return msgspec.structs.replace(base or Behaviour(), **changes)


def parse_latency(text: str) -> Latency:
    """``50ms``, ``constant:50ms``, ``uniform:10ms:30ms``, ``lognormal:50ms:0.3``; ``+2ms/token`` may follow."""
    spelling = "write --latency 50ms, uniform:10ms:30ms or lognormal:50ms:0.3, and +2ms/token after it if wanted"
    base, plus, per = text.strip().partition("+")
    if plus and not per.endswith("/token"):
        raise _unreadable("latency", text, spelling)
    law, *numbers = base.split(":") if ":" in base else ("constant", base)
    try:
        per_token = _duration(per.removesuffix("/token")) if plus else 0.0
        match (law, numbers):
            case ("constant", [low]):
                return Latency(low=_duration(low), per_token=per_token)
            case ("uniform", [low, high]) if _duration(low) <= _duration(high):
                return Latency(law="uniform", low=_duration(low), high=_duration(high), per_token=per_token)
            case ("lognormal", [median, sigma]):
                return Latency(law="lognormal", low=_duration(median), sigma=_number(sigma), per_token=per_token)
    except ValueError as error:
        raise _unreadable("latency", text, spelling) from error
    raise _unreadable("latency", text, spelling)


def parse_faults(text: str) -> Faults:
    """``error=0.05,stall=0.01``: shares of the calls; nothing named is 0, ``none`` is none at all."""
    names = Faults.__struct_fields__
    shares: dict[str, float] = {}
    for part in text.split(",") if text.strip() not in {"", "none"} else ():
        name, _, share = part.strip().partition("=")
        if name not in names:
            raise _unknown("fault", name, names)
        shares[name] = _share(share, f"fault {name}")
    if sum(shares.get(name, 0.0) for name in CALL_FAULTS) > 1.0 + 1e-9:
        raise ConfigError(
            f"the faults {text!r} add up to more than 1",
            mend=f"{', '.join(CALL_FAULTS)} exclude each other: let their shares sum to at most 1",
        )
    return Faults(**shares)


def parse_rate(text: str) -> Rate:
    """``9000/min``, ``150/s``, ``1M/min``, ``9000/min:300`` (a bucket of 300, one second's worth unless given)."""
    spelling = "write AMOUNT/PERIOD with the period s, min or h, e.g. 9000/min, 1M/min or 9000/min:300"
    amount, _, rest = text.strip().partition("/")
    period, colon, burst = rest.partition(":")
    try:
        seconds = _PERIODS[period.strip()]
        per_period = _amount(amount)
        capacity = _amount(burst) if colon else max(1.0, per_period / seconds)
    except (KeyError, ValueError) as error:
        raise _unreadable("rate", text, spelling) from error
    if per_period <= 0 or capacity < 1:
        raise _unreadable("rate", text, spelling)
    return Rate(per_period, seconds, capacity)


def parse_batches(text: str) -> BatchBehaviour:
    """``processing=1h,expiry=24h,failed=0.01,lost=0.1``: times of a batch, and shares of what goes wrong with it."""
    names = BatchBehaviour.__struct_fields__
    fields: dict[str, float] = {}
    for part in text.split(",") if text.strip() else ():
        name, _, value = part.strip().partition("=")
        if name not in names:
            raise _unknown("setting of batches", name, names)
        try:
            is_time = name in {"processing", "expiry"}
            fields[name] = _duration(value) if is_time else _share(value, f"share of {name}")
        except ValueError as error:
            raise _unreadable(name, value, "write a duration, e.g. 30s") from error
    return BatchBehaviour(**fields)


def parse_schedule(text: str) -> tuple[Change, ...]:
    """``10s rate=6000/min; 20s faults=error=0.5 knee=off``: what changes, and when, counted from the first call."""
    changes = []
    for step in filter(None, (part.strip() for part in text.split(";"))):
        at, *settings = step.split()
        fields: dict[str, Any] = {}
        for setting in settings:
            name, _, value = setting.partition("=")
            if name not in _CHANGEABLE:
                raise _unknown("setting that can change on a schedule", name, _CHANGEABLE)
            fields[name] = _PARSERS[name](value)
        try:
            changes.append(Change(at=_duration(at), **fields))
        except ValueError as error:
            raise _unreadable("schedule", step, 'begin each step with its time, e.g. "10s rate=6000/min"') from error
    return tuple(sorted(changes, key=lambda change: change.at))


def _parse_bursts(text: str) -> Bursts:
    mend = "write EVERY:LENGTH:SHARE, e.g. 30s:2s:0.9"
    try:
        every, length, share = text.split(":")
        bursts = Bursts(_duration(every), _duration(length), _share(share, "burst"))
    except ValueError as error:
        raise _unreadable("bursts", text, mend) from error
    if not 0 < bursts.length <= bursts.every:
        raise _unreadable("bursts", text, mend)
    return bursts


def _parse_slow_start(text: str) -> SlowStart:
    try:
        seconds, factor = text.split(":")
        return SlowStart(_duration(seconds), _number(factor))
    except ValueError as error:
        raise _unreadable("slow-start", text, "write SECONDS:FACTOR, e.g. 5s:4") from error


def _parse_knee(text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise _unreadable("knee", text, "write how many calls in flight the server takes before it slows, e.g. 64")
    return int(text)


def _parse_stall_seconds(text: str) -> float:
    try:
        return _duration(text)
    except ValueError as error:
        raise _unreadable("stall-seconds", text, "write a duration, e.g. 30s") from error


def _parse_flag(text: str) -> bool:
    match text.strip().lower():
        case "true" | "yes" | "on" | "1":
            return True
        case "false" | "no" | "off" | "0":
            return False
    raise _unreadable("switch", text, "write yes or no")


def _parse_models(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (name.strip() for name in text.split(","))))


def _optional(parser: Callable[[str], Parsed]) -> Callable[[str], Parsed | None]:
    return lambda text: None if text.strip() in {"", "off", "none"} else parser(text)


def _one_of(name: str, words: tuple[str, ...]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.strip() not in words:
            raise _unreadable(name, text, f"write one of {', '.join(words)}")
        return text.strip()

    return parse


def _duration(text: str) -> float:
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(text)
    return float(match[1]) * _UNITS[match[2]]


def _amount(text: str) -> float:
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        raise ValueError(text)
    return float(match[1]) * _MULTIPLES[match[2]]


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or value < 0:
        raise ValueError(text)
    return value


def _share(text: str, what: str) -> float:
    try:
        value = _number(text)
    except ValueError:
        value = math.inf
    if value > 1:
        raise _unreadable(what, text, "write a share between 0 and 1, e.g. 0.05 for one call in twenty")
    return value


def _unreadable(what: str, text: str, mend: str) -> ConfigError:
    return ConfigError(f"cannot read the {what} {text!r}", mend=mend)


def _unknown(what: str, name: str, known: Mapping[str, object] | tuple[str, ...]) -> ConfigError:
    near = difflib.get_close_matches(name.replace("-", "_"), list(known), n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return ConfigError(f"there is no {what} {name!r}", mend=f"{hint}known are {', '.join(known)}")


_PARSERS: dict[str, Callable[[str], Any]] = {
    "latency": parse_latency,
    "faults": parse_faults,
    "rate": _optional(parse_rate),
    "tokens": _optional(parse_rate),
    "knee": _optional(_parse_knee),
    "headers": _one_of("headers", get_args(Honesty)),
    "retry_after": _one_of("retry-after", get_args(Honesty)),
    "rejected_count": _parse_flag,
    "bursts": _optional(_parse_bursts),
    "slow_start": _optional(_parse_slow_start),
    "stall_seconds": _parse_stall_seconds,
    "answers": _one_of("answers", get_args(Answers)),
    "resample": _parse_flag,
    "api_key": str,
    "models": _parse_models,
    "batches": parse_batches,
    "schedule": parse_schedule,
}
_CHANGEABLE = tuple(name for name in Change.__struct_fields__ if name != "at")
