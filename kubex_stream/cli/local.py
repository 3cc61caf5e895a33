"""The command's own stdin, stdout and stderr, without ever blocking the event loop.

Rules of this file:
- A blocked loop sends no pings and reads no output that a server is about to drop, so nothing here reads or writes a file descriptor on it
  that could make it wait.
- A descriptor that is shared with other programs is never made non-blocking: that would be theirs too.
- Threads are daemons that hold one descriptor and one end of a socket pair; closing the other end is all it takes to be rid of one,
  and one that is stuck in a terminal or a full pipe ends with the process.
- A thread notes its failure before it closes its end, so whoever sees the end knows why.
- What has come is written, however it ends: threads that are daemons have to be waited for.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import sys
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import closing
from types import TracebackType
from typing import Final, Self

import anyio

from kubex_stream.errors import KubexClientException
from kubex_stream.terminal.descriptors import TerminalInput

__all__ = ("PATIENCE", "LocalOutput", "fill_descriptors", "local_input")

STDIN: Final = 0
_PIECE: Final = 65536
#: Seconds for what has come to be written after a cancellation.
PATIENCE: Final = 0.25


def _is_local(error: Exception) -> bool:
    """Whether it is about a file or a pipe of this process; errors of connections are of the same kind in Python."""
    return isinstance(error, OSError) and not isinstance(error, KubexClientException)


def fill_descriptors() -> None:
    """Open the null device in place of those of the descriptors 0, 1 and 2 that were closed when this process was started.

    Otherwise the next socket would get such a number, and with it what is meant for stdout.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


class _Pump:
    """A thread, and this side's end of the socket pair that it works on."""

    def __init__(self, work: Callable[[socket.socket], None], name: str) -> None:
        self.near, far = socket.socketpair()
        self.near.setblocking(False)
        self.failure: OSError | None = None
        threading.Thread(target=self._run, args=(work, far), name=f"kubex-stream {name}", daemon=True).start()

    def _run(self, work: Callable[[socket.socket], None], far: socket.socket) -> None:
        with far:
            try:
                work(far)
            except OSError as error:
                self.failure = error


class LocalOutput:
    """stdout or stderr of this process, as something with an async ``send``.

    Leaving its block waits until everything is written, and raises what :meth:`finish` does; left by an exception, it raises that one.
    After a cancellation, as by Ctrl-C, or where another output has failed, it does not wait for a reader that stalls.

    :param descriptor: 1 or 2
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pump = _Pump(self._work, f"output {descriptor}")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with closing(self._pump.near):
            if isinstance(error, Exception) and not _is_local(error):
                with contextlib.suppress(OSError):
                    await self._finish_or_soon()
            elif error is None:
                await self._finish_or_soon()
            else:
                await self._finish_soon()

    async def _finish_or_soon(self) -> None:
        try:
            await self.finish()
        except anyio.get_cancelled_exc_class():
            await self._finish_soon()
            raise

    async def _finish_soon(self) -> None:
        """Without waiting for a reader that stalls."""
        with contextlib.suppress(OSError), anyio.move_on_after(PATIENCE, shield=True):
            await self.finish()

    def _work(self, far: socket.socket) -> None:
        while data := far.recv(_PIECE):
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]

    async def send(self, item: bytes, /) -> None:
        """Write bytes; returns when they are on their way, in order.

        :raises OSError: something could not be written; :class:`BrokenPipeError` when nobody reads any more
        """
        view = memoryview(item)
        while view:
            try:
                view = view[self._pump.near.send(view) :]
            except BlockingIOError:
                await anyio.wait_writable(self._pump.near)
            except OSError as error:
                raise self._pump.failure or error from None

    async def finish(self) -> None:
        """Wait until everything is written.  Raises as :meth:`send`."""
        with contextlib.suppress(OSError):  # the thread has ended, and its failure says why
            self._pump.near.shutdown(socket.SHUT_WR)
        await anyio.wait_readable(self._pump.near)
        if self._pump.failure is not None:
            raise self._pump.failure


async def local_input() -> AsyncGenerator[bytes, None]:
    """stdin of this process until its end, in pieces as they come.

    :raises OSError: it cannot be read
    """
    if _can_wait_for(STDIN):
        with closing(TerminalInput(STDIN)) as source:  # which does not hand what is shared to the event loop
            while piece := await source.receive():
                yield piece
        return
    pump = _Pump(_send_stdin, "input")
    with pump.near:
        while True:
            try:
                data = pump.near.recv(_PIECE)
            except BlockingIOError:
                await anyio.wait_readable(pump.near)
                continue
            if not data:
                break
            yield data
    if pump.failure is not None:
        raise pump.failure


def _can_wait_for(descriptor: int) -> bool:
    """Whether an event loop can tell when there is something to read: not of files, of ``/dev/null``, and on Windows."""
    if sys.platform == "win32":
        return False
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor)


def _send_stdin(far: socket.socket) -> None:
    while data := os.read(STDIN, _PIECE):
        try:
            far.sendall(data)
        except OSError:
            return  # nobody wants it any more
