"""Receiving that another task can end.

A scope of cancellation around each message would do, and does where the transport can do no better; but it costs as much as taking a small
message apart, so a transport that can be interrupted is asked to end its waiting itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import anyio

from kubex_stream.client.websocket import WebSocketConnection

__all__ = ("InterruptibleReceiver",)


class InterruptibleReceiver:
    """Receives from a connection; one task at a time."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self._connection = connection
        self._by_itself = connection.interruptible
        self._scope: anyio.CancelScope | None = None
        #: As the connection's ``receive_views``; gives nothing where it was interrupted.
        self.receive: Callable[[int], Awaitable[Sequence[bytes | memoryview]]] = (
            connection.receive_views if self._by_itself else self._receive_in_scope
        )

    async def _receive_in_scope(self, size: int) -> Sequence[bytes | memoryview]:
        try:
            with anyio.CancelScope() as self._scope:
                return await self._connection.receive_views(size)
        finally:
            self._scope = None
        return ()

    def interrupt(self) -> None:
        """Let the task that receives go on, if there is one."""
        if self._by_itself:
            self._connection.interrupt()
        elif self._scope is not None:
            self._scope.cancel()
