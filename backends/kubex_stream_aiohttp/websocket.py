"""An open WebSocket of aiohttp's as the seam wants it.

Rules of this file:
- :class:`~kubex_stream_aiohttp.arrivals.Arrivals` is the only reader, and one task is in it at a time.  aiohttp never closes, answers or
  waits by itself (``autoclose`` and ``autoping`` are off): a reader here never waits for a writer.
- aiohttp's ``close_code`` and ``close`` are not used: a cancelled ``receive`` sets the one to 1006, a TCP end without a Close frame to 1000, and
  the other goes by it.  Only a Close frame that arrived counts.
- ``_ending`` holds what each later call raises, as something to call, since an exception that is raised twice grows.
- Nothing here waits for TCP or TLS to end: the transport is aborted as soon as the WebSocket is over.  Not inside of its own reading,
  though, where who receives may go on: asyncio's TLS fails when it finds itself aborted behind that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any, Final, cast

import aiohttp
from aiohttp import WSMsgType

from kubex_stream.client import WebSocketConnection
from kubex_stream.errors import ConnectionLost, ProtocolViolation
from kubex_stream_aiohttp.arrivals import Arrivals
from kubex_stream_aiohttp.arrived import Arrived
from kubex_stream_aiohttp.handshake import UpgradedWebSocket
from kubex_stream_aiohttp.leaving import end_tcp
from kubex_stream_aiohttp.writing import resume_outside, until_room, write_now

__all__ = ("AioHttpWebSocketConnection",)

_BINARY: Final = WSMsgType.BINARY
#: 1005: a Close frame without a code.
_CLEAN: Final = frozenset({1000, 1001, 1005})
#: Bytes that wait to be sent above which a ping is not answered: a peer that only pings must not fill the memory.
_MUCH_UNSENT: Final = 2**20


class AioHttpWebSocketConnection(WebSocketConnection):
    """An adapter around an :class:`aiohttp.ClientWebSocketResponse`.

    :param ws: as ``ws_connect`` gives it with ``autoclose=False, autoping=False, heartbeat=None, compress=0``
    :param close_timeout: seconds that :meth:`close` waits for the peer's Close
    :param max_message_size: the limit that ``ws`` enforces, in bytes, for the text of an error; 0 for none
    """

    def __init__(
        self, ws: aiohttp.ClientWebSocketResponse, *, close_timeout: float = 1.0, max_message_size: int = 0
    ) -> None:
        self._ws = ws
        # aiohttp has no public way from its own class to the transport.
        self._response = ws.response if isinstance(ws, UpgradedWebSocket) else ws._response
        self._arrivals = Arrivals(ws)
        connection = self._response.connection
        self._transport = None if connection is None else connection.transport
        resume_outside(self._transport)
        self._arrived = Arrived(self._transport)
        self._close_timeout = close_timeout
        self._max_message_size = max_message_size
        self._ending: Callable[[], Exception] | None = None
        self._over = False
        self._closing = False
        self._close_sent = False
        self._tcp_ended = False
        self._receiving = False
        self._handover: asyncio.Future[None] | None = None
        self._last_activity = monotonic()
        self._last_pong: float | None = None
        self._close_code: int | None = None

    @property
    def closed(self) -> bool:
        """Whether this side can neither send nor receive any more."""
        return self._ending is not None

    @property
    def negotiated_subprotocol(self) -> str | None:
        """The subprotocol that the server chose, None when it named none that was offered."""
        return self._ws.protocol

    @property
    def last_activity(self) -> float | None:
        """``time.monotonic()`` when a message or control frame was last taken in; the opening counts."""
        return self._last_activity

    @property
    def last_pong(self) -> float | None:
        """``time.monotonic()`` when the last pong was read."""
        return self._last_pong

    @property
    def close_code(self) -> int | None:
        """The code of the peer's Close frame, 1005 for a frame without one."""
        return self._close_code

    # Sending ----------------------------------------------------------------------------------------------------------

    async def send_bytes(self, data: bytes | bytearray | memoryview) -> None:
        """Send one binary message; a cancelled call has sent it whole."""
        if self._arrived.waiting(0):
            await self._arrived.taken()
        if self._ending is not None:
            raise self._gone()
        if isinstance(data, memoryview) and data.nbytes != len(data):
            data = data.cast("B")
        try:
            # aiohttp takes every bytes-like, its annotation does not say so.
            room = write_now(self._ws.send_bytes(cast("bytes", data)))
            if room is not None:
                await until_room(room, self._transport)
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            raise self._gone() from error

    @property
    def reads_first(self) -> bool:
        """Whether sending takes in what has arrived: where the socket can be asked."""
        return self._arrived.known

    async def ping(self) -> None:
        """Send a ping, behind what is waiting to be sent."""
        if self._ending is not None:
            raise self._gone()
        try:
            write_now(self._ws.ping())
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            raise self._gone() from error

    def _gone(self) -> ConnectionLost:
        error = None if self._ending is None else self._ending()
        if isinstance(error, ConnectionLost):
            return error
        return ConnectionLost("the connection has ended, nothing can be sent", close_code=self._close_code)

    # Receiving --------------------------------------------------------------------------------------------------------

    def receive_bytes(self) -> Coroutine[Any, Any, bytes]:
        """The next binary message.  Raises as the seam says; a second task that receives gets a RuntimeError."""
        return self._receive(None)

    async def receive_views(self, size: int = 0) -> Sequence[bytes]:
        """The next binary message, or several."""
        message: bytes | None = await self._receive(None, views=True)
        if message is None:
            return ()
        if self._arrivals.waiting and len(message) < size:
            return await self._arrivals.following(message, size)
        return (message,)

    @property
    def interruptible(self) -> bool:
        """Whether :meth:`interrupt` works: where the connection tells of what has come."""
        return self._arrivals.telling

    def interrupt(self) -> None:
        """Make a :meth:`receive_views` that waits return nothing."""
        self._arrivals.interrupt()

    def receive_payload(self, join: int = 0) -> Coroutine[Any, Any, tuple[int, bytes, int]]:
        """The next binary message, or several, taken apart."""
        return self._receive(join)

    async def _receive(self, join: int | None, *, views: bool = False) -> Any:
        if self._ending is not None:
            raise self._ending()
        if self._receiving:
            raise RuntimeError("another task is receiving from this connection")
        self._receiving = True
        try:
            while True:
                message = await self._arrivals.next()
                if message is None:
                    if views:
                        return None
                    continue
                if message.type is _BINARY:
                    self._last_activity = monotonic()
                    data = message.data
                    if join is None:
                        return data
                    if len(data) < join and self._arrivals.waiting:
                        return await self._arrivals.joined(data, join)
                    return (data[0], data[1:], 1) if data else (-1, data, 1)
                self._handle(message)
        finally:
            self._receiving = False
            if self._handover is not None and not self._handover.done():
                self._handover.set_result(None)

    def _handle(self, message: aiohttp.WSMessage) -> None:
        """Take in what is no binary message.

        :raises Exception: the connection is over
        """
        kind = message.type
        if kind is WSMsgType.PING:
            self._last_activity = monotonic()
            self._answer(message.data)
        elif kind is WSMsgType.PONG:
            self._last_activity = self._last_pong = monotonic()
        else:
            self._end(message)

    def _answer(self, payload: bytes) -> None:
        if self._close_sent or self._transport is None:
            return
        if self._transport.get_write_buffer_size() <= _MUCH_UNSENT:
            # When this fails the connection is gone, which the next receive tells.
            with suppress(aiohttp.ClientError, OSError, RuntimeError):
                write_now(self._ws.pong(payload))

    def _end(self, message: aiohttp.WSMessage) -> None:
        cause: BaseException | None = None
        ending: Callable[[], Exception] = partial(ConnectionLost, "the connection ended without a Close frame")
        if message.type is WSMsgType.CLOSE:
            self._last_activity = monotonic()
            ending = self._closed_by_peer(message)
        elif message.type is WSMsgType.TEXT:
            self._send_close(1003)
            ending = partial(ProtocolViolation, "a text message came; only binary ones are allowed")
        elif isinstance(message.data, aiohttp.WebSocketError):
            cause = message.data
            ending = partial(ProtocolViolation, self._violation(message.data))
        elif isinstance(message.data, Exception):
            cause = message.data
            ending = partial(ConnectionLost, f"the connection broke: {cause}")
        self._over = True
        # What this side has done itself explains more.
        if self._ending is None:
            self._ending = ending
        raise self._ending() from cause

    def _closed_by_peer(self, message: aiohttp.WSMessage) -> Callable[[], Exception]:
        code = self._close_code = message.data or 1005
        self._send_close(code)
        if code in _CLEAN:
            return StopAsyncIteration
        reason = f": {message.extra}" if message.extra else ""
        return partial(ConnectionLost, f"the peer closed with code {code}{reason}", close_code=code)

    def _violation(self, error: aiohttp.WebSocketError) -> str:
        if error.code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
            return f"a message of more than {self._max_message_size} bytes came, which ws_max_message_size forbids"
        return f"a malformed frame came: {error}"

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
            if not self._over:
                self._send_close(code)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._close_timeout):
                        await self._drain()
        finally:
            turns = 1 + self._arrivals.inside
            self._end_tcp()
        # The transport closes its socket in the next turn.
        for _ in range(turns):
            await asyncio.sleep(0)

    async def abort(self) -> None:
        """End TCP now, without a Close frame.  Never waits."""
        if self._ending is None:
            self._ending = partial(ConnectionLost, "the connection has been aborted by this side")
        self._end_tcp()

    async def _drain(self) -> None:
        while not self._over:
            if self._receiving:
                self._handover = asyncio.get_running_loop().create_future()
                await self._handover
                continue
            with suppress(ConnectionLost, ProtocolViolation, StopAsyncIteration):
                message = await self._arrivals.next()
                if message is not None and message.type is not _BINARY and message.type is not WSMsgType.TEXT:
                    self._handle(message)

    def _send_close(self, code: int) -> None:
        if self._close_sent:
            return
        self._close_sent = True
        payload = b"" if code == 1005 else code.to_bytes(2, "big")
        with suppress(aiohttp.ClientError, OSError, RuntimeError):
            write_now(self._ws.send_frame(payload, WSMsgType.CLOSE))

    def _end_tcp(self) -> None:
        if self._tcp_ended:
            return
        self._tcp_ended = True
        if self._arrivals.inside:
            asyncio.get_running_loop().call_soon(self._drop)
        else:
            self._drop()

    def _drop(self) -> None:
        if self._transport is not None:
            end_tcp(self._transport)
        # Gives the connection back to the connector; the transport is aborted, so nothing lingers.
        self._response.close()
