"""Servers that send exactly the bytes that a test says, in threads and with blocking sockets, so that nothing is shared with what is
tested: no event loop, no HTTP library, no frame codec of the project.

A handler is called with a :class:`Peer` for each connection.  What it raises, failed asserts included, is raised when the server is left.
"""

from __future__ import annotations

import base64
import hashlib
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Final, Self

__all__ = (
    "BINARY",
    "CLOSE",
    "PING",
    "PONG",
    "TEXT",
    "Frame",
    "Handler",
    "Head",
    "Peer",
    "RawServer",
    "close_frame",
    "ends_after",
    "frame",
    "proxy_handler",
    "relay",
    "response",
    "sends",
)

PATIENCE: Final = 20.0
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a request."""

    method: str
    target: str
    headers: list[tuple[str, str]]

    def all(self, name: str) -> list[str]:
        """Every value of a header, in order."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def one(self, name: str) -> str:
        """The value of a header that is there once."""
        (value,) = self.all(name)
        return value


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as it came, unmasked."""

    fin: bool
    opcode: int
    masked: bool
    payload: bytes

    @property
    def code(self) -> int:
        """Of a Close frame."""
        assert self.opcode == CLOSE
        return int.from_bytes(self.payload[:2], "big")


def frame(payload: bytes, opcode: int = BINARY, *, fin: bool = True, size: int | None = None) -> bytes:
    """An unmasked frame; ``size`` lies about its length."""
    length = len(payload) if size is None else size
    first = bytes([fin << 7 | opcode])
    if length < 126:
        return first + bytes([length]) + payload
    if length < 65536:
        return first + b"\x7e" + struct.pack("!H", length) + payload
    return first + b"\x7f" + struct.pack("!Q", length) + payload


def response(status: str, body: bytes | None = None, *headers: str) -> bytes:
    """A response; without a body it has no Content-Length either."""
    lines = [f"HTTP/1.1 {status}", *headers]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


class Peer:
    """One connection, from the server's side."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._buffer = b""

    def read(self, count: int) -> bytes:
        """Exactly so many bytes."""
        while len(self._buffer) < count:
            piece = self.sock.recv(65536)
            if not piece:
                raise EOFError(f"the connection ended {count - len(self._buffer)} bytes early")
            self._buffer += piece
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def head(self) -> Head:
        """The head of the next request."""
        lines = b""
        while not lines.endswith(b"\r\n\r\n"):
            lines += self.read(1)
        first, *rest = lines.decode("latin-1").split("\r\n")[:-2]
        method, target, _ = first.split(" ")
        return Head(
            method, target, [(name, value.strip()) for name, _, value in (line.partition(":") for line in rest)]
        )

    def has_request(self) -> bool:
        """Whether another request comes, and no end."""
        try:
            first = self.read(1)
        except (EOFError, OSError):
            return False
        self._buffer = first + self._buffer
        return True

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self.sock.sendall(data)

    def accept(self, protocol: str | None = "v4.channel.k8s.io", *more: bytes) -> Head:
        """Read a handshake and answer it; ``more`` goes out in the same segment."""
        head = self.head()
        self.send(self.switching(head, protocol) + b"".join(more))
        return head

    @staticmethod
    def switching(head: Head, protocol: str | None = "v4.channel.k8s.io") -> bytes:
        """The 101 for a handshake."""
        digest = hashlib.sha1(head.one("Sec-WebSocket-Key").encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        chosen = () if protocol is None else (f"Sec-WebSocket-Protocol: {protocol}",)
        accept = f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}"
        return response("101 Switching Protocols", None, "Upgrade: websocket", "Connection: Upgrade", accept, *chosen)

    def frame(self) -> Frame:
        """The next frame."""
        first, second = self.read(2)
        length = second & 0x7F
        if length == 126:
            length = int.from_bytes(self.read(2), "big")
        elif length == 127:
            length = int.from_bytes(self.read(8), "big")
        key = self.read(4) if second & 0x80 else b""
        payload = self.read(length)
        if key:
            repeated = int.from_bytes((key * (length // 4 + 1))[:length], "big")
            payload = (int.from_bytes(payload, "big") ^ repeated).to_bytes(length, "big")
        return Frame(bool(first & 0x80), first & 0x0F, bool(key), payload)

    def rest(self) -> bytes:
        """Everything until TCP ends, by a FIN or an RST."""
        with suppress(ConnectionResetError, ssl.SSLEOFError, BrokenPipeError):
            while piece := self.sock.recv(65536):
                self._buffer += piece
        taken, self._buffer = self._buffer, b""
        return taken

    def wait_for_tcp_end(self) -> None:
        """Read below TLS, and so without answering its goodbye, until TCP ends."""
        with socket.fromfd(self.sock.fileno(), self.sock.family, self.sock.type) as below:
            below.settimeout(10)
            with suppress(ConnectionResetError):
                while below.recv(65536):
                    pass

    def reset(self) -> None:
        """End TCP by an RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def finish(self) -> None:
        """End TCP, with the TLS that may be on it, by a FIN."""
        if isinstance(self.sock, ssl.SSLSocket):
            with suppress(OSError, ValueError):
                self.sock.unwrap()
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)


Handler = Callable[[Peer], None]


class RawServer:
    """Listens on loopback while entered and hands each connection to ``handler``, each in a thread of its own."""

    def __init__(
        self,
        handler: Handler,
        *,
        context: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        receive_buffer: int | None = None,
    ) -> None:
        self._handler = handler
        self._context = context
        self._listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        if receive_buffer is not None:
            # Inherited by the accepted ones.  A small one makes a reader that stalls felt soon.
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._listener.bind((host, 0))
        self._listener.listen(512)
        self._threads = [threading.Thread(target=self._accept, name="raw-accept")]
        self._failures: list[BaseException] = []
        self._stopping = False
        #: Accepted connections.
        self.connections = 0
        #: The host and port of URLs.
        self.port = self._listener.getsockname()[1]
        self.netloc = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        self.url = f"{'http' if context is None else 'https'}://{self.netloc}"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        self._stopping = True
        with suppress(OSError), socket.create_connection(self._listener.getsockname()[:2], 5):
            pass
        for thread in self._threads:
            thread.join(PATIENCE + 10)
        self._listener.close()
        assert not any(thread.is_alive() for thread in self._threads)
        if self._failures and error is None:
            raise self._failures[0]

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            if self._stopping:
                sock.close()
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(sock,), name="raw-peer")
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE)
        with ExitStack() as stack:
            stack.callback(sock.close)
            try:
                if self._context is not None:
                    try:
                        sock = self._context.wrap_socket(sock, server_side=True)
                    except OSError:
                        return  # the client did not like the certificate
                    stack.callback(sock.close)
                self._handler(Peer(sock))
            except BaseException as error:  # noqa: BLE001 (it is raised in the test's own thread)
                self._failures.append(error)


def relay(one: socket.socket, other: socket.socket) -> None:
    """Pass bytes both ways until both directions have ended, or one with TLS, which has no half-close.

    One thread does it, since two must not use one TLS connection at once.
    """
    onward = {one: other, other: one}
    with suppress(OSError):
        while onward:
            pending = [source for source in onward if isinstance(source, ssl.SSLSocket) and source.pending()]
            ready = pending or select.select(list(onward), [], [], PATIENCE)[0]
            if not ready:
                return
            for source in ready:
                if piece := source.recv(65536):
                    onward[source].sendall(piece)
                    continue
                target = onward.pop(source)
                if isinstance(target, ssl.SSLSocket):
                    return
                target.shutdown(socket.SHUT_WR)


def proxy_handler(heads: list[Head], refusal: bytes | None = None) -> Handler:
    """An HTTP proxy: notes the heads that it gets, and passes on, or answers with ``refusal``."""

    def handle(peer: Peer) -> None:
        try:
            head = peer.head()
        except EOFError:
            return
        heads.append(head)
        if refusal is not None:
            peer.send(refusal)
            peer.finish()
            peer.rest()
            return
        tunnel = head.method == "CONNECT"
        target = head.target if tunnel else head.target.removeprefix("http://").partition("/")[0]
        host, _, port = target.rpartition(":")
        with socket.create_connection((host.strip("[]"), int(port)), PATIENCE) as onward:
            onward.settimeout(PATIENCE)
            if tunnel:
                peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                path = "/" + head.target.removeprefix("http://").partition("/")[2]
                passed = [f"{name}: {value}" for name, value in head.headers if not name.lower().startswith("proxy-")]
                onward.sendall("\r\n".join([f"{head.method} {path} HTTP/1.1", *passed, "", ""]).encode("latin-1"))
            relay(peer.sock, onward)

    return handle


def sends(*pieces: bytes, then: Callable[[Peer], object] = Peer.rest) -> Handler:
    """A server that sends these after the handshake, and then reads to the end or does something else."""

    def handle(peer: Peer) -> None:
        peer.accept()
        for piece in pieces:
            peer.send(piece)
        then(peer)

    return handle


def close_frame(code: int, reason: bytes = b"") -> bytes:
    """A Close frame."""
    return frame(struct.pack("!H", code) + reason, CLOSE)


def ends_after(websocket_close: bytes) -> Callable[[Peer], object]:
    """For ``sends(then=…)``: send this, and end TCP."""

    def then(peer: Peer) -> None:
        with suppress(ConnectionError, ssl.SSLEOFError):  # a client that has its end already may be gone
            peer.send(websocket_close)
        peer.finish()
        peer.rest()

    return then
