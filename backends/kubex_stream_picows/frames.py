"""picows' parser and writer of frames on a connection that is upgraded already.

Rules of this file:
- picows begins with a handshake of its own.  It gets one that never leaves the process: what it sends is dropped, and the answer is made
  here.  So it never sees a credential either, and whatever it would log is dropped.
- What picows does by itself is only parsing, masking and writing.  It never ends TCP: its wishes to are ignored, and its Close frame
  for a malformed frame is taken as the news that there was one.
- A read is bounded, since picows doubles its buffer whenever a read fills it and never gives it back.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import aiofastnet
from picows import WSAutoPingStrategy, WSListener, WSTransport
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # its stub file leaves it out

__all__ = ("FrameProtocol", "Sink", "fitting")

#: Bytes of picows' buffer at first, and of one read at most.
_BUFFER: Final = 4 * 1024
_READ: Final = 256 * 1024
#: Of a frame that may have any size.
_UNLIMITED: Final = 2**62
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
#: An adapter, since picows makes a child of each plain logger for each connection.
_SILENT: Final = logging.LoggerAdapter(logging.Logger("kubex_stream_picows", logging.CRITICAL + 1))


class _Wire(aiofastnet.Transport):
    """What picows takes for its transport: it can write frames, and neither send a handshake nor end anything."""

    def __init__(self, transport: Any) -> None:
        loop: Any = asyncio.get_running_loop()  # its stub file has another constructor
        super().__init__(loop)
        self._real = transport
        self._fast = isinstance(transport, aiofastnet.Transport)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._real.get_extra_info(name, default)

    @property
    def get_write_buffer_size(self) -> Callable[[], int]:
        size: Callable[[], int] = self._real.get_write_buffer_size
        return size

    @property
    def write_nocheck(self) -> Callable[[Any], None]:
        write: Callable[[Any], None] = self._real.write_nocheck if self._fast else self._write_copy
        return write

    def _write_copy(self, data: Any) -> None:
        # What picows hands over is its own buffer, which another transport than aiofastnet's might keep.
        self._real.write(bytes(data))

    def write(self, data: Any) -> None:
        """Drop the handshake, which is the only thing that comes this way."""

    def close(self) -> None:
        """End nothing."""

    def abort(self) -> None:
        """End nothing."""


class Sink(WSListener):
    """Who is told; ``on_ws_frame`` of picows is among it."""

    def data_came(self, size: int) -> None:
        """After each read of so many bytes."""
        raise NotImplementedError

    def malformed(self, code: int, reason: str) -> None:
        """picows found a malformed frame and has sent a Close; nothing more will come."""
        raise NotImplementedError

    def tcp_ended(self, error: BaseException | None) -> None:
        """There is nothing more to read, and no use in writing; may come twice."""
        raise NotImplementedError

    def room(self, free: bool) -> None:
        """Whether the transport wants more to write."""
        raise NotImplementedError

    @property
    def deaf(self) -> bool:
        """Whether nothing that comes matters any more."""
        raise NotImplementedError


class FrameProtocol(asyncio.BufferedProtocol):
    """What the transport talks to.

    :param limit: bytes of the largest frame, 0 for none
    :param lost: is called when TCP has ended
    """

    def __init__(self, transport: asyncio.Transport, sink: Sink, limit: int, lost: Callable[[], None]) -> None:
        self._sink = sink
        self._lost = lost
        self._inner = _upgraded(transport, sink, limit)
        self._inner_buffer = self._inner.get_buffer
        self._inner_updated = self._inner.buffer_updated
        self.frames: WSTransport = self._inner.transport

    def feed(self, data: bytes) -> None:
        """What somebody else has read, as before the transport knew this protocol."""
        left = memoryview(data)
        while left:
            buffer = self.get_buffer(-1)
            size = min(len(buffer), len(left))
            buffer[:size] = left[:size]
            self.buffer_updated(size)
            left = left[size:]

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to read to."""
        buffer: memoryview = self._inner_buffer(sizehint)
        return buffer if len(buffer) <= _READ else buffer[:_READ]

    def buffer_updated(self, nbytes: int) -> None:
        """So much was read."""
        sink = self._sink
        if sink.deaf:
            return
        self._inner_updated(nbytes)
        if self.frames.is_close_frame_sent and not sink.deaf:
            sent = self.frames.close_handshake.sent
            assert sent is not None
            sink.malformed(int(sent.code.value), sent.reason)
        sink.data_came(nbytes)

    def eof_received(self) -> None:
        """The peer sends nothing more; the transport closes."""
        self._sink.tcp_ended(None)

    def pause_writing(self) -> None:
        """Enough is waiting to be sent."""
        self._sink.room(False)

    def resume_writing(self) -> None:
        """There is room again."""
        self._sink.room(True)

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        self._inner.connection_lost(exc)
        _retrieve(self.frames)
        self._sink.tcp_ended(exc)
        self._lost()


def fitting(frames: FrameProtocol, transport: asyncio.Transport) -> asyncio.BaseProtocol:
    """The protocol that this transport is to be given."""
    tls = transport.get_extra_info("ssl_object") is not None
    return _Copied(frames) if tls and not isinstance(transport, aiofastnet.Transport) else frames


class _Copied(asyncio.Protocol):
    """The same for the TLS of asyncio and of uvloop.

    For a protocol with a buffer they decrypt as much as that holds, and the rest a turn of the event loop later.  If the end of TCP was read
    by then, the rest is lost (CPython 3.13, ``SSLProtocol._do_read__buffered`` and ``_do_flush``).  Here all that was read is decrypted.
    """

    def __init__(self, frames: FrameProtocol) -> None:
        self._frames = frames

    def data_received(self, data: bytes) -> None:
        """So much was read and decrypted."""
        self._frames.feed(data)

    def eof_received(self) -> None:
        """The peer sends nothing more; the transport closes."""
        self._frames.eof_received()

    def pause_writing(self) -> None:
        """Enough is waiting to be sent."""
        self._frames.pause_writing()

    def resume_writing(self) -> None:
        """There is room again."""
        self._frames.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        self._frames.connection_lost(exc)


def _upgraded(transport: asyncio.Transport, sink: Sink, limit: int) -> Any:
    """picows' protocol after a handshake with itself."""
    protocol = WSProtocol(
        "kubex-stream",
        "/",
        True,  # a client's side
        lambda _request, _response: sink,
        _SILENT,
        True,  # an error in a callback ends the connection
        None,  # no timeout of the handshake
        False,  # no pings by itself
        10,
        10,
        WSAutoPingStrategy.PING_WHEN_IDLE,
        False,  # no pongs by itself
        limit or _UNLIMITED,
        None,  # no headers
        _BUFFER,
    )
    protocol.connection_made(_Wire(transport))
    key = protocol.transport.request.headers["Sec-WebSocket-Key"]
    accept = base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest())
    answer = (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        + accept
        + b"\r\n\r\n"
    )
    protocol.get_buffer(-1)[: len(answer)] = answer
    protocol.buffer_updated(len(answer))
    assert protocol.listener is sink
    return protocol


def _retrieve(frames: WSTransport) -> None:
    """Take the error that picows keeps for who waits for its end, or asyncio would report that nobody did."""
    waiting = frames.wait_disconnected()
    with suppress(Exception, StopIteration):
        waiting.send(None)
    waiting.close()
