"""Sockets without a WebSocket library: what the loop, or a blocking SSL socket, can carry at best.

Bytes are counted, no frame is read; so this only works against the load server, whose answers have known sizes.
"""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

from benchmarks.clients.base import CHUNK, ECHO, BarePath, Client
from kubex_stream.protocol.channels import V5

__all__ = ("Raw",)

_BUFFER: Final = 256 * 1024
#: A masked Close; the server looks at it when it has sent everything.
_CLOSE: Final = b"\x88\x82\0\0\0\0\x03\xe8"


def _masked(payload: bytes) -> bytes:
    """A frame, masked with zeros."""
    size = len(payload)
    head = bytes((0x82, 0x80 | size)) if size < 126 else b"\x82\xfe" + size.to_bytes(2, "big")
    return head + bytes(4) + payload


class Raw(Client):
    """Plain: ``loop.sock_recv_into``.  TLS: a blocking :class:`ssl.SSLSocket`."""

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None, None]:
        self._path = await BarePath.find(self.place)
        yield

    def _dial(self, command: Sequence[str], *, stdin: bool = False) -> socket.socket:
        target = urlsplit(self._path.exec(command, stdin=stdin))
        assert target.hostname is not None
        sock = socket.create_connection((target.hostname, target.port or 443))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._path.tls is not None:
            sock = self._path.tls.wrap_socket(sock, server_hostname=target.hostname)
        lines = (
            f"GET {target.path}?{target.query} HTTP/1.1", f"Host: {target.netloc}", "Upgrade: websocket", "Connection: Upgrade",
            f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}", "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Protocol: {V5.name}", "", "",
        )  # fmt: skip
        sock.sendall("\r\n".join(lines).encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += sock.recv(1)
        if self._path.tls is None:
            sock.setblocking(False)
        return sock

    async def _count(self, sock: socket.socket, total: int | None = None) -> int:
        """Bytes until the end, or until so many."""
        buffer, got = bytearray(_BUFFER), 0
        loop = asyncio.get_running_loop()
        while total is None or got < total:
            if isinstance(sock, ssl.SSLSocket):
                count = sock.recv_into(buffer)
            else:
                count = await loop.sock_recv_into(sock, buffer)
            if not count:
                break
            got += count
        return got

    async def _send(self, sock: socket.socket, data: bytes) -> None:
        if isinstance(sock, ssl.SSLSocket):
            sock.sendall(data)
        else:
            await asyncio.get_running_loop().sock_sendall(sock, data)

    async def down(self, command: Sequence[str]) -> int:
        with self._dial(command) as sock:
            await self._send(sock, _CLOSE)
            return await self._count(sock)

    async def up(self, command: Sequence[str], total: int) -> int:
        data, sent = _masked(b"\0" + bytes(CHUNK)), 0
        with self._dial(command, stdin=True) as sock:
            while sent < total:
                await self._send(sock, data)
                sent += CHUNK
            await self._send(sock, _CLOSE)
            await self._count(sock)
        return sent

    async def echo(self, command: Sequence[str], count: int) -> list[float]:
        times, data, size = [], _masked(b"\0" + bytes(ECHO)), ECHO + 3
        with self._dial(command, stdin=True) as sock:
            for _ in range(count):
                begun = time.perf_counter()
                await self._send(sock, data)
                await self._count(sock, size)
                times.append(time.perf_counter() - begun)
        return times

    async def session(self, command: Sequence[str]) -> None:
        await self.down(command)

    @asynccontextmanager
    async def idle(self, command: Sequence[str]) -> AsyncGenerator[None, None]:
        with self._dial(command):
            yield
