"""A tunnel's way to its client: SPDY frames in their order, cut into WebSocket messages, and the faults that a behaviour asks for.

Rules of this file:
- Frames are made and queued in one step, so they are sent in the order in which they were made.
- Whoever sends data waits while the client does not read; nobody who is cancelled then leaves half a frame behind, since one task writes.
- After a fault on purpose nothing is sent any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import zlib
from collections import deque
from typing import Final

from kubex_stream.protocol import spdy
from kubex_stream.protocol.spdy_connection import SpdyConnection
from kubex_stream.protocol.spdy_headers import DICTIONARY
from kubex_stream.testing import frames
from kubex_stream.testing.behaviour import Behaviour
from kubex_stream.testing.connection import Connection
from kubex_stream.testing.gorilla import messages_of, writes_of

__all__ = ("TunnelLink",)

#: Bytes that may wait for a client who does not read.
_ROOM: Final = 256 * 1024
_BATCH: Final = 256 * 1024
_GARBAGE: Final = b"\xde\xad\xbe\xef" * 16
_BOMB: Final = 64 * 1024 * 1024
#: How long a Close may wait for a client who does not read.
_CLOSE_TIMEOUT: Final = 10.0


@functools.cache
def _bomb() -> bytes:
    """A header block, the first one of its connection, that inflates to 64 MiB."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, 15, 8, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)
    head = (1).to_bytes(4, "big") + (1).to_bytes(4, "big") + b"x" + _BOMB.to_bytes(4, "big")
    zeros = bytes(1024 * 1024)
    parts = [compressor.compress(head), *(compressor.compress(zeros) for _ in range(_BOMB // len(zeros)))]
    return b"".join([*parts, compressor.flush(zlib.Z_SYNC_FLUSH)])


class TunnelLink:
    """The sending half of a tunnel's server.

    :param connection: the connection, after its 101
    :param behaviour: the faults to commit
    """

    def __init__(self, connection: Connection, behaviour: Behaviour) -> None:
        self.connection = connection
        self.behaviour = behaviour
        self.spdy = SpdyConnection(client=False)
        self._queue: deque[bytes] = deque()
        self._waiting = self._turn = self._sent = 0
        self._filled, self._moved = asyncio.Event(), asyncio.Event()
        #: Whether frames are dropped from now on.
        self.muted = False
        #: Set when the client is gone.
        self.failed = asyncio.Event()
        self._faults = sorted(
            [
                (limit, fault)
                for limit, fault in (
                    (behaviour.goaway_after_bytes, self._go_away),
                    (behaviour.tunnel_garbage_after_bytes, self._send_garbage),
                    (behaviour.tcp_reset_after_bytes, self._reset_tcp),
                    (behaviour.close_after_bytes, self._close_on_purpose),
                )
                if limit is not None
            ],
            key=lambda pair: pair[0],
        )

    # What SPDY says ---------------------------------------------------------------------------------------------------

    def post(self, frame: bytes) -> None:
        """Queue a frame; an empty one is none."""
        if frame and not self.muted and not self.failed.is_set():
            self._queue.append(frame)
            self._waiting += len(frame)
            self._filled.set()

    def reply(self, stream_id: int) -> None:
        """Accept a stream."""
        if self.behaviour.header_bomb:
            self.post(spdy.encode_syn_reply(stream_id, _bomb()))
            self.muted = True
        self.post(self.spdy.reply(stream_id))

    def end(self, stream_id: int) -> None:
        """End this half of a stream."""
        self.post(self.spdy.data(stream_id, b"", fin=True))

    def text(self, stream_id: int, text: str) -> None:
        """Say something on an error stream."""
        self.post(self.spdy.data(stream_id, text.encode()))

    def reset(self, stream_id: int) -> None:
        """Give a stream up."""
        self.post(self.spdy.reset(stream_id))

    async def data(self, stream_id: int, payload: bytes) -> None:
        """Send data; wait while the client does not read.

        :raises OSError: the client is gone, or made to believe that this end is
        """
        if self.failed.is_set() or self.muted:
            raise ConnectionResetError("nothing is sent any more")
        if self._faults and self._sent + len(payload) >= self._faults[0][0]:
            limit, fault = self._faults[0]
            if limit > self._sent:
                self.post(self.spdy.data(stream_id, payload[: limit - self._sent]))
            await fault()
            raise ConnectionResetError("a fault on purpose")
        self._sent += len(payload)
        self.post(self.spdy.data(stream_id, payload))
        while self._waiting > _ROOM and not self.failed.is_set():
            await self._movement()

    # The writing ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write what is queued, until the client is gone."""
        try:
            while True:
                while not self._queue:
                    self._filled.clear()
                    await self._filled.wait()
                await self._write()
        except OSError:
            self.failed.set()
        finally:
            self._moved.set()

    async def _write(self) -> None:
        batch: list[bytes] = []
        size = 0
        while self._queue and size < _BATCH:
            batch.append(self._queue.popleft())
            size += len(batch[-1])
        pieces = [piece for write in writes_of(batch, self._turn) for piece in messages_of(write)]
        self._turn += len(batch)
        await self.connection.send(b"".join(pieces))
        self._waiting -= size
        self._moved.set()

    async def _movement(self) -> None:
        self._moved.clear()
        await self._moved.wait()

    async def flush(self) -> None:
        """Wait until all that was queued is written."""
        while self._waiting and not self.failed.is_set():
            await self._movement()

    async def close(self, payload: bytes) -> None:
        """Send a Close and end the connection."""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self.flush()
                await self.connection.send(frames.encode_frame(frames.CLOSE, payload))
        await self.connection.close()

    # Faults -----------------------------------------------------------------------------------------------------------

    async def _go_away(self) -> None:
        self.post(self.spdy.go_away())
        self.muted = True

    async def _send_garbage(self) -> None:
        self.post(_GARBAGE)
        self.muted = True

    async def _reset_tcp(self) -> None:
        self.muted = True
        await self.flush()
        await self.connection.reset()

    async def _close_on_purpose(self) -> None:
        self.muted = True
        await self.close(frames.close_payload(self.behaviour.close_code or 1000))
