"""A forwarded connection as a socket, and as asyncio's reader and writer.

Both belong to one end of a socket pair; at the other end the bytes are carried.  That costs a copy, and buys everything that libraries do
with a socket or a writer: TLS over it, ``get_extra_info``, back-pressure by ``drain``.

Rules of this file:
- A socket pair knows no reset: a failure reaches the near end as an end, so it is noted first, where whoever reads that end looks it up.
- What came before a failure is handed out before it.  So what is written after one is read away: an error for the writer would destroy
  what the reader has not taken yet, and a full socket would block the writer for ever.
- Nothing here raises into the task group that carries: one connection's trouble is its own.
"""

from __future__ import annotations

import asyncio
import logging
import select
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Final

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from kubex_stream.client.event_loops import running_event_loop
from kubex_stream.errors import PortForwardError
from kubex_stream.session.forward_stream import PortForwardStream

__all__ = ("ForwardedSocket", "asyncio_streams")

_PIECE: Final = 64 * 1024
#: Seconds without progress after which what was written last is given up, when the writer is left.
_DELIVERY: Final = 2.0
#: Seconds between two looks whether the near end, which has ended its direction, is still there.
_LOOK: Final = 1.0
#: Seconds for the transports of a writer to close.
_CLOSING: Final = 1.0
_logger = logging.getLogger("kubex_stream")


