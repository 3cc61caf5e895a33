"""One exec: a process, its streams on channels, and the ways in which the two come apart.

Rules of this file:
- The Status comes when the process has ended *and* everybody who holds its output has closed it; then Close and the end of TCP, at once.
- A client who leaves does not end the process.  A piped stdin gets its end, a terminal notices nothing, and output goes nowhere.  Only on
  v4 and older, and only when TCP ends without a Close frame, is the process killed.
- Habits of containerd that cost data are options of the behaviour; the rules for them are written there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kubex_stream.protocol.channels import STDERR_CHANNEL, STDOUT_CHANNEL
from kubex_stream.testing import statuses
from kubex_stream.testing.channels_server import ChannelServer, Left
from kubex_stream.testing.connection import HangupWatcher
from kubex_stream.testing.loss import LossyOutput
from kubex_stream.testing.processes import Process
from kubex_stream.testing.stdin import ResizeReader, StdinQueue
from kubex_stream.testing.tasks import cancel_and_wait

__all__ = ("ExecSession", "Streams")

_STDIN_BUFFER_V4: Final = 160 * 1024
_STDIN_BUFFER_V5: Final = 8 * 1024 * 1024
#: Output goes on without a pause for at most this many pieces; then other sessions have their turn.
_TURN: Final = 16


@dataclass(slots=True, kw_only=True)
class Streams:
    """What a request asked for.

    :ivar stdin: stdin is wanted
    :ivar stdout: stdout is wanted
    :ivar stderr: stderr is wanted
    :ivar tty: a terminal is wanted
    """

    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool


class ExecSession:
    """Runs one exec from behind the 101 to its end.  It is the sink of its channels."""

    def __init__(
        self,
        channels: ChannelServer,
        process: Process,
        streams: Streams,
        watcher: HangupWatcher,
        on_loss: Callable[[int], None],
    ) -> None:
        behaviour, row = channels.behaviour, channels.row
        self.channels = channels
        self.process = process
        self.streams = streams
        self._watcher = watcher
        limit = behaviour.stdin_buffer
        if limit is None:
            limit = _STDIN_BUFFER_V5 if row.half_close else _STDIN_BUFFER_V4
        keep_unread = behaviour.status_withheld_above is not None
        self._queue = StdinQueue(process, limit=limit, keep_unread=keep_unread)
        self._resize = ResizeReader()
        # containerd takes a missing stdin for its end, except where the kubelet asks it by SPDY, as for v5.
        self._muted = streams.tty and not streams.stdin and not row.half_close and behaviour.tty_output_ends_with_stdin
        after = behaviour.v5_loss_after
        self._output = LossyOutput(channels, after, on_loss) if after is not None and row.half_close else None
        self._released = asyncio.Event()
        self._client_gone = False

    async def stdin(self, data: bytes) -> None:
        """Take input."""
        if self.streams.stdin:
            await self._queue.put(data)

    async def close_stdin(self) -> None:
        """The end of the input."""
        if self.streams.stdin:
            self._queue.end()
            if self.streams.tty and self.channels.behaviour.tty_output_ends_with_stdin:
                self._muted = True

    async def resize(self, data: bytes) -> None:
        """Take a size.  Without a terminal nobody does on v5, and the second one blocks."""
        if self._resize.broken:
            await self._released.wait()
        if self.streams.tty:
            for width, height in self._resize.feed(data):
                self.process.resize(width=width, height=height)
        elif self.channels.row.half_close:
            self._resize.broken = True

    async def run(self) -> None:
        """Serve the session.  When it returns, the connection is closed, and the process has ended."""
        receiver = asyncio.create_task(self.channels.receive(self))
        ended = asyncio.create_task(self._ended())
        stdin = asyncio.create_task(self._queue.pump())
        stop_watching = self._watcher.watch(self.channels.connection, self._hang_up)
        try:
            await asyncio.wait({receiver, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                await self._leave(receiver.result())
                await ended
            elif not receiver.done():
                await self._finish(receiver)
            else:
                await self.channels.close()
        finally:
            stop_watching()
            try:
                await cancel_and_wait(receiver, ended, stdin)
            finally:
                self.process.close()

    async def _finish(self, receiver: asyncio.Task[Left]) -> None:
        withheld = self.channels.behaviour.status_withheld_above
        unread = 0 if withheld is None or self.streams.tty else self._queue.unread
        if self.channels.behaviour.no_status or (withheld is not None and unread > withheld):
            if self._client_gone:
                self._release()
            await receiver  # only the client can end this
            await self.channels.close()
            return
        status = statuses.exit_status(self.channels.row, await self.process.wait(), self.process.command)
        with contextlib.suppress(OSError):
            await self.channels.finish(status)

    async def _leave(self, left: Left) -> None:
        self._muted = True
        if left is Left.END and not self.channels.row.half_close and self.channels.behaviour.kill_on_tcp_end:
            self.process.kill()
        self._queue.end()
        await self.channels.close()

    def _hang_up(self, reset: bool) -> None:
        self._client_gone = True
        if reset or self.process.exit_code is not None:
            self._release()

    def _release(self) -> None:
        self._queue.release()
        self._released.set()

    async def _ended(self) -> None:
        """The end of the process and of all its output."""
        process = self.process
        pumps: list[asyncio.Task[None]] = []
        sender = asyncio.create_task(self._output.run()) if self._output is not None else None
        try:
            for fd, channel in ((process.stdout, STDOUT_CHANNEL), (process.stderr, STDERR_CHANNEL)):
                if fd is not None:
                    pumps.append(asyncio.create_task(self._pump(fd, channel)))
            await asyncio.gather(process.wait(), *pumps)
            if self._output is not None:
                await self._output.drained()
        finally:
            await cancel_and_wait(*pumps, *([sender] if sender else []))

    async def _pump(self, fd: int, channel: int) -> None:
        pieces = 0
        while data := await self.process.read(fd):
            if not self._muted:
                try:
                    await (self._output or self.channels).send(channel, data)
                except OSError:
                    self._muted = True
            pieces += 1
            if pieces % _TURN == 0:
                await asyncio.sleep(0)
