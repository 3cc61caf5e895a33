"""The server's end of a port-forward tunnel: SPDY inside of WebSocket messages, as API server, kubelet and containerd treat it together.

Rules of this file:
- Messages of the client are joined: where they are cut means nothing.  A text message ends the tunnel.
- Five workers handle frames, by stream id modulo five, and each has room for 50 of them.  A worker waits until its stream's data is taken;
  when it has no room left, nothing is read any more, pings and Close included.
- What is no SPDY kills the tunnel at once, but the client hears of it, by a Close, only at its next message.
- A GOAWAY of the client's gets no answer.  A tunnel outlives its pod.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from kubex_stream.protocol.spdy_connection import (
    DataReceived,
    Event,
    Failed,
    GoneAway,
    PingAnswered,
    StreamEnded,
    StreamOpened,
    StreamReplied,
    StreamReset,
)
from kubex_stream.testing import frames
from kubex_stream.testing.behaviour import Behaviour
from kubex_stream.testing.connection import Connection
from kubex_stream.testing.gorilla import FrameJudge
from kubex_stream.testing.hangup import ClientGone, finish_unless_gone
from kubex_stream.testing.store import PodState
from kubex_stream.testing.tasks import cancel_and_wait
from kubex_stream.testing.tunnel_link import TunnelLink
from kubex_stream.testing.tunnel_pairs import TunnelPairs

__all__ = ("Tunnel",)

_WORKERS: Final = 5
_QUEUE: Final = 50
_GOOD: Final = frames.close_payload(1000)
_DATA: Final = (frames.BINARY, frames.CONTINUATION)
StreamEvent = StreamOpened | DataReceived | StreamEnded | StreamReset


class Tunnel:
    """One tunnel after its 101.

    :param connection: the connection
    :param pod: where to forward to
    :param behaviour: how, and the faults to commit
    :param leftover: what had come behind the request
    :param count: told 1 when a forwarded connection is open and -1 when it is not any more
    """

    def __init__(
        self,
        connection: Connection,
        pod: PodState,
        behaviour: Behaviour,
        leftover: bytes,
        count: Callable[[int], None],
    ) -> None:
        self._connection = connection
        self._behaviour = behaviour
        self._reader = frames.FrameReader(max_payload=None)
        self._reader.feed(leftover)
        self._judge = FrameJudge()
        self._link = TunnelLink(connection, behaviour)
        self._pairs = TunnelPairs(self._link, pod, count)
        self._queues: list[asyncio.Queue[StreamEvent]] = [asyncio.Queue(_QUEUE) for _ in range(_WORKERS)]
        self._handled = 0
        self._dead = False
        self._ending: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve until the client leaves and all that it has said is delivered."""
        for extra in self._behaviour.inject:
            if extra.when == "start":
                await self._connection.send(
                    frames.encode_frame(extra.opcode, extra.payload, fin=extra.fin, rsv=extra.rsv, masked=extra.masked)
                )
        helpers = [asyncio.create_task(self._link.run()), *(asyncio.create_task(self._work(q)) for q in self._queues)]
        reading = asyncio.create_task(self._read())
        failing = asyncio.create_task(self._link.failed.wait())
        try:
            await asyncio.wait({reading, failing}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                await self._wind_down()
            elif (closing := reading.result()) is not None:
                await self._link.close(closing)
                await self._wind_down()
        finally:
            ending = [self._ending] if self._ending is not None else []
            await cancel_and_wait(reading, failing, *helpers, *ending)
            await self._pairs.aclose()

    # Reading ----------------------------------------------------------------------------------------------------------

    async def _read(self) -> bytes | None:
        """Read until the client leaves; what to close with, None where nobody would take what it has sent."""
        try:
            while (frame := await self._next_frame()) is not None:
                closing = await self._take(frame)
                if closing is not None:
                    return closing
        except OSError:
            pass
        except ClientGone:
            return None
        return _GOOD

    async def _next_frame(self) -> frames.Frame | None:
        while (frame := self._reader.next_frame()) is None:
            data = await self._connection.receive()
            if not data:
                return None
            self._reader.feed(data)
            await asyncio.sleep(0)  # a fast client leaves nothing to wait for, and the workers want their turn
        return frame

    async def _take(self, frame: frames.Frame) -> bytes | None:
        """Handle a frame; what to close with where it ends the tunnel."""
        if complaint := self._judge.complaint(frame):
            return frames.close_payload(1002, complaint)
        if frame.opcode == frames.CLOSE:
            return frame.payload[:2]
        if frame.opcode == frames.TEXT or (self._dead and frame.opcode in _DATA):
            return _GOOD
        if frame.opcode == frames.PING:
            if not self._behaviour.no_pong:
                await self._connection.send(frames.encode_frame(frames.PONG, frame.payload))
        elif frame.opcode in _DATA:
            for event in self._link.spdy.receive(frame.payload):
                await self._dispatch(event)
            self._link.post(self._link.spdy.take_answers())
        return None

    async def _dispatch(self, event: Event) -> None:
        match event:
            case DataReceived(stream_id, data):
                stream = self._link.spdy.streams.get(stream_id)
                early = stream is not None and not stream.replied
                if not (early and self._behaviour.drop_data_before_reply):
                    await self._push(DataReceived(stream_id, bytes(data)))
            case StreamOpened() | StreamEnded() | StreamReset():
                await self._push(event)
            case Failed():
                self._dead = self._link.muted = True
                await self._pairs.aclose()
            case GoneAway():
                self._ending = asyncio.create_task(self._go_away())
            case StreamReplied() | PingAnswered():  # to what a server never says
                pass

    async def _push(self, event: StreamEvent) -> None:
        if not self._behaviour.stall_by_stream_id:
            await self._handle(event)
            return
        queue = self._queues[event.stream_id % _WORKERS]
        if not queue.full():
            queue.put_nowait(event)
            return
        await finish_unless_gone(queue.put(event), self._connection.socket, self._behaviour.half_close_grace)

    # Handling ---------------------------------------------------------------------------------------------------------

    async def _work(self, queue: asyncio.Queue[StreamEvent]) -> None:
        while True:
            await self._handle(await queue.get())
            self._handled += 1
            queue.task_done()

    async def _handle(self, event: StreamEvent) -> None:
        match event:
            case StreamOpened(stream_id, headers, ended):
                self._pairs.opened(stream_id, headers, ended=ended)
            case DataReceived(stream_id, data):
                stream = self._pairs.streams.get(stream_id)
                if stream is not None:
                    await stream.inbox.put(bytes(data))
            case StreamEnded(stream_id):
                self._pairs.ended(stream_id)
            case StreamReset(stream_id):
                self._pairs.reset(stream_id)

    async def _go_away(self) -> None:
        """The client has left SPDY: what it has said is delivered, and it hears nothing any more."""
        await self._end_streams()
        self._link.muted = True

    async def _end_streams(self) -> None:
        """Let what has come be handled, then end all streams; give up when nothing moves."""
        waiting = asyncio.gather(*(queue.join() for queue in self._queues))
        try:
            handled = -1
            while not waiting.done() and handled != self._handled:
                handled = self._handled
                await asyncio.wait({waiting}, timeout=self._behaviour.half_close_grace)
        finally:
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await waiting
        self._pairs.end_all()

    async def _wind_down(self) -> None:
        """The client is gone: deliver what it has said, and give what is forwarded its time to end."""
        await self._end_streams()
        if self._pairs.tasks:
            await asyncio.wait(tuple(self._pairs.tasks), timeout=2 * self._behaviour.half_close_grace + 0.1)
