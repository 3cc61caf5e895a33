"""HTTP and WebSockets to a port of a pod through aiohttp, without a local port.

Rules of this file:
- aiohttp's hook is the one that its own connectors override.  What it gets is one end of a socket pair, so that TLS, pausing and closing are
  the event loop's; the other end is carried by the forwarder.
- A socket pair knows no reset, and aiohttp takes the end of a body without a length for its end even after a reset.  So what became of the
  connection is looked up when it ends, and told before aiohttp draws its conclusions.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import hashlib
import socket
import ssl
from typing import TYPE_CHECKING, Any, Final, Protocol

import aiohttp
from aiohttp.client_proto import ResponseHandler

from kubex_stream.errors import KubexClientException, PortForwardError

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.tracing import Trace

__all__ = ("PortForwardConnector",)

_ALPN: Final = ["http/1.1"]


class ForwardedSocket(Protocol):
    """What is needed of a forwarder's sockets."""

    socket: socket.socket
    failure: PortForwardError | None


class Forwarder(Protocol):
    """What is needed of a :class:`kubex_stream.PortForwarder`."""

    async def open_socket(self, port: int | str, /) -> ForwardedSocket: ...


class PortForwardConnector(aiohttp.BaseConnector):
    """The connector of an ``aiohttp.ClientSession`` whose requests go to a pod's port, on asyncio and uvloop.

    ``async with pods.portforward.forwarder("svc/web") as forwarder, aiohttp.ClientSession(connector=PortForwardConnector(forwarder)) as http``

    The forwarder decides where requests go, and the URL's port (80 for http, 443 for https, or as written) to which port of its target; of a
    Service that is the Service's port.  The URL's host is the ``Host`` header and, with https, the name that the certificate must have.
    WebSockets go the same way.  The timeout ``sock_connect`` limits the making of a connection, looking for the pod again included.

    Where no connection could be made, a refused dial included, requests raise ``aiohttp.ClientConnectorError``; where one broke,
    ``ClientOSError`` and, within a body, ``ClientPayloadError``, also for a body that has no length.  The cause is the
    :class:`kubex_stream.KubexClientException` that says why.  A WebSocket receives a message of type ``ERROR`` with it.

    :param forwarder: it stays open for as long as requests are made, and is not closed here
    :param ssl: for https, where a request has no ``ssl=`` of its own, as of ``aiohttp.TCPConnector``: True, False for no verification, an
        ``ssl.SSLContext``, or an ``aiohttp.Fingerprint``
    :param keepalive_timeout: seconds that an idle connection is kept, 15 by default
    :param force_close: use each connection once
    :param limit: connections at most, 0 for no limit
    :param limit_per_host: for each host, port and scheme of the URLs
    :raises TypeError: ``forwarder`` is none
    :raises RuntimeError: no event loop of asyncio is running
    """

    def __init__(
        self,
        forwarder: Forwarder,
        *,
        ssl: ssl.SSLContext | aiohttp.Fingerprint | bool = True,
        keepalive_timeout: float | None = 15.0,
        force_close: bool = False,
        limit: int = 100,
        limit_per_host: int = 0,
    ) -> None:
        if not callable(getattr(forwarder, "open_socket", None)):
            kind = type(forwarder).__name__
            raise TypeError(f"forwarder must be what pods.portforward.forwarder(...) returns, not {kind}")
        super().__init__(
            keepalive_timeout=None if force_close else keepalive_timeout,
            force_close=force_close,
            limit=limit,
            limit_per_host=limit_per_host,
        )
        self._forwarder = forwarder
        self._ssl = ssl

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],  # noqa: ARG002  (aiohttp itself tells of connections)
        timeout: aiohttp.ClientTimeout,
    ) -> ResponseHandler:
        """aiohttp's hook: a new connection for ``req``."""
        if req.proxy is not None:
            raise ValueError("a proxy is of no use with PortForwardConnector: leave proxy= and trust_env= out")
        assert req.port is not None
        async with asyncio.timeout(timeout.sock_connect or None):
            try:
                end = await self._forwarder.open_socket(req.port)
            except TimeoutError:
                raise  # aiohttp has words for it
            except KubexClientException as error:
                raise _no_connection(req.connection_key, error) from error
            try:
                return await self._adopt(end, req)
            except BaseException:
                end.socket.close()
                raise

    async def _adopt(self, end: ForwardedSocket, req: aiohttp.ClientRequest) -> ResponseHandler:
        context, pinned = self._tls(req)
        name = None if context is None else (req.server_hostname or req.url.raw_host or "").rstrip(".")
        try:
            transport, handler = await self._loop.create_connection(
                lambda: _Handler(self._loop, end, req.connection_key),
                sock=end.socket,
                ssl=context,
                server_hostname=name,
            )
        except ssl.SSLCertVerificationError as error:
            raise aiohttp.ClientConnectorCertificateError(req.connection_key, error) from error
        except OSError as error:
            if end.failure is not None:
                raise _no_connection(req.connection_key, end.failure) from end.failure
            kind = aiohttp.ClientConnectorSSLError if isinstance(error, ssl.SSLError) else aiohttp.ClientConnectorError
            raise kind(req.connection_key, error) from error
        if pinned is not None:
            try:
                _check(pinned, transport, req)
            except BaseException:
                transport.abort()
                raise
        return handler

    def _tls(self, req: aiohttp.ClientRequest) -> tuple[ssl.SSLContext | None, aiohttp.Fingerprint | None]:
        if not req.is_ssl():
            return None, None
        wish = self._ssl if req.ssl is True else req.ssl
        if isinstance(wish, ssl.SSLContext):
            return wish, None
        return _context(verify=wish is True), wish if isinstance(wish, aiohttp.Fingerprint) else None


