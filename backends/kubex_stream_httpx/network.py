"""Network streams on non-blocking sockets, for httpcore and for WebSockets alike, the same on every event loop.

Rules of this file:
- What has been accepted goes out whole and in order.  Bytes that the kernel does not take yet stay in one queue, plain or encrypted,
  and a cancelled write leaves its rest there, to be sent before anything else.  So a cancelled write never cuts a frame or a TLS record.
- Nothing is awaited between taking bytes from the kernel and returning them, so a cancelled read loses nothing, however it was
  cancelled: by anyio, trio or ``Task.cancel``.
- ``queue``, ``try_send`` and ``abort`` never wait, so that a reader can answer a ping while a writer is blocked.
- A stream that always finds data, or room, still lets others run now and then.
- httpcore's exceptions, since httpcore drives these streams while it opens them.
"""

from __future__ import annotations

import socket
import ssl
import struct
import sys
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any, Final

import anyio
import anyio.lowlevel
import httpcore

from kubex_stream_httpx.drive import Want

__all__ = ("READ_SIZE", "STREAM", "SocketStream", "Stream", "TlsStream", "time_limit")

READ_SIZE: Final = 256 * 1024
#: ``get_extra_info`` of this is the stream itself, also through httpcore's wrappers.
STREAM: Final = "kubex_stream"
#: Bytes that may go out without a pause for other tasks; each write counts some more for its own cost.
_BURST: Final = 256 * 1024
_WRITE_COST: Final = 4096


@contextmanager
def time_limit(seconds: float | None, error: type[Exception]) -> Generator[None, None, None]:
    """Raise ``error`` when it takes longer; None for no limit."""
    if seconds is None:
        yield
        return
    try:
        with anyio.fail_after(seconds):
            yield
    except TimeoutError as late:
        raise error(f"{seconds:g} s") from late


class Stream(httpcore.AsyncNetworkStream):
    """What a WebSocket needs of a network stream beyond what httpcore does."""

    #: Whether a :class:`~kubex_stream_httpx.drive.Drive` reads for whoever calls :meth:`read`.
    driven = False
    _burst = 0

    @property
    @abstractmethod
    def backlog(self) -> int:
        """Bytes that were accepted and are not in the kernel yet."""

    @abstractmethod
    async def receive(self, max_bytes: int) -> bytes:
        """What has arrived, at least a byte; ``b""`` at the end.  A cancelled call loses nothing."""

    @abstractmethod
    def queue(self, data: bytes) -> None:
        """Accept bytes, to go out behind all earlier ones."""

    @abstractmethod
    def try_send(self) -> bool:
        """Hand to the kernel what it takes now; whether that was everything."""

    @abstractmethod
    async def flush(self) -> None:
        """Wait until everything that was accepted is in the kernel."""

    async def nudge(self) -> None:
        """Send of what was accepted as much as goes without waiting for the peer."""
        self.try_send()

    @abstractmethod
    async def abort(self) -> None:
        """End TCP at once by a reset; whoever is waiting gets an error."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """As httpcore says."""
        if self.driven:
            return await Want(self, max_bytes)
        if timeout is None:
            return await self.receive(max_bytes)
        with time_limit(timeout, httpcore.ReadTimeout):
            return await self.receive(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """As httpcore says; a cancelled call has accepted all of ``buffer`` or none."""
        with time_limit(timeout, httpcore.WriteTimeout):
            if self._burst >= _BURST:
                self._burst = 0
                await anyio.lowlevel.checkpoint()
            else:
                await anyio.lowlevel.checkpoint_if_cancelled()
            if self.backlog:
                await self.flush()
            self._burst += len(buffer) + _WRITE_COST
            self.queue(buffer)
            await self.flush()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> Stream:
        """As httpcore says."""
        stream = TlsStream(self, ssl_context, server_hostname)
        try:
            with time_limit(timeout, httpcore.ConnectTimeout):
                await stream.handshake()
        except BaseException:
            await self.abort()
            raise
        return stream


class SocketStream(Stream):
    """A connected, non-blocking TCP socket."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._unsent: deque[memoryview] = deque()
        self._backlog = 0
        self._eager = False  # whether the last read found data without waiting
        self._closed = False

    @property
    def backlog(self) -> int:
        return self._backlog

    async def receive(self, max_bytes: int) -> bytes:
        if self._eager:
            self._eager = False  # a call that is cancelled here is not met by another pause next time
            await anyio.lowlevel.checkpoint()
        self._eager = True
        while not self._closed:
            try:
                return self._socket.recv(max_bytes)
            except (BlockingIOError, InterruptedError):
                self._eager = False
            except OSError as error:
                raise httpcore.ReadError(str(error)) from error
            with _closed_as(httpcore.ReadError):
                await anyio.wait_readable(self._socket)
        raise httpcore.ReadError("closed by this side")

    def queue(self, data: bytes) -> None:
        if self._closed:
            raise httpcore.WriteError("closed by this side")
        if data:
            self._unsent.append(memoryview(data))
            self._backlog += len(data)

    def try_send(self) -> bool:
        while self._unsent:
            first = self._unsent[0]
            try:
                sent = self._socket.send(first)
            except (BlockingIOError, InterruptedError):
                return False
            except OSError as error:
                raise httpcore.WriteError(str(error)) from error
            self._backlog -= sent
            if sent == len(first):
                self._unsent.popleft()
            else:
                self._unsent[0] = first[sent:]
        return True

    async def flush(self) -> None:
        while not self.try_send():
            self._burst = 0
            with _closed_as(httpcore.WriteError):
                await anyio.wait_writable(self._socket)
            if self._closed:
                break
        if self._closed:
            raise httpcore.WriteError("closed by this side")

    async def aclose(self) -> None:
        self._end()

    async def abort(self) -> None:
        # Without a reset, bytes that the peer does not read would hold the end back for as long as it does not.
        linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
        if not self._closed:
            with suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._end()

    def _end(self) -> None:
        if not self._closed:
            self._closed = True
            self._unsent.clear()
            self._backlog = 0
            anyio.notify_closing(self._socket)
            self._socket.close()

    def get_extra_info(self, info: str) -> Any:
        """As httpcore says, and :data:`STREAM`."""
        if info == STREAM:
            return self
        if info == "socket":
            return self._socket
        if info == "is_readable":
            return self._is_readable()
        if info in ("client_addr", "server_addr") and not self._closed:
            return self._socket.getsockname() if info == "client_addr" else self._socket.getpeername()
        return None

    def _is_readable(self) -> bool:
        if self._closed:
            return True
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            return True
        return True


