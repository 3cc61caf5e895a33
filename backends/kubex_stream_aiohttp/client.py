"""The client half of the aiohttp backend.

Rules of this file:
- Plain requests have a pool with the limits of the options.  Streams and WebSockets have an unlimited connector of their own whose
  connections are used once, so an open one never costs a plain request its place.
- Each handshake gets a ClientSession of its own around that connector, since ``ws_connect`` takes its timeout from the session.  Making
  one costs microseconds, and :meth:`~aiohttp.ClientSession.detach` gives it up without a wait that could be cancelled.
- The base class has chosen the proxy and the credentials, so no session reads the environment, and none keeps cookies.
- With the application's own session everything goes through its connector, with its headers, cookies and traces; it is never closed.
"""

from __future__ import annotations

import asyncio
import base64
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar, Literal
from weakref import WeakSet

import aiohttp
from multidict import CIMultiDict
from yarl import URL

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
from kubex_stream.core.params import Timeout
from kubex_stream_aiohttp.errors import mapped_errors
from kubex_stream_aiohttp.handshake import HandshakeRequest, HandshakeResponse, Refused, UpgradedWebSocket
from kubex_stream_aiohttp.responses import PromptResponse, SingleResponse, lower_case
from kubex_stream_aiohttp.settings import (
    fast_connector,
    ignored_options,
    ignored_phases,
    pool_connector,
    read_buffer,
    request_timeout,
    stream_connector,
    stream_timeout,
)
from kubex_stream_aiohttp.stream import Pieces
from kubex_stream_aiohttp.websocket import AioHttpWebSocketConnection

__all__ = ("AioHttpClient",)

#: Headers that aiohttp would add: nothing of what is streamed is compressed, and a request names its content itself.
_NOT_ADDED = ("Accept-Encoding", "Content-Type")


