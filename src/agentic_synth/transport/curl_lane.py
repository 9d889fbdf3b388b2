"""One protocol's way to an upstream: its connections, and native handles that are set up once and used again."""

from __future__ import annotations

import io
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pycurl

from agentic_synth.config import UpstreamConfig
from agentic_synth.errors import ConfigError, SynthError
from agentic_synth.transport.client import MAX_ANSWER_BYTES, Content
from agentic_synth.transport.curl_driver import CurlDriver, CurlFault
from agentic_synth.transport.curl_faults import error_of
from agentic_synth.transport.peer import Peer
from agentic_synth.transport.pool import Lease, ShardedPool

__all__ = ["Lane", "Settings", "Transfer", "read_head"]

_MAX_AGE_S = 600.0
_IDLE_S = 60
_SUPPRESS_CONNECT_HEADERS = 265  # pycurl has no name for it
_WANTS_TO_REWIND = "necessary data rewind was not possible"
_PROXIES = frozenset({"http", "https", "socks4", "socks4a", "socks5", "socks5h"})
_CERTIFICATE = b"-----BEGIN"
_BUNDLES = ("/etc/ssl/cert.pem", "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")


class Settings:
    """What every exchange with one upstream has in common.

    Raises:
        ConfigError: the CA file or the proxy's URL cannot be read.
    """

    def __init__(self, config: UpstreamConfig, headers: Mapping[str, str]) -> None:
        self.config = config
        self._headers = {"expect": "", "content-type": "", "user-agent": "agentic-synth", **headers}
        self._authorities = _authorities(config.ca_file)
        self._proxy = _proxy(config.proxy)

    def lines(self, headers: Mapping[str, str] | None) -> list[str]:
        """The header lines; an empty ``expect`` and content type keep libcurl from adding its own."""
        found = {**self._headers, **(headers or {})}
        found.pop("content-length", None)  # libcurl writes its own
        for name, value in found.items():
            if not (name + value).isprintable():
                raise ConfigError(f"the header {name!r} cannot be sent", mend="it holds a line break or the like")
        return [f"{name}: {value}" if value else f"{name}:" for name, value in found.items()]

    def apply(self, curl: pycurl.Curl, peer: Peer) -> None:
        """Tell a new handle all of it."""
        timeouts = self.config.timeouts
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, max(1, round(timeouts.connect * 1_000)))
        curl.setopt(pycurl.TIMEOUT_MS, max(1, round(timeouts.total * 1_000)))
        curl.setopt(pycurl.MAXAGE_CONN, _IDLE_S)
        curl.setopt(pycurl.TCP_KEEPALIVE, 1)
        curl.setopt(_SUPPRESS_CONNECT_HEADERS, 1)
        curl.setopt(pycurl.PROXY, self._proxy)
        if self._authorities:
            curl.setopt(pycurl.CAINFO, self._authorities)
        else:
            curl.setopt(pycurl.SSL_OPTIONS, pycurl.SSLOPT_NATIVE_CA)
        if peer.protocol == "1":
            curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
            return
        secure = urlsplit(self.config.base_url).scheme == "https"
        prior = pycurl.CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS if secure else prior)
        curl.setopt(pycurl.PIPEWAIT, 1)


class Transfer:
    """A native handle, the buffers it fills, and what it was last told."""

    __slots__ = ("_body", "curl", "head", "headers", "method", "pieces", "reusable", "url")

    def __init__(self, curl: pycurl.Curl) -> None:
        self.curl = curl
        self.head: list[bytes] = []
        self.pieces: list[bytes] = []
        self.method = ""
        self.url = ""
        self.reusable = True
        self._body = b""
        self.headers: Mapping[str, str] | None = {}
        self.collect()

    def collect(self) -> None:
        """Whatever comes goes into the buffers, up to the size of a plain answer."""
        self.curl.setopt(pycurl.MAXFILESIZE, MAX_ANSWER_BYTES)
        self.curl.setopt(pycurl.HEADERFUNCTION, self.head.append)
        self.curl.setopt(pycurl.WRITEFUNCTION, self.pieces.append)

    def aim(self, method: str, url: str, body: Content | None) -> None:
        """Say what to send where; a body in pieces is left to whoever feeds it."""
        if url != self.url:
            self.curl.setopt(pycurl.URL, url)
            self.url = url
        if method != self.method or method != "POST":
            self.curl.unsetopt(pycurl.CUSTOMREQUEST)
            self.curl.setopt(pycurl.POST if method == "POST" or body is not None else pycurl.HTTPGET, 1)
            if method not in {"GET", "POST"}:
                self.curl.setopt(pycurl.CUSTOMREQUEST, method)
            self.method = method
        if isinstance(body, bytes) or (body is None and method == "POST"):
            self._body = body or b""
            self.curl.setopt(pycurl.POSTFIELDSIZE_LARGE, len(self._body))
            self._load()

    def rewind(self) -> None:
        """Ready to be sent once more."""
        self.clear()
        self._load()

    def clear(self) -> None:
        """Forget what came."""
        self.head.clear()
        self.pieces.clear()

    def _load(self) -> None:
        """Hand the body over as a stream that libcurl cannot rewind.

        With one that it could, it would send a request again by itself when a kept-alive connection breaks without
        an answer, whether or not the peer has seen it: twice paid, and nobody told.
        """
        self.curl.setopt(pycurl.READFUNCTION, io.BytesIO(self._body).read)


