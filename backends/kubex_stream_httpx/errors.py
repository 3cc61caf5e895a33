"""From the exceptions of httpx, httpcore and their like to :mod:`kubex_stream.errors`, most specific class first.

Texts name the server or the proxy, never a path, a query (which for exec is the command line) or a password.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

import anyio
import h11
import httpcore
import httpx

from kubex_stream.client import PreparedRequest
from kubex_stream.errors import (
    ConfigurationError,
    ConnectionFailed,
    ConnectionLost,
    KubexClientException,
    ProtocolViolation,
    StreamTimeout,
)

__all__ = ("LIBRARY_ERRORS", "mapped", "origin_of")

#: Whatever a network stream may raise, its own or one of httpcore's.
LIBRARY_ERRORS: Final = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
    h11.ProtocolError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.BusyResourceError,
    anyio.EndOfStream,
    OSError,
)

#: httpcore and h11 say so where a response ends early; their other complaints are about what it says.
_DISCONNECTED: Final = re.compile("disconnected|closed connection")

_PHASES: Final[tuple[tuple[tuple[type[Exception], ...], str, str], ...]] = (
    ((httpx.ConnectTimeout, httpcore.ConnectTimeout), "connect", "no connection to {origin}"),
    ((httpx.PoolTimeout, httpcore.PoolTimeout), "pool", "no connection to {origin} became free (see pool_size)"),
    ((httpx.WriteTimeout, httpcore.WriteTimeout), "write", "{origin} did not take the request"),
    ((httpx.TimeoutException, httpcore.TimeoutException), "read", "{origin} did not answer"),
)


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL, for messages."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")


@contextmanager
def mapped(request: PreparedRequest) -> Generator[None, None, None]:
    """Around whatever one attempt at a request does."""
    try:
        yield
    except KubexClientException:
        raise
    except (httpx.LocalProtocolError, httpcore.LocalProtocolError):
        # The library's text may quote a header, and with it a token.
        raise ConfigurationError("the request cannot be sent: a header, or the method, is not valid HTTP") from None
    except LIBRARY_ERRORS as error:
        raise _map(error, request) from error


def _map(error: Exception, request: PreparedRequest) -> KubexClientException:
    origin = origin_of(request.url)
    for classes, phase, text in _PHASES:
        if isinstance(error, classes):
            return StreamTimeout(f"{text.format(origin=origin)} in time (timeout.{phase}{_limit(request, phase)})")
    if isinstance(error, httpx.ProxyError | httpcore.ProxyError):
        return _proxy_failure(error, request)
    tls = next((cause for cause in _causes(error) if isinstance(cause, ssl.SSLError)), None)
    if tls is not None:
        return ConnectionFailed(f"TLS with {origin} failed: {_tls_reason(tls)}")
    if isinstance(error, httpx.ConnectError | httpcore.ConnectError):
        via = "" if request.proxy is None else f" through the proxy {origin_of(request.proxy)}"
        return ConnectionFailed(f"no connection to {origin}{via}: {_reason(error)}")
    if isinstance(error, httpx.DecodingError):
        return ConnectionLost(f"the response of {origin} cannot be decoded")
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol | httpcore.UnsupportedProtocol):
        return ConnectionFailed(f"{origin} cannot be reached: {error}")
    reason = _reason(error)
    if isinstance(error, httpx.RemoteProtocolError | httpcore.RemoteProtocolError) and not _DISCONNECTED.search(reason):
        return ProtocolViolation(f"{origin} answered what is no HTTP: {reason[:200]}")
    return ConnectionLost(f"the connection to {origin} broke: {reason}")


def _limit(request: PreparedRequest, phase: str) -> str:
    seconds = getattr(request.timeout, phase, None)
    return "" if seconds is None else f" = {seconds:g} s"


def _proxy_failure(error: Exception, request: PreparedRequest) -> ConnectionFailed:
    name = "the proxy" if request.proxy is None else f"the proxy {origin_of(request.proxy)}"
    text = str(error)
    if text[:3].isdigit():
        hint = "; give its user and password in the proxy's URL" if text.startswith("407") else ""
        return ConnectionFailed(f"{name} refused a connection to {origin_of(request.url)}: {text}{hint}")
    tls = next((cause for cause in _causes(error) if isinstance(cause, ssl.SSLError)), None)
    if tls is not None:
        return ConnectionFailed(f"TLS with {name} failed: {_tls_reason(tls)}")
    return ConnectionFailed(f"no connection through {name}: {_reason(error)}")


def _causes(error: BaseException) -> Generator[BaseException, None, None]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _reason(error: Exception) -> str:
    if any(isinstance(cause, socket.gaierror) for cause in _causes(error)):
        return f"the name cannot be resolved ({error})"
    return str(error) or next((str(cause) for cause in _causes(error) if str(cause)), type(error).__name__)


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        if "match" in error.verify_message or "mismatch" in error.verify_message:
            hint = "tls-server-name in the kubeconfig sets another name"
        else:
            hint = "certificate-authority in the kubeconfig has to be the CA that signed it, or one above"
        return f"certificate verify failed: {error.verify_message} ({hint})"
    reason = (error.reason or str(error)).replace("_", " ").lower()
    if "alert" in reason:
        return f"{reason} (the server refused; it may want another client certificate)"
    if "wrong version number" in reason or "http request" in reason:
        return f"{reason} (is it an http:// server?)"
    return reason
