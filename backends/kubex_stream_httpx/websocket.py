"""An open WebSocket on httpx-ws's handshake."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

import anyio
from httpx_ws import AsyncWebSocketSession

from kubex_stream.client import WebSocketConnection
from kubex_stream.errors import KubexClientException
from kubex_stream_httpx.adapter import adopt, leave
from kubex_stream_httpx.frames import Payload

__all__ = ("HttpxWebSocketConnection",)


class HttpxWebSocketConnection(WebSocketConnection):
    """A WebSocket that :func:`httpx_ws.aconnect_ws` opened.

    :param cm: what ``aconnect_ws`` returned, entered already; leaving it is this connection's business from now on
    :param session: what entering it gave.  With ``session_class=WebSocketSession`` (of this package) every promise of
        :class:`~kubex_stream.WebSocketConnection` holds; httpx-ws's own class loses what a cancelled receive had in hand, has no limit
        for messages, and must be left in the task that entered it.
    :param close_timeout: seconds that :meth:`close` waits for the peer's Close
    """

    def __init__(
        self,
        cm: AbstractAsyncContextManager[AsyncWebSocketSession],
        session: AsyncWebSocketSession,
        *,
        close_timeout: float = 1.0,
    ) -> None:
        self._cm = cm
        self._session = adopt(session)
        self._close_timeout = close_timeout
        self._closing = False

    @property
    def closed(self) -> bool:
        """See the base class."""
        return self._closing or self._session.ended

    @property
    def negotiated_subprotocol(self) -> str | None:
        """What the server named, None when it named nothing."""
        return (self._session.subprotocol or "").strip() or None

    @property
    def last_activity(self) -> float | None:
        """See the base class."""
        return self._session.last_activity

    @property
    def last_pong(self) -> float | None:
        """See the base class."""
        return self._session.last_pong

    @property
    def close_code(self) -> int | None:
        """See the base class."""
        return self._session.close_code

    async def send_bytes(self, data: bytes | bytearray | memoryview) -> None:
        """See the base class.  The rest of a cancelled message goes out before whatever is sent next, pings and Close included."""
        await self._session.send_message(data)

    async def receive_bytes(self) -> bytes:
        """See the base class."""
        return bytes(await self._session.next_message())

    async def receive_views(self, size: int = 0) -> Sequence[Payload]:  # noqa: ARG002  (one by one costs little here)
        """See the base class; a view stays valid as long as it is kept."""
        return (await self._session.next_message(),)

    def receive_payload(self, join: int = 0) -> Coroutine[Any, Any, tuple[int, bytes, int]]:
        """See the base class."""
        return self._session.next_payload(join)

    async def ping(self) -> None:
        """See the base class."""
        await self._session.send_ping()

    async def close(self, code: int = 1000) -> None:
        """See the base class."""
        if self._closing:
            return
        self._closing = True
        orderly = False
        try:
            with anyio.move_on_after(self._close_timeout), suppress(KubexClientException):
                await self._session.finish(code)
                orderly = True
        finally:
            await self._leave(orderly)

    async def abort(self) -> None:
        """See the base class."""
        if self._closing:
            await self._session.abort()
        else:
            self._closing = True
            await self._leave(orderly=False)

    async def _leave(self, orderly: bool) -> None:
        if not orderly:
            await self._session.abort()
        await leave(self._cm, self._session)
