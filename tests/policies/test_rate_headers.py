"""Every spelling of a limit, as the providers' public pages show them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentic_synth.policies.rate_headers import RateHeaders, parse_duration, parse_rate_headers, parse_retry_after

NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z

CASES: dict[str, tuple[dict[str, str], RateHeaders]] = {
    "openai": (
        {
            "x-ratelimit-limit-requests": "5000",
            "x-ratelimit-remaining-requests": "4999",
            "x-ratelimit-reset-requests": "12ms",
            "x-ratelimit-limit-tokens": "450000",
            "x-ratelimit-remaining-tokens": "449982",
            "x-ratelimit-reset-tokens": "6m0s",
        },
        RateHeaders(
            requests_limit=5000,
            requests_remaining=4999,
            requests_reset_s=0.012,
            tokens_limit=450_000,
            tokens_remaining=449_982,
            tokens_reset_s=360,
        ),
    ),
    "groq": (
        {
            "retry-after": "2",
            "x-ratelimit-limit-requests": "14400",
            "x-ratelimit-reset-requests": "2m59.56s",
            "x-ratelimit-reset-tokens": "7.66s",
        },
        RateHeaders(requests_limit=14_400, requests_reset_s=179.56, tokens_reset_s=7.66, retry_after_s=2),
    ),
    "anthropic": (
        {
            "anthropic-ratelimit-requests-limit": "50",
            "anthropic-ratelimit-requests-remaining": "49",
            "anthropic-ratelimit-requests-reset": "2026-01-01T00:00:01Z",
            "anthropic-ratelimit-input-tokens-limit": "50000",
            "anthropic-ratelimit-input-tokens-remaining": "49000",
            "anthropic-ratelimit-output-tokens-remaining": "9000",
            "anthropic-ratelimit-output-tokens-reset": "2026-01-01T02:01:00+02:00",
            "anthropic-ratelimit-tokens-limit": "60000",
        },
        RateHeaders(
            requests_limit=50,
            requests_remaining=49,
            requests_reset_s=1,
            input_tokens_limit=50_000,
            input_tokens_remaining=49_000,
            output_tokens_remaining=9_000,
            output_tokens_reset_s=60,
            tokens_limit=60_000,
        ),
    ),
    "azure": (
        {"x-ratelimit-remaining-requests": "-1", "x-ratelimit-remaining-tokens": "-1", "x-ms-retry-after-ms": "1500"},
        RateHeaders(retry_after_s=1.5),
    ),
    "openrouter": (
        {"x-ratelimit-limit": "20", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1767225630000"},
        RateHeaders(requests_limit=20, requests_remaining=0, requests_reset_s=30),
    ),
    "together": (
        {
            "x-ratelimit-limit": "10",
            "x-ratelimit-reset": "1",
            "x-tokenlimit-limit": "3000",
            "x-tokenlimit-remaining": "9",
        },
        RateHeaders(requests_limit=10, requests_reset_s=1, tokens_limit=3_000, tokens_remaining=9),
    ),
    "epoch seconds": ({"ratelimit-reset": "1767225605"}, RateHeaders(requests_reset_s=5)),
    "a reset in the past": ({"x-ratelimit-reset": "1767225000"}, RateHeaders(requests_reset_s=0)),
    "nothing": ({"content-type": "application/json", "date": "now"}, RateHeaders()),
    "garbage": (
        {
            "x-ratelimit-limit-requests": "many",
            "x-ratelimit-remaining-requests": "nan",
            "x-ratelimit-remaining-tokens": "inf",
            "x-ratelimit-reset-requests": "soon",
            "x-ratelimit-reset-tokens": "",
            "anthropic-ratelimit-requests-reset": "0001-01-01",
            "retry-after": "whenever",
            "retry-after-ms": "-1",
        },
        RateHeaders(requests_reset_s=None),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_every_spelling(name: str) -> None:
    headers, expected = CASES[name]
    found = parse_rate_headers(headers, now_wall=NOW)
    for field in RateHeaders.__struct_fields__:
        wanted = getattr(expected, field)
        if name == "garbage" and field == "requests_reset_s":
            assert getattr(found, field) in (None, 0)  # an instant long past is an instant all the same
        else:
            assert getattr(found, field) == (wanted if wanted is None else pytest.approx(wanted)), field


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "20"}, 20),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "1m30s"}, 90),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:10 GMT"}, 10),
        ({"retry-after": "Thu, 01 Jan 2026 01:00:10 +0100"}, 10),
        ({"retry-after": "Wed, 31 Dec 2025 23:00:00 GMT"}, 0),
        ({"retry-after": "20", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "20", "x-ms-retry-after-ms": "250"}, 0.25),
        ({"retry-after": "20", "retry-after-ms": "?"}, 20),
        ({"retry-after": "-5"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    found = parse_retry_after(headers, now_wall=NOW)
    assert found == (seconds if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6m0s", 360),
        ("20ms", 0.02),
        ("1h2m3.5s", 3723.5),
        ("1d", 86_400),
        ("", None),
        ("5", None),
        ("5s?", None),
        ("m", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert parse_duration(text) == (seconds if seconds is None else pytest.approx(seconds))


NAMES = sorted({name for headers, _ in CASES.values() for name in headers})


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=30)), st.floats(0, 4e9))
def test_nothing_a_server_says_breaks_it(headers: dict[str, str], now: float) -> None:
    found = parse_rate_headers(headers, now_wall=now)
    values = [getattr(found, field) for field in RateHeaders.__struct_fields__]
    assert all(value is None or 0 <= value < float("inf") for value in values)
