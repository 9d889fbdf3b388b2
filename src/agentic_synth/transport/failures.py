"""From an upstream's error reply to our error classes, with the provider's own message kept."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

import msgspec

from agentic_synth.config import UpstreamConfig
from agentic_synth.errors import (
    AuthFailed,
    InvalidRequest,
    Overloaded,
    QuotaSpent,
    RateLimited,
    SynthError,
    UnknownModel,
    UpstreamError,
)
from agentic_synth.policies.rate_headers import parse_duration, parse_retry_after
from agentic_synth.types import Json

__all__ = ["failure_of", "failure_of_event", "redact"]

_MAX_MESSAGE = 500
_NO_MONEY = re.compile(
    r"insufficient[ _](quota|balance|credit|funds)|credit balance|exceeded your current quota", re.IGNORECASE
)
_NO_MODEL = re.compile(
    r"model[ _]not[ _](found|exist|available)|model\b.{0,80}\b(does not exist|not exist|not found|is not a valid model)"
    r"|invalid model|unknown model|no such model",
    re.IGNORECASE,
)
_STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "timeout_error": 504,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "server_error": 500,
    "api_error": 500,
    "overloaded_error": 529,
}


class _Fault(msgspec.Struct, frozen=True):
    """What an error body says, whatever its dialect."""

    message: str
    kind: str = ""
    status: int | None = None
    retry_after: float | None = None


def failure_of(config: UpstreamConfig, status: int, headers: Mapping[str, str], body: bytes) -> SynthError:
    """The error that a reply with *status* means."""
    return _error(config, status, headers, _read(body, headers.get("content-type", "")))


def failure_of_event(config: UpstreamConfig, error: Json, headers: Mapping[str, str] | None = None) -> SynthError:
    """The error that an ``error`` value inside a reply of status 200 means; without a status, the upstream's fault."""
    fault = _fault({"error": error})
    return _error(config, fault.status or 500, headers or {}, fault)


def redact(config: UpstreamConfig, text: str) -> str:
    """*text* without the upstream's key, should the provider have echoed it."""
    key = config.api_key.reveal() if config.api_key is not None else ""
    return text.replace(key, "***") if len(key) >= 4 else text


def _error(config: UpstreamConfig, status: int, headers: Mapping[str, str], fault: _Fault) -> SynthError:
    said = redact(config, fault.message)
    said = f"{said[:_MAX_MESSAGE]}..." if len(said) > _MAX_MESSAGE else said
    message = f"{config.reference}: {said} (HTTP {status})" if said else f"{config.reference}: HTTP {status}"
    kind = _kind(status, f"{fault.kind} {fault.message}")
    mend = _mend(config, kind, status, headers)
    if issubclass(kind, InvalidRequest):
        return kind(message, upstream=config.name, status=status, mend=mend)
    wait = fault.retry_after
    if wait is None:
        wait = parse_retry_after(headers, now_wall=time.time())
    kept = {name: redact(config, value) for name, value in headers.items()}
    return kind(message, upstream=config.name, status=status, headers=kept, retry_after=wait, mend=mend)


def _kind(status: int, text: str) -> type[UpstreamError | InvalidRequest]:
    if status == 402 or (status in {400, 403, 429} and _NO_MONEY.search(text)):
        return QuotaSpent
    if status == 404 or 300 <= status < 400 or (status in {400, 422} and _NO_MODEL.search(text)):
        return UnknownModel
    if status in {401, 403}:
        return AuthFailed
    if status == 429:
        return RateLimited
    return Overloaded if status in {408, 409, 425} or status >= 500 else InvalidRequest


def _mend(config: UpstreamConfig, kind: type[SynthError], status: int, headers: Mapping[str, str]) -> str:
    if 300 <= status < 400:
        target = redact(config, host_of(headers.get("location", "elsewhere")))
        return f"it redirects to {target}; redirects are not followed, so set base_url to where the API is"
    if kind is AuthFailed:
        return _mend_key(config)
    if kind is UnknownModel:
        return f"check the model's name ({config.model}) and base_url ({host_of(config.base_url)})"
    return "add credit to the provider's account" if kind is QuotaSpent else ""


def _mend_key(config: UpstreamConfig) -> str:
    variable = config.key_variable
    if config.api_key is None:
        return f"export {variable}=... (or put it into .env)" if variable else "name the variable that holds its key"
    return f"check the key in {variable}" if variable else "check the key that was given"


def host_of(url: str) -> str:
    """*url* without user, password and query, fit for an error message."""
    return re.sub(r"//[^/@]*@", "//", url).partition("?")[0]


def _read(body: bytes, content_type: str) -> _Fault:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = bytes(body[: 8 * _MAX_MESSAGE]).decode("utf-8", "replace")
        if "html" in content_type:
            text = re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL)
        return _Fault(" ".join(text.split()))
    return _fault(value[0] if isinstance(value, list) and value else value)


def _fault(value: Json) -> _Fault:
    if not isinstance(value, dict):
        return _Fault("" if value is None else str(value))
    error = value.get("error", value)
    if not isinstance(error, dict):
        error = {"message": str(error)}
    message = error.get("message") or error.get("detail") or error.get("msg") or ""
    if not isinstance(message, str):
        message = msgspec.json.encode(message).decode()
    code = error.get("code")
    kinds = [error.get("type"), code, error.get("status")]
    kind = " ".join(name for name in kinds if isinstance(name, str))
    status = code if isinstance(code, int) and 400 <= code < 600 else None
    for name in kinds:
        if status is None and isinstance(name, str):
            status = _STATUS_OF_TYPE.get(name)
    return _Fault(message, kind, status, _retry_delay(error.get("details")))


def _retry_delay(details: Json) -> float | None:
    """Google's ``RetryInfo`` (https://google.aip.dev/194), which stands in the body instead of a header."""
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and isinstance(delay := detail.get("retryDelay"), str):
            return parse_duration(delay)
    return None
