"""From aiohttp's exceptions to the project's: the one place where that is decided.

aiohttp puts whole URLs into many of its texts, and the query of a URL is the command line of an exec.  So no text is passed on that
may hold one, and such an exception is not kept as the cause either, since a traceback would print it.
"""

from __future__ import annotations

import ssl
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from kubex_stream.client import PreparedRequest
from kubex_stream.errors import ConnectionFailed, ConnectionLost, KubexClientException, ProtocolViolation, StreamTimeout

__all__ = ("Unanswered", "lost", "mapped_errors")

#: Their texts hold URLs.
_TELLING: Final = (aiohttp.ClientResponseError, aiohttp.InvalidURL, aiohttp.ServerTimeoutError)

#: What is wrong with a 101, by aiohttp's words for it.
_HANDSHAKES: Final = {
    "Invalid upgrade header": "it has no 'Upgrade: websocket' header",
    "Invalid connection header": "it has no 'Connection: Upgrade' header",
    "Invalid challenge response": "its Sec-WebSocket-Accept header is not the answer to the key that was sent",
}

_HINT_UNTRUSTED: Final = (
    "; is it the right server? The kubeconfig's certificate-authority-data must hold the CA of its certificate, and where it is reached "
    "by a name that the certificate lacks, tls-server-name must be set"
)
_HINT_PLAIN: Final = "; does it speak TLS on this port?"
_HINT_REFUSED: Final = "; it may want a client certificate, or another one"


class Unanswered(aiohttp.ClientError):
    """The connection ended where a response was due.  aiohttp repeats a GET that meets its own exceptions for this, and the GET of an
    exec must never run a command twice."""


@contextmanager
def mapped_errors(request: PreparedRequest) -> Generator[None, None, None]:
    """Turn what aiohttp raises for ``request`` into the project's exceptions."""
    try:
        yield
    except KubexClientException:
        raise
    except (aiohttp.ClientError, OSError) as error:
        mapped = _mapped(error, request)
        raise mapped from (None if isinstance(error, _TELLING) else error)


def lost(error: BaseException, request: PreparedRequest) -> ConnectionLost:
    """The exception for a body that ended early."""
    told = "" if isinstance(error, aiohttp.ClientPayloadError) else f": {_told(error)}"
    return ConnectionLost(f"the connection to {_where(request)} broke before the whole response had come{told}")


def _mapped(error: aiohttp.ClientError | OSError, request: PreparedRequest) -> KubexClientException:
    where = _where(request)
    proxy = None if request.proxy is None else _netloc(request.proxy)
    if isinstance(error, TimeoutError):
        phase = "connecting to" if isinstance(error, aiohttp.ConnectionTimeoutError) else "waiting for"
        return StreamTimeout(f"{phase} {where} took too long")
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ClientConnectorCertificateError):
        return _no_connection(error, where, proxy)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return ConnectionFailed(
            f"the proxy {proxy} refused a connection to {_netloc(request.url)}: {error.status} {error.message}"
        )
    if isinstance(error, aiohttp.WSServerHandshakeError):
        wrong = _HANDSHAKES.get(error.message, error.message)
        return ProtocolViolation(f"the 101 of {where} is no WebSocket handshake: {wrong}")
    if isinstance(error, aiohttp.ClientResponseError):
        return ProtocolViolation(f"{where} answered what is no HTTP: {' '.join(error.message.split())[:200]}")
    if isinstance(error, aiohttp.ServerConnectionError | aiohttp.ClientPayloadError | Unanswered | OSError):
        return _broken(error, request)
    # What is left is told before anything is sent: a closed connector, TLS inside of TLS on a loop that has none, a wrong URL.
    told = "" if isinstance(error, _TELLING) else f": {error}"
    return ConnectionFailed(f"cannot connect to {where}{told}")


def _where(request: PreparedRequest) -> str:
    server = _netloc(request.url)
    return server if request.proxy is None else f"{server} through the proxy {_netloc(request.proxy)}"


def _netloc(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


def _no_connection(
    error: aiohttp.ClientConnectorError | aiohttp.ClientConnectorCertificateError, where: str, proxy: str | None
) -> ConnectionFailed:
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.ClientConnectorCertificateError):
        # This may be the proxy's TLS or the server's; aiohttp knows whose.
        peer = f"{error.host}:{error.port}"
        certificate = getattr(error, "certificate_error", None)
        if isinstance(certificate, ssl.SSLCertVerificationError):
            return ConnectionFailed(
                f"TLS with {peer}: certificate verify failed: {certificate.verify_message}{_HINT_UNTRUSTED}"
            )
        return ConnectionFailed(f"TLS with {peer} failed: {_told(error)}{_HINT_PLAIN}")
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return ConnectionFailed(f"cannot connect to the proxy {proxy}: {_told(error.os_error)}")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return ConnectionFailed(f"cannot connect to {where}: the name {error.host} is unknown: {_told(error.os_error)}")
    return ConnectionFailed(f"cannot connect to {where}: {_told(error.os_error)}")


def _broken(error: BaseException, request: PreparedRequest) -> KubexClientException:
    told = _told(error.__cause__ or error)
    if "SSL" in told and "ALERT" in told.upper():
        # TLS 1.3: the server judges a client certificate after the handshake.
        return ConnectionFailed(f"TLS with {_where(request)} was ended by the other side: {told}{_HINT_REFUSED}")
    return lost(error, request)


def _told(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
