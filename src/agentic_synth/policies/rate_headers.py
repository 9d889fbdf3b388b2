"""What a reply's headers say about limits, in every spelling we know, as one record."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec

__all__ = ["RateHeaders", "parse_duration", "parse_rate_headers", "parse_retry_after"]


class RateHeaders(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Limits as an upstream told them: the size of each bucket, what is left of it, the seconds until it is full.

    None is what was not said, or was said in a way that makes no sense (-1, garbage).
    """

    requests_limit: float | None = None
    requests_remaining: float | None = None
    requests_reset_s: float | None = None
    tokens_limit: float | None = None
    tokens_remaining: float | None = None
    tokens_reset_s: float | None = None
    input_tokens_limit: float | None = None
    input_tokens_remaining: float | None = None
    input_tokens_reset_s: float | None = None
    output_tokens_limit: float | None = None
    output_tokens_remaining: float | None = None
    output_tokens_reset_s: float | None = None
    retry_after_s: float | None = None


_NOTHING = RateHeaders()

_BUCKETS = {
    "requests": "requests",
    "tokens": "tokens",
    "input-tokens": "input_tokens",
    "output-tokens": "output_tokens",
}
_FACTS = {"limit": "limit", "remaining": "remaining", "reset": "reset_s"}


def _spellings() -> dict[str, str]:
    """Header name -> field; the more particular spelling comes first and wins."""
    names: dict[str, str] = {}
    for bucket in _BUCKETS:
        field = bucket.replace("-", "_")
        for fact, suffix in _FACTS.items():
            # OpenAI, Groq, Azure, Mistral say x-ratelimit-limit-requests; Anthropic anthropic-ratelimit-requests-limit.
            names[f"x-ratelimit-{fact}-{bucket}"] = f"{field}_{suffix}"
            names[f"anthropic-ratelimit-{bucket}-{fact}"] = f"{field}_{suffix}"
            names[f"x-ratelimit-{fact}-{bucket}-minute"] = f"{field}_{suffix}"
    for suffix in _FACTS.values():
        name = suffix.removesuffix("_s")
        # Together says x-tokenlimit-limit; OpenRouter and the IETF draft name only one bucket, of requests.
        names[f"x-tokenlimit-{name}"] = f"tokens_{suffix}"
        names[f"x-ratelimit-{name}"] = f"requests_{suffix}"
        names[f"ratelimit-{name}"] = f"requests_{suffix}"
    return names


_FIELD_OF = _spellings()
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|d|h|m|s)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_EPOCH_MS = 1e11
_EPOCH_S = 1e9


def parse_rate_headers(headers: Mapping[str, str], *, now_wall: float) -> RateHeaders:
    """Read *headers* (lower-case names); *now_wall* is the time of day in seconds since the epoch.

    Nothing said costs one look-up a header. Instants become seconds from now, never negative.
    """
    found: dict[str, float] = {}
    for name, text in headers.items():
        field = _FIELD_OF.get(name)
        if field is None or field in found:
            continue
        value = _reset(text, now_wall) if field.endswith("_s") else _amount(text)
        if value is not None:
            found[field] = value
    wait = parse_retry_after(headers, now_wall=now_wall)
    if wait is not None:
        found["retry_after_s"] = wait
    return RateHeaders(**found) if found else _NOTHING


def parse_retry_after(headers: Mapping[str, str], *, now_wall: float) -> float | None:
    """Seconds to stay away: milliseconds where told, else ``retry-after`` in seconds or as an HTTP date (RFC 9110)."""
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        if (text := headers.get(name)) is not None and (amount := _amount(text)) is not None:
            return amount / 1_000
    text = headers.get("retry-after")
    if text is None:
        return None
    if (seconds := _amount(text)) is not None:
        return seconds
    if (seconds := parse_duration(text)) is not None:
        return seconds
    try:
        return _seconds_until(parsedate_to_datetime(text), now_wall)
    except (ValueError, TypeError, OverflowError):
        return None


def parse_duration(text: str) -> float | None:
    """``6m0s``, ``20ms``, ``1h2m3.5s`` in seconds; None for anything else."""
    total, end = 0.0, 0
    text = text.strip()
    for part in _DURATION.finditer(text):
        if part.start() != end:
            return None
        total += float(part[1]) * _SECONDS[part[2]]
        end = part.end()
    return total if end and end == len(text) else None


def _amount(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


def _reset(text: str, now_wall: float) -> float | None:
    """Seconds until an instant or over a duration, however it is written."""
    value = _amount(text)
    if value is None:
        if (seconds := parse_duration(text)) is not None:
            return seconds
        return _until(text, now_wall)
    if value > _EPOCH_MS:
        return max(0.0, value / 1_000 - now_wall)
    if value > _EPOCH_S:
        return max(0.0, value - now_wall)
    return value


def _until(text: str, now_wall: float) -> float | None:
    try:
        return _seconds_until(datetime.fromisoformat(text.strip()), now_wall)
    except (ValueError, OverflowError):
        return None


def _seconds_until(instant: datetime, now_wall: float) -> float:
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return max(0.0, instant.timestamp() - now_wall)
