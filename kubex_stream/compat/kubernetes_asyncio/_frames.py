"""A session as a sequence of (channel, data), in the order in which the server sent them.

Rules of this file:
- A session keeps a channel's bytes for that channel's reader.  Here one reader takes all channels, so all go through one buffer, and a
  queue beside it says which bytes are whose.  Bytes and queue are filled by the same call and emptied by the same reader.
- The error channel is read twice: by whoever calls, as a frame, and by the session, which learns from it how it ended.
- Whoever opened a session may forget to close it.  One that has ended lets go of its connection by itself.
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections import deque
from typing import Final

import anyio

from kubex_stream.client.observer import Observer
from kubex_stream.client.options import ClientOptions
from kubex_stream.client.websocket import WebSocketConnection
from kubex_stream.errors import KubexClientException, ProtocolViolation
from kubex_stream.protocol.channels import (
    CLOSE_CHANNEL,
    ERROR_CHANNEL,
    PROTOCOLS,
    RESIZE_CHANNEL,
    STDERR_CHANNEL,
    STDIN_CHANNEL,
    STDOUT_CHANNEL,
    encode_resize,
)
from kubex_stream.session.buffer import ChannelBuffer
from kubex_stream.session.ending import Ending
from kubex_stream.session.keeper import Keeper
from kubex_stream.session.multiplexer import ChannelSession
from kubex_stream.session.streams import StdinStream
from kubex_stream.statistics import SessionStatistics

__all__ = ("Frames", "ProcessFrames", "Sendable", "check_channel")

Sendable = bytes | bytearray | memoryview

_FROM_SERVER: Final = frozenset({STDOUT_CHANNEL, STDERR_CHANNEL, ERROR_CHANNEL})
#: Frames in the queue from which on neighbours of one channel become one.
_MANY: Final = 256


class Frames(ABC):
    """What a :class:`WsResponse` stands on."""

    #: The negotiated subprotocol.
    subprotocol: str

    @abstractmethod
    async def receive(self) -> tuple[int, bytes]:
        """The next channel and its data, never empty; a cancelled call loses nothing.

        :raises anyio.EndOfStream: after the error channel's last word
        """

    @abstractmethod
    async def send(self, channel: int, data: Sendable) -> None:
        """Send on a channel."""

    @abstractmethod
    async def aclose(self) -> None:
        """Let go of everything; calling it again does nothing."""

    @property
    @abstractmethod
    def statistics(self) -> SessionStatistics:
        """What has been carried."""


class _Sent(Observer):
    """Passes on what was sent; what is received is told where its channel is known."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def frame(self, path: str, *, sent: bool, channel: int, size: int) -> None:
        if sent:
            self._observer.frame(path, sent=sent, channel=channel, size=size)


class _OneChannel(WebSocketConnection):
    """Passes a connection on with the server's three channels as one, and keeps in mind what was whose."""

    def __init__(self, connection: WebSocketConnection, path: str, observer: Observer | None) -> None:
        self._connection = connection
        self._path, self._observer = path, observer
        self._status: bytes | None = None
        #: Length and channel of each frame that was received and not yet handed out: ``length << 8 | channel``.
        self.queue: deque[int] = deque()

    async def receive_payload(self, join: int = 0) -> tuple[int, bytes, int]:
        if self._status is not None:
            status, self._status = self._status, None
            return ERROR_CHANNEL, status, 0
        channel, payload, messages = await self._connection.receive_payload(join)
        if self._observer is not None and channel >= 0:
            self._observer.frame(self._path, sent=False, channel=channel, size=len(payload))
        if channel not in _FROM_SERVER or not payload:
            # Servers begin with an empty message for each channel.
            return (-1 if channel in _FROM_SERVER else channel), payload, messages
        if channel == ERROR_CHANNEL:
            self._status = payload
        if len(self.queue) >= _MANY and self.queue[-1] & 0xFF == channel:
            self.queue[-1] += len(payload) << 8
        else:
            self.queue.append(len(payload) << 8 | channel)
        return STDOUT_CHANNEL, payload, messages

    @property
    def closed(self) -> bool:
        return self._connection.closed

    @property
    def negotiated_subprotocol(self) -> str | None:
        return self._connection.negotiated_subprotocol

    @property
    def reads_first(self) -> bool:
        return self._connection.reads_first

    @property
    def last_activity(self) -> float | None:
        return self._connection.last_activity

    @property
    def last_pong(self) -> float | None:
        return self._connection.last_pong

    @property
    def close_code(self) -> int | None:
        return self._connection.close_code

    async def send_bytes(self, data: Sendable) -> None:
        await self._connection.send_bytes(data)

    async def receive_bytes(self) -> bytes:
        return await self._connection.receive_bytes()

    async def ping(self) -> None:
        await self._connection.ping()

    async def close(self, code: int = 1000) -> None:
        await self._connection.close(code)

    async def abort(self) -> None:
        await self._connection.abort()


def check_channel(channel: object) -> int:
    """``channel``, when it is the number of one.

    :raises TypeError: no integer
    """
    if not isinstance(channel, int) or isinstance(channel, bool):
        raise TypeError(f"a channel is an integer, as STDIN_CHANNEL, not {type(channel).__name__}")
    return channel


