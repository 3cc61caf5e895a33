"""A server's end of a TCP connection, with or without TLS, on an asyncio loop.

Rules of this file:
- No buffer of its own: ``receive`` takes from the socket when asked and ``send`` returns when the kernel has taken all.  So the
  back-pressure of a reader who stalls, or of a process that does not read, is that of TCP.
- Endings are chosen, not suffered: ``close`` is close_notify and FIN at once, ``reset`` is an RST after what was sent has arrived.
- One receiver at a time; senders queue.
- The event loop forgets a socket before it is closed, and whoever waits for it is told; its number may be another connection's at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import select
import socket
import ssl
import struct
import termios
from collections.abc import Callable
from typing import Final

__all__ = ("Connection", "HangupWatcher")

_RECEIVE_SIZE: Final = 256 * 1024
_TLS_STEP: Final = 64 * 1024
#: How long a closed connection goes on reading, so that what the client still sends does not become an RST that destroys what it has
#: not read yet.
_LINGER: Final = 1.0


class Connection:
    """One accepted connection.

    :param sock: the accepted socket; it is made non-blocking and is closed by this object
    :param context: for TLS; None for plain TCP
    :param on_close: called once, when the socket is closed
    """

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext | None = None,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._on_close = on_close
        self._loop = asyncio.get_running_loop()
        self._send_lock = asyncio.Lock()
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True) if context else None
        self._closed = False
        self._waiters: set[asyncio.Future[None]] = set()
        #: Send one byte at a time.
        self.byte_by_byte = False

    @property
    def closed(self) -> bool:
        """Whether this end has been closed or reset."""
        return self._closed

    @property
    def socket(self) -> socket.socket:
        """The socket underneath."""
        return self._sock

    def peer_certificate(self) -> bool:
        """Whether the client has shown a certificate that its issuer vouches for."""
        return self._tls is not None and bool(self._tls.getpeercert())

    async def handshake(self) -> None:
        """The TLS handshake; nothing on plain TCP.

        :raises ssl.SSLError: the client does not trust us, or speaks something else
        """
        while self._tls is not None:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush_tls()
                data = await self._recv()
                if not data:
                    raise ConnectionResetError("ended during the TLS handshake") from None
                self._incoming.write(data)
            except ssl.SSLError:
                await self._flush_tls()  # the alert
                raise
            else:
                break
        await self._flush_tls()

    async def receive(self) -> bytes:
        """Some bytes, or none at the end, however the client made it.

        :raises OSError: the connection was reset
        """
        if self._tls is None:
            return await self._recv()
        while True:
            data = self._decrypt()
            if data is not None:
                return data
            data = await self._recv()
            if not data:
                return b""
            self._incoming.write(data)

    def _decrypt(self) -> bytes | None:
        assert self._tls is not None
        parts: list[bytes] = []
        while True:
            try:
                part = self._tls.read(_TLS_STEP)
            except ssl.SSLWantReadError:
                return b"".join(parts) if parts else None
            except ssl.SSLError:  # close_notify, or garbage
                part = b""
            if not part:
                return b"".join(parts)
            parts.append(part)

    async def send(self, data: bytes) -> None:
        """Hand ``data`` to the kernel, all of it.

        :raises OSError: the connection is gone
        """
        async with self._send_lock:
            if self._closed:
                raise ConnectionResetError("closed at this end")
            if self.byte_by_byte:
                for index in range(len(data)):
                    await self._send(data[index : index + 1])
                    await asyncio.sleep(0)
            else:
                await self._send(data)

    async def _send(self, data: bytes) -> None:
        if self._tls is None:
            await self._send_all(data)
            return
        view = memoryview(data)
        for start in range(0, len(view), _TLS_STEP):
            self._tls.write(view[start : start + _TLS_STEP])
            await self._flush_tls()

    async def _flush_tls(self) -> None:
        if self._outgoing.pending:
            await self._send_all(self._outgoing.read())

    async def _recv(self) -> bytes:
        while True:
            try:
                return self._sock.recv(_RECEIVE_SIZE)
            except BlockingIOError:
                await self._ready(self._loop.add_reader, self._loop.remove_reader)

    async def _send_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self._sock.send(view) :]
            except BlockingIOError:
                await self._ready(self._loop.add_writer, self._loop.remove_writer)

    async def _ready(self, add: Callable[..., None], remove: Callable[[int], object]) -> None:
        fd = self._sock.fileno()
        waiter = self._loop.create_future()
        self._waiters.add(waiter)
        add(fd, _resolve, waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)
            if self._sock.fileno() == fd:
                remove(fd)

    def _close_socket(self) -> None:
        fd = self._sock.fileno()
        if fd < 0:
            return
        self._loop.remove_reader(fd)
        self._loop.remove_writer(fd)
        self._sock.close()
        self._on_close()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(ConnectionAbortedError("closed at this end"))

    async def delivered(self, timeout: float = 1.0) -> None:
        """Wait until the client's kernel has acknowledged all that was sent, at most ``timeout`` seconds."""
        deadline = self._loop.time() + timeout
        while self._loop.time() < deadline:
            try:
                left = fcntl.ioctl(self._sock, termios.TIOCOUTQ, b"\0\0\0\0")
            except OSError:
                return
            if struct.unpack("i", left) == (0,):
                return
            await asyncio.sleep(0.001)  # the kernel tells nobody when its queue runs empty

    async def close(self) -> None:
        """End the connection: close_notify and FIN at once; then discard what the client still sends, for a moment."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_LINGER), self._send_lock:
                if self._tls is not None:
                    with contextlib.suppress(ssl.SSLError):
                        self._tls.unwrap()
                    await self._flush_tls()
                self._sock.shutdown(socket.SHUT_WR)
                while await self._recv():
                    pass
        self._close_socket()

    async def reset(self) -> None:
        """End the connection by RST, after what was sent has arrived."""
        await self.delivered()
        self.abort()

    def abort(self) -> None:
        """End the connection by RST, now."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._close_socket()


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class HangupWatcher:
    """Tells when a client is gone although nobody reads from its connection.  Linux only; elsewhere it never tells."""

    def __init__(self) -> None:
        self._callbacks: dict[int, Callable[[bool], None]] = {}
        self._epoll = select.epoll() if hasattr(select, "EPOLLRDHUP") else None
        if self._epoll is not None:
            asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._poll)

    def watch(self, connection: Connection, callback: Callable[[bool], None]) -> Callable[[], None]:
        """Call ``callback`` when the client has ended its side (False) or reset the connection (True); the answer ends the watch."""
        fd = connection.socket.fileno()
        if self._epoll is None or fd < 0:
            return lambda: None
        self._callbacks[fd] = callback
        self._epoll.register(fd, select.EPOLLRDHUP | select.EPOLLET)

        def stop() -> None:
            if self._callbacks.get(fd) is callback:  # the number may belong to another connection by now
                del self._callbacks[fd]
                if self._epoll is None:
                    return
                with contextlib.suppress(OSError, ValueError):
                    self._epoll.unregister(fd)

        return stop

    def _poll(self) -> None:
        assert self._epoll is not None
        for fd, events in self._epoll.poll(0):
            callback = self._callbacks.get(fd)
            if callback is not None:
                callback(bool(events & (select.EPOLLERR | select.EPOLLHUP)))

    def close(self) -> None:
        """Stop watching anything."""
        if self._epoll is not None:
            asyncio.get_running_loop().remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None
