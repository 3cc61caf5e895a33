"""The client half of the picows backend: the aiohttp one, with other connections and other frames for WebSockets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from weakref import WeakSet

from yarl import URL

from kubex_stream.client import PreparedRequest, Response, WebSocketConnection, resolve_ws_max_message_size
from kubex_stream_aiohttp import AioHttpClient
from kubex_stream_aiohttp.errors import mapped_errors
from kubex_stream_aiohttp.fast import FastConnector
from kubex_stream_aiohttp.handshake import HandshakeRequest, HandshakeResponse, Refused
from kubex_stream_aiohttp.settings import stream_timeout
from kubex_stream_picows.handover import Handover
from kubex_stream_picows.websocket import PicowsWebSocketConnection

__all__ = ("PicowsClient",)

#: Headers that aiohttp would add: a handshake has no content, and its refusal needs no compression.
_NOT_ADDED: Final = ("Accept-Encoding", "Content-Type")


class PicowsClient(AioHttpClient):
    """A client of one API server whose WebSockets are picows', on asyncio or uvloop.

    :param session: the application's own aiohttp session, as with :class:`~kubex_stream_aiohttp.AioHttpClient`.  WebSockets then have
        the TLS of its connector, and not aiofastnet's.
    :raises TypeError: ``session`` is not an :class:`aiohttp.ClientSession`
    """

    async def start(self) -> None:
        """Make the sessions."""
        await super().start()
        self._open: WeakSet[PicowsWebSocketConnection] = WeakSet()
        self._fast = FastConnector() if self._own is None else None

    async def stop(self) -> None:
        """Close what was made here; open streams and WebSockets are lost."""
        for websocket in list(self._open):
            await websocket.abort()
        try:
            await super().stop()
        finally:
            if self._fast is not None:
                await self._fast.close()

    async def open_websocket(
        self, request: PreparedRequest, subprotocols: Sequence[str]
    ) -> WebSocketConnection | Response:
        """One attempt at a WebSocket handshake; any answer but a valid 101 is returned as the response."""
        common = self._common(request)
        del common["allow_redirects"]
        session = self._session(
            self._fast or self._connector,
            connector_owner=False,
            timeout=stream_timeout(self._known(request.timeout), self._plain.timeout),
            request_class=HandshakeRequest,
            response_class=HandshakeResponse,
            ws_response_class=Handover,
            skip_auto_headers=_NOT_ADDED,
        )
        try:
            with mapped_errors(request):
                upgraded: Any = await session.ws_connect(
                    URL(request.url, encoded=True), method=request.method, protocols=subprotocols, **common
                )
        except Refused as refusal:
            return refusal.response
        finally:
            session.detach()
        try:
            connection = PicowsWebSocketConnection(
                upgraded,
                close_timeout=self.options.close_timeout,
                max_message_size=resolve_ws_max_message_size(self.options.ws_max_message_size),
            )
        except BaseException:
            # A picows that has become another one must not leave the connection open as well.
            upgraded.drop()
            raise
        self._open.add(connection)
        return connection
