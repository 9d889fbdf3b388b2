"""What a peer speaks, learnt from one handshake before the first request."""

from __future__ import annotations

import asyncio
import ssl
import struct
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from agentic_synth.errors import ConnectFailed

__all__ = ["HTTP1", "Peer", "discover", "speaks_http1"]

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_EMPTY_SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_SETTINGS = 4
_MAX_CONCURRENT_STREAMS = 3
_USUAL_STREAMS = 100


class Peer(msgspec.Struct, frozen=True):
    """The protocol to use, and over HTTP/2 how many streams the peer takes on one connection."""

    protocol: Literal["1", "2"]
    max_streams: int = 1


HTTP1 = Peer("1")


async def discover(base_url: str, http: Literal["auto", "1", "2"], timeout: float) -> Peer:
    """Ask the peer which protocol it speaks (ALPN, RFC 7301) and how many streams it takes (RFC 9113, 6.5.2).

    Costs one handshake, and none for plain ``http://`` or *http* ``1``. No request is sent, so nothing here is trusted
    or revealed: certificates are verified by the connections that carry the key. *http* ``2`` over ``http://`` means
    prior knowledge. Any failure under ``auto`` means HTTP/1.1: the first request will tell what is wrong.

    Raises:
        ConnectFailed: *http* is ``2`` and the peer does not speak it.
    """
    parts = urlsplit(base_url)
    secure = parts.scheme == "https"
    if http == "1" or (http == "auto" and not secure):
        return HTTP1
    try:
        async with asyncio.timeout(timeout):
            peer = await _probe(parts.hostname or "", parts.port or (443 if secure else 80), secure)
    except (OSError, EOFError):  # TimeoutError and ssl.SSLError are OSErrors
        peer = HTTP1
    if http == "2" and peer.protocol != "2":
        raise ConnectFailed(f"{parts.hostname} does not speak HTTP/2", mend="use http = auto or 1 for this upstream")
    return peer


async def speaks_http1(base_url: str, timeout: float) -> bool:
    """Whether a peer that speaks HTTP/2 over TLS takes HTTP/1.1 too; costs one handshake, and no request is sent."""
    parts = urlsplit(base_url)
    try:
        async with asyncio.timeout(timeout):
            connecting = asyncio.open_connection(parts.hostname, parts.port or 443, ssl=_unverified("http/1.1"))
            _, writer = await connecting
    except (OSError, EOFError):
        return False
    tls = writer.get_extra_info("ssl_object")
    writer.transport.abort()
    return tls is not None and tls.selected_alpn_protocol() == "http/1.1"


def _unverified(*protocols: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(list(protocols))
    return context


async def _probe(host: str, port: int, secure: bool) -> Peer:
    context = _unverified("h2", "http/1.1") if secure else None
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        tls = writer.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != "h2":
            return HTTP1
        writer.write(_PREFACE + _EMPTY_SETTINGS)
        head = await reader.readexactly(9)
        if head[3] != _SETTINGS:
            return HTTP1
        return Peer("2", _max_streams(await reader.readexactly(int.from_bytes(head[:3], "big"))))
    finally:
        writer.transport.abort()


def _max_streams(settings: bytes) -> int:
    for name, value in struct.iter_unpack(">HI", settings[: len(settings) // 6 * 6]):
        if name == _MAX_CONCURRENT_STREAMS:
            return int(max(1, min(value, _USUAL_STREAMS)))
    return _USUAL_STREAMS
