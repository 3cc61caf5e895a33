"""Servers that note what comes, answer a Close or not, or read nothing; and waiting for them."""

from __future__ import annotations

import ssl
import threading

import anyio
import anyio.to_thread

from kubex_stream.client import WebSocketConnection
from kubex_stream.testing.conformance.raw import CLOSE, Frame, Peer, frame

__all__ = ("Deaf", "Recorder", "happens", "send_until_the_end")


class Recorder:
    """A server that notes what comes; it answers a Close, or not."""

    def __init__(self, *, answers: bool = True, before_answer: bytes = b"") -> None:
        self.frames: list[Frame] = []
        self.ended = threading.Event()
        self._answers = answers
        self._before_answer = before_answer

    def __call__(self, peer: Peer) -> None:
        peer.accept()
        try:
            while True:
                item = peer.frame()
                self.frames.append(item)
                if item.opcode == CLOSE and self._answers:
                    peer.send(self._before_answer + frame(item.payload, CLOSE))
        except (EOFError, ConnectionResetError, ssl.SSLEOFError):
            self.ended.set()


async def happens(event: threading.Event) -> None:
    """Wait for what a server's thread tells."""
    with anyio.fail_after(10):
        assert await anyio.to_thread.run_sync(event.wait, 9)


async def send_until_the_end(websocket: WebSocketConnection) -> None:
    """Send until that fails."""
    while True:
        await websocket.send_bytes(b"x" * 65536)


class Deaf:
    """A server that reads nothing after the handshake, until it is told to look whether TCP has ended."""

    def __init__(self) -> None:
        self.look = threading.Event()

    def __call__(self, peer: Peer) -> None:
        peer.accept()
        assert self.look.wait(20)
        peer.rest()
