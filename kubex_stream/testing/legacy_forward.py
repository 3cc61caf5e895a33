"""The server's end of port-forward as it was before the tunnel: a pair of channels for each port, in one WebSocket.

Rules of this file (k8s.io/cri-streaming portforward/websocket.go over golang.org/x/net/websocket):
- Every channel begins with its port, little-endian: of each port the data channel, then the error channel.  Then every port is dialled.
- Nothing tells the end of one direction, or of one port among several.  A text on the error channel tells a failure.
- When all ports are done the server closes; when the client closes, it is answered at once.
- One loop receives and waits until a port has taken what came for it; while it waits it sees neither pings nor Close.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

from kubex_stream.protocol.channels import ChannelProtocol
from kubex_stream.testing import frames
from kubex_stream.testing.behaviour import Behaviour
from kubex_stream.testing.connection import Connection
from kubex_stream.testing.forwarding import Forward, Inbox
from kubex_stream.testing.hangup import ClientGone, finish_unless_gone
from kubex_stream.testing.store import PodState
from kubex_stream.testing.tasks import cancel_and_wait

__all__ = ("LegacyForward",)

_MAX_PING: Final = 125
_CLOSE_TIMEOUT: Final = 10.0


class _PortEnd:
    """A port's data channel."""

    def __init__(self, owner: LegacyForward, channel: int) -> None:
        self._owner = owner
        self._channel = channel
        self.inbox = Inbox()

    async def send(self, data: bytes) -> None:
        """Send data.

        :raises OSError: the client is gone
        """
        await self._owner.send_data(self._channel, data)

    async def end(self) -> None:
        """There is no way to pass on an end."""


class LegacyForward:
    """One WebSocket after its 101.

    :param connection: the connection
    :param row: the subprotocol
    :param pod: where to forward to
    :param ports: the ports that were asked for, in order
    :param behaviour: how, and the faults to commit
    :param leftover: what had come behind the request
    :param count: told 1 when a forwarded connection is open and -1 when it is not any more
    """

    def __init__(
        self,
        connection: Connection,
        row: ChannelProtocol,
        pod: PodState,
        ports: Sequence[int],
        behaviour: Behaviour,
        leftover: bytes,
        count: Callable[[int], None],
    ) -> None:
        self._connection = connection
        self._row = row
        self._pod = pod
        self._behaviour = behaviour
        self._count = count
        self._reader = frames.FrameReader()
        self._reader.feed(leftover)
        self._ports = ports
        self._ends = [_PortEnd(self, 2 * index) for index in range(len(ports))]
        self._sent = 0

    async def run(self) -> None:
        """Serve until all ports are done, or until the client leaves."""
        with contextlib.suppress(OSError):
            await self._open()
        forwards = [
            asyncio.create_task(self._forward(end, 2 * index, port))
            for index, (end, port) in enumerate(zip(self._ends, self._ports, strict=True))
        ]
        done, reading = asyncio.create_task(_all(forwards)), asyncio.create_task(self._read())
        try:
            await asyncio.wait({done, reading}, return_when=asyncio.FIRST_COMPLETED)
            if done.done() or reading.result():
                await self._close()
                for end in self._ends:
                    end.inbox.end()
                await asyncio.wait({done}, timeout=2 * self._behaviour.half_close_grace + 0.1)
        finally:
            await cancel_and_wait(reading, done, *forwards)

    # Sending ----------------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        for index, port in enumerate(self._ports):
            for channel in (2 * index, 2 * index + 1):
                await self._send(channel, port.to_bytes(2, "little"))
        for extra in self._behaviour.inject:
            if extra.when == "start":
                await self._connection.send(
                    frames.encode_frame(extra.opcode, extra.payload, fin=extra.fin, rsv=extra.rsv, masked=extra.masked)
                )

    async def _send(self, channel: int, payload: bytes) -> None:
        opcode = frames.TEXT if self._row.base64 else frames.BINARY
        await self._connection.send(frames.encode_frame(opcode, self._row.encode(channel & 0xFF, payload)))

    async def send_data(self, channel: int, payload: bytes) -> None:
        """Send what the pod's server says.

        :raises OSError: the client is gone, or made to believe that this end is
        """
        for limit, end in (
            (self._behaviour.tcp_reset_after_bytes, self._connection.reset),
            (self._behaviour.close_after_bytes, self._close_on_purpose),
        ):
            if limit is not None and self._sent + len(payload) >= limit:
                await self._send(channel, payload[: limit - self._sent])
                await end()
                raise ConnectionResetError("a fault on purpose")
        self._sent += len(payload)
        await self._send(channel, payload)

    async def _close_on_purpose(self) -> None:
        await self._close(self._behaviour.close_code or 1000)

    async def _close(self, code: int = 1000) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self._connection.send(frames.encode_frame(frames.CLOSE, frames.close_payload(code)))
        await self._connection.close()

    async def _forward(self, end: _PortEnd, channel: int, port: int) -> None:
        ending = await Forward(self._pod, port, end, self._behaviour, self._count).run()
        end.inbox.drop()
        if ending.text:
            with contextlib.suppress(OSError):
                await self._send(channel + 1, ending.text.encode())

    # Receiving --------------------------------------------------------------------------------------------------------

    async def _read(self) -> bool:
        """Read until the client leaves; False where nobody would take what it has sent."""
        try:
            while (frame := await self._next_frame()) is not None and await self._take_frame(frame):
                pass
        except (OSError, frames.FrameTooLarge):
            pass
        except ClientGone:
            return False
        return True

    async def _take_frame(self, frame: frames.Frame) -> bool:
        """Handle a frame; False where the loop ends."""
        if not frame.masked:
            await self._connection.send(frames.encode_frame(frames.CLOSE, frames.close_payload(1002)))
            return False
        if frame.opcode == frames.PING:
            if not self._behaviour.no_pong:
                await self._connection.send(frames.encode_frame(frames.PONG, frame.payload[:_MAX_PING]))
        elif frame.opcode not in (frames.PONG, frames.CLOSE):
            await self._take(frame.payload)
        return frame.opcode != frames.CLOSE

    async def _next_frame(self) -> frames.Frame | None:
        while (frame := self._reader.next_frame()) is None:
            data = await self._connection.receive()
            if not data:
                return None
            self._reader.feed(data)
            await asyncio.sleep(0)  # a fast client leaves nothing to wait for, and the ports want their turn
        return frame

    async def _take(self, message: bytes) -> None:
        decoded = self._row.decode(message)
        if decoded is None or not decoded[1]:
            return
        channel, payload = decoded
        if channel % 2 or channel // 2 >= len(self._ends):
            return  # only the server writes there, or nobody
        inbox = self._ends[channel // 2].inbox
        if not inbox.offer(payload):
            await finish_unless_gone(inbox.put(payload), self._connection.socket, self._behaviour.half_close_grace)


async def _all(tasks: Sequence[asyncio.Task[None]]) -> None:
    if tasks:
        await asyncio.wait(tasks)