class TlsStream(Stream):
    """TLS on another stream, which may be TLS itself (a proxy's)."""

    def __init__(self, lower: Stream, context: ssl.SSLContext, server_hostname: str | None) -> None:
        self._lower = lower
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)
        self._error: ssl.SSLError | None = None

    async def handshake(self) -> None:
        """Agree with the server.

        :raises httpcore.ConnectError: from the :class:`ssl.SSLError` that says why
        """
        try:
            while not self._step(self._tls.do_handshake):
                await self._lower.flush()
                if not await self._fetch():
                    raise httpcore.ConnectError("the peer ended the connection during the TLS handshake")
            await self._lower.flush()
        except ssl.SSLError as error:
            with suppress(httpcore.WriteError):
                self._lower.try_send()  # the alert
            raise httpcore.ConnectError(str(error)) from error
        except (httpcore.ReadError, httpcore.WriteError) as error:
            raise httpcore.ConnectError(f"the TLS handshake was cut off: {error}") from error

    def _step(self, action: Callable[[], object]) -> bool:
        try:
            action()
        except ssl.SSLWantReadError:
            return False
        finally:
            self._lower.queue(self._outgoing.read())
        return True

    async def _fetch(self) -> bool:
        encrypted = await self._lower.receive(READ_SIZE)
        if encrypted:
            self._incoming.write(encrypted)
        else:
            self._incoming.write_eof()
        return bool(encrypted)

    @property
    def backlog(self) -> int:
        return self._lower.backlog

    async def receive(self, max_bytes: int) -> bytes:
        while True:
            data = self._decrypt(max_bytes)
            if data is not None:
                return data
            if self._outgoing.pending:
                self._lower.queue(self._outgoing.read())
                self._lower.try_send()
            await self._fetch()

    def _decrypt(self, max_bytes: int) -> bytes | None:
        """What is there, ``b""`` at the end, None where nothing is there yet.  TLS hands out 16 KiB at a time, so several are joined."""
        pieces: list[bytes] = []
        while max_bytes > 0 and self._error is None:
            try:
                piece = self._tls.read(max_bytes)
            except ssl.SSLWantReadError:
                return b"".join(pieces) if pieces else None
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                break
            except ssl.SSLError as error:
                self._error = error
                break
            if not piece:
                break
            pieces.append(piece)
            max_bytes -= len(piece)
        if self._error is not None and not pieces:
            raise httpcore.ReadError(str(self._error)) from self._error
        return b"".join(pieces)

    def queue(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[self._tls.write(view) :]
        except ssl.SSLError as error:
            raise httpcore.WriteError(str(error)) from error
        self._lower.queue(self._outgoing.read())

    def try_send(self) -> bool:
        return self._lower.try_send()

    async def flush(self) -> None:
        await self._lower.flush()

    async def aclose(self) -> None:
        if not self._lower.backlog:
            with suppress(ssl.SSLError, httpcore.WriteError):
                self._step(self._tls.unwrap)
            with suppress(httpcore.WriteError):
                self._lower.try_send()
        await self._lower.aclose()

    async def abort(self) -> None:
        await self._lower.abort()

    def get_extra_info(self, info: str) -> Any:
        """As httpcore says, and :data:`STREAM`."""
        if info == STREAM:
            return self
        return self._tls if info == "ssl_object" else self._lower.get_extra_info(info)


@contextmanager
def _closed_as(error: type[Exception]) -> Generator[None, None, None]:
    try:
        yield
    except anyio.ClosedResourceError as closed:
        raise error("closed by this side") from closed
