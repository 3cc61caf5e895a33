"""An open WebSocket of picows' as the seam wants it.

Rules of this file:
- Nothing here waits for TCP or TLS to end: the transport is aborted as soon as the WebSocket is over.
- What this side has done itself explains more than what the peer did then: ``_ending`` is set once.
- After the end of TCP nothing is written: picows writes to the socket itself, and its number may be somebody else's by then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from picows import WSMsgType

from kubex_stream.client import WebSocketConnection
from kubex_stream.errors import ConnectionLost
from kubex_stream_aiohttp.arrived import Arrived
from kubex_stream_picows.frames import FrameProtocol, fitting
from kubex_stream_picows.handover import Handover
from kubex_stream_picows.inbox import Inbox

__all__ = ("PicowsWebSocketConnection",)

_BINARY = WSMsgType.BINARY
#: Bytes from which a second copy costs more than taking a message apart where it arrives.
_SPLIT_FROM: Final = 8 * 1024


class PicowsWebSocketConnection(WebSocketConnection):
    """A WebSocket whose handshake aiohttp has made.

    :param upgraded: the connection; it belongs to this object from now on
    :param close_timeout: seconds that :meth:`close` waits for the peer's Close
    :param max_message_size: bytes of the largest message that is accepted; 0 for any
    """

    def __init__(self, upgraded: Handover, *, close_timeout: float = 1.0, max_message_size: int = 0) -> None:
        self._upgraded = upgraded
        self._transport = upgraded.transport
        self._subprotocol = upgraded.protocol
        self._close_timeout = close_timeout
        self._inbox = Inbox(self._transport, max_message_size)
        self._messages = self._inbox.messages
        protocol = FrameProtocol(self._transport, self._inbox, max_message_size, upgraded.lost)
        self._frames = protocol.frames
        self._arrived = Arrived(self._transport)
        self._ending: Callable[[], Exception] | None = None
        self._close_code: int | None = None
        self._closing = False
        self._close_sent = False
        self._tcp_ended = False
        self._receiving = False
        upgraded.take(fitting(protocol, self._transport))
        protocol.feed(upgraded.tail)

    @property
    def closed(self) -> bool:
        """Whether this side can neither send nor receive any more."""
        return self._ending is not None

    @property
    def negotiated_subprotocol(self) -> str | None:
        """The subprotocol that the server chose, None when it named none that was offered."""
        return self._subprotocol

    @property
    def last_activity(self) -> float | None:
        """``time.monotonic()`` at the last arrival of anything; the opening counts."""
        return self._inbox.last_activity

    @property
    def last_pong(self) -> float | None:
        """``time.monotonic()`` when the last pong arrived."""
        return self._inbox.last_pong

    @property
    def close_code(self) -> int | None:
        """The code of the peer's Close frame, 1005 for a frame without one."""
        return self._close_code

    # Sending ----------------------------------------------------------------------------------------------------------

    async def send_bytes(self, data: bytes | bytearray | memoryview) -> None:
        """Send one binary message; a cancelled call has sent it whole."""
        if self._arrived.waiting(0):
            await self._arrived.taken()
        inbox = self._inbox
        if self._ending is not None or inbox.tcp_over:
            raise self._gone()
        if isinstance(data, memoryview) and not data.contiguous:
            data = data.tobytes()
        self._frames.send(_BINARY, data)
        if not inbox.writable:
            await inbox.until_writable()
            if inbox.tcp_over:
                raise self._gone()

    @property
    def reads_first(self) -> bool:
        """Whether sending takes in what has arrived: where the socket can be asked."""
        return self._arrived.known

    async def ping(self) -> None:
        """Send a ping, behind what is waiting to be sent."""
        if self._ending is not None or self._inbox.tcp_over:
            raise self._gone()
        self._frames.send_ping()

    def _gone(self) -> ConnectionLost:
        error = None if self._ending is None else self._ending()
        if isinstance(error, ConnectionLost):
            return error
        return ConnectionLost("the connection has ended, nothing can be sent", close_code=self._close_code)

    # Receiving --------------------------------------------------------------------------------------------------------

    async def receive_bytes(self) -> bytes:
        """The next binary message.  Raises as the seam says; a second task that receives gets a RuntimeError."""
        if self._ending is not None:
            raise self._ending()
        if not self._messages:
            await self._arrival()
        message = self._messages.popleft()
        if not self._messages:
            self._inbox.emptied()
        return _whole(message)

    async def receive_views(self, size: int = 0) -> Sequence[bytes]:
        """The next binary message, or several."""
        if self._ending is not None:
            raise self._ending()
        if not self._messages:
            await self._arrival(once=True)
            if not self._messages:
                return ()
        taken = [_whole(self._messages.popleft())]
        size -= len(taken[0])
        while self._messages and size > 0:
            taken.append(_whole(self._messages.popleft()))
            size -= len(taken[-1])
        if not self._messages:
            self._inbox.emptied()
        return taken

    async def receive_payload(self, join: int = 0) -> tuple[int, bytes, int]:
        """The next binary message, or several, taken apart."""
        if self._ending is not None:
            raise self._ending()
        messages = self._messages
        if not messages:
            self._inbox.split_from = _SPLIT_FROM
            await self._arrival()
        message = messages.popleft()
        if isinstance(message, tuple):
            first, payload, taken = message[0], message[1], 1
        else:
            first, payload, taken = message[0] if message else -1, message[1:], 1
            if messages and len(message) < join:
                payload, taken = self._joined(message, join)
        if not messages:
            self._inbox.emptied()
        return first, payload, taken

    def _joined(self, message: bytes, join: int) -> tuple[bytes, int]:
        messages = self._messages
        first, pieces, left = message[:1], [message[1:]], join - len(message)
        while messages and left > 0:
            following = messages[0]
            if isinstance(following, tuple) or following[:1] != first or len(following) >= join:
                break
            messages.popleft()
            pieces.append(following[1:])
            left -= len(following)
        return b"".join(pieces), len(pieces)

    @property
    def interruptible(self) -> bool:
        """Whether :meth:`interrupt` works."""
        return True

    def interrupt(self) -> None:
        """Make a :meth:`receive_views` that waits return nothing."""
        self._inbox.interrupt()

    async def _arrival(self, *, once: bool = False) -> None:
        """Until a message is there, or, with ``once``, an interruption; raises where the end is."""
        inbox = self._inbox
        while not self._messages:
            if self._receiving:
                raise RuntimeError("another task is receiving from this connection")
            if inbox.ending is not None:
                raise self._end(inbox.ending)
            self._receiving = True
            try:
                await inbox.arrival()
            finally:
                self._receiving = False
            if once and inbox.ending is None:
                return

    def _end(self, ending: Callable[[], Exception]) -> Exception:
        self._close_code = self._inbox.close_code
        if self._inbox.answer is not None:
            self._send_close(self._inbox.answer)
        if self._ending is None:
            self._ending = ending
        return self._ending()

    # Ending -----------------------------------------------------------------------------------------------------------

    async def close(self, code: int = 1000) -> None:
        """Send Close, wait for the peer's within the close timeout, then end TCP.

        A task that is receiving or sending meanwhile gets what has arrived, or ConnectionLost.
        """
        if self._closing or self._tcp_ended:
            return
        self._closing = True
        if self._ending is None:
            self._ending = partial(ConnectionLost, "the connection has been closed by this side")
        try:
            self._send_close(code)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._close_timeout):
                    await self._inbox.end()
                    self._close_code = self._inbox.close_code
        finally:
            self._end_tcp()
        # The transport closes its socket in the next turn.
        await asyncio.sleep(0)

    async def abort(self) -> None:
        """End TCP now, without a Close frame.  Never waits."""
        if self._ending is None:
            self._ending = partial(ConnectionLost, "the connection has been aborted by this side")
        self._end_tcp()

    def _send_close(self, code: int) -> None:
        if self._close_sent or self._inbox.tcp_over:
            return
        self._close_sent = True
        self._frames.send(WSMsgType.CLOSE, b"" if code == 1005 else code.to_bytes(2, "big"))

    def _end_tcp(self) -> None:
        if self._tcp_ended:
            return
        self._tcp_ended = True
        self._inbox.tcp_ended(None)
        self._upgraded.drop()


def _whole(message: bytes | tuple[int, bytes]) -> bytes:
    return message if isinstance(message, bytes) else bytes((message[0],)) + message[1]
