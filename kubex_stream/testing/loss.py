"""The loss of v5, on purpose: a command has ended, its reader stalls, and what was on the way is thrown away under exit code 0.

Between the container runtime and the WebSocket of v5 lies a SPDY connection.  The runtime closes it when the command has ended; whoever
still has data to deliver then meets a closed socket at the next SPDY ping, every 5 s, and loses it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from kubex_stream.testing.channels_server import ChannelServer

__all__ = ("LossyOutput",)

_LIMIT: Final = 32 * 1024 * 1024


class LossyOutput:
    """A bounded buffer between a process and its channels, that is dropped when the process is over and nobody reads.

    :param channels: where the output goes
    :param after: seconds of a reader's stall that lose the rest
    :param on_loss: told how many bytes were lost
    """

    def __init__(self, channels: ChannelServer, after: float, on_loss: Callable[[int], None]) -> None:
        self._channels = channels
        self._on_loss = on_loss
        self._after = after
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._size = 0
        self._changed = asyncio.Condition()
        self._sending = False
        self._failed = False

    async def send(self, channel: int, data: bytes) -> None:
        """Take output; wait while the buffer is full.

        :raises OSError: the client is gone
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self._size < _LIMIT or self._failed)
            if self._failed:
                raise ConnectionResetError("the client is gone")
            self._waiting.append((channel, data))
            self._size += len(data)
            self._changed.notify_all()

    async def run(self) -> None:
        """Send what was taken, for ever."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: bool(self._waiting))
                channel, data = self._waiting.popleft()
                self._size -= len(data)
                self._sending = True
            try:
                await self._channels.send(channel, data)
            except OSError:
                self._failed = True
            async with self._changed:
                self._sending = False
                self._changed.notify_all()

    async def drained(self) -> None:
        """Wait until all is sent; if nothing moves for too long, what waits is lost."""
        async with self._changed:
            while (self._waiting or self._sending) and not self._failed:
                try:
                    async with asyncio.timeout(self._after):
                        await self._changed.wait()
                except TimeoutError:
                    self._on_loss(self._size)
                    self._waiting.clear()
                    self._size = 0
