"""From aiohttp's exceptions to the project's: the one place where that is decided.

aiohttp puts whole URLs into many of its texts, and the query of a URL is the command line of an exec.  So no text is passed on that
may hold one, and such an exception is not kept as the cause either, since a traceback would print it.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from kubex_stream.client import PreparedRequest
from kubex_stream.errors import ConnectionFailed, ConnectionLost, KubexClientException, ProtocolViolation, StreamTimeout

__all__ = ("Unanswered", "mapped_errors")

#: Their texts hold URLs.
_TELLING: Final = (aiohttp.ClientResponseError, aiohttp.InvalidURL, aiohttp.ServerTimeoutError)

#: What is wrong with a 101, by aiohttp's words for it.
_HANDSHAKES: Final = {
    "Invalid upgrade header": "it has no 'Upgrade: websocket' header",
    "Invalid connection header": "it has no 'Connection: Upgrade' header",
    "Invalid challenge response": "its Sec-WebSocket-Accept header is not the answer to the key that was sent",
}

_HINT_UNTRUSTED: Final = (
    " (is this the right cluster? its CA belongs into certificate-authority-data of the kubeconfig; a server that is reached by another "
    "name than its certificate's needs tls-server-name)"
)
_HINT_PLAIN: Final = " (does the server speak plain HTTP on this port?)"


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


def _mapped(error: aiohttp.ClientError | OSError, request: PreparedRequest) -> KubexClientException:
    server = urlsplit(request.url).netloc.rpartition("@")[2]
    proxy = None if request.proxy is None else urlsplit(request.proxy).netloc.rpartition("@")[2]
    via = server if proxy is None else f"{server} through the proxy {proxy}"
    if isinstance(error, TimeoutError):
        phase = "connecting to" if isinstance(error, aiohttp.ConnectionTimeoutError) else "waiting for"
        return StreamTimeout(f"{phase} {via} took too long")
    if isinstance(error, aiohttp.ClientConnectorError):
        return _no_connection(error, via, proxy)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return ConnectionFailed(f"the proxy {proxy} refused a connection to {server}: {error.status} {error.message}")
    if isinstance(error, aiohttp.WSServerHandshakeError):
        return ProtocolViolation(f"the 101 of {via} is no WebSocket handshake: {_HANDSHAKES.get(error.message, error.message)}")
    if isinstance(error, aiohttp.ClientResponseError):
        return ProtocolViolation(f"{via} answered what is no HTTP: {' '.join(error.message.split())[:200]}")
    if isinstance(error, aiohttp.ClientPayloadError):
        return ConnectionLost(f"the connection to {via} broke before the whole response had come")
    if isinstance(error, aiohttp.ServerConnectionError | Unanswered | aiohttp.ClientOSError | OSError):
        return ConnectionLost(f"the connection to {via} broke before the response had come{_reason(error)}")
    # What is left is told before anything was sent: a closed connector, a TLS-in-TLS that the event loop cannot do, a wrong URL.
    told = "" if isinstance(error, _TELLING) else f": {str(error).replace(request.url, server)}"
    return ConnectionFailed(f"cannot connect to {via}{told}")


def _no_connection(error: aiohttp.ClientConnectorError, via: str, proxy: str | None) -> ConnectionFailed:
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return ConnectionFailed(f"cannot connect to the proxy {proxy}: {_told(error.os_error)}")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return ConnectionFailed(f"cannot connect to {via}: the name {error.host} cannot be resolved: {_told(error.os_error)}")
    return ConnectionFailed(f"cannot connect to {via}: {_told(error.os_error)}")


def _told(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__


def _reason(error: BaseException) -> str:
    cause = error.__cause__ if isinstance(error, Unanswered) else error
    strerror = getattr(cause, "strerror", None)
    return f": {strerror}" if strerror else ""
