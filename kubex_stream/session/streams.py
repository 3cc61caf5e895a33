"""The streams that an application holds: anyio's byte streams over one channel of a session."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Coroutine, Mapping
from typing import Any, Final

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, ObjectReceiveStream

from kubex_stream.errors import HalfCloseUnsupported, StdinBroken
from kubex_stream.protocol.channels import STDIN_CHANNEL
from kubex_stream.session.buffer import ChannelBuffer
from kubex_stream.session.multiplexer import ChannelSession

__all__ = ("OutputStream", "StdinStream", "TextOutputStream")

#: The end of input for a terminal: ^D, which the line discipline takes as such at the start of a line.
END_OF_TRANSMISSION: Final = b"\x04"


def _check_size(max_bytes: int) -> None:
    if max_bytes < 1:
        raise ValueError(f"max_bytes must be positive, not {max_bytes}")


class OutputStream(ByteReceiveStream):
    """stdout or stderr of a process.

    ``async for chunk in stream`` gives pieces as they arrive, each a ``bytes`` of one byte or more.  Everything received before the end is
    handed out before the end or the error.  Not reading is back-pressure: the process is paused once the buffers are full.
    """

    def __init__(self, session: ChannelSession, buffer: ChannelBuffer) -> None:
        self._session = session
        self._buffer = buffer
        self._rest = memoryview(b"")

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """The next bytes.  A cancelled call loses nothing.

        :param max_bytes: at most so many
        :raises anyio.EndOfStream: the process has ended, with whatever exit code, and everything has been handed out
        :raises anyio.ClosedResourceError: this stream or its session was closed here
        :raises anyio.BusyResourceError: another task is receiving from this stream
        :raises ConnectionLost: the connection broke before the process had ended
        :raises StatusMissing: the server ended the stream without a word about the process
        :raises StartError: the process did not start
        :raises ProtocolViolation: the server broke the protocol
        :raises UnreadChannelError: the other output is full, and nobody has ever received from it
        """
        _check_size(max_bytes)
        if self._rest:
            return self._cut(self._rest, max_bytes)
        chunk = await self._session.receive(self._buffer)
        return chunk if len(chunk) <= max_bytes else self._cut(memoryview(chunk), max_bytes)

    def __anext__(self) -> Coroutine[Any, Any, bytes]:
        # Not a coroutine of its own: one less for each chunk.  Chunks that were cut come first.
        return self._session.receive(self._buffer, StopAsyncIteration) if not self._rest else self.receive(sys.maxsize)

    def receive_nowait(self, max_bytes: int = 65536) -> bytes:
        """What is there already.  Raises as :meth:`receive`, and

        :raises anyio.WouldBlock: nothing is there; it is being read for, so asking again later makes sense
        """
        _check_size(max_bytes)
        if self._rest:
            return self._cut(self._rest, max_bytes)
        if self._buffer.closed:
            raise anyio.ClosedResourceError
        chunk = self._session.receive_nowait(self._buffer)
        return chunk if len(chunk) <= max_bytes else self._cut(memoryview(chunk), max_bytes)

    async def aclose(self) -> None:
        """Want no more of this output: what comes from now on is dropped, and nothing else has to wait for it.

        A receive of another task that is waiting in this stream notices with the next message.
        """
        self._rest = memoryview(b"")
        self._session.turn_off(self._buffer)

    def _cut(self, view: memoryview, max_bytes: int) -> bytes:
        self._rest = view[max_bytes:]
        return bytes(view[:max_bytes])

    @property
    def extra_attributes(self) -> Mapping[Any, Any]:
        return {}


class TextOutputStream(ObjectReceiveStream[str]):
    """An :class:`OutputStream` decoded as it comes; a character that is split between two chunks survives.

    :param errors: as of :meth:`bytes.decode`; with ``"strict"`` a wrong byte is a :class:`UnicodeDecodeError`
    """

    def __init__(self, transport: OutputStream, encoding: str, errors: str = "strict") -> None:
        self._transport = transport
        self._decoder = codecs.getincrementaldecoder(encoding)(errors)
        self._ended = False

    async def receive(self) -> str:
        """The next text, of one character or more.  Raises as :meth:`OutputStream.receive`."""
        while not self._ended:
            try:
                text = self._decoder.decode(await self._transport.receive())
            except anyio.EndOfStream:
                self._ended = True
                text = self._decoder.decode(b"", final=True)
            if text:
                return text
        raise anyio.EndOfStream

    def receive_nowait(self) -> str:
        """What is there already.  Raises as :meth:`OutputStream.receive_nowait`."""
        while not self._ended:
            try:
                text = self._decoder.decode(self._transport.receive_nowait())
            except anyio.EndOfStream:
                self._ended = True
                text = self._decoder.decode(b"", final=True)
            if text:
                return text
        raise anyio.EndOfStream

    async def aclose(self) -> None:
        """As :meth:`OutputStream.aclose`."""
        await self._transport.aclose()


class StdinStream(ByteSendStream):
    """stdin of a process."""

    def __init__(self, session: ChannelSession, *, tty: bool) -> None:
        self._session = session
        self._tty = tty
        self._closed = False
        self._end_sent = False  # a cancelled aclose() can be repeated
        self._ending = anyio.Lock(fast_acquire=True)
        self._line_begins = True

    async def send(self, item: bytes | bytearray | memoryview) -> None:
        """Send bytes; returns when the connection has taken them, which is the back-pressure of the process.

        Any size: it is cut into messages of ``stdin_chunk_size`` bytes.  Does not wait for output to be read.  A cancelled call may have
        sent a part.  A process that ends with much of its stdin unread may leave the session open for ever (a property of servers), so
        bound the wait where that can happen.

        :raises StdinBroken: the process has ended or its connection is gone
        :raises anyio.ClosedResourceError: stdin was closed here
        """
        if self._closed:
            raise anyio.ClosedResourceError
        if not len(item):
            return
        await self._session.input.send(STDIN_CHANNEL, item)
        if self._tty:
            self._line_begins = bytes(memoryview(item)[-1:]) in (b"\n", b"\r")

    async def aclose(self) -> None:
        """End stdin; output goes on.  Calling it again does nothing, and so does ending it after the process has ended.

        With a tty this is the character 0x04, since a CLOSE of a terminal's stdin costs the rest of its output; without one it is the CLOSE
        message of v5.

        :raises HalfCloseUnsupported: the server agreed to v4 only, which has no way to end stdin
        """
        async with self._ending:
            if not self._end_sent:
                await self._end()
                self._end_sent = True

    async def _end(self) -> None:
        protocol = self._session.protocol
        if not self._tty and not protocol.half_close:
            raise HalfCloseUnsupported(
                f"stdin cannot be ended: the server speaks {protocol.name}, and only v5.channel.k8s.io (Kubernetes 1.30) has a half-close; "
                "send what the command needs to know its end by itself, as `head -c N` does, or use a tty",
                statistics=self._session.statistics,
            )
        self._closed = True
        try:
            if self._tty:
                # At the start of a line one is the end; behind a part of a line the first only passes that part on.
                await self._session.input.send(STDIN_CHANNEL, END_OF_TRANSMISSION * (1 if self._line_begins else 2))
            else:
                await self._session.input.send_last(protocol.encode_close(STDIN_CHANNEL))
        except StdinBroken:
            return

    @property
    def extra_attributes(self) -> Mapping[Any, Any]:
        return {}
