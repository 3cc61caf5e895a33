"""What has arrived and was not taken yet.

Rules of this file:
- A frame is valid only while picows reports it, so its payload is copied once, into the bytes that are handed out; that is why it is taken
  apart here, where somebody wants that.
- Messages are handed out in order, and the end after them.  The end is kept as something to call, since an exception that is raised twice
  grows.  What comes behind it is dropped.
- Above a number of bytes the transport is paused.  A read is bounded as well, so memory is.
- It is never paused while it reads.  aiofastnet's TLS (1.2, ``SSLTransport_Socket._read_ready``) asks the socket first when it goes on,
  and what it had not decrypted when it was paused is lost if the socket is at its end by then, and waits for more bytes otherwise.
  Between two reads all is decrypted.
- Who waits goes on inside of that reading, where the transport is aiofastnet's.  asyncio's TLS, which an application's session may have, fails
  when it is ended in there.
- Pings are answered where they arrive, whether somebody receives or not.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Final

import aiofastnet
from picows import WSFrame, WSMsgType, WSTransport

from kubex_stream.client.wake import Wake
from kubex_stream.errors import ConnectionLost, ProtocolViolation
from kubex_stream_picows.frames import Sink

__all__ = ("Inbox",)

_BINARY: Final = WSMsgType.BINARY
#: Bytes that were read since all was taken above which nothing more is read until all is taken.
_ENOUGH: Final = 512 * 1024
#: Bytes that wait to be sent above which a ping is not answered: a peer that only pings must not fill the memory.
_MUCH_UNSENT: Final = 2**20
#: More than any message has.
_NEVER: Final = 2**63
#: 1005: a Close frame without a code.
_CLEAN: Final = frozenset({1000, 1001, 1005})


class Inbox(Sink):
    """The receiving half of a connection.

    :param limit: bytes of the largest message, 0 for none
    :ivar ending: makes the exception that comes behind them, None while there is no end
    :ivar answer: the code of the Close frame that the end is to be answered with, None for none
    :ivar messages: whole messages in order; who takes the last one calls :meth:`emptied`
    :ivar split_from: bytes from which a message is kept as its first byte and the rest, which saves whoever wants that a second copy
    :ivar writable: whether the transport wants more to write
    """

    def __init__(self, transport: asyncio.Transport, limit: int) -> None:
        self._transport = transport
        self._limit = limit
        self._unread = 0
        self._pausing = False
        self._parts: bytearray | None = None
        self._dropping = False
        #: Whether a whole message is simply the next one.
        self._simple = True
        self._receiver: Wake | None = None
        self._direct = isinstance(transport, aiofastnet.Transport)
        self._closer: asyncio.Future[None] | None = None
        self._senders: set[asyncio.Future[None]] = set()
        self.messages: deque[bytes | tuple[int, bytes]] = deque()
        self.split_from = _NEVER
        self._add = self.messages.append
        self._paused = False
        self.ending: Callable[[], Exception] | None = None
        self.answer: int | None = None
        self.tcp_over = False
        self.writable = True
        self.last_activity = monotonic()
        self.last_pong: float | None = None
        self.close_code: int | None = None

    # For who takes ----------------------------------------------------------------------------------------------------

    def emptied(self) -> None:
        """All is taken: read on."""
        self._unread = 0
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    async def arrival(self) -> None:
        """Until there is a message or the end."""
        self._receiver = Wake(asyncio.get_running_loop())
        try:
            await self._receiver
        finally:
            self._receiver = None

    def interrupt(self) -> None:
        """End an :meth:`arrival` without either."""
        if self._receiver is not None:
            self._receiver.soon()

    async def end(self) -> None:
        """Until the end; drop what comes before it, unless somebody waits for it."""
        self._dropping, self._simple = True, False
        while len(self.messages) > (self._receiver is not None):
            self.messages.pop()
        self.emptied()
        if self.ending is None:
            self._closer = asyncio.get_running_loop().create_future()
            await self._closer

    async def until_writable(self) -> None:
        """Until the transport wants more to write, or is gone."""
        room = asyncio.get_running_loop().create_future()
        self._senders.add(room)
        try:
            await room
        finally:
            self._senders.discard(room)

    # For the protocol -------------------------------------------------------------------------------------------------

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A frame; picows calls this while it reads."""
        kind, reserved = frame.msg_type, frame.rsv1 or frame.rsv2 or frame.rsv3
        if kind is _BINARY and frame.fin and self._simple and not reserved:
            if frame.payload_size < self.split_from:
                self._add(frame.get_payload_as_bytes())
            else:
                payload = frame.get_payload_as_memoryview()
                self._add((payload[0], bytes(payload[1:])))
        elif self.ending is None:
            if reserved:
                self._violated(1002, "a malformed frame came: a reserved bit is set")
            else:
                self._other(transport, frame, kind)

    def data_came(self, size: int) -> None:
        """After each read: somebody is alive there."""
        self.last_activity = monotonic()
        if not self.messages:
            return
        self._unread += size
        if self._unread > _ENOUGH and not self._pausing:
            self._pausing = True
            asyncio.get_running_loop().call_soon(self._pause)
        if self._receiver is not None:
            if self._direct:
                self._receiver.set()
            else:
                self._receiver.soon()

    def _pause(self) -> None:
        # The receiver has been called before, and may have taken all.
        self._pausing = False
        if self._unread > _ENOUGH and not self._paused and not self.tcp_over:
            self._paused = True
            self._transport.pause_reading()

    def malformed(self, code: int, reason: str) -> None:
        """picows has sent the Close itself."""
        text = self._too_large() if code == 1009 else f"a malformed frame came: {reason}"
        self._finish(partial(ProtocolViolation, text))

    def tcp_ended(self, error: BaseException | None) -> None:
        """The transport read the end, or is gone."""
        self.tcp_over = True
        how = "the connection ended without a Close frame" if error is None else f"the connection broke: {error}"
        self._finish(partial(ConnectionLost, how))
        self.room(True)

    def room(self, free: bool) -> None:
        """Each sender waits with a future of its own, so cancelling one is nothing to the others."""
        self.writable = free
        if free:
            for sender in self._senders:
                _wake(sender)

    @property
    def deaf(self) -> bool:
        """Behind the end nothing matters."""
        return self.ending is not None

    # Frames -----------------------------------------------------------------------------------------------------------

    def _other(self, transport: WSTransport, frame: WSFrame, kind: WSMsgType) -> None:
        if kind is _BINARY or kind is WSMsgType.CONTINUATION:
            self._part(frame, begins=kind is _BINARY)
        elif kind is WSMsgType.PING:
            if not self.tcp_over and self._transport.get_write_buffer_size() <= _MUCH_UNSENT:
                transport.send_pong(frame.get_payload_as_bytes())
        elif kind is WSMsgType.PONG:
            self.last_pong = monotonic()
        elif kind is WSMsgType.CLOSE:
            self._closed_by_peer(frame.get_payload_as_bytes())
        else:
            self._violated(1003, "a text message came; only binary ones are allowed")

    def _whole(self, message: bytes) -> None:
        # While this side closes, only who waits already gets one.
        if not self._dropping or (self._receiver is not None and not self.messages):
            self._add(message)

    def _part(self, frame: WSFrame, *, begins: bool) -> None:
        if begins is not (self._parts is None):
            self._violated(1002, "a malformed frame came: fragments out of order")
            return
        if self._parts is None:
            self._parts, self._simple = bytearray(), False
        if self._limit and len(self._parts) + frame.payload_size > self._limit:
            self._violated(1009, self._too_large())
            return
        self._parts += frame.get_payload_as_memoryview()
        if frame.fin:
            message, self._parts = bytes(self._parts), None
            self._simple = not self._dropping
            self._whole(message)

    def _closed_by_peer(self, payload: bytes) -> None:
        code = self.close_code = self.answer = int.from_bytes(payload[:2], "big") if payload else 1005
        reason = payload[2:].decode(errors="replace")
        if code in _CLEAN:
            self._finish(StopAsyncIteration)
        else:
            text = f"the peer closed with code {code}{': ' + reason if reason else ''}"
            self._finish(partial(ConnectionLost, text, close_code=code))

    def _violated(self, code: int, text: str) -> None:
        self.answer = code
        self._finish(partial(ProtocolViolation, text))

    def _too_large(self) -> str:
        return f"a message of more than {self._limit} bytes came, which ws_max_message_size forbids"

    def _finish(self, ending: Callable[[], Exception]) -> None:
        if self.ending is None:
            self.ending = ending
            self._parts, self._simple = None, False
        if self._receiver is not None:
            self._receiver.soon()  # picows may be in the middle of its bytes
        _wake(self._closer)


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)