class Lane:
    """The connections that speak one protocol; each exchange takes a lease and a transfer, and gives both back."""

    def __init__(self, settings: Settings, peer: Peer) -> None:
        self.peer = peer
        self._settings = settings
        self._free: list[Transfer] = []
        config, multiplexed = settings.config, peer.protocol == "2"
        self.pool: ShardedPool[CurlDriver] = ShardedPool(
            lambda: CurlDriver(max_connections=config.max_connections, max_streams=peer.max_streams),
            room=peer.max_streams if multiplexed else config.max_connections,
            max_shards=config.max_connections if multiplexed else 1,
            wait=config.timeouts.pool,
            max_age=_MAX_AGE_S,
        )

    def take(self, method: str, url: str, body: Content | None, headers: Mapping[str, str] | None) -> Transfer:
        """A handle that is ready to go; there are never more of them than exchanges were in flight at once."""
        if self._free and (body is None or isinstance(body, bytes)):
            transfer = self._free.pop()
        else:
            transfer = Transfer(pycurl.Curl())
            transfer.reusable = body is None or isinstance(body, bytes)
            self._settings.apply(transfer.curl, self.peer)
        if headers != transfer.headers:
            transfer.curl.setopt(pycurl.HTTPHEADER, self._settings.lines(headers))
            transfer.headers = headers
        transfer.aim(method, url, body)
        return transfer

    def put_back(self, transfer: Transfer, lease: Lease[CurlDriver]) -> None:
        """End the exchange, wherever it stands; never waits."""
        lease.client.remove(transfer.curl)
        transfer.clear()
        if transfer.reusable:
            self._free.append(transfer)
        else:
            transfer.curl.close()

    def is_unseen(self, transfer: Transfer, fault: CurlFault) -> bool:
        """Whether the peer has not looked at the request, so that it is safe to send it again.

        Either nothing of it could be sent, for the kept-alive connection was gone, or the peer said so: a refused
        stream, a GOAWAY that leaves it out (RFC 9113, 8.7). Where it said nothing, libcurl gives the break as reason.
        """
        if fault.code != pycurl.E_SEND_FAIL_REWIND:
            return False
        told = self.peer.protocol == "2" and fault.reason == _WANTS_TO_REWIND
        return told or not transfer.curl.getinfo(pycurl.REQUEST_SIZE)

    def error(self, transfer: Transfer, fault: CurlFault) -> SynthError:
        """Why the exchange failed, in our classes."""
        return error_of(self._settings.config, fault, sent=transfer.curl.getinfo(pycurl.REQUEST_SIZE) > 0)


def read_head(lines: list[bytes]) -> tuple[int, dict[str, str]]:
    """The status and the headers; an interim head (1xx) before them and trailers after them are left out."""
    headers: dict[str, str] = {}
    status = 0
    for line in b"".join(lines).decode("latin-1").split("\r\n"):
        if line.startswith("HTTP/"):
            status, headers = int(line.split(" ", 2)[1]), {}
        elif not line:
            if status >= 200:
                break
        else:
            name, _, value = line.partition(":")
            name, value = name.lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return status, headers


def _authorities(ca_file: str | None) -> str:
    """The file of trusted certificates; empty where the system keeps them elsewhere than in a file."""
    if ca_file is None:
        usual = (ssl.get_default_verify_paths().cafile, *_BUNDLES)
        return next((path for path in usual if path and Path(path).is_file()), "")
    try:
        # Whether they can be parsed shows at the first connection; parsing a usual bundle here would take 20 ms.
        reason = "" if _CERTIFICATE in Path(ca_file).read_bytes() else "no certificate in it"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise ConfigError(f"cannot read the CA file {ca_file}: {reason}", mend="check ca_file")
    return ca_file


def _proxy(url: str | None) -> str:
    """Empty means none, whatever the environment says."""
    if url is None:
        return ""
    parts = urlsplit(url)
    if parts.scheme not in _PROXIES or not parts.hostname:
        raise ConfigError("the proxy's URL cannot be read", mend="write proxy as http://host:port")
    return url
