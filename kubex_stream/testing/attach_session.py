"""Attach: the main process of a container, and those who listen and talk to it.

Rules of this file:
- The main process's output is always read, by everybody who is attached, from now on; nothing is replayed.  A slow listener holds up all
  of them, and in the end the process.
- The end of one attacher's stdin ends *this* attachment, with Success; a container with ``stdin_once`` passes it on instead, and the
  attachment goes on.  A container without stdin drops input.
- The end of the main process is Success for every attacher, whatever its exit code.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from kubex_stream.protocol.channels import STDERR_CHANNEL, STDOUT_CHANNEL
from kubex_stream.testing import statuses
from kubex_stream.testing.channels_server import ChannelServer, Left
from kubex_stream.testing.exec_session import Streams
from kubex_stream.testing.pods import EmbeddedContainer
from kubex_stream.testing.processes import Process
from kubex_stream.testing.stdin import ResizeReader, StdinQueue
from kubex_stream.testing.tasks import cancel_and_wait

__all__ = ("AttachSession", "MainProcess")

_STDIN_BUFFER = 160 * 1024
_PATIENCE = 1.0
_Listener = Callable[[int, bytes], Awaitable[None]]


class MainProcess:
    """The process that a container was started with.

    :param container: as declared
    :param process: started with stdin and tty as the container says
    :param log: gets all output, before those who are attached
    """

    def __init__(
        self, container: EmbeddedContainer, process: Process, log: Callable[[int, bytes], object] | None = None
    ) -> None:
        self.container = container
        self.process = process
        self.queue = StdinQueue(process, limit=_STDIN_BUFFER, keep_unread=False)
        self._listeners: list[_Listener] = []
        self._log = log
        self._task = asyncio.create_task(self._run())

    async def wait(self) -> int:
        """Its exit code, once it and its output have ended."""
        return await asyncio.shield(self._task)

    async def aclose(self) -> None:
        """Let go of it; it must have been killed.  A listener who does not read holds this up for a moment only."""
        await asyncio.wait({self._task}, timeout=_PATIENCE)
        self._task.cancel()
        await asyncio.wait({self._task})

    def listen(self, listener: _Listener) -> Callable[[], None]:
        """Give all output from now on to ``listener``; the answer ends that."""
        self._listeners.append(listener)

        def stop() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return stop

    async def _run(self) -> int:
        stdin = asyncio.create_task(self.queue.pump())
        pumps = [
            asyncio.create_task(self._pump(fd, channel))
            for fd, channel in ((self.process.stdout, STDOUT_CHANNEL), (self.process.stderr, STDERR_CHANNEL))
            if fd is not None
        ]
        try:
            await asyncio.gather(*pumps)
            return await self.process.wait()
        finally:
            try:
                await cancel_and_wait(stdin, *pumps)
            finally:
                self.process.close()

    async def _pump(self, fd: int, channel: int) -> None:
        while data := await self.process.read(fd):
            if self._log is not None:
                self._log(channel, data)
            for listener in tuple(self._listeners):
                await listener(channel, data)
            await asyncio.sleep(0)


class AttachSession:
    """Serves one attachment from behind the 101 to its end.  It is the sink of its channels."""

    def __init__(self, channels: ChannelServer, main: MainProcess, streams: Streams) -> None:
        self.channels = channels
        self.streams = streams
        self._main = main
        self._resize = ResizeReader()
        self._detached = asyncio.Event()
        self._muted = False

    async def stdin(self, data: bytes) -> None:
        """Take input."""
        if self.streams.stdin and self._main.container.stdin:
            await self._main.queue.put(data)

    async def close_stdin(self) -> None:
        """The end of this attacher's input."""
        container = self._main.container
        if not self.streams.stdin or not container.stdin:
            return
        if container.stdin_once and not container.tty:
            self._main.queue.end()
        else:
            self._detached.set()

    async def resize(self, data: bytes) -> None:
        """Take a size; it becomes the container's."""
        if self._resize.broken or (not self.streams.tty and self.channels.row.half_close):
            if self._resize.broken:
                await asyncio.Event().wait()  # nobody takes it
            self._resize.broken = True
            return
        for width, height in self._resize.feed(data):
            self._main.process.resize(width=width, height=height)

    async def run(self) -> None:
        """Serve the session.  When it returns, the connection is closed."""
        receiver = asyncio.create_task(self.channels.receive(self))
        ends = [asyncio.create_task(self._main.wait()), asyncio.create_task(self._detached.wait())]
        stop_listening = self._main.listen(self._send)
        try:
            await asyncio.wait({receiver, *ends}, return_when=asyncio.FIRST_COMPLETED)
            stop_listening()
            if receiver.done():
                await self.channels.close()
            else:
                await self._finish(receiver)
        finally:
            stop_listening()
            await cancel_and_wait(receiver, *ends)

    async def _finish(self, receiver: asyncio.Task[Left]) -> None:
        if self.channels.behaviour.no_status:
            await receiver  # only the client can end this
            await self.channels.close()
            return
        with contextlib.suppress(OSError):
            await self.channels.finish(statuses.success_status(self.channels.row))

    async def _send(self, channel: int, data: bytes) -> None:
        wanted = self.streams.stdout if channel == STDOUT_CHANNEL else self.streams.stderr
        if not wanted or self._muted:
            return
        try:
            await self.channels.send(channel, data)
        except OSError:
            self._muted = True
