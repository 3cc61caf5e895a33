"""Waiting until a socket can be read, again and again.

anyio's ``wait_readable`` tells the event loop of the socket before each wait and takes it back after it: two calls into the kernel and a third
of what a small answer costs on its way through a listener.  On asyncio the loop is told once here, and the socket is taken back only when
it has something to say that nobody asks for.

The loop's callback has nothing else to do here, so the waiting task goes on inside of it (:mod:`kubex_stream.client.wake`).
"""

from __future__ import annotations

import asyncio
import errno
import socket

import anyio

from kubex_stream.client.event_loops import running_event_loop
from kubex_stream.client.wake import Wake

__all__ = ("Readable",)


class Readable:
    """When a socket can be read; one task waits at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: Wake | None = None
        self._told = False

    async def wait(self) -> None:
        """Until there is something to read, or the end.

        :raises OSError: it was closed here
        """
        if self._sock.fileno() < 0:
            raise OSError(errno.EBADF, "closed here")
        if self._loop is None and running_event_loop() == "asyncio":
            self._loop = asyncio.get_running_loop()
        if self._loop is None or not self._tell(self._loop):
            try:
                await anyio.wait_readable(self._sock)
            except (anyio.ClosedResourceError, ValueError) as error:
                raise OSError(errno.EBADF, "closed here") from error
            return
        self._waiting = Wake(self._loop)
        try:
            await self._waiting
        finally:
            self._waiting = None

    def _tell(self, loop: asyncio.AbstractEventLoop) -> bool:
        if not self._told:
            try:
                loop.add_reader(self._sock, self._ready)
            except NotImplementedError:  # Windows's default loop
                return False
            self._told = True
        return True

    def _ready(self) -> None:
        if self._waiting is None:
            self._take_back()
        else:
            self._waiting.set()

    def _take_back(self) -> None:
        if self._told and self._loop is not None:
            self._told = False
            self._loop.remove_reader(self._sock)

    def close(self) -> None:
        """Before the socket is closed: whoever waits gets an error."""
        self._take_back()
        if self._waiting is not None:
            self._waiting.fail(OSError(errno.EBADF, "closed here"))
        anyio.notify_closing(self._sock)