class ForwardedSocket:
    """A connected socket that is as good as a connection to a port of a pod.

    :ivar socket: the near end, which does not block; whoever got this object closes it
    :ivar failure: how the connection failed, None while it has not.  The socket itself shows no more than an end then.
    :ivar refusal: why the pod takes no more input, though the connection has come to its end in order; None while it does
    """

    def __init__(self, stream: PortForwardStream) -> None:
        self._stream = stream
        self.failure: PortForwardError | None = None
        self.refusal: PortForwardError | None = None
        #: Set when nothing that was written is on its way here any more.
        self.sent = anyio.Event()
        self._received = anyio.Event()  # set when nothing comes from the pod any more
        #: Bytes that were sent to the pod.
        self.bytes_out = 0
        self.socket, self._far = socket.socketpair()
        for each in (self.socket, self._far):
            each.setblocking(False)

    @classmethod
    async def serving(cls, stream: PortForwardStream, tasks: TaskGroup) -> ForwardedSocket:
        """One for ``stream``, carried in ``tasks``; when that cannot be, ``stream`` is closed."""
        try:
            end = cls(stream)
            try:
                tasks.start_soon(end._serve)
            except BaseException:
                end.socket.close()
                end._far.close()
                raise
        except BaseException:
            with anyio.CancelScope(shield=True):
                await stream.aclose()
            raise
        return end

    async def _serve(self) -> None:
        try:
            await self.carry()
        finally:
            with anyio.CancelScope(shield=True):
                await self._stream.aclose()

    async def carry(self) -> None:
        """Carry both ways until both have ended, or the near end is closed."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._to_near)
                await self._from_near(tasks)
        finally:
            self._far.close()

    # From the pod -----------------------------------------------------------------------------------------------------

    async def _to_near(self) -> None:
        try:
            while True:
                await self._push(await self._stream.receive(_PIECE))
        except PortForwardError as error:
            self.failure = error
        except (anyio.EndOfStream, anyio.ClosedResourceError, OSError):
            pass  # an end in order, or nobody is there any more
        except Exception as error:
            _logger.exception("%r: carrying failed", self._stream)
            self.failure = self._broken(error)
        with suppress(OSError):
            self._far.shutdown(socket.SHUT_WR)
        self._received.set()

    async def _push(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self._far.send(view) :]
            except (BlockingIOError, InterruptedError):
                await anyio.wait_writable(self._far)

    # To the pod -------------------------------------------------------------------------------------------------------

    async def _from_near(self, tasks: TaskGroup) -> None:
        try:
            while data := await self._pull():
                if not await self._send(data):
                    self.sent.set()  # in as far as it can be
            if not self._hung_up():
                await self._end_input()
                self.sent.set()
                # No event tells when the near end, which has said all it will, is closed altogether.
                while not self._hung_up() and not self._received.is_set():
                    with anyio.move_on_after(_LOOK):
                        await self._received.wait()
        except OSError:
            pass  # closed by its owner, who had not read everything
        except Exception as error:
            _logger.exception("%r: carrying failed", self._stream)
            self.failure = self.failure or self._broken(error)
        finally:
            self.sent.set()
        tasks.cancel_scope.cancel()

    async def _pull(self) -> bytes:
        await checkpoint()
        while True:
            try:
                return self._far.recv(_PIECE)
            except (BlockingIOError, InterruptedError):
                await anyio.wait_readable(self._far)

    async def _send(self, data: bytes) -> bool:
        if self.failure is None and self.refusal is None:
            try:
                await self._stream.send(data)
            except PortForwardError as error:
                self.refusal = error
            except anyio.ClosedResourceError:
                self.refusal = self._broken("closed on this side")
            else:
                self.bytes_out += len(data)
                return True
        return False

    async def _end_input(self) -> None:
        if self.failure is None and self.refusal is None:
            with suppress(PortForwardError, anyio.ClosedResourceError):  # the other direction tells
                await self._stream.send_eof()

    def _hung_up(self) -> bool:
        """Whether the near end is closed, not only for sending; not known everywhere, and then found out by sending to it."""
        if sys.platform != "linux":
            return self._far.fileno() < 0
        poll = select.poll()
        poll.register(self._far, 0)
        return any(events & select.POLLHUP for _, events in poll.poll(0))

    def __repr__(self) -> str:
        return f"<ForwardedSocket of {self._stream!r}>"

    def _broken(self, why: object) -> PortForwardError:
        return PortForwardError(f"the connection to port {self._stream.port} failed: {why}", port=self._stream.port)


# Reader and writer ----------------------------------------------------------------------------------------------------


class _Reader(asyncio.StreamReader):
    """A reader that tells how the connection failed, once everything that came before has been read."""

    def __init__(self, end: ForwardedSocket, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._end = end
        #: Whether its transport is gone.
        self.lost = False

    def exception(self) -> Exception | None:
        """What ``drain`` of the writer raises."""
        return self._end.failure or self._end.refusal or super().exception()

    def _check(self) -> None:
        if self._end.failure is not None and self.at_eof():
            raise self._end.failure.with_traceback(None)

    async def read(self, n: int = -1) -> bytes:
        data = await super().read(n)
        if not data and n:
            self._check()
        return data

    async def readline(self) -> bytes:
        line = await super().readline()
        if not line:
            self._check()
        return line

    async def readuntil(self, separator: bytes = b"\n") -> bytes:  # type: ignore[override]
        try:
            return await super().readuntil(separator)
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise error from self._end.failure
            self._check()
            raise

    async def readexactly(self, n: int) -> bytes:
        try:
            return await super().readexactly(n)
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise error from self._end.failure
            self._check()
            raise


class _Protocol(asyncio.StreamReaderProtocol):
    def __init__(self, reader: _Reader, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(reader, loop=loop)
        self._own_reader = reader

    def connection_lost(self, exc: Exception | None) -> None:
        self._own_reader.lost = True
        super().connection_lost(exc)


@asynccontextmanager
async def asyncio_streams(
    stream: PortForwardStream,
) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter], None]:
    """``stream`` as a reader and a writer, while the block lasts; ``stream`` itself is not closed.

    Leaving the block closes the writer, and waits for what was written for as long as the pod takes some of it within 2 s; leaving it by an
    error, or cancelled, waits for nothing.

    :raises RuntimeError: the event loop is not asyncio's
    """
    if running_event_loop() != "asyncio":
        raise RuntimeError("asyncio's readers and writers need asyncio; on this event loop use connect()")
    end = ForwardedSocket(stream)
    async with _carried(end):
        reader, writer = await _opened(end)
        try:
            yield reader, writer
            writer.close()
            await _delivered(end)
        finally:
            if not reader.lost:  # asyncio's transports cannot be aborted twice
                writer.transport.abort()  # not the one that was made: start_tls puts another one in its place
            with anyio.CancelScope(shield=True), anyio.move_on_after(_CLOSING), suppress(Exception):
                await writer.wait_closed()


@asynccontextmanager
async def _carried(end: ForwardedSocket) -> AsyncGenerator[None, None]:
    tasks = anyio.create_task_group()
    await tasks.__aenter__()
    try:
        tasks.start_soon(end.carry)
        yield
    finally:
        # Not as a block of its own: it would wrap whatever the caller raises.
        tasks.cancel_scope.cancel()
        await tasks.__aexit__(None, None, None)


async def _opened(end: ForwardedSocket) -> tuple[_Reader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = _Reader(end, loop)
    protocol = _Protocol(reader, loop)
    try:
        transport, _ = await loop.create_connection(lambda: protocol, sock=end.socket)
    except BaseException:
        end.socket.close()
        raise
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def _delivered(end: ForwardedSocket) -> None:
    """Wait until what was written has been sent, for as long as there is progress."""
    while not end.sent.is_set():
        before = end.bytes_out
        with anyio.move_on_after(_DELIVERY):
            await end.sent.wait()
            return
        if end.bytes_out == before:
            _logger.warning("%r: given up with something unsent, as the pod took nothing for %g s", end, _DELIVERY)
            return
