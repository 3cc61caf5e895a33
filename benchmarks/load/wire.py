"""A connection of the load server's, plain or TLS, over a blocking socket.

Rules of this file:
- What is sent often is a :class:`Block`, built once.  A plain connection sends it with one ``sendall``.
- Over TLS the records are cut as an API server cuts them: one of five bytes (a frame's header and the channel), then some of 4 to 16 KiB.
  Many of them leave in one ``sendall``.
- Two threads may use a connection, one that sends and one that receives; OpenSSL's object is then used under a lock, the socket is not.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol, cast

__all__ = ("BINARY", "CLOSE", "PONG", "Block", "PlainWire", "TlsWire", "Wire", "frame", "frames_block")

BINARY: Final = 0x82
CLOSE: Final = 0x88
PONG: Final = 0x8A

#: Bytes of the records that carry a frame of 32 KiB, behind the one of its header.
_RECORDS: Final = (4096, 12288, 16384)
_BUFFER: Final = 256 * 1024
#: Bytes of sealed records that leave together: while a client opens them, the next ones are sealed.
_TOGETHER: Final = 512 * 1024


@dataclass(frozen=True, slots=True)
class Block:
    """Whole frames, or chunks, that are sent together.

    :ivar data: all of it
    :ivar records: the same, cut into TLS records
    :ivar payload: bytes of it that count for whoever measures
    """

    data: bytes | memoryview
    records: tuple[memoryview, ...]
    payload: int


class Wire(Protocol):
    """What both kinds of connections can do."""

    def send(self, data: bytes) -> None:
        """Send all of it, as one record."""

    def send_block(self, block: Block) -> None:
        """Send a block, as its records."""

    def recv_into(self, view: memoryview) -> int:
        """Receive something; 0 at the end."""

    def close(self) -> None:
        """End the connection."""


def header(size: int, first: int = BINARY) -> bytes:
    """What a frame of ``size`` bytes of payload begins with, unmasked as servers send it."""
    if size < 126:
        return bytes((first, size))
    return struct.pack("!BBH", first, 126, size) if size < 65536 else struct.pack("!BBQ", first, 127, size)


def frame(payload: bytes, first: int = BINARY) -> bytes:
    """A frame."""
    return header(len(payload), first) + payload


def _cut(start: int, size: int, head: int) -> list[tuple[int, int]]:
    """Where the records of one frame begin and end."""
    cuts, at, end, index = [(start, start + head)], start + head, start + size, 0
    while at < end:
        step = min(_RECORDS[index % len(_RECORDS)], end - at)
        cuts.append((at, at + step))
        at, index = at + step, index + 1
    return cuts


def frames_block(frames: Sequence[tuple[bytes, int]], payload: int) -> Block:
    """A block of frames, each with the number of bytes that its first record holds."""
    data = b"".join(one for one, _ in frames)
    view, records, at = memoryview(data), [], 0
    for one, head in frames:
        records += [view[first:last] for first, last in _cut(at, len(one), head)]
        at += len(one)
    return Block(data, tuple(records), payload)


class PlainWire:
    """TCP."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._sending = threading.Lock()

    def send(self, data: bytes) -> None:
        """Send all of it."""
        with self._sending:
            self._sock.sendall(data)

    def send_block(self, block: Block) -> None:
        """Send a block."""
        with self._sending:
            self._sock.sendall(block.data)

    def recv_into(self, view: memoryview) -> int:
        """Receive something."""
        return self._sock.recv_into(view)

    def close(self) -> None:
        """End the connection."""
        self._sock.close()


class TlsWire:
    """TLS whose records are this file's choice."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self._sock = sock
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=True)
        self._using, self._sending = threading.Lock(), threading.Lock()
        self._raw = memoryview(bytearray(_BUFFER))
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                if not self._fill():
                    raise ConnectionResetError("the client left in the handshake") from None
            else:
                break
        self._flush()

    def _flush(self) -> None:
        if pending := self._out.read():
            self._sock.sendall(pending)

    def _fill(self) -> bool:
        count = self._sock.recv_into(self._raw)
        self._in.write(self._raw[:count])
        return count > 0

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self._send((memoryview(data),))

    def send_block(self, block: Block) -> None:
        """Send a block."""
        self._send(block.records)

    def _send(self, records: Sequence[memoryview]) -> None:
        write, at = self._tls.write, 0
        with self._sending:
            while at < len(records):
                with self._using:
                    while at < len(records) and self._out.pending < _TOGETHER:
                        write(records[at])
                        at += 1
                    sealed = self._out.read()
                self._sock.sendall(sealed)

    def recv_into(self, view: memoryview) -> int:
        """Receive something."""
        while True:
            with self._using:
                try:
                    # Given a buffer it says how much it has put there; its annotation is that of the other form.
                    return cast("int", self._tls.read(len(view), view))
                except ssl.SSLWantReadError:
                    pass
                except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                    return 0
            count = self._sock.recv_into(self._raw)
            if not count:
                return 0
            with self._using:
                self._in.write(self._raw[:count])

    def close(self) -> None:
        """End the connection, with TLS's own ending as a server sends it."""
        try:
            with self._sending, self._using:
                self._tls.unwrap()
        except (ssl.SSLError, OSError):
            pass
        with suppress(OSError):
            self._flush()
        self._sock.close()
