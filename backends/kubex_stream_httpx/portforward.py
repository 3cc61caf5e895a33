"""HTTP to a port of a pod through httpx, without a local port.

Rules of this file:
- The connections are httpcore's, over its interface for networks: what it calls a TCP connection is one to the pod's port.
- A request whose connection turns out to have ended while it rested goes over another one: where it has not been sent, and where it may
  be sent again.
- No more connections than the limits allow: httpcore never forgets one whose request was cancelled before it was made (1.0.9), so the limit
  is kept here; with HTTP/2, where several requests share a connection, it is httpcore's.
"""

from __future__ import annotations

import importlib.util
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Protocol, cast

import anyio
import httpcore
import httpx

from kubex_stream.errors import KubexClientException, PortForwardError
from kubex_stream_httpx.network import time_limit
from kubex_stream_httpx.pod_network import (
    ITSELF,
    Dropped,
    Forwarder,
    PodNetwork,
    PodStream,
    Useless,
    owning_pod_streams,
)

__all__ = ("PortForwardTransport",)

#: Connections to pods that turn out to be gone, before a request is given up.
_TRIES: Final = 5
_REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
_LIMITS: Final = httpx.Limits(max_connections=100, max_keepalive_connections=20)
_NAMES: Final = (
    "ConnectTimeout", "ReadTimeout", "WriteTimeout", "PoolTimeout", "TimeoutException", "ConnectError", "ReadError", "WriteError",
    "NetworkError", "ProxyError", "UnsupportedProtocol", "LocalProtocolError", "RemoteProtocolError", "ProtocolError",
)  # fmt: skip
_TO_HTTPX: Final[Mapping[type, type[httpx.TransportError]]] = {
    getattr(httpcore, name): getattr(httpx, name) for name in _NAMES
}


class PortForwardTransport(httpx.AsyncBaseTransport):
    """The transport of an ``httpx.AsyncClient`` whose requests go to a pod's port.

    ``async with pods.portforward.forwarder("svc/web") as forwarder, httpx.AsyncClient(transport=PortForwardTransport(forwarder)) as http``

    The forwarder decides where requests go, and the URL's port (80 for http, 443 for https, or as written) to which port of its target; of a
    Service that is the Service's port.  The URL's host is the ``Host`` header and, with https, the name that the certificate must have.
    The client's timeouts apply, ``connect`` also to looking for the pod again.  Not for proxies.

    What goes wrong is one of httpx's exceptions: ``ConnectError`` where no connection could be made, a refused dial included, ``ReadError``
    and ``WriteError`` where one broke, with the :class:`kubex_stream.KubexClientException` that says why as the cause.  A body that has no
    length and whose connection breaks raises, too.  Requests that can be repeated, as their method allows it and their body is in memory, are
    repeated where an idle connection turns out to have ended, and sent to its successor where the pod turns out to be gone.

    Cancelling a request closes its connection.

    :param forwarder: it stays open for as long as requests are made, and is not closed here
    :param verify: as httpx has it: True, False, or an ``ssl.SSLContext``
    :param cert: a client certificate, as httpx has it
    :param trust_env: whether ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` count
    :param http1: whether HTTP/1.1 is spoken
    :param http2: whether HTTP/2 is, where TLS agrees on it, or, without ``http1``, always; needs the package ``h2``
    :param limits: of the connections
    :param retries: further tries, with growing pauses, where no connection could be made; besides those of the forwarder
    :raises TypeError: ``forwarder`` is none
    :raises ImportError: HTTP/2 without ``h2``
    """

    def __init__(
        self,
        forwarder: Forwarder,
        *,
        verify: ssl.SSLContext | str | bool = True,
        cert: str | tuple[str, str] | tuple[str, str, str] | None = None,
        trust_env: bool = True,
        http1: bool = True,
        http2: bool = False,
        limits: httpx.Limits = _LIMITS,
        retries: int = 0,
    ) -> None:
        if not callable(getattr(forwarder, "open", None)):
            kind = type(forwarder).__name__
            raise TypeError(f"forwarder must be what pods.portforward.forwarder(...) returns, not {kind}")
        if http2 and importlib.util.find_spec("h2") is None:
            raise ImportError("http2=True needs the package h2: pip install 'httpx[http2]'")
        most = limits.max_connections
        self._places = None if http2 or most is None else anyio.Semaphore(most, fast_acquire=True)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context(verify=verify, cert=cert, trust_env=trust_env),
            max_connections=most if http2 else None,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            http1=http1,
            http2=http2,
            retries=retries,
            network_backend=PodNetwork(forwarder, shared=not http1),
        )

    async def __aenter__(self) -> PortForwardTransport:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        with anyio.CancelScope(shield=True):
            await self._pool.aclose()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """As httpx says; returns with the head of the response."""
        release = await self._place(request)
        try:
            response = await self._exchange(request)
        except BaseException:
            release()
            raise
        body = _Body(cast("_CoreBody", response.stream), response.extensions.get("network_stream"), release)
        return httpx.Response(response.status, headers=response.headers, stream=body, extensions=response.extensions)

    async def _place(self, request: httpx.Request) -> Callable[[], None]:
        places = self._places
        if places is None:
            return lambda: None
        with time_limit(request.extensions.get("timeout", {}).get("pool"), httpx.PoolTimeout):
            await places.acquire()
        return places.release

    async def _exchange(self, request: httpx.Request) -> httpcore.Response:
        repeatable = request.method in _REPEATABLE and isinstance(request.stream, httpx.ByteStream)
        tries = _TRIES
        while True:
            try:
                return await self._send(request)
            except Useless:
                continue  # nothing was sent
            except Dropped as error:
                if not repeatable:
                    raise _dropped(error) from (_reason(error) or error)
            except httpx.TransportError as error:
                tries -= 1
                if not (repeatable and tries and _is_gone(error.__cause__)):
                    raise

    async def _send(self, request: httpx.Request) -> httpcore.Response:
        body = _Sent(cast("httpx.AsyncByteStream", request.stream))
        url = request.url
        try:
            with _as_httpx():
                async with owning_pod_streams():
                    return await self._pool.handle_async_request(
                        httpcore.Request(
                            method=request.method,
                            url=httpcore.URL(
                                scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
                            ),
                            headers=request.headers.raw,
                            content=body,
                            extensions=request.extensions,
                        )
                    )
        finally:
            with anyio.CancelScope(shield=True):
                await body.aclose()