@functools.cache
def _context(*, verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(_ALPN)
    return context


def _check(pinned: aiohttp.Fingerprint, transport: asyncio.BaseTransport, req: aiohttp.ClientRequest) -> None:
    certificate = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
    got = hashlib.sha256(certificate).digest()
    if got != pinned.fingerprint:
        raise aiohttp.ServerFingerprintMismatch(pinned.fingerprint, got, req.url.raw_host or "", req.port or 0)


class _Handler(ResponseHandler):
    """aiohttp's protocol of one connection, which knows how the pod's side of it ended."""

    def __init__(self, loop: asyncio.AbstractEventLoop, end: ForwardedSocket, key: ConnectionKey) -> None:
        super().__init__(loop)
        self._end = end
        self._key = key
        self._answered = False

    def data_received(self, data: bytes) -> None:
        self._answered = True
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        failure = self._end.failure
        if failure is None:
            super().connection_lost(exc)
            return
        # aiohttp keeps the cause only where somebody waits at this moment, so each exception gets it here.
        if not self.is_eof():
            error: aiohttp.ClientOSError = aiohttp.ClientOSError(errno.ECONNRESET, str(failure))
            if failure.kind == "refused" and not self._answered:
                error = _no_connection(self._key, failure)
            error.__cause__ = failure
            self.set_exception(error)
        payload: Any = self._payload
        cut: Exception = failure
        # For a WebSocket's queue, one of aiohttp's own exceptions would be an end that nobody needs to know more of.
        if isinstance(payload, aiohttp.StreamReader):
            cut = aiohttp.ClientPayloadError(str(failure))
            cut.__cause__ = failure
        unfinished = payload is not None and not payload.is_eof()
        if unfinished:
            payload.set_exception(cut)  # for whoever waits for more of it
        super().connection_lost(failure)
        if unfinished:
            payload.set_exception(cut)  # for whoever comes later


def _no_connection(key: ConnectionKey, error: KubexClientException) -> aiohttp.ClientConnectorError:
    return aiohttp.ClientConnectorError(key, OSError(errno.ECONNREFUSED, str(error)))
