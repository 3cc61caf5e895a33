"""One WebSocket, demultiplexed by whoever waits for it.

Rules of this file:
- Exactly one task reads the connection at a time, and it is one that waits for output: no pump task and no queue stands between the
  socket and the consumer.  What it reads for others goes into their buffers; when it leaves, a waiting one takes over.
- A full buffer means that nobody reads, unless the keeper spools (see :mod:`kubex_stream.session.keeper`).  Nothing is dropped, but what
  belongs to a channel that was turned off, closed by its consumer, or is unknown.
- An ending is set once, and handed out after every byte that came before it.
- Channel numbers and layout are :mod:`kubex_stream.protocol.channels`; what a Status means is :mod:`kubex_stream.protocol.status`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import anyio
from anyio.lowlevel import checkpoint

from kubex_stream.client.observer import Observer
from kubex_stream.client.options import ClientOptions
from kubex_stream.client.websocket import WebSocketConnection
from kubex_stream.protocol.channels import ERROR_CHANNEL, ChannelProtocol
from kubex_stream.session.buffer import ChannelBuffer
from kubex_stream.session.ending import Ending, EndingReader, StatusReader, broken
from kubex_stream.session.leaving import let_go
from kubex_stream.session.sender import Sender
from kubex_stream.statistics import SessionStatistics

__all__ = ("JOIN", "ChannelSession", "Sink")

Sink = Callable[[bytes], object]

#: Bytes up to which small messages become one piece.
JOIN: Final = 32 * 1024
_logger = logging.getLogger("kubex_stream")


class ChannelSession:
    """The state of one exec or attach session, and the only user of its connection.

    :param path: of the request, for the observer
    :param outputs: the output channels that were requested; two may share a buffer (stderr merged into stdout)
    :param status: what understands channel 3 and the server's Close; None for a process's Status
    """

    def __init__(
        self,
        connection: WebSocketConnection,
        protocol: ChannelProtocol,
        options: ClientOptions,
        *,
        path: str,
        outputs: Mapping[int, ChannelBuffer],
        observer: Observer,
        status: EndingReader | None = None,
    ) -> None:
        self.connection = connection
        self.protocol = protocol
        self.options = options
        self.path = path
        self.ending: Ending | None = None
        #: Whether some task is inside a receive of the connection.
        self.reading = False
        #: Set to make the keeper read now; replaced by the keeper.
        self.poked = anyio.Event()
        self.bytes_in = self.frames_in = self.spooled = self._waiting = 0
        self.rtt: float | None = None
        self.outputs = outputs
        # The observer is told of each message by itself, so only where it listens.
        self._observer = observer if type(observer).frame is not Observer.frame else None
        self.input = Sender(
            connection,
            chunk_size=options.stdin_chunk_size,
            ended=lambda: self.ending is not None,
            arrived=lambda: self.frames_in,
            statistics=lambda: self.statistics,
            sent=None if self._observer is None else partial(self._tell, sent=True),
        )
        #: Bytes up to which small messages become one piece; 0 where their boundaries say something.
        self.join = JOIN
        self._receive = connection.receive_payload
        #: Whether the session goes on and no buffer holds anything.
        self._calm = True
        self._last_seen = time.monotonic()
        self._status = status or StatusReader(protocol)
        self._changed: anyio.Event | None = None  # made by whoever waits for it

    # Output -----------------------------------------------------------------------------------------------------------

    async def receive(self, buffer: ChannelBuffer, end: type[Exception] = anyio.EndOfStream) -> bytes:
        """The next piece of one output; a cancelled call loses nothing.

        :param end: is raised when the process has ended and everything was handed out
        :raises anyio.BusyResourceError: another task is receiving this output
        """
        # The hot path: where nothing is kept, whoever wants something reads it, and no other coroutine stands between it and the transport.
        while self._calm and self._observer is None and not (self.reading or buffer.receiving or buffer.closed):
            self.reading = buffer.touched = buffer.receiving = True
            try:
                channel, payload, messages = await self._receive(self.join)
            except Exception as error:  # noqa: BLE001  # of whatever library a transport is made
                self._receive_failed(error)
                break
            finally:
                self.reading = buffer.receiving = False
                if self._waiting:
                    self._notify()
            if channel == buffer.channel and not buffer.closed:
                self.frames_in += messages
                self.bytes_in += len(payload)
            else:
                payload = self._accept(channel, payload, messages, buffer) or b""
            if payload:
                return payload
        return await self._receive_in_turn(buffer, end)

    async def _receive_in_turn(self, buffer: ChannelBuffer, end: type[Exception]) -> bytes:
        """The same where something is kept, another task reads, or the session has ended."""
        if buffer.receiving:
            raise anyio.ClosedResourceError if buffer.closed else anyio.BusyResourceError("receiving from")
        buffer.touched = buffer.receiving = True
        try:
            while True:
                if buffer.size:
                    if buffer.full:
                        await checkpoint()  # a long spool is read without ever waiting for the socket
                        if not buffer.size:
                            continue  # closed meanwhile
                    return self._take(buffer)
                if buffer.closed:
                    raise anyio.ClosedResourceError
                if self.ending is not None:
                    raise self.ending.of_output(end)
                payload = await self._advance(buffer)
                if payload:
                    return payload
        finally:
            buffer.receiving = False

    def receive_nowait(self, buffer: ChannelBuffer) -> bytes:
        """What is there of one output, without waiting; asks the keeper to read when there is nothing.

        :raises anyio.WouldBlock: nothing is there now
        """
        buffer.touched = True
        if buffer.size:
            return self._take(buffer)
        if self.ending is not None:
            raise self.ending.of_output(anyio.EndOfStream)
        self.poked.set()
        raise anyio.WouldBlock

    async def wait(self) -> Ending:
        """Read until the session has ended; output goes to the buffers.

        :raises UnreadChannelError: a buffer is full that nobody has ever read
        """
        while self.ending is None:
            await self._advance(None)
        return self.ending

    async def drain(self, sinks: Mapping[int, Sink]) -> Ending:
        """Read until the session has ended, giving each payload to the sink of its channel; for one task that takes everything."""
        self.reading = True
        try:
            while self.ending is None:
                message = await self._next_message()
                if message is None:
                    break
                channel, payload, messages = message
                sink = sinks.get(channel)
                if sink is None:
                    self._accept(channel, payload, messages)
                    continue
                self.frames_in += messages
                self.bytes_in += len(payload)
                self._tell(channel, len(payload))
                sink(payload)
        finally:
            self.reading = False
            self._notify()
        assert self.ending is not None
        return self.ending

    async def read_ahead(self) -> None:
        """Read one message into the buffers, on behalf of consumers that are not waiting."""
        self.reading = True
        try:
            message = await self._next_message()
            if message is not None:
                self._accept(*message)
        finally:
            self.reading = False
            self._notify()

    @property
    def contended(self) -> bool:
        """Whether a consumer is waiting that could read by itself."""
        return self._waiting > 0 and not any(buffer.full for buffer in self.outputs.values())

    @property
    def ended(self) -> bool:
        """Whether there is an ending."""
        return self.ending is not None

    def turn_off(self, buffer: ChannelBuffer) -> None:
        """Drop what an output holds and what will come of it."""
        buffer.close()
        self._settle()
        self._notify()

    def _settle(self) -> None:
        self._calm = self.ending is None and not any(buffer.size for buffer in self.outputs.values())

    def _take(self, buffer: ChannelBuffer) -> bytes:
        was_full = buffer.full
        piece = buffer.take()
        if not buffer.size:
            self._settle()
        if was_full and not buffer.full:
            self._notify()
        return piece

    async def _advance(self, wanted: ChannelBuffer | None) -> bytes | None:
        """Read one message, or wait until another task's reading or taking has changed something."""
        if self.reading:
            await self._change()
            return None
        full = next((buffer for buffer in self.outputs.values() if buffer.full), None)
        if full is not None:
            if full.touched:
                await self._change()
                return None
            await checkpoint()  # the task that is to read it may not have run yet
            if full.full and not full.touched:
                raise full.unread(self.statistics)
            return None
        self.reading = True
        try:
            message = await self._next_message()
        finally:
            self.reading = False
            self._notify()
        return None if message is None else self._accept(*message, wanted)

    async def _change(self) -> None:
        self._changed = changed = self._changed or anyio.Event()
        self._waiting += 1
        try:
            await changed.wait()
        finally:
            self._waiting -= 1

    def _notify(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    # Messages ---------------------------------------------------------------------------------------------------------

    async def _next_message(self) -> tuple[int, bytes, int] | None:
        """One message; None when there is none because the session has ended with this."""
        try:
            return await self._receive(self.join if self._observer is None else 0)
        except Exception as error:  # noqa: BLE001  # as above
            self._receive_failed(error)
        return None

    def _receive_failed(self, error: Exception) -> None:
        """The connection has no more messages: that is the ending, where there is none yet."""
        if isinstance(error, StopAsyncIteration):
            self.end(self._status.closed(self.connection.close_code, self.statistics))
        else:
            self.end(broken(error, self.statistics))

    def _tell(self, channel: int, size: int, *, sent: bool = False) -> None:
        if self._observer is not None:
            self._observer.frame(self.path, sent=sent, channel=channel, size=size)

    def _accept(self, channel: int, payload: bytes, messages: int, wanted: ChannelBuffer | None = None) -> bytes | None:
        """Put a message, or several, where they belong; the payload itself where it belongs to ``wanted``, which is empty."""
        if channel < 0:
            return None  # an empty message is nobody's
        self.frames_in += messages
        self._tell(channel, len(payload))
        buffer = self.outputs.get(channel)
        if buffer is not None:
            self.bytes_in += len(payload)
            if buffer is wanted and not buffer.closed:
                return payload
            if payload and buffer.put(payload):
                self.spooled += len(payload)
            self._calm = self._calm and not buffer.size
            self._notify()
        elif channel == ERROR_CHANNEL:
            ending = self._status.add(payload, self.statistics)
            if ending is not None:
                self.end(ending)
        elif payload:
            _logger.debug("%s: dropped %d bytes for channel %d", self.path, len(payload), channel)
        return None

    def end(self, ending: Ending) -> None:
        """Set the ending, where there is none yet, and wake whoever waits."""
        if self.ending is None:
            self.ending = ending
            self._calm = False
        self.poked.set()
        self._notify()

    # State ------------------------------------------------------------------------------------------------------------

    def seen_alive(self) -> None:
        """Note that something arrived just now."""
        self._last_seen = time.monotonic()

    @property
    def statistics(self) -> SessionStatistics:
        """The numbers of this session now."""
        last = max(self._last_seen, self.connection.last_activity or 0.0)
        return SessionStatistics(
            bytes_in=self.bytes_in,
            bytes_out=self.input.bytes_out,
            frames_in=self.frames_in,
            frames_out=self.input.frames_out,
            idle_seconds=max(0.0, time.monotonic() - last),
            rtt=self.rtt,
            spooled=self.spooled,
        )

    async def leave(self, *, kill: bool = False) -> None:
        """Close the connection and let go of everything; bounded by the close timeout.

        :param kill: where the process has not ended, end TCP without a Close frame, which on v4 kills it
        """
        ended = self.ending is not None
        self.end(Ending(error=anyio.ClosedResourceError()))
        try:
            timeout = self.options.close_timeout + 1
            await let_go(self.connection, timeout=timeout, path=self.path, at_once=kill and not ended)
        finally:
            for buffer in self.outputs.values():
                buffer.close()
