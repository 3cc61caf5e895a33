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
from typing import Final

import anyio
from anyio.lowlevel import checkpoint

from kubex_stream.client.observer import Observer
from kubex_stream.client.options import ClientOptions
from kubex_stream.client.websocket import WebSocketConnection
from kubex_stream.errors import ConnectionLost, KubexClientException, UnreadChannelError
from kubex_stream.protocol.channels import ERROR_CHANNEL, STDERR_CHANNEL, STDOUT_CHANNEL, ChannelProtocol
from kubex_stream.session.buffer import ChannelBuffer
from kubex_stream.session.ending import Ending, EndingReader, StatusReader, broken
from kubex_stream.session.leaving import let_go
from kubex_stream.session.sender import Sender
from kubex_stream.statistics import SessionStatistics

__all__ = ("ChannelSession", "Message", "Sink", "output_buffers")

Message = bytes | memoryview
Sink = Callable[[Message], object]

#: From this size on, a view costs less than a copy that is copied again.
_VIEW_FROM: Final = 4096
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
        self.bytes_in = self.frames_in = self.spooled = 0
        self.rtt: float | None = None
        self.outputs = outputs
        # The observer is told of every message, so only where it listens.
        self._observer = observer if type(observer).frame is not Observer.frame else None
        self.input = Sender(
            connection,
            chunk_size=options.stdin_chunk_size,
            ended=lambda: self.ending is not None,
            statistics=lambda: self.statistics,
            sent=None if self._observer is None else self._tell_sent,
        )
        self._last_seen = time.monotonic()
        self._status = status or StatusReader(protocol)
        self._changed = anyio.Event()
        self._waiting = 0

    # Output -----------------------------------------------------------------------------------------------------------

    async def receive(self, buffer: ChannelBuffer) -> bytes:
        """The next piece of one output; a cancelled call loses nothing.

        :raises anyio.EndOfStream: the process has ended and everything was handed out
        """
        buffer.touched = True
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
                raise self._end_of_output(self.ending)
            payload = await self._advance(buffer)
            if payload:
                return payload

    def receive_nowait(self, buffer: ChannelBuffer) -> bytes:
        """What is there of one output, without waiting; asks the keeper to read when there is nothing.

        :raises anyio.WouldBlock: nothing is there now
        """
        buffer.touched = True
        if buffer.size:
            return self._take(buffer)
        if self.ending is not None:
            raise self._end_of_output(self.ending)
        self.poked.set()
        raise anyio.WouldBlock

    @staticmethod
    def _end_of_output(ending: Ending) -> Exception:
        # The one error may be raised often; each time would add to its traceback.
        return anyio.EndOfStream() if ending.error is None else ending.error.with_traceback(None)

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
                if message and (sink := sinks.get(message[0])) is not None:
                    self._count(message)
                    self.bytes_in += len(message) - 1
                    if len(message) > 1:
                        sink(memoryview(message)[1:] if len(message) > _VIEW_FROM else message[1:])
                elif message:
                    self._accept(message, None)
        finally:
            self.reading = False
            self._notify()
        return self.ending

    async def read_ahead(self) -> None:
        """Read one message into the buffers, on behalf of consumers that are not waiting."""
        self.reading = True
        try:
            message = await self._next_message()
            if message:
                self._accept(message, None)
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

    def fullest(self) -> ChannelBuffer | None:
        """The output that holds most, where one was requested."""
        return max(self.outputs.values(), key=lambda buffer: buffer.size, default=None)

    def turn_off(self, buffer: ChannelBuffer) -> None:
        """Drop what an output holds and what will come of it."""
        buffer.close()
        self._notify()

    def _take(self, buffer: ChannelBuffer) -> bytes:
        was_full = buffer.full
        piece = buffer.take()
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
                raise self._unread(full)
            return None
        self.reading = True
        try:
            message = await self._next_message()
        finally:
            self.reading = False
            self._notify()
        return self._accept(message, wanted) if message else None

    async def _change(self) -> None:
        self._waiting += 1
        try:
            await self._changed.wait()
        finally:
            self._waiting -= 1

    def _notify(self) -> None:
        if self._waiting:
            self._changed.set()
            self._changed = anyio.Event()

    def _unread(self, buffer: ChannelBuffer) -> UnreadChannelError:
        return UnreadChannelError(
            f"{buffer.size} bytes of {buffer.name} are waiting and nobody has ever received them, so nothing more can come: receive "
            f"{buffer.name} in a task of its own, or do not request it ({buffer.name}=False)",
            statistics=self.statistics,
        )

    # Messages ---------------------------------------------------------------------------------------------------------

    async def _next_message(self) -> Message | None:
        """One message; None when there is none because the session has ended with this."""
        try:
            return await self.connection.receive_view()
        except StopAsyncIteration:
            self.end(self._status.closed(self.connection.close_code, self.statistics))
        except KubexClientException as error:
            self.end(broken(error, self.statistics))
        except Exception as error:  # noqa: BLE001  # of whatever library a transport is made; the session must not be left without an ending
            lost = ConnectionLost(f"the transport failed: {error!r}", statistics=self.statistics)
            lost.__cause__ = error
            self.end(Ending(error=lost))
        return None

    def _count(self, message: Message) -> None:
        self.frames_in += 1
        if self._observer is not None:
            self._observer.frame(self.path, sent=False, channel=message[0], size=len(message) - 1)

    def _accept(self, message: Message, wanted: ChannelBuffer | None) -> bytes | None:
        """Put a message where it belongs; the payload itself where it belongs to ``wanted``, which is empty."""
        self._count(message)
        channel = message[0]
        buffer = self.outputs.get(channel)
        if buffer is not None:
            payload = bytes(message[1:])
            self.bytes_in += len(payload)
            if buffer is wanted and not buffer.closed:
                return payload
            if payload and buffer.put(payload):
                self.spooled += len(payload)
            self._notify()
            return None
        if channel == ERROR_CHANNEL:
            ending = self._status.add(message[1:], self.statistics)
            if ending is not None:
                self.end(ending)
        elif len(message) > 1:
            _logger.debug("%s: dropped %d bytes for channel %d", self.path, len(message) - 1, channel)
        return None

    def end(self, ending: Ending) -> None:
        """Set the ending, where there is none yet, and wake whoever waits."""
        if self.ending is None:
            self.ending = ending
        self.poked.set()
        self._notify()

    def _tell_sent(self, channel: int, size: int) -> None:
        if self._observer is not None:
            self._observer.frame(self.path, sent=True, channel=channel, size=size)

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
        timeout = self.options.close_timeout + 1
        try:
            await let_go(self.connection, timeout=timeout, path=self.path, at_once=kill and not ended)
        finally:
            for buffer in self.outputs.values():
                buffer.close()


def output_buffers(options: ClientOptions, *, stdout: bool, stderr: bool, merge: bool) -> dict[int, ChannelBuffer]:
    """The buffers of the output channels that are requested.

    :param merge: stderr goes where stdout goes
    """
    outputs = {}
    if stdout:
        outputs[STDOUT_CHANNEL] = ChannelBuffer("stdout", options.stream_buffer_size)
    if stderr:
        outputs[STDERR_CHANNEL] = (
            outputs[STDOUT_CHANNEL] if merge else ChannelBuffer("stderr", options.stream_buffer_size)
        )
    return outputs
