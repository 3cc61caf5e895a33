"""The sending half of a tunnel.

Rules of this file:
- Frames are made under the lock under which they are sent, since stream ids and header blocks have to reach the wire in the order in which
  they were made.
- Frames that nobody waits for (resets, ends that were kept back, pings and their echoes) go out before the next frame, or by a task of their
  own: whoever queues them never waits for a server that does not read.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import anyio

from kubex_stream.client.websocket import WebSocketConnection

__all__ = ("FrameSender",)


class FrameSender:
    """Sends the frames of one tunnel.

    :param sent: is told the size of each message; None for nobody
    """

    def __init__(self, connection: WebSocketConnection, sent: Callable[[int], None] | None) -> None:
        self._connection = connection
        self._sent = sent
        self._lock = anyio.Lock(fast_acquire=True)
        self._queue = bytearray()
        self._queued = anyio.Event()
        self._since: float | None = None

    @property
    def waiting(self) -> float:
        """Seconds for which the transport has not taken a message."""
        return 0.0 if self._since is None else time.monotonic() - self._since

    def queue(self, frame: bytes) -> None:
        """Send a frame without waiting for it; an empty one is none."""
        if frame:
            self._queue += frame
            self._queued.set()

    async def send(self, make: Callable[[], bytes]) -> None:
        """Send a frame; returns when the transport has room again.

        :param make: gives it, when it is its turn; what it raises is raised
        :raises ConnectionLost: the connection is gone
        """
        try:
            self._lock.acquire_nowait()  # the usual case, which needs no checkpoint: whoever sends much comes from one
        except anyio.WouldBlock:
            await self._lock.acquire()
        queued = b""
        try:
            frame, queued = make(), self._taken()
            await self._write(queued + frame if queued else frame)
        except BaseException:
            # It is not known whether it went out.  Twice is harmless for frames that nobody waits for, never would not be.
            self._give_back(queued)
            raise
        finally:
            self._lock.release()

    async def send_queued(self) -> None:
        """Send what is queued, whenever there is something, until the connection is gone; a task of its own."""
        while True:
            while not self._queue:
                self._queued = anyio.Event()
                await self._queued.wait()
            async with self._lock:
                if self._queue:
                    try:
                        await self._write(self._taken())
                    except Exception:  # noqa: BLE001  # of whatever library a transport is made
                        return  # whoever reads finds out why

    def _taken(self) -> bytes:
        if not self._queue:
            return b""
        frames = bytes(self._queue)
        self._queue.clear()
        return frames

    def _give_back(self, frames: bytes) -> None:
        if frames:
            self._queue[:0] = frames
            self._queued.set()

    async def _write(self, message: bytes) -> None:
        self._since = time.monotonic()
        try:
            await self._connection.send_bytes(message)
        finally:
            self._since = None
        if self._sent is not None:
            self._sent(len(message))
