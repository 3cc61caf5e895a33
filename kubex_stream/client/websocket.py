"""The seam's second half: one open WebSocket, as few methods as a transport can have.

A subclass that has only the abstract members works everywhere; the others have defaults, and each buys something: ``ping`` keep-alive,
and with ``last_pong`` or ``last_activity`` the discovery of a connection that died, ``abort`` leaving without a Close frame,
``receive_views`` and ``receive_payload`` fewer copies and fewer turns, ``interrupt`` no scope of cancellation around each message,
``reads_first`` no turn of the event loop before each one that is sent.
Version of this contract: :data:`WEBSOCKET_CONTRACT`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import Final, Self

import anyio

__all__ = ("WEBSOCKET_CONTRACT", "WebSocketConnection")

#: Raised when a member is added that transports must know of.
WEBSOCKET_CONTRACT: Final = 1


class WebSocketConnection(ABC):
    """An open WebSocket that carries binary messages.

    One task receives at a time and one task sends at a time; the two may be different, and neither waits for the other.  ``ping``,
    ``close`` and ``abort`` may be called while other tasks send and receive; ``close`` and ``abort`` make those calls end, with
    :class:`~kubex_stream.errors.ConnectionLost` or as at the peer's Close.  All methods raise
    :class:`~kubex_stream.errors.KubexClientException` subclasses only, never a library's own exceptions.
    """

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether this side can neither send nor receive any more."""

    @property
    @abstractmethod
    def negotiated_subprotocol(self) -> str | None:
        """The subprotocol that the server chose, None when it named none that was offered."""

    @abstractmethod
    async def send_bytes(self, data: bytes | bytearray | memoryview) -> None:
        """Send one binary message as a single unfragmented, masked frame.

        Returns when the transport has room again: that is the back-pressure.  A cancelled call has sent the whole message or none of
        it, or it leaves a connection that can only be received from and closed; never a half-written frame with more behind it.

        :raises ConnectionLost: the connection is gone
        """

    @abstractmethod
    async def receive_bytes(self) -> bytes:
        """The next binary message; pings are answered and pongs noted on the way.  A cancelled call loses nothing.

        :raises StopAsyncIteration: the peer closed in order (close codes 1000, 1001, or none in the Close frame)
        :raises ConnectionLost: TCP ended without a Close frame, or the Close has another code
        :raises ProtocolViolation: a text message, a message above the limit, a malformed frame
        """

    @abstractmethod
    async def close(self, code: int = 1000) -> None:
        """Send Close, wait for the peer's within the close timeout (dropping what still arrives), then end TCP.

        Calling it again does nothing.  Never raises for a connection that is gone.  A cancelled call ends TCP at once.
        """

    @property
    def reads_first(self) -> bool:
        """Whether :meth:`send_bytes` takes in what has arrived before it writes; False by default, and the same for all the connection's life.

        Whoever sends need not give the event loop a turn for that before each message, then: a write into a connection that the peer has
        reset would lose what was not taken in, as an exit code.
        """
        return False

    async def ping(self) -> None:
        """Send a ping; the answer shows in :attr:`last_pong` once somebody receives.

        Must not wait for a blocked send of another task: it may return without having sent anything then.

        :raises NotImplementedError: this transport has no pings, so its sessions have no keep-alive (the default)
        """
        raise NotImplementedError(f"{type(self).__name__} has no pings")

    @property
    def last_activity(self) -> float | None:
        """``time.monotonic()`` at the last arrival of anything, control frames included; None where it is not known (the default)."""
        return None

    @property
    def last_pong(self) -> float | None:
        """``time.monotonic()`` when the last pong was read; None before the first one, and by default."""
        return None

    @property
    def close_code(self) -> int | None:
        """The code of the peer's Close frame (1005 for a frame without one), None when there was none yet (the default)."""
        return None

    async def abort(self) -> None:
        """End TCP now, without a Close frame: on v4 this kills the process at the other end.

        The default is a close that waits for nothing.
        """
        with anyio.CancelScope() as scope:
            scope.cancel()
            await self.close()

    async def receive_views(self, size: int = 0) -> Sequence[bytes | memoryview]:  # noqa: ARG002  (the default takes one)
        """As :meth:`receive_bytes`, but one message or several, each of which may be a view that is valid until the next call, so that
        whoever takes them apart makes the only copy.

        :param size: messages that have arrived already may come together until they have about so many bytes.  Nothing is ever waited for.
        :returns: nothing only where it was interrupted
        """
        return (await self.receive_bytes(),)

    @property
    def interruptible(self) -> bool:
        """Whether this connection has :meth:`interrupt`; False by default, and the same for all its life."""
        return False

    def interrupt(self) -> None:
        """Make a :meth:`receive_views` that waits return nothing, soon.  Where none waits this does nothing, also to the next one, and so
        it does to the other ways of receiving.

        :raises NotImplementedError: this transport cannot; whoever waits has to be cancelled instead (the default)
        """
        raise NotImplementedError(f"{type(self).__name__} cannot be interrupted")

    async def receive_payload(self, join: int = 0) -> tuple[int, bytes, int]:  # noqa: ARG002  (the default joins nothing)
        """As :meth:`receive_bytes`, in the form in which channel protocols want it: the message's first byte (-1 where it is empty), all
        that comes after it, and the number of messages that this was.

        :param join: messages with the same first byte that have arrived already may be joined up to about so many bytes, which makes
            floods of small ones cheap.  Nothing is ever waited for to be joined, and messages of this size are left alone.
        """
        message = await self.receive_bytes()
        return (message[0], message[1:], 1) if message else (-1, b"", 1)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        while True:
            try:
                message = await self.receive_bytes()
            except StopAsyncIteration:
                return
            yield message
