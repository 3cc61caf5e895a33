"""The servers behind a pod's ports: real TCP servers on loopback, one for each port that names a built-in service or a function.

Rules of this file:
- A server starts with its pod and ends with it; connections that are open then are reset.
- What a service does is what its name says and nothing besides: ``silent`` must not even read ahead, or a stalled connection is none.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Final

import h11

from kubex_stream.testing.ports import EmbeddedPort, PortHandler
from kubex_stream.testing.tasks import cancel_and_wait

__all__ = ("PortServer", "handler_of")

_PIECE: Final = 64 * 1024
_FILL: Final = b"x" * _PIECE


class PortServer:
    """A TCP server on a free port of 127.0.0.1.  It is made, and lives, on a running event loop.

    :param handler: serves a connection
    """

    def __init__(self, handler: PortHandler) -> None:
        self._handler = handler
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._listener.setblocking(False)
        self._connections: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._accepting = asyncio.create_task(self._accept())

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self._listener.getsockname()[:2]
        return host, port

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            sock, peer = await loop.sock_accept(self._listener)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = asyncio.create_task(self._serve(sock))
            self._connections[peer] = task
            task.add_done_callback(lambda _task, peer=peer: self._connections.pop(peer, None))  # type: ignore[misc]

    async def _serve(self, sock: socket.socket) -> None:
        try:
            reader, writer = await asyncio.open_connection(sock=sock, limit=_PIECE)
        except OSError:
            sock.close()
            return
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await self._handler(reader, writer)
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        finally:
            writer.transport.abort()

    def left(self, peer: tuple[str, int]) -> None:
        """The client at ``peer`` is gone.  A server that does not read would never notice, and keep its end for ever."""
        task = self._connections.get(peer)
        if task is not None and self._handler is _silent:
            task.cancel()

    async def aclose(self) -> None:
        """End it and its connections."""
        await cancel_and_wait(self._accepting, *self._connections.values())
        self._listener.close()


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_PIECE):
        writer.write(data)
        await writer.drain()


async def _sha256(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    digest = hashlib.sha256()
    while data := await reader.read(_PIECE):
        digest.update(data)
    writer.write(digest.hexdigest().encode() + b"\n")


async def _send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    line = (await reader.readline()).strip()
    await _fill(writer, int(line) if line.isdigit() else 0)


async def _fill(writer: asyncio.StreamWriter, size: int) -> None:
    for start in range(0, size, _PIECE):
        writer.write(_FILL[: size - start])
        await writer.drain()


async def _silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    transport = writer.transport
    if isinstance(transport, asyncio.ReadTransport):
        transport.pause_reading()
    await asyncio.get_running_loop().create_future()


async def _reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _banner(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"banner\n")


async def _half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write_eof()
    while await reader.read(_PIECE):
        pass


def _http(name: str) -> PortHandler:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h11.Connection(h11.SERVER)
        with contextlib.suppress(h11.RemoteProtocolError):
            while await _exchange(http, name, reader, writer):
                http.start_next_cycle()

    return serve


async def _exchange(
    http: h11.Connection, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bool:
    """One request and its answer; False when there was none, or the connection ends with it."""
    request: h11.Request | None = None
    body = bytearray()
    while True:
        if http.they_are_waiting_for_100_continue:
            writer.write(http.send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")))
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(_PIECE))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += event.data
        else:
            break
    if request is None:
        return False
    await _answer(http, name, request, bytes(body), writer)
    return http.our_state is h11.DONE and http.their_state is h11.DONE


async def _answer(
    http: h11.Connection, name: str, request: h11.Request, body: bytes, writer: asyncio.StreamWriter
) -> None:
    path = request.target.decode("latin-1").partition("?")[0]
    status, content = 200, f"{name}\n".encode()
    size = path.removeprefix("/bytes/")
    if path == "/echo" and request.method == b"POST":
        content = body
    elif size != path and size.isdigit():
        content = b""
    elif path != "/":
        status, content = 404, b"404 page not found\n"
    length = int(size) if not content and size.isdigit() else len(content)
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(length))]
    writer.write(http.send(h11.Response(status_code=status, headers=headers)))
    if request.method != b"HEAD":
        for start in range(0, length, _PIECE):
            piece = content[start : start + _PIECE] if content else _FILL[: length - start]
            writer.write(http.send(h11.Data(data=piece)) or b"")
            await writer.drain()
    writer.write(http.send(h11.EndOfMessage()) or b"")
    await writer.drain()


_PLAIN: Final[Mapping[str, PortHandler]] = {
    "echo": _echo,
    "sha256": _sha256,
    "send": _send,
    "silent": _silent,
    "reset": _reset,
    "banner": _banner,
    "half": _half,
}
_NAMED: Final[Mapping[str, Callable[[str], PortHandler]]] = {"http": _http}


def handler_of(port: EmbeddedPort, pod: str) -> PortHandler | None:
    """The function behind a port of ``pod``; None for one whose server is elsewhere, or nowhere."""
    target = port.target
    if isinstance(target, str):
        return _PLAIN[target] if target in _PLAIN else _NAMED[target](pod)
    return target if callable(target) else None
