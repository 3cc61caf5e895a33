"""The queue of messages behind aiohttp's ``receive``.

Rules of this file:
- ``receive`` is one more coroutine for each message than its queue, which aiohttp hands to a WebSocket class of one's own; so messages are
  read from there.  What the queue has to say when it has no more is left to ``receive`` to understand: it tells the same again.
- Whether something has arrived is told by an attribute that aiohttp does not document.  Where it is missing nothing is joined.
- Where the connection tells of what it has taken in (:mod:`kubex_stream_aiohttp.telling`), that is waited for instead of the queue: who
  receives goes on where it is told, and not one turn of the event loop later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sized
from contextlib import suppress
from typing import Any, Final

import aiohttp
from aiohttp import WSMsgType

from kubex_stream.client.wake import Wake
from kubex_stream_aiohttp.handshake import UpgradedWebSocket
from kubex_stream_aiohttp.telling import TellingHandler

__all__ = ("Arrivals",)

_BINARY: Final = WSMsgType.BINARY


class Arrivals:
    """The messages of one WebSocket; one task at a time takes them."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self._ws = ws
        queue: Any = ws.messages if isinstance(ws, UpgradedWebSocket) else None
        #: The next message; fails where the queue has ended.
        self.read: Callable[[], Awaitable[Any]] = ws.receive if queue is None else queue.read
        #: What has arrived; a read does not wait while there is something.
        self.waiting: Sized = getattr(queue, "_buffer", ())
        #: A message that was read and belongs to whoever asks next.
        self.left: Any = None
        self._wake: Wake | None = None
        #: Whether an arrival is told of, and so can be waited for here.
        self.telling = False
        #: Whether who receives is going on inside of the transport's reading.
        self.inside = False
        connection = ws.response.connection if isinstance(ws, UpgradedWebSocket) else None
        handler = None if connection is None else connection.protocol
        if isinstance(handler, TellingHandler) and hasattr(queue, "_buffer") and hasattr(queue, "is_eof"):
            self._ended: Callable[[], bool] = queue.is_eof
            self.telling, handler.told = True, self._told

    async def next(self) -> Any:
        """The next message, also where it tells an end; None where it was interrupted."""
        if self.left is not None:
            message, self.left = self.left, None
            return message
        if self.telling and not (self.waiting or self._ended()):
            self._wake = Wake(asyncio.get_running_loop())
            try:
                await self._wake
            finally:
                self._wake = None
            if not (self.waiting or self._ended()):
                return None
        try:
            return await self.read()
        except Exception:  # noqa: BLE001  # told again there
            return await self._ws.receive()

    def _told(self) -> None:
        if self._wake is None:
            return
        if self._ended():
            self._wake.soon()  # aiohttp ends the connection when it tells of that, and must not inside of its reading
        elif self.waiting:
            self.inside = True
            try:
                self._wake.set()
            finally:
                self.inside = False

    def interrupt(self) -> None:
        """Let a :meth:`next` that waits end."""
        if self._wake is not None:
            self._wake.soon()

    async def following(self, message: bytes, limit: int) -> list[bytes]:
        """A message, and those that have arrived behind it, up to about so many bytes."""
        messages, size = [message], len(message)
        waiting, read = self.waiting, self.read
        try:
            while waiting and size < limit:
                found = await read()
                if found.type is not _BINARY:
                    self.left = found
                    break
                messages.append(found.data)
                size += len(found.data)
        except Exception:  # noqa: BLE001  # as below
            pass
        return messages

    async def joined(self, data: bytes, limit: int) -> tuple[int, bytes, int]:
        """A message taken apart, and with it the smaller ones than ``limit`` that have arrived and have the same first byte, up to about
        so many bytes."""
        first, pieces, size = data[:1], [data[1:]], len(data)
        waiting, read = self.waiting, self.read
        with suppress(Exception):  # of the queue's, which it tells again; what is here already is not lost to it
            while waiting and size < limit:
                message = await read()
                content = message.data
                if message.type is not _BINARY or content[:1] != first or len(content) >= limit:
                    self.left = message
                    break
                pieces.append(content[1:])
                size += len(content)
        return first[0] if first else -1, b"".join(pieces), len(pieces)
