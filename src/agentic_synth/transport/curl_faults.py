"""From libcurl's error numbers to our error classes."""

from __future__ import annotations

from urllib.parse import urlsplit

import pycurl

from agentic_synth.config import UpstreamConfig
from agentic_synth.errors import AttemptTimeout, BadReply, ConfigError, ConnectFailed, SynthError
from agentic_synth.transport.client import MEND_CONNECT, MEND_TOTAL, too_long
from agentic_synth.transport.curl_driver import CurlFault

__all__ = ["error_of"]

_HTTP2_STREAM = 92  # pycurl has no name for it
_BROKEN = frozenset(
    {
        pycurl.E_ABORTED_BY_CALLBACK,
        pycurl.E_GOT_NOTHING,
        pycurl.E_HTTP2,
        _HTTP2_STREAM,
        pycurl.E_PARTIAL_FILE,
        pycurl.E_RECV_ERROR,
        pycurl.E_SEND_ERROR,
        pycurl.E_SEND_FAIL_REWIND,
    }
)
_UNBUILT = frozenset({pycurl.E_UNSUPPORTED_PROTOCOL, pycurl.E_URL_MALFORMAT, pycurl.E_BAD_FUNCTION_ARGUMENT})


def error_of(config: UpstreamConfig, fault: CurlFault, *, sent: bool) -> SynthError:
    """What *fault* means; *sent* says that the request was on its way. URLs, which may carry keys, are left out."""
    host, timeouts = urlsplit(config.base_url).hostname, config.timeouts
    code, reason = fault.code, fault.reason or "it was closed"
    if code == pycurl.E_OPERATION_TIMEDOUT:
        if sent:
            return AttemptTimeout(f"no complete answer within {timeouts.total:g} s", mend=MEND_TOTAL)
        return ConnectFailed(f"no connection to {host} within {timeouts.connect:g} s", mend=MEND_CONNECT)
    if not sent:
        return _unsent(code, reason, host)
    if code == pycurl.E_FILESIZE_EXCEEDED:
        return too_long(host)
    if code in _BROKEN and "headers" not in reason:
        return ConnectFailed(f"the connection to {host} broke: {reason}")
    return BadReply(f"the reply of {host} cannot be read: {reason}")


def _unsent(code: int, reason: str, host: str | None) -> SynthError:
    if code in _UNBUILT:
        return ConfigError(f"the request cannot be built: {reason}", mend="check base_url and headers")
    return ConnectFailed(f"cannot connect to {host}: {reason}", mend=MEND_CONNECT)
