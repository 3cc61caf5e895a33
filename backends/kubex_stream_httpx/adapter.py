"""What a connection needs of a session, and how httpx-ws's own sessions come to it."""

from __future__ import annotations

import time
from contextlib import AbstractAsyncContextManager, suppress
from typing import Protocol

import anyio
import wsproto.utilities
from httpx_ws import AsyncWebSocketSession, HTTPXWSException, WebSocketDisconnect, WebSocketInvalidTypeReceived

from kubex_stream.errors import ConnectionLost, ProtocolViolation
from kubex_stream_httpx.errors import LIBRARY_ERRORS
from kubex_stream_httpx.frames import Payload
from kubex_stream_httpx.session import WebSocketSession

__all__ = ("Session", "adopt", "leave")

_ERRORS = (HTTPXWSException, wsproto.utilities.ProtocolError, *LIBRARY_ERRORS)


class Session(Protocol):
    """As :class:`~kubex_stream_httpx.session.WebSocketSession`, which says what each member does."""

    subprotocol: str | None
    last_activity: float | None
    last_pong: float | None
    close_code: int | None

    @property
    def ended(self) -> bool: ...
    async def next_message(self) -> Payload: ...
    async def next_payload(self, join: int) -> tuple[int, bytes, int]: ...
    async def send_message(self, data: bytes | bytearray | memoryview) -> None: ...
    async def send_ping(self) -> None: ...
    async def finish(self, code: int) -> None: ...
    async def abort(self) -> None: ...


def adopt(session: AsyncWebSocketSession) -> Session:
    """The session itself when it is ours, otherwise an adapter for it."""
    return session if isinstance(session, WebSocketSession) else _Adapter(session)


async def leave(manager: AbstractAsyncContextManager[AsyncWebSocketSession], session: Session) -> None:
    """Leave what was entered for the session, which has ended."""
    if isinstance(session, WebSocketSession):
        with suppress(*LIBRARY_ERRORS), anyio.CancelScope(shield=True):
            await manager.__aexit__(None, None, None)
        return
    # httpx-ws's own has a task group there, which cannot be left from within another scope.
    try:
        await manager.__aexit__(None, None, None)
    except _ERRORS:
        pass
    except ExceptionGroup as group:
        if (others := group.split(_ERRORS)[1]) is not None:
            raise others from None


class _Adapter:
    def __init__(self, session: AsyncWebSocketSession) -> None:
        self._session = session
        self.subprotocol = session.subprotocol
        self.last_activity: float | None = None
        self.last_pong: float | None = None
        self.close_code: int | None = None
        self._error: Exception | None = None

    @property
    def ended(self) -> bool:
        return self._error is not None

    async def next_message(self) -> Payload:
        if self._error is None:
            try:
                message = await self._session.receive_bytes()
            except WebSocketDisconnect as closed:
                self._closed(closed)
            except WebSocketInvalidTypeReceived:
                self._error = ProtocolViolation("a text message, where only binary ones are allowed")
            except _ERRORS as error:
                self._error = ConnectionLost(f"the connection ended without a Close frame: {error}")
            else:
                self.last_activity = time.monotonic()
                return message
        raise self._error or ConnectionLost("the connection ended")

    def _closed(self, closed: WebSocketDisconnect) -> None:
        self.close_code = int(closed.code)
        if self.close_code in (1000, 1001, 1005):
            self._error = StopAsyncIteration()
        else:
            text = f"the peer closed the connection with code {self.close_code}"
            self._error = ConnectionLost(text, close_code=self.close_code)

    async def next_payload(self, join: int) -> tuple[int, bytes, int]:  # noqa: ARG002  (nothing is known to have arrived)
        message = await self.next_message()
        return (message[0], bytes(message[1:]), 1) if message else (-1, b"", 1)

    async def send_message(self, data: bytes | bytearray | memoryview) -> None:
        try:
            await self._session.send_bytes(bytes(data))
        except _ERRORS as error:
            raise ConnectionLost("the connection is gone", close_code=self.close_code) from error

    async def send_ping(self) -> None:
        raise NotImplementedError("a session of httpx-ws's own class sends its pings itself")

    async def finish(self, code: int) -> None:
        with suppress(*_ERRORS):
            await self._session.close(code)

    async def abort(self) -> None:
        with suppress(*_ERRORS), anyio.CancelScope(shield=True):
            await self._session.stream.aclose()
