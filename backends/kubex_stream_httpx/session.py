"""An httpx-ws session without its machinery: no task, no queue, no keep-alive; whoever receives reads the network stream itself.

Rules of this file:
- One task at a time reads the network, and whoever needs something from it takes turns (a receiver, and a ``finish`` that drains).
- One task at a time writes a frame.  Pongs and pings never wait for it, nor for the peer: they go behind what is being written.
- Messages come before the end, and the end is final: every later call tells the same.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Self

import anyio
import httpcore
import httpx
import wsproto.events
from httpx_ws import AsyncWebSocketSession

from kubex_stream.errors import ConnectionLost, ProtocolViolation
from kubex_stream_httpx.errors import LIBRARY_ERRORS
from kubex_stream_httpx.foreign import as_stream
from kubex_stream_httpx.frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    FrameError,
    FrameReader,
    Payload,
    close_payload,
    encode_frame,
    parse_close,
)
from kubex_stream_httpx.network import READ_SIZE

__all__ = ("WebSocketSession",)

#: The peer's codes that are an orderly end: normal, going away, none given.
_ORDERLY: Final = (1000, 1001, 1005)
#: Codes that stand for something but must not be sent.
_UNSENDABLE: Final = (1005, 1006, 1015)
#: Bytes of answers that wait for a peer that does not read them; more are dropped.
_LARGEST_BACKLOG: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class _End:
    """How the connection ended."""

    text: str
    close_code: int | None = None
    orderly: bool = False
    violation: bool = False
    cause: BaseException | None = None

    def receiving(self) -> Exception:
        """What a receiver gets."""
        if self.orderly:
            return StopAsyncIteration()
        return ProtocolViolation(self.text) if self.violation else self.sending()

    def sending(self) -> ConnectionLost:
        """What a sender gets."""
        error = ConnectionLost(self.text, close_code=self.close_code)
        error.__cause__ = self.cause
        return error


class WebSocketSession(AsyncWebSocketSession):
    """For ``httpx_ws.aconnect_ws(…, session_class=WebSocketSession)``.

    ``max_message_size_bytes`` is a limit here, 0 for none; ``queue_size`` and the keep-alive settings mean nothing.
    """

    def __init__(
        self,
        stream: httpcore.AsyncNetworkStream,
        *,
        max_message_size_bytes: int = 0,
        response: httpx.Response | None = None,
        **unused: Any,
    ) -> None:
        super().__init__(stream, max_message_size_bytes=max_message_size_bytes, response=response, **unused)
        self._out = as_stream(stream)
        self._reader = FrameReader(max_message_size_bytes)
        self._read_lock = anyio.Lock(fast_acquire=True)
        self._write_lock = anyio.Lock(fast_acquire=True)
        self._reads = 0
        self._end: _End | None = None
        self._unwritable: _End | None = None
        self._close_sent = False
        #: See :class:`~kubex_stream.WebSocketConnection`.
        self.last_activity: float | None = None
        self.last_pong: float | None = None
        self.close_code: int | None = None

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self, None]:
        # Nothing runs beside, so any task may leave.
        yield self

    @property
    def ended(self) -> bool:
        """Whether nothing more can be received."""
        return self._end is not None

    # Receiving --------------------------------------------------------------------------------------------------------

    async def next_message(self) -> Payload:
        """The next binary message.  Raises as :meth:`kubex_stream.WebSocketConnection.receive_bytes`."""
        while True:
            message = await self._buffered()
            if message is not None:
                return message
            if self._end is not None:
                raise self._end.receiving()
            await self._fill()

    async def next_payload(self, join: int) -> tuple[int, bytes, int]:
        """As :meth:`kubex_stream.WebSocketConnection.receive_payload`."""
        message = await self.next_message()
        if not message:
            return -1, b"", 1
        first, payload = message[0], bytes(message[1:])
        more = self._reader.run(first, len(message), join)
        return first, b"".join((payload, *more)) if more else payload, 1 + len(more)

    async def _buffered(self) -> Payload | None:
        while self._end is None:
            try:
                frame = self._reader.next()
                if frame is None or frame[0] == BINARY:
                    return frame and frame[1]
                await self._control(*frame)
            except FrameError as error:
                self._end = _End(f"the peer broke the WebSocket protocol: {error}", violation=True)
                await self._answer_close(error.code)
        return None

    async def _fill(self) -> None:
        seen = self._reads
        async with self._read_lock:
            if self._reads != seen or self._end is not None:
                return
            cause: BaseException | None = None
            try:
                data = await self.stream.read(READ_SIZE)
            except LIBRARY_ERRORS as error:
                data, cause = b"", error
            if data:
                self._reads += 1
                self.last_activity = time.monotonic()
                self._reader.feed(data)
            elif self._end is None:
                where = " in the middle of a message" if self._reader.inside_message else ""
                reason = f": {cause}" if cause is not None and str(cause) else ""
                self._end = _End(f"the connection ended{where} without a Close frame{reason}", cause=cause)

    async def _control(self, opcode: int, payload: Payload) -> None:
        if opcode == PING:
            await self._offer(encode_frame(PONG, payload))
        elif opcode == PONG:
            self.last_pong = self.last_activity
        else:
            code, reason = parse_close(payload)
            self.close_code = code
            text = f"the peer closed the connection with code {code}" + (f": {reason}" if reason else "")
            self._end = _End(text, close_code=code, orderly=code in _ORDERLY)
            await self._answer_close(1000 if code in _UNSENDABLE else code)

    async def _offer(self, frame: bytes) -> None:
        """Send a frame without ever waiting for the peer, or drop it."""
        if not self._close_sent and self._unwritable is None and self._out.backlog < _LARGEST_BACKLOG:
            with suppress(*LIBRARY_ERRORS):
                self._out.queue(frame)
                await self._out.nudge()

    async def _answer_close(self, code: int) -> None:
        await self._offer(encode_frame(CLOSE, close_payload(code)))
        self._close_sent = True

    # Sending ----------------------------------------------------------------------------------------------------------

    async def send_message(self, data: bytes | bytearray | memoryview) -> None:
        """Raises and may be cancelled as :meth:`kubex_stream.WebSocketConnection.send_bytes` says."""
        self._check_writable()
        frame = encode_frame(BINARY, data)
        async with self._write_lock:
            self._check_writable()
            await self._write(frame)
        if self._end is not None and not self._end.orderly:
            raise self._end.sending()

    async def send_ping(self) -> None:
        """Send a ping, or nothing where that would have to wait.

        :raises ConnectionLost: the connection is gone
        """
        self._check_writable()
        try:
            await self._out.nudge()
            if not self._write_lock.locked() and not self._out.backlog:
                self._out.queue(encode_frame(PING, b""))
                await self._out.nudge()
        except LIBRARY_ERRORS as error:
            raise self._broken(error).sending() from error

    def _check_writable(self) -> None:
        if self._end is not None:
            raise self._end.sending()
        if self._unwritable is not None:
            raise self._unwritable.sending()
        if self._close_sent:
            raise ConnectionLost("the connection was closed by this side")

    async def _write(self, frame: bytes) -> None:
        try:
            await self._out.write(frame)
        except LIBRARY_ERRORS as error:
            # What has arrived before can still be received.
            raise (self._end or self._broken(error)).sending() from error

    def _broken(self, error: BaseException) -> _End:
        self._unwritable = self._unwritable or _End(f"nothing more can be sent: {error}", cause=error)
        return self._unwritable

    # Ending -----------------------------------------------------------------------------------------------------------

    async def finish(self, code: int) -> None:
        """Send Close, and wait for the peer's or for the end, dropping what still arrives; the caller sets the limit.

        :raises ConnectionLost: the Close could not be sent
        """
        if self.ended:
            return
        if not self._close_sent:
            async with self._write_lock:
                self._close_sent = True
                await self._write(encode_frame(CLOSE, close_payload(code)))
        while self._end is None:
            if await self._buffered() is None and self._end is None:
                await self._fill()
        self._end = _End("the connection was closed by this side", close_code=self.close_code)

    async def abort(self, text: str = "the connection was aborted by this side") -> None:
        """End TCP at once, without a Close frame."""
        self._end = self._end or _End(text)
        with suppress(*LIBRARY_ERRORS), anyio.CancelScope(shield=True):
            await self._out.abort()

    # What httpx-ws offers on top of these two works as well -----------------------------------------------------------

    async def receive(self, timeout: float | None = None) -> wsproto.events.Event:
        """As httpx-ws, binary messages only."""
        with anyio.fail_after(timeout):
            return wsproto.events.BytesMessage(data=bytearray(await self.next_message()))

    async def send(self, event: wsproto.events.Event) -> None:
        """As httpx-ws; binary messages, pings and closes.

        :raises TypeError: another event
        """
        if isinstance(event, wsproto.events.BytesMessage):
            await self.send_message(event.data)
        elif isinstance(event, wsproto.events.Ping):
            await self.send_ping()
        elif isinstance(event, wsproto.events.CloseConnection):
            await self.finish(int(event.code))
        else:
            raise TypeError(f"this session carries binary messages, not {type(event).__name__}")

    async def close(self, code: int = 1000, reason: str | None = None) -> None:  # noqa: ARG002  (httpx-ws's signature)
        """As httpx-ws; the end of its context manager ends TCP."""
        with suppress(ConnectionLost):
            await self.finish(int(code))
