"""Local TCP: listening sockets and accepted connections, on any event loop.

Rules of this file:
- Nothing is read ahead and nothing is kept: what a connection has not been asked for stays in the kernel, so a slow receiver slows its sender
  down.  (anyio's own socket streams on asyncio read on for as long as their queue is not empty, without a limit.)
- Each call tries first and waits only where it has to.
- How a connection ends is chosen: an end, or a reset.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from contextlib import suppress
from typing import Final

import anyio
from anyio.lowlevel import cancel_shielded_checkpoint

from kubex_stream.api.readable import Readable

if sys.platform == "linux":
    import fcntl
    import termios

__all__ = ("LocalConnection", "LocalListener")

#: Bytes that are asked for after a call that brought fewer, and after one that brought as many.  Above 128 KiB an allocator may take the
#: memory from the kernel and give it back each time, which costs five times what a small message does.
_PIECE: Final = 64 * 1024
_LARGE_PIECE: Final = 256 * 1024
_BACKLOG: Final = 1024
_SETTLING: Final = 0.05
#: What a connection that never came to be accepted leaves behind (accept(2) lists them).
_LEFT_EARLY: Final = frozenset(
    {errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENETDOWN, errno.EHOSTUNREACH, errno.ENETUNREACH}
)


class LocalConnection:
    """An accepted connection.  One task receives and one sends at a time."""

    def __init__(self, sock: socket.socket, address: tuple[object, ...] = ()) -> None:
        sock.setblocking(False)
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._readable = Readable(sock)
        self._piece = _PIECE
        self._emptied = False  # whether the last call has taken all that there was
        #: The client's address.
        self.peer = _shown(address)

    async def receive(self) -> bytes:
        """The next bytes; none at the client's end.

        :raises OSError: the client has reset the connection, or it was closed here
        """
        waited = False
        while True:
            if self._emptied:
                await self._readable.wait()
                waited = True
            try:
                data = self._sock.recv(self._piece)
            except BlockingIOError:
                self._emptied = True
                continue
            full = len(data) >= self._piece
            self._emptied = bool(data) and not full
            self._piece = _LARGE_PIECE if full else _PIECE
            if not waited:
                await cancel_shielded_checkpoint()  # a cancelled call loses nothing
            return data

    async def send(self, data: bytes | memoryview) -> None:
        """Hand bytes to the kernel, all of them.

        :raises OSError: the client has gone, or the connection was closed here
        """
        view = memoryview(data)
        while view:
            try:
                view = view[self._sock.send(view) :]
            except BlockingIOError:
                await self._writable()

    async def _writable(self) -> None:
        try:
            await anyio.wait_writable(self._sock)
        except (anyio.ClosedResourceError, ValueError) as error:
            raise OSError(errno.EBADF, "closed here") from error

    def end(self) -> None:
        """Send no more; raises as :meth:`send`."""
        self._sock.shutdown(socket.SHUT_WR)

    async def delivered(self) -> None:
        """Wait until the client has been sent all that was written."""
        if sys.platform != "linux":
            await anyio.sleep(_SETTLING)
            return
        left = bytearray(4)
        with suppress(OSError, ValueError):
            while True:
                fcntl.ioctl(self._sock, termios.TIOCOUTQ, left)
                if not any(left):
                    return
                await anyio.sleep(_SETTLING / 10)  # the kernel tells nobody when its queue runs empty

    def reset(self) -> None:
        """Close it so that the client sees a failure, not an end.  What was not delivered is lost."""
        with suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """Close it."""
        if self._sock.fileno() >= 0:
            self._readable.close()
            self._sock.close()


class LocalListener:
    """A listening socket.

    :param address: an IP address
    :param port: 0 for any free one
    :raises OSError: it cannot be had; the text says which
    """

    def __init__(self, address: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            self._sock = socket.create_server((address, port), family=family, backlog=_BACKLOG)
        except OSError as error:
            raise OSError(error.errno, f"cannot listen on {_shown((address, port))}: {_reason(error)}") from error
        self._sock.setblocking(False)
        self.address = address
        self.port = int(self._sock.getsockname()[1])

    async def accept(self) -> LocalConnection:
        """The next connection.

        :raises anyio.ClosedResourceError: it was closed
        :raises OSError: there are no descriptors left, or the like
        """
        while True:
            try:
                return LocalConnection(*self._sock.accept())
            except BlockingIOError:
                await anyio.wait_readable(self._sock)
            except OSError as error:
                if self._sock.fileno() < 0:
                    raise anyio.ClosedResourceError from None
                if error.errno not in _LEFT_EARLY:
                    raise

    def close(self) -> None:
        """Listen no more."""
        if self._sock.fileno() >= 0:
            anyio.notify_closing(self._sock)
            self._sock.close()


def _reason(error: OSError) -> str:
    # create_server() puts the address into the text once more.
    return (error.strerror or str(error)).partition(" (while attempting")[0]


def _shown(address: tuple[object, ...]) -> str:
    if len(address) < 2:
        return "unknown"
    host = str(address[0])
    return f"[{host}]:{address[1]}" if ":" in host else f"{host}:{address[1]}"
