"""What a call of a streaming API gives."""

from __future__ import annotations

from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any, NamedTuple, Self

import anyio
from aiohttp import WSMsgType

from kubex_stream.client.observer import Observer
from kubex_stream.client.options import ClientOptions
from kubex_stream.client.websocket import WebSocketConnection
from kubex_stream.compat.kubernetes_asyncio._frames import Frames, ProcessFrames, Sendable, check_channel
from kubex_stream.errors import StreamError, StreamTimeout
from kubex_stream.protocol.channels import CLOSE_CHANNEL, STDIN_CHANNEL
from kubex_stream.statistics import SessionStatistics

__all__ = ("WsMessage", "WsResponse")

#: Seconds that ``timeout=0`` looks for what has arrived.
_AT_ONCE = 0.001


class WsMessage(NamedTuple):
    """A message as those of aiohttp: the first byte of ``data`` is the channel."""

    type: WSMsgType
    data: bytes | None
    extra: str | None = None


class WsResponse:
    """An open exec, attach or port-forward.

    :meth:`read_channel` and :meth:`write_channel` are how to use it.  Code that was written for what ``_preload_content=False`` gives in
    that package, a WebSocket of aiohttp's, runs too: ``async with``, ``async for message in``, ``receive``, ``receive_bytes``,
    ``send_bytes``, ``closed``.  One task reads at a time, while others may write.  Close it, or leave ``async with``, when it is no longer
    needed; closing never waits for the remote process.

    :param websocket: an open :class:`~kubex_stream.WebSocketConnection` of an exec or attach, which is now this object's
    :param tty: whether the process has a terminal
    """

    def __init__(self, websocket: WebSocketConnection | Frames, *, tty: bool = False) -> None:
        if isinstance(websocket, Frames):
            self._frames: Frames = websocket
        elif isinstance(websocket, WebSocketConnection):
            self._frames = ProcessFrames(websocket, ClientOptions(), path="", observer=Observer(), stdin=True, tty=tty)
        else:
            raise TypeError(f"websocket is a WebSocketConnection, not {type(websocket).__name__}")
        self._closed = self._ended = False
        self._at_end: list[Callable[[WsResponse], object]] = []

    # Channels ---------------------------------------------------------------------------------------------------------

    async def read_channel(self, timeout: float | None = None) -> tuple[int, bytes]:
        """The next channel number and its data, in the order in which the server sent them; the data is never empty.

        The last one is the Status on ``ERROR_CHANNEL``, for :meth:`WsApiClient.parse_error_data`; of a port-forward too, where it says
        ``Success`` when the pod's server has ended the connection.

        :param timeout: seconds; None waits for ever, 0 takes what has arrived.  A call that times out or is cancelled loses nothing
        :raises asyncio.TimeoutError: nothing came in time
        :raises EOFError: the last one has been read
        :raises anyio.ClosedResourceError: it was closed here
        :raises anyio.BusyResourceError: another task is reading
        :raises ConnectionLost: the connection broke before the Status had come
        :raises StatusMissing: the server closed the stream without a Status
        :raises ProtocolViolation: the server broke the protocol
        """
        seconds = _seconds(timeout)
        if self._closed:
            raise anyio.ClosedResourceError
        try:
            if seconds is None:
                return await self._frames.receive()
            with anyio.move_on_after(seconds):
                return await self._frames.receive()
        except StreamError:
            self._forget()
            raise
        except anyio.EndOfStream:
            self._ended = True
            self._forget()
            raise EOFError(
                "the stream has ended: its Status came on ERROR_CHANNEL, and nothing comes after it"
            ) from None
        raise StreamTimeout(f"nothing came within {timeout:g} s", statistics=self._frames.statistics)

    async def write_channel(self, channel: int, data: Sendable) -> None:
        """Send data on a channel; returns when the connection has taken it, which is the back-pressure of the process.

        ``STDIN_CHANNEL`` takes any amount of bytes.  ``RESIZE_CHANNEL`` takes ``{"Width": columns, "Height": rows}`` and needs a tty.
        ``CLOSE_CHANNEL`` takes ``bytes([STDIN_CHANNEL])`` and ends stdin, as :meth:`close_stdin`.

        :raises TypeError: data that is no bytes
        :raises ValueError: no channel to write to, or data that it cannot take; nothing is sent
        :raises RuntimeError: stdin, or a tty, was not requested
        :raises StdinBroken: the process has ended or its connection is gone; also a BrokenPipeError
        :raises PortForwardError: the same of a port-forward
        :raises anyio.ClosedResourceError: it, or stdin, was closed here
        """
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"data is bytes, not {type(data).__name__}: encode it")
        check_channel(channel)
        if self._closed:
            raise anyio.ClosedResourceError
        await self._frames.send(channel, data)

    async def close_stdin(self) -> None:
        """End the process's input, or what is sent to a port; output goes on.

        :raises HalfCloseUnsupported: the server agreed to v4 only, which has no way to
        :raises RuntimeError: stdin was not requested
        """
        await self.write_channel(CLOSE_CHANNEL, bytes((STDIN_CHANNEL,)))

    async def close(self) -> None:
        """Close the stream; calling it again does nothing.  It waits at most the client's ``close_timeout``, never for the process."""
        self._closed = True
        self._forget()
        await self._frames.aclose()

    @property
    def closed(self) -> bool:
        """Whether it was closed here, or everything has been read."""
        return self._closed or self._ended

    @property
    def subprotocol(self) -> str:
        """The negotiated subprotocol, as ``v5.channel.k8s.io``."""
        return self._frames.subprotocol

    @property
    def statistics(self) -> SessionStatistics:
        """Bytes, frames, idle seconds and round-trip time, now."""
        return self._frames.statistics

    # As aiohttp's -----------------------------------------------------------------------------------------------------

    async def receive(self, timeout: float | None = None) -> WsMessage:
        """The next message, channel byte first; of type ``CLOSED`` after the last one.  Otherwise as :meth:`read_channel`."""
        if self._closed:
            return WsMessage(WSMsgType.CLOSED, None)
        try:
            channel, data = await self.read_channel(timeout)
        except EOFError:
            return WsMessage(WSMsgType.CLOSED, None)
        return WsMessage(WSMsgType.BINARY, bytes((channel,)) + data)

    async def receive_bytes(self, *, timeout: float | None = None) -> bytes:
        """The next message's data, channel byte first.  Raises as :meth:`read_channel`."""
        channel, data = await self.read_channel(timeout)
        return bytes((channel,)) + data

    async def send_bytes(self, data: Sendable) -> None:
        """Send a message whose first byte is the channel.  Raises as :meth:`write_channel`.

        :raises ValueError: an empty message
        """
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"data is bytes, not {type(data).__name__}: encode it")
        view = memoryview(data).cast("B")
        if not view:
            raise ValueError("a message begins with a byte that names its channel; this one is empty")
        await self.write_channel(view[0], view[1:])

    async def send_str(self, data: str) -> None:
        """:meth:`send_bytes` of text in UTF-8; its first character is the channel, as ``chr(STDIN_CHANNEL)``."""
        await self.send_bytes(data.encode())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WsMessage:
        message = await self.receive()
        if message.type is WSMsgType.CLOSED:
            raise StopAsyncIteration
        return message

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __await__(self) -> Generator[Any, None, Self]:
        # What that package gives has to be awaited or entered before it can be used.
        yield from ()
        return self

    def __repr__(self) -> str:
        return f"<WsResponse {self._frames.subprotocol} ({'closed' if self._closed else 'ended' if self._ended else 'open'})>"

    def _on_end(self, ended: Callable[[WsResponse], object]) -> None:
        """Call this when there is nothing left to close."""
        self._at_end.append(ended)

    def _forget(self) -> None:
        while self._at_end:
            self._at_end.pop()(self)


def _seconds(timeout: object) -> float | None:
    if timeout is None:
        return None
    if not isinstance(timeout, int | float) or isinstance(timeout, bool):
        raise TypeError(f"timeout is a number of seconds or None, not {type(timeout).__name__}")
    if not 0 <= timeout < float("inf"):
        raise ValueError(f"timeout is a number of seconds from 0 on, or None, not {timeout!r}")
    return max(float(timeout), _AT_ONCE)
