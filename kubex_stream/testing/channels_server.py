"""A server's end of an exec or attach WebSocket: frames in, frames out, and the faults that a behaviour asks for.

Rules of this file (k8s.io/apimachinery wsstream/conn.go over golang.org/x/net/websocket):
- One loop receives.  It hands stdin and sizes on and waits until they are taken, so while nobody takes them it sees neither pings nor
  Close.
- A frame is a message.  Unknown channels, channels that only a server writes, and messages without a channel are dropped.
- An unmasked frame is answered by Close 1002 and then, as every end of the loop, by Close 1000.  A frame over the limit ends TCP.
- Text and binary, reserved opcodes and reserved bits: all data.
"""

from __future__ import annotations

import asyncio
import contextlib
from enum import Enum
from typing import Protocol

from kubex_stream.protocol.channels import (
    CLOSE_CHANNEL,
    ERROR_CHANNEL,
    RESIZE_CHANNEL,
    STDERR_CHANNEL,
    STDIN_CHANNEL,
    STDOUT_CHANNEL,
    ChannelProtocol,
)
from kubex_stream.testing import frames
from kubex_stream.testing.behaviour import Behaviour
from kubex_stream.testing.connection import Connection

__all__ = ("ChannelServer", "ChannelSink", "Left")

_MAX_PING = 125
_CHANNELS = 5
#: How long a Close may wait for a client who does not read.
_CLOSE_TIMEOUT = 10.0


class Left(Enum):
    """How the receiving came to its end."""

    CLOSE = "a Close frame"
    END = "the end of TCP"
    VIOLATION = "something that the server does not take"


class ChannelSink(Protocol):
    """Where a client's messages go."""

    async def stdin(self, data: bytes) -> None:
        """Take input; wait while it cannot be taken."""

    async def close_stdin(self) -> None:
        """The end of the input."""

    async def resize(self, data: bytes) -> None:
        """Take a piece of the resize channel."""


class ChannelServer:
    """One WebSocket after its 101.

    :param connection: the connection
    :param row: the subprotocol
    :param behaviour: the faults to commit
    :param leftover: what had come behind the request
    """

    def __init__(self, connection: Connection, row: ChannelProtocol, behaviour: Behaviour, leftover: bytes) -> None:
        self.connection = connection
        self.row = row
        self.behaviour = behaviour
        self._reader = frames.FrameReader()
        self._reader.feed(leftover)
        self._sent = 0

    async def open(self, *, stdout: bool, stderr: bool) -> None:
        """The one empty message on the lowest channel that the server will write to."""
        channel = STDOUT_CHANNEL if stdout else STDERR_CHANNEL if stderr else ERROR_CHANNEL
        await self.send(channel, b"")
        await self._inject("start")

    async def send(self, channel: int, payload: bytes) -> None:
        """Send a message.

        :raises OSError: the client is gone
        """
        opcode = frames.TEXT if self.row.base64 else frames.BINARY
        limit = self.behaviour.tcp_reset_after_bytes
        if limit is not None and self._sent + len(payload) >= limit:
            part = payload[: limit - self._sent]
            await self.connection.send(frames.encode_frame(opcode, self.row.encode(channel, part)))
            await self.connection.reset()
            raise ConnectionResetError("reset on purpose")
        self._sent += len(payload)
        await self.connection.send(frames.encode_frame(opcode, self.row.encode(channel, payload)))

    async def finish(self, status: bytes) -> None:
        """Send the Status and end the session, or commit the fault that was asked for instead."""
        behaviour = self.behaviour
        if behaviour.status_delay:
            await asyncio.sleep(behaviour.status_delay)
        await self._inject("before-status")
        if behaviour.tcp_reset == "before-status":
            await self.connection.reset()
        elif behaviour.tcp_end_before_status:
            await self.connection.close()
        elif behaviour.close_code is not None:
            await self.close(behaviour.close_code)
        else:
            await self._send_status(status)

    async def _send_status(self, status: bytes) -> None:
        raw = self.behaviour.raw_status
        payload = status if raw is None else raw
        if payload or raw is not None:
            await self.send(ERROR_CHANNEL, payload)
        if self.behaviour.tcp_reset == "after-status":
            await self.connection.reset()
        else:
            await self.close()

    async def close(self, code: int = 1000) -> None:
        """Send a Close and end the connection, without waiting for the client's."""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self.connection.send(frames.encode_frame(frames.CLOSE, frames.close_payload(code)))
        await self.connection.close()

    async def _inject(self, when: str) -> None:
        for extra in self.behaviour.inject:
            if extra.when == when:
                data = frames.encode_frame(
                    extra.opcode, extra.payload, fin=extra.fin, rsv=extra.rsv, masked=extra.masked
                )
                await self.connection.send(data)

    async def receive(self, sink: ChannelSink) -> Left:
        """Receive until the client leaves."""
        try:
            while True:
                frame = await self._next_frame()
                if frame is None:
                    return Left.END
                if not frame.masked:
                    await self.connection.send(frames.encode_frame(frames.CLOSE, frames.close_payload(1002)))
                    return Left.VIOLATION
                if frame.opcode == frames.CLOSE:
                    return Left.CLOSE
                if not await self._take(frame, sink):
                    return Left.VIOLATION
        except frames.FrameTooLarge:
            await self.connection.close()
            return Left.VIOLATION
        except OSError:
            return Left.END

    async def _next_frame(self) -> frames.Frame | None:
        while (frame := self._reader.next_frame()) is None:
            data = await self.connection.receive()
            if not data:
                return None
            self._reader.feed(data)
        return frame

    async def _take(self, frame: frames.Frame, sink: ChannelSink) -> bool:
        """Handle a frame; False where the loop ends."""
        if frame.opcode == frames.PING:
            if not self.behaviour.no_pong:
                await self.connection.send(frames.encode_frame(frames.PONG, frame.payload[:_MAX_PING]))
        elif frame.opcode != frames.PONG:
            return await self._take_message(frame.payload, sink)
        return True

    async def _take_message(self, message: bytes, sink: ChannelSink) -> bool:
        if self.row.half_close and message[:1] == bytes((CLOSE_CHANNEL,)):
            if len(message) != 2 or message[1] >= _CHANNELS:
                return False
            if message[1] == STDIN_CHANNEL:
                await sink.close_stdin()
            return True
        decoded = self.row.decode(message)
        if decoded is not None and decoded[1]:
            channel, payload = decoded
            if channel == STDIN_CHANNEL:
                await sink.stdin(payload)
            elif channel == RESIZE_CHANNEL:
                await sink.resize(payload)
        return True
