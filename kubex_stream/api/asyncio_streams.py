"""A forwarded connection as asyncio's reader and writer.

They belong to one end of a socket pair; at the other end the bytes are carried.  That costs a copy, and buys everything that libraries do
with a writer: TLS over it, ``get_extra_info``, back-pressure by ``drain``.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Final

import anyio

from kubex_stream.client.event_loops import running_event_loop
from kubex_stream.errors import PortForwardError
from kubex_stream.session.forward_stream import PortForwardStream

__all__ = ("Bridge", "asyncio_streams", "bridged")

_PIECE: Final = 64 * 1024
#: Seconds for what was written last to be sent, when the writer is closed.
_DELIVERY: Final = 2.0


class _Reader(asyncio.StreamReader):
    """A reader that tells how the connection failed, once everything that came before has been read."""

    bridge: Bridge | None = None

    def _check(self) -> None:
        if self.bridge is not None and self.bridge.failure is not None and self.at_eof():
            raise self.bridge.failure.with_traceback(None)

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

    async def readexactly(self, n: int) -> bytes:
        try:
            return await super().readexactly(n)
        except asyncio.IncompleteReadError as error:
            if not error.partial:
                self._check()
            raise


class Bridge:
    """Carries bytes between a stream and one end of a socket pair."""

    def __init__(self, stream: PortForwardStream, far: socket.socket) -> None:
        self._stream = stream
        self._far = far
        self._loop = asyncio.get_running_loop()
        #: How the stream failed.
        self.failure: PortForwardError | None = None
        #: Set when everything that was written has been sent.
        self.sent = anyio.Event()

    async def to_near(self) -> None:
        """From the pod to the other end."""
        try:
            while True:
                await self._loop.sock_sendall(self._far, await self._stream.receive(_PIECE))
        except PortForwardError as error:
            self.failure = error
        except (anyio.EndOfStream, anyio.ClosedResourceError, OSError):
            pass  # an end in order, or nobody is there any more
        with suppress(OSError):
            self._far.shutdown(socket.SHUT_WR)

    async def from_near(self) -> None:
        """From the other end to the pod."""
        try:
            while data := await self._loop.sock_recv(self._far, _PIECE):
                await self._stream.send(data)
            await self._stream.send_eof()
        except (PortForwardError, anyio.ClosedResourceError, OSError):
            pass  # the reader tells
        finally:
            self.sent.set()


@asynccontextmanager
async def bridged(stream: PortForwardStream) -> AsyncGenerator[tuple[socket.socket, Bridge], None]:
    """A connected socket that is as good as ``stream``, while the block lasts.  Whoever gets the socket closes it.

    Leaving the block waits a moment for what was written to be sent, unless it is left by an error.
    """
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    bridge = Bridge(stream, far)
    tasks = anyio.create_task_group()
    await tasks.__aenter__()
    try:
        tasks.start_soon(bridge.to_near)
        tasks.start_soon(bridge.from_near)
        yield near, bridge
        with anyio.move_on_after(_DELIVERY):
            await bridge.sent.wait()
    finally:
        tasks.cancel_scope.cancel()
        await tasks.__aexit__(None, None, None)
        far.close()


@asynccontextmanager
async def asyncio_streams(
    stream: PortForwardStream,
) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter], None]:
    """``stream`` as a reader and a writer, while the block lasts; ``stream`` itself is not closed.

    :raises RuntimeError: the event loop is not asyncio's
    """
    if running_event_loop() != "asyncio":
        raise RuntimeError("asyncio's readers and writers need asyncio; on this event loop use connect()")
    async with bridged(stream) as (near, bridge):
        loop = asyncio.get_running_loop()
        reader = _Reader(loop=loop)
        reader.bridge = bridge
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.create_connection(lambda: protocol, sock=near)
        try:
            yield reader, asyncio.StreamWriter(transport, protocol, reader, loop)
            transport.close()
        except BaseException:
            transport.abort()
            raise
