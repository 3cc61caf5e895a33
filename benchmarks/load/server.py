"""The load server: two listeners, plain and TLS, and a thread for each connection."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from typing import Self

from benchmarks.load.execs import serve_exec
from benchmarks.load.forwards import serve_legacy, serve_tunnel
from benchmarks.load.http import WATCHED, answer, handshake, read_head
from benchmarks.load.logs import LOG, serve_log
from benchmarks.load.messages import ClientLeft
from benchmarks.load.watches import serve_watch
from benchmarks.load.wire import PlainWire, TlsWire, Wire
from kubex_stream.protocol.portforward import LEGACY_PROTOCOL, TUNNEL_PROTOCOL
from kubex_stream.testing.tls import Certificates

__all__ = ("LoadServer",)

_STACK = 512 * 1024


class LoadServer:
    """Serves while the ``with`` block lasts; what is still open at its end is cut.

    :ivar plain_port: of http and ws
    :ivar tls_port: of https and wss
    :ivar ca_pem: the authority that the server's certificate is of
    """

    def __init__(self) -> None:
        certificates = Certificates()
        self.ca_pem = certificates.ca_pem
        self._context = certificates.server_context()
        self._listeners = [socket.create_server(("127.0.0.1", 0), backlog=1024) for _ in range(2)]
        self.plain_port, self.tls_port = (listener.getsockname()[1] for listener in self._listeners)
        self._accepting: list[threading.Thread] = []
        self._open: dict[socket.socket, threading.Thread] = {}

    def __enter__(self) -> Self:
        threading.stack_size(_STACK)
        for listener, context in zip(self._listeners, (None, self._context), strict=True):
            thread = threading.Thread(target=self._accept, args=(listener, context), daemon=True)
            thread.start()
            self._accepting.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        for listener in self._listeners:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes who accepts
            listener.close()
        for thread in self._accepting:
            thread.join()
        left = dict(self._open)
        for sock in left:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in left.values():
            thread.join()

    def _accept(self, listener: socket.socket, context: ssl.SSLContext | None) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(sock, context), daemon=True)
            self._open[sock] = thread
            thread.start()

    def _serve(self, sock: socket.socket, context: ssl.SSLContext | None) -> None:
        with sock:
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                wire: Wire = PlainWire(sock) if context is None else TlsWire(sock, context)
                _requests(wire)
                wire.close()
            except (OSError, ClientLeft):
                pass
        self._open.pop(sock, None)


def _requests(wire: Wire) -> None:
    early = b""
    while head := read_head(wire, early):
        early = head.early
        if "upgrade" not in head.headers:
            if head.path == LOG:
                serve_log(wire, head)
            elif head.path in WATCHED and head.flag("watch"):
                return serve_watch(wire, head)
            else:
                answer(wire, head)
            continue
        protocol = handshake(wire, head)
        if protocol == TUNNEL_PROTOCOL:
            return serve_tunnel(wire, head.early)
        if protocol == LEGACY_PROTOCOL and head.path.endswith("/portforward"):
            return serve_legacy(wire, int(head.all("ports")[0]), head.early)
        if protocol is not None:
            return serve_exec(wire, tuple(head.all("command")), head.early)
    return None