class ProcessFrames(Frames):
    """exec or attach.  Made on asyncio, where it starts the task that keeps the session alive.

    :param connection: open, with a subprotocol of exec's
    :param stdin: whether stdin was requested
    """

    def __init__(
        self,
        connection: WebSocketConnection,
        options: ClientOptions,
        *,
        path: str,
        observer: Observer,
        stdin: bool,
        tty: bool,
    ) -> None:
        protocol = PROTOCOLS.get(connection.negotiated_subprotocol or "")
        if protocol is None or protocol.base64 or not protocol.json_status:
            raise ProtocolViolation(f"{connection.negotiated_subprotocol!r} is no subprotocol of exec and attach")
        self.subprotocol = protocol.name
        told = type(observer).frame is not Observer.frame
        self._one = _OneChannel(connection, path, observer if told else None)
        self._buffer = ChannelBuffer("the output", options.stream_buffer_size, STDOUT_CHANNEL)
        self._session = ChannelSession(
            self._one,
            protocol,
            options,
            path=path,
            outputs={STDOUT_CHANNEL: self._buffer},
            observer=_Sent(observer) if told else Observer(),
        )
        self._buffer.touched = True
        self._stdin = StdinStream(self._session, tty=tty) if stdin or tty else None
        self._tty = tty
        self._path, self._observer = path, observer
        self._rest = memoryview(b"")
        self._status = bytearray()
        self._told = self._closed = self._reported = False
        self._end: Exception | None = None
        self._keeping = asyncio.get_running_loop().create_task(self._keep(), name=f"keep {path}")

    async def _keep(self) -> None:
        await Keeper(self._session).run()
        await self._one.close()
        self._report(self._session.ending)

    def _report(self, ending: Ending | None) -> None:
        if not self._reported:
            self._reported = True
            self._observer.closed(self._path, None if ending is None else ending.error)

    async def receive(self) -> tuple[int, bytes]:
        while True:
            if not self._rest:
                piece, queue = await self._piece(), self._one.queue
                channel, length = queue[0] & 0xFF, queue[0] >> 8
                if length == len(piece) and channel != ERROR_CHANNEL:  # as nearly always
                    queue.popleft()
                    return channel, piece
                self._rest = memoryview(piece)
            frame = self._cut()
            if frame is not None:
                return frame

    async def _piece(self) -> bytes:
        if self._end is not None:
            raise self._end.with_traceback(None)
        try:
            return await self._session.receive(self._buffer)
        except (anyio.EndOfStream, KubexClientException) as error:
            # How a process failed to start was told in the server's words.
            self._end = anyio.EndOfStream() if self._told else error
            self._buffer.close()
            raise self._end from None

    def _cut(self) -> tuple[int, bytes] | None:
        """The next frame of what is here, or a part of a long one; None where more of a Status is needed."""
        head = self._one.queue[0]
        channel, missing = head & 0xFF, head >> 8
        piece = bytes(self._rest[:missing])
        self._rest = self._rest[missing:]
        if len(piece) == missing:
            self._one.queue.popleft()
        else:
            self._one.queue[0] = (missing - len(piece)) << 8 | channel
        if channel != ERROR_CHANNEL:
            return channel, piece
        self._status += piece
        if len(piece) < missing:
            return None
        self._told = True
        self._session.poked.set()  # so that the session learns of its end, also where nobody reads any more
        status, self._status = bytes(self._status), bytearray()
        return channel, status

    async def send(self, channel: int, data: Sendable) -> None:
        if channel == STDIN_CHANNEL:
            await self._input().send(data)
        elif channel == RESIZE_CHANNEL:
            await self._resize(bytes(data))
        elif channel == CLOSE_CHANNEL:
            if bytes(data) != bytes((STDIN_CHANNEL,)):
                raise ValueError("the data of CLOSE_CHANNEL is one byte, the channel to end, and only stdin (0) can be")
            await self._input().aclose()
        else:
            raise ValueError(
                f"channel {channel} is none that a client writes to: STDIN_CHANNEL, RESIZE_CHANNEL, CLOSE_CHANNEL"
            )

    def _input(self) -> StdinStream:
        if self._stdin is None:
            raise RuntimeError("stdin was not requested: pass stdin=True")
        return self._stdin

    async def _resize(self, data: bytes) -> None:
        try:
            size = json.loads(data)
            width, height = size["Width"], size["Height"]
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError('a resize is {"Width": columns, "Height": rows} as JSON') from error
        if not self._tty:
            raise RuntimeError("only a terminal has a size: pass tty=True")
        if width == 0 or height == 0:
            return  # what a terminal says whose size nobody has set; servers ignore it
        await self._session.input.send_message(bytes((RESIZE_CHANNEL,)) + encode_resize(width=width, height=height))

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        ending = self._session.ending
        self._keeping.cancel()
        try:
            await asyncio.wait([self._keeping])
        finally:
            await self._session.leave()
            self._report(ending)

    @property
    def statistics(self) -> SessionStatistics:
        return self._session.statistics
