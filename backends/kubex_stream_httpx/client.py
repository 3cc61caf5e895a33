"""The client of the httpx backend."""

from __future__ import annotations

import warnings
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Final, cast

import anyio
import httpcore
import httpx
from httpx_ws import WebSocketUpgradeError, aconnect_ws

from kubex_stream.client import (
    BaseClient,
    ClientOptions,
    Observer,
    PreparedRequest,
    Response,
    StreamedResponse,
    WebSocketConnection,
    resolve_ws_max_message_size,
)
from kubex_stream.configuration import ClientConfiguration
from kubex_stream.errors import ConfigurationError
from kubex_stream_httpx.body import Body, header_pairs
from kubex_stream_httpx.errors import mapped
from kubex_stream_httpx.handshake import Handshake
from kubex_stream_httpx.network import time_limit
from kubex_stream_httpx.session import WebSocketSession
from kubex_stream_httpx.settings import limits, timeouts, warn_of_ignored
from kubex_stream_httpx.transport import Lease, Pools, Route
from kubex_stream_httpx.websocket import HttpxWebSocketConnection

__all__ = ("HttpxClient",)

#: httpx refuses longer ones by an error of its own; other backends leave it to the server.
_LONGEST_URL: Final = 65536


class HttpxClient(BaseClient):
    """A client on httpx and httpx-ws, for asyncio, uvloop and trio.

    :param session: the application's own client, used for everything and never closed.  Its TLS settings, proxies and limits apply
        instead of the configuration's: give it ``verify=`` a context that knows the cluster's CA.  Open streams and WebSockets count
        against its ``max_connections``.
    """

    event_loops: ClassVar[frozenset[str]] = frozenset({"asyncio", "trio"})

    def __init__(
        self,
        configuration: ClientConfiguration | None = None,
        options: ClientOptions | None = None,
        *,
        session: httpx.AsyncClient | None = None,
        observer: Observer | None = None,
    ) -> None:
        if session is not None and not isinstance(session, httpx.AsyncClient):
            raise TypeError(f"session must be an httpx.AsyncClient, not {type(session).__name__}")
        super().__init__(configuration, options, observer=observer)
        warn_of_ignored(self._options, own_session=session is not None)
        self._session = session
        self._pools = Pools(limits(self._options))
        self._places: anyio.Semaphore | None = None

    async def start(self) -> None:
        """Connections are made when they are needed."""
        most = limits(self._options).max_connections
        if most is not None and self._session is None:
            self._places = anyio.Semaphore(most, fast_acquire=True)
        if self._session is not None and self._proxy is not None and self._options.proxy is None:
            warnings.warn(
                "the configuration's proxy is ignored: the httpx.AsyncClient given as session decides it", stacklevel=2
            )

    async def stop(self) -> None:
        """Close every connection."""
        await self._pools.aclose()

    # What is sent -----------------------------------------------------------------------------------------------------

    async def send_request(self, request: PreparedRequest) -> Response:
        """See the base class."""
        with mapped(request):
            async with self._place(request):
                body, response = await self._exchange(request, ("Accept-Encoding", "gzip, deflate"), streaming=False)
                try:
                    return Response(response.status_code, header_pairs(response), await body.read())
                finally:
                    await body.aclose()

    async def open_stream(self, request: PreparedRequest) -> StreamedResponse:
        """See the base class."""
        with mapped(request):
            body, response = await self._exchange(request, ("Accept-Encoding", "identity"), streaming=True)
        # httpcore looks at this again when the body is first read.
        response.request.extensions["timeout"]["read"] = None
        return StreamedResponse(response.status_code, header_pairs(response), body, body.aclose)

    async def open_websocket(
        self, request: PreparedRequest, subprotocols: Sequence[str]
    ) -> WebSocketConnection | Response:
        """See the base class."""
        offered = _headers(request)
        lease = await self._lease(request)

        async def send(headers: httpx.Headers) -> httpx.Response:
            return await self._send(self._built(request, headers), lease, streaming=True)

        handshake = Handshake(request, send, lease.release)
        manager = aconnect_ws(
            request.url,
            cast("httpx.AsyncClient", handshake),
            max_message_size_bytes=resolve_ws_max_message_size(self._options.ws_max_message_size),
            subprotocols=list(subprotocols) or None,
            session_class=WebSocketSession,
            headers=offered,
        )
        with mapped(request):
            try:
                session = await manager.__aenter__()
            except WebSocketUpgradeError:
                assert handshake.answer is not None
                return handshake.answer
        connection = HttpxWebSocketConnection(manager, session, close_timeout=self._options.close_timeout)
        lease.abandon = connection.abort
        return connection

    @asynccontextmanager
    async def _place(self, request: PreparedRequest) -> AsyncGenerator[None, None]:
        # httpcore keeps count of a connection whose request was cancelled before it was made, and never forgets it (1.0.9, a pool of one
        # is full for ever then); so the limit is kept here.
        if self._places is None:
            yield
            return
        with time_limit(timeouts(request.timeout)["pool"], httpcore.PoolTimeout):
            await self._places.acquire()
        try:
            yield
        finally:
            self._places.release()

    # How --------------------------------------------------------------------------------------------------------------

    async def _exchange(
        self, request: PreparedRequest, encoding: tuple[str, str], *, streaming: bool
    ) -> tuple[Body, httpx.Response]:
        headers = _headers(request)
        headers.setdefault(*encoding)
        lease = await self._lease(request)
        try:
            response = await self._send(self._built(request, headers), lease, streaming=streaming)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await lease.release()
            raise
        body = Body(response, request, lease.release, resumable=streaming)
        lease.abandon = body.aclose
        return body, response

    def _built(self, request: PreparedRequest, headers: httpx.Headers) -> httpx.Request:
        extensions: dict[str, Any] = {
            "timeout": timeouts(request.timeout),
            "sni_hostname": request.server_hostname,
        }
        if self._session is not None:
            return self._session.build_request(
                request.method, request.url, headers=headers, content=request.body, extensions=extensions
            )
        # The target as it is, where httpx would normalise it.
        scheme_end = request.url.index("://") + 3
        slash = request.url.find("/", scheme_end)
        extensions["target"] = request.url[slash:].encode("ascii") if slash >= 0 else b"/"
        return httpx.Request(request.method, request.url, headers=headers, content=request.body, extensions=extensions)

    async def _send(self, request: httpx.Request, lease: Lease, *, streaming: bool) -> httpx.Response:
        if lease.pair is not None:
            transport = lease.pair.streaming if streaming else lease.pair.plain
            return await transport.handle_async_request(request)
        assert self._session is not None
        return await self._session.send(request, stream=True, follow_redirects=False)

    async def _lease(self, request: PreparedRequest) -> Lease:
        if len(request.url) > _LONGEST_URL:
            raise ValueError(
                f"the URL of the request has {len(request.url)} characters, and httpx takes {_LONGEST_URL}: send what is long in a command to "
                "its stdin, or use another backend"
            )
        return await self._pools.acquire(Route.of(request) if self._session is None else None)


def _headers(request: PreparedRequest) -> httpx.Headers:
    for name, value in request.headers:
        if any(character in value for character in "\r\n\0"):
            raise ConfigurationError(f"the header {name} cannot be sent: its value has a line break")
    return httpx.Headers([(name.encode("ascii"), value.strip().encode("utf-8")) for name, value in request.headers])