class AioHttpClient(BaseClient):
    """A client of one API server over aiohttp, on asyncio or uvloop.

    :param session: the application's own session, open, on this event loop.  Its connector carries everything, with the limits and
        timeouts that it has: an open stream takes one of its connections.  Its headers go below those of the request.
    :param tls: what encrypts streams and WebSockets: Python's own TLS, or ``"aiofastnet"``, which costs half as much and has to be
        installed.  An application's own session has its own.
    :raises TypeError: ``session`` is not an :class:`aiohttp.ClientSession`
    :raises ValueError: no such ``tls``, or it was given together with ``session``
    :raises BackendNotAvailable: aiofastnet is not installed
    """

    event_loops: ClassVar[frozenset[str]] = frozenset({"asyncio"})

    def __init__(
        self,
        configuration: ClientConfiguration | None = None,
        options: ClientOptions | None = None,
        *,
        session: aiohttp.ClientSession | None = None,
        observer: Observer | None = None,
        tls: Literal["standard", "aiofastnet"] = "standard",
    ) -> None:
        super().__init__(configuration, options, observer=observer)
        if session is not None and not isinstance(session, aiohttp.ClientSession):
            raise TypeError(f"session must be an aiohttp.ClientSession, not {type(session).__name__}")
        for text in ignored_options(self.options, own_session=session is not None):
            warnings.warn(text, UserWarning, stacklevel=2)
        self._make_connector = stream_connector
        if tls != "standard":
            self._make_connector = fast_connector(tls, own_session=session is not None)
        self._own = session
        self._websockets: WeakSet[AioHttpWebSocketConnection] = WeakSet()
        self._streams: WeakSet[aiohttp.ClientResponse] = WeakSet()

    async def start(self) -> None:
        """Make the sessions."""
        if self._own is not None and (self._own.closed or self._own.connector is None):
            raise RuntimeError("the aiohttp session that was handed over is closed")
        own = None if self._own is None else self._own.connector
        pool, streams = own or pool_connector(self.options), own or self._make_connector()
        self._connector = streams
        self._plain = self._session(
            pool,
            connector_owner=own is None,
            response_class=PromptResponse,
            skip_auto_headers=("Content-Type",),
            **read_buffer(self.options),
        )
        self._streaming = self._session(
            streams, connector_owner=own is None, response_class=SingleResponse, skip_auto_headers=_NOT_ADDED
        )

    async def stop(self) -> None:
        """Close what was made here; open streams and WebSockets are lost."""
        for websocket in list(self._websockets):
            await websocket.abort()
        await asyncio.sleep(0)  # where one ended inside of its own reading, it has to be gone before its connector is
        for response in list(self._streams):
            response.close()
        try:
            await self._plain.close()
        finally:
            await self._streaming.close()
        # Transports close their sockets in the next turn of the loop.
        await asyncio.sleep(0)

    def _session(self, connector: aiohttp.BaseConnector, **settings: Any) -> aiohttp.ClientSession:
        if self._own is None:
            settings.setdefault("cookie_jar", aiohttp.DummyCookieJar())
        else:
            settings.setdefault("timeout", self._own.timeout)
            settings |= {"cookie_jar": self._own.cookie_jar, "trace_configs": self._own.trace_configs}
        return aiohttp.ClientSession(connector=connector, trust_env=False, **settings)

    async def send_request(self, request: PreparedRequest) -> Response:
        """One attempt at a plain request; any status is a response."""
        timeout = request_timeout(self._known(request.timeout), self._plain.timeout)
        with mapped_errors(request):
            async with self._plain.request(
                request.method,
                URL(request.url, encoded=True),
                data=request.body or None,
                timeout=timeout,
                **self._common(request),
            ) as response:
                content = await response.read()
        if isinstance(response, PromptResponse):
            response.finish()
        return Response(response.status, lower_case(response), content)

    async def open_stream(self, request: PreparedRequest) -> StreamedResponse:
        """One attempt at a request whose body is read as it comes."""
        timeout = stream_timeout(self._known(request.timeout), self._plain.timeout)
        with mapped_errors(request):
            response = await self._streaming.request(
                request.method,
                URL(request.url, encoded=True),
                data=request.body or None,
                timeout=timeout,
                **self._common(request),
            )
        protocol = None if response.connection is None else response.connection.protocol
        if protocol is not None:
            # The phases end with the head.
            protocol.read_timeout = None
            protocol.start_timeout()
        self._streams.add(response)
        pieces = Pieces(response, request)
        return StreamedResponse(response.status, lower_case(response), pieces, pieces.aclose)

    async def open_websocket(
        self, request: PreparedRequest, subprotocols: Sequence[str]
    ) -> WebSocketConnection | Response:
        """One attempt at a WebSocket handshake; any answer but a valid 101 is returned as the response."""
        limit = resolve_ws_max_message_size(self.options.ws_max_message_size)
        common = self._common(request)
        del common["allow_redirects"]
        session = self._session(
            self._connector,
            connector_owner=False,
            timeout=stream_timeout(self._known(request.timeout), self._plain.timeout),
            request_class=HandshakeRequest,
            response_class=HandshakeResponse,
            ws_response_class=UpgradedWebSocket,
            skip_auto_headers=_NOT_ADDED,
        )
        try:
            with mapped_errors(request):
                ws = await session.ws_connect(
                    URL(request.url, encoded=True),
                    method=request.method,
                    protocols=subprotocols,
                    autoclose=False,
                    autoping=False,
                    # aiohttp refuses a message that is as large as the limit.
                    max_msg_size=limit and limit + 1,
                    **common,
                )
        except Refused as refusal:
            return refusal.response
        finally:
            session.detach()
        connection = AioHttpWebSocketConnection(ws, close_timeout=self.options.close_timeout, max_message_size=limit)
        self._websockets.add(connection)
        return connection

    def _known(self, timeout: Timeout | Any | None) -> Timeout | Any | None:
        if isinstance(timeout, Timeout) and timeout != self.options.timeout:
            for text in ignored_phases(timeout):
                warnings.warn(text, UserWarning, stacklevel=2)
        return timeout

    def _common(self, request: PreparedRequest) -> dict[str, Any]:
        """What all three kinds of requests have in common, as aiohttp's arguments."""
        headers = self._merged(request)
        common: dict[str, Any] = {"headers": headers, "allow_redirects": False}
        if request.ssl_context is not None:
            # HTTP/2 has no Upgrade, and a server that is offered it takes it.
            request.ssl_context.set_alpn_protocols(["http/1.1"])
            common |= {"ssl": request.ssl_context, "server_hostname": request.server_hostname}
        if request.proxy is not None:
            proxy = URL(request.proxy)
            credentials = _basic(proxy)
            common["proxy"] = proxy.with_user(None)
            if request.ssl_context is not None:
                common["proxy_headers"] = credentials
            else:
                headers.extend(credentials)
        return common

    def _merged(self, request: PreparedRequest) -> CIMultiDict[str]:
        headers = CIMultiDict(request.headers)
        if self._own is not None:
            inherited = CIMultiDict(self._own.headers)
            if self._own.auth is not None:
                inherited["Authorization"] = self._own.auth.encode()
            for name in {name.lower() for name in inherited}:
                if name not in headers:
                    headers.extend((name, value) for value in inherited.getall(name))
        return headers


def _basic(proxy: URL) -> dict[str, str]:
    if proxy.user is None and proxy.password is None:
        return {}
    login = f"{proxy.user or ''}:{proxy.password or ''}".encode()
    return {"Proxy-Authorization": f"Basic {base64.b64encode(login).decode('ascii')}"}