# Bodies ---------------------------------------------------------------------------------------------------------------


class _Sent:
    """The body of a request, which is left in the middle where the server hangs up early: then its generator must be closed."""

    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream
        self._parts: AsyncIterator[bytes] | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._parts = self._stream.__aiter__()
        return self._parts

    async def aclose(self) -> None:
        await _close_parts(self._parts)


class _CoreBody(Protocol):
    def __aiter__(self) -> AsyncIterator[bytes]: ...
    async def aclose(self) -> None: ...


class _Body(httpx.AsyncByteStream):
    """The body of a response."""

    def __init__(
        self, stream: _CoreBody, network: httpcore.AsyncNetworkStream | None, release: Callable[[], None]
    ) -> None:
        self._stream = stream
        self._network = network
        self._release: Callable[[], None] | None = release
        self._parts: AsyncIterator[bytes] | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._parts is None:
            self._parts = self._stream.__aiter__()
        with _as_httpx():
            return await anext(self._parts)

    async def aclose(self) -> None:
        release, self._release = self._release, None
        if release is None:
            return
        try:
            with anyio.CancelScope(shield=True):
                await _close_parts(self._parts)
                await self._stream.aclose()
        except BaseException:
            # asyncio's own cancellation passes the shield, and what it interrupts there leaves the connection open for ever.
            own = None if self._network is None else self._network.get_extra_info(ITSELF)
            if isinstance(own, PodStream):
                await own.aclose()
            raise
        finally:
            release()


async def _close_parts(parts: AsyncIterator[bytes] | None) -> None:
    if isinstance(parts, AsyncGenerator):
        await parts.aclose()


# Errors ---------------------------------------------------------------------------------------------------------------


@contextmanager
def _as_httpx() -> Generator[None, None, None]:
    """From httpcore's exceptions to httpx's; the cause is what the project says, where it says something."""
    try:
        yield
    except Exception as error:
        kind = next((_TO_HTTPX[each] for each in type(error).__mro__ if each in _TO_HTTPX), None)
        if kind is None:
            raise
        raise kind(str(error)) from (_reason(error) or error)


def _reason(error: BaseException) -> KubexClientException | None:
    """What the project says about it: httpcore takes its exceptions' causes away, but not their contexts."""
    step = error.__cause__ or error.__context__
    while isinstance(step, httpcore.NetworkError | anyio.BrokenResourceError):
        if isinstance(step, KubexClientException):
            break
        step = step.__cause__ or step.__context__
    return step if isinstance(step, KubexClientException) else None


def _dropped(error: Dropped) -> httpx.TransportError:
    reason = _reason(error)
    if reason is not None:
        return httpx.ReadError(str(reason))
    return httpx.RemoteProtocolError("The pod's server ended the connection, which had been idle, without an answer.")


def _is_gone(cause: BaseException | None) -> bool:
    return isinstance(cause, PortForwardError) and cause.kind == "gone"
