"""A forwarded connection in a tunnel: two SPDY streams, of which one carries data and one the server's verdict.

Rules of this file:
- The data stream's end says nothing yet: a refused dial begins with it.  The verdict is the error stream's end, with or without a text
  (k8s.io/cri-streaming portforward/httpstream.go; containerd ends the data stream by itself).
- Everything that came is handed out before the verdict.
- A connection that is closed here stays in its tunnel until the server has ended it too.  Only then is the tunnel clean again, and only
  then is it known that what was sent has been delivered: nothing else on the wire acknowledges it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import anyio
from anyio.lowlevel import checkpoint

from kubex_stream.errors import PortForwardError
from kubex_stream.protocol.portforward import explain
from kubex_stream.session.buffer import ChannelBuffer
from kubex_stream.session.conduit import Conduit, EndOfInput
from kubex_stream.statistics import SessionStatistics

if TYPE_CHECKING:
    from kubex_stream.session.tunnel import Tunnel

__all__ = ("Pair",)

#: Bytes of an error text that are kept.
_LONGEST_TEXT: Final = 16 * 1024
#: Seconds from the end of input until containerd cuts a connection; what ends sooner was ended by the pod.
CUT_AFTER: Final = 1.0
#: Seconds that the error stream may take to end after the data stream.
VERDICT_TIMEOUT: Final = 10.0
#: Seconds that a connection closed here may take to end at the server.
DRAIN_TIMEOUT: Final = 5.0


class Pair(Conduit):
    """One connection of a tunnel."""

    def __init__(self, tunnel: Tunnel, port: int, end_of_input: EndOfInput) -> None:
        super().__init__(port, end_of_input)
        self.tunnel = tunnel
        self.buffer = ChannelBuffer(f"port {port}", tunnel.options.stream_buffer_size)
        self.data_id = self.error_id = 0
        #: Which of the two streams the server has accepted; the connection is open when both are in.
        self.replied: set[int] = set()
        #: Whether the server has ended it, in order or not; after this nothing comes.
        self.over = False
        self.closed = False
        #: Whether the server's answer is awaited, by a task that has no use for data.
        self.opening = True
        self._text = bytearray()
        self._data_ended_at: float | None = None
        self._error_ended = self._was_reset = False
        self._end_wanted = self._end_sent = False
        self._end_sent_at = 0.0
        self._closed_at = 0.0
        self._last_arrival = self._last_sent = time.monotonic()
        self._silent_since = 0.0  # as far as the pod is to blame
        self._after_end = False
        self._unanswered = 0  # frames sent since something came
        self.bytes_in = self.bytes_out = self._frames_in = self._frames_out = self.spooled = 0

    # Receiving --------------------------------------------------------------------------------------------------------

    async def receive(self, size: int = 65536) -> bytes:
        self.buffer.touched = True
        while True:
            if self.buffer.size:
                if self.buffer.full:
                    await checkpoint()  # a long spool is read without ever waiting for the socket
                    if not self.buffer.size:
                        continue
                return self.take()
            if self.closed:
                raise anyio.ClosedResourceError
            if self.over:
                raise anyio.EndOfStream if self.failure is None else self.failure.with_traceback(None)
            payload = await self.tunnel.advance(self, size)
            if payload:
                return payload

    def take(self) -> bytes:
        """The oldest bytes that are here."""
        piece = self.buffer.take()
        self._silent_since = time.monotonic()  # it was this side that was slow
        self.tunnel.relieve(self)
        return piece

    async def opened(self) -> None:
        """Wait until the server has answered for both streams.

        :raises PortForwardError: it refused them
        """
        while not (self._answered() or self.over):
            await self.tunnel.advance(self)
        self.opening = False
        if not self._answered():
            raise self.failure or self.error("reset", f"the server refused to forward port {self.port}")

    def _answered(self) -> bool:
        return len(self.replied) == 2 or self.bytes_in > 0  # whoever sends data has accepted

    # What arrives -----------------------------------------------------------------------------------------------------

    def arrived(self, size: int) -> bool:
        """Payload of the data stream has come; True where whoever reads for this connection can have it without its being kept."""
        self.bytes_in += size
        self._frames_in += 1
        self._unanswered = 0
        self._last_arrival = self._silent_since = time.monotonic()
        self._after_end |= self._end_sent
        return not (self.opening or self.closed or self.buffer.size)

    def put(self, payload: bytes) -> None:
        """Keep payload for the consumer."""
        if payload and self.buffer.put(payload):
            self.spooled += len(payload)

    def error_text(self, payload: bytes) -> None:
        """Payload of the error stream."""
        self._text += payload[: _LONGEST_TEXT - len(self._text)]

    def stream_ended(self, stream_id: int, *, reset: bool) -> None:
        """One of the streams has come to its end."""
        self._was_reset |= reset
        if stream_id == self.error_id:
            self._error_ended = True
            # With the verdict spoken, a data stream that is still open has nothing more to tell.
            if self._text or reset:
                self.conclude()
        elif self._data_ended_at is None:
            self._data_ended_at = time.monotonic()
        if self._data_ended_at is not None and self._error_ended:
            self.conclude()

    def conclude(self, failure: PortForwardError | None = None) -> None:
        """It is over; how it failed is known, or follows from what the server said."""
        if not self.over:
            self.over = True
            # Data that reaches a server after it has ended the stream stops one of its five workers for good, at the second frame.
            self.tunnel.spoiled |= self._unanswered > 1
            self.failure = failure if failure is not None and not self._text else self._verdict()
            self.tunnel.concluded(self)

    def lost(self, cause: Exception) -> PortForwardError:
        """How it fails with its tunnel."""
        error = self.error("lost", f"the connection to port {self.port} broke with its tunnel to the pod: {cause}")
        error.__cause__ = cause
        return error

    def _verdict(self) -> PortForwardError | None:
        if self._text:
            trouble = explain(self._text.decode(errors="replace"), self.port)
            return self.error(trouble.kind, trouble.text)
        if self._was_reset:
            return self.error("reset", f"the connection to port {self.port} was reset")
        if self._after_end and self.end_of_input.cuts and time.monotonic() - self._end_sent_at >= CUT_AFTER:
            return self.error(
                "cut",
                f"the answer from port {self.port} may be incomplete: the pod's container runtime cuts a connection one second after the "
                f"end of its input, which was passed on after {self.end_of_input.patience:g} s of silence; see half_close_delay",
            )
        return None

    # Sending ----------------------------------------------------------------------------------------------------------

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        size = self.tunnel.options.stdin_chunk_size
        self._check_sendable()
        if type(data) is bytes and 0 < len(data) <= size:
            await self._send_frame(data)
            return
        view = memoryview(data).cast("B")
        for start in range(0, len(view), size):
            await self._send_frame(view[start : start + size])

    async def _send_frame(self, payload: bytes | memoryview) -> None:
        await self.tunnel.send(self, payload)
        self.bytes_out += len(payload)
        self._frames_out += 1
        self._unanswered += 1
        self._last_sent = time.monotonic()

    def check_open(self) -> None:
        """Raise as :meth:`send` where nothing can be sent any more."""
        if self.closed:
            raise anyio.ClosedResourceError
        if self.failure is not None:
            raise self.failure.with_traceback(None)
        if self.over:
            raise self.error("closed", f"the pod's server has ended the connection to port {self.port}")

    def _check_sendable(self) -> None:
        self.check_open()
        if self._end_wanted:
            raise anyio.ClosedResourceError

    async def send_eof(self) -> None:
        self.check_open()
        if self._end_wanted:
            return
        self._end_wanted = True
        self._silent_since = time.monotonic()  # an answer to what was sent just now may take its time
        if not self.end_of_input.patience:
            self._queue_end()
        else:
            self.tunnel.poke()

    def _queue_end(self) -> None:
        self._note_end()
        self.tunnel.queue_end(self)

    def _note_end(self) -> None:
        self._end_sent = True
        self._end_sent_at = time.monotonic()

    def unconfirmed(self) -> bool:
        """Whether something was sent last, so that it is not known to have arrived."""
        return not self.over and self.bytes_out > 0 and self._last_sent >= self._last_arrival

    # Closing ----------------------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._closed_at = time.monotonic()
        self.buffer.close()
        self.tunnel.interrupt(self)
        self.tunnel.relieve(self)
        with anyio.CancelScope(shield=True):
            if self.over or self._end_sent or await self._end_in_time():
                self.tunnel.released(self)
            else:
                self.tunnel.abandon(self)

    async def _end_in_time(self) -> bool:
        self._note_end()
        with anyio.move_on_after(self.tunnel.options.close_timeout):
            try:
                await self.tunnel.send(self, b"", fin=True)
            except PortForwardError:
                return False
            except anyio.ClosedResourceError:
                return True  # the server has reset this half
            return True
        return False

    # Time -------------------------------------------------------------------------------------------------------------

    def due(self) -> float | None:
        """When to look at this connection again (``time.monotonic()``), None for never."""
        if self.over:
            return None
        if self.closed:
            return self._closed_at + DRAIN_TIMEOUT
        if self._data_ended_at is not None:
            return self._data_ended_at + VERDICT_TIMEOUT
        if self._end_wanted and not self._end_sent:
            return self._silent_since + self.end_of_input.patience
        return None

    def look(self) -> None:
        """Do what is due."""
        if self.closed:
            self.tunnel.abandon(self)
        elif self._data_ended_at is not None:
            self.conclude(self.error("failed", f"the server ended port {self.port} without saying whether all is well"))
        elif self.buffer.size:
            self._silent_since = time.monotonic()
        else:
            self._queue_end()

    @property
    def statistics(self) -> SessionStatistics:
        return SessionStatistics(
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            frames_in=self._frames_in,
            frames_out=self._frames_out,
            idle_seconds=max(0.0, time.monotonic() - self._last_arrival),
            rtt=self.tunnel.pings.rtt,
            spooled=self.spooled,
        )
