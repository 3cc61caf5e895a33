"""Reading from and writing to somebody else's file descriptor, without a thread and without ever blocking the event loop.

Rules of this file:
- A descriptor is shared with other programs, the shell above all, and O_NONBLOCK belongs to what is shared.  So it is never set on what was
  given: a terminal or a pipe is opened once more, which makes a description of our own; a socket takes a flag with each call.
- Nor is what was given handed to an event loop where that can be helped, since some set O_NONBLOCK on what they watch.
- Where nothing of our own can be had (a terminal of another user after ``su``, a system without /proc), each call asks first, and writes no
  more than is sure not to block: PIPE_BUF bytes into a pipe, one into a terminal.
- Regular files and the like are always ready, and no event loop can wait for them: they are read and written in pieces.
- Nothing is read ahead: what is not asked for stays for whoever reads next.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
import sys
from typing import Final

import anyio
from anyio.lowlevel import checkpoint

__all__ = ("TerminalInput", "TerminalOutput")

_PIECE: Final = 65536
#: Bytes written between two looks at other tasks, where each call takes few.
_TURN: Final = 4096
_HUNG_UP: Final = (errno.EIO, errno.ECONNRESET)
#: The device of every master's side, on Linux.
_PTMX: Final = os.makedev(5, 2) if sys.platform == "linux" else None


def _open_again(descriptor: int, status: os.stat_result, flags: int) -> int | None:
    """A descriptor of our own, non-blocking, for the same terminal or pipe; None where there can be none."""
    path: str | None = f"/proc/self/fd/{descriptor}"
    if os.isatty(descriptor):
        path = _path_of_terminal(descriptor, status)
    elif not stat.S_ISFIFO(status.st_mode):
        return None
    try:
        return None if path is None else os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return None


def _path_of_terminal(descriptor: int, status: os.stat_result) -> str | None:
    """A path that opens the same terminal; None for the master's side of a pseudo-terminal, which would be another one."""
    if sys.platform == "linux":  # also where the terminal has no name, as one that came from outside of a container
        return None if status.st_rdev == _PTMX else f"/proc/self/fd/{descriptor}"
    else:  # noqa: RET505  # for the type checker, which reads one of the two
        try:
            name = os.ttyname(descriptor)
        except OSError:
            return None
        return None if name.endswith("/ptmx") else name


def _ready(descriptor: int, event: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(0))


class _Descriptor:
    """What both directions share.

    :param flags: of ``open``
    :param event: to wait for
    """

    def __init__(self, descriptor: int, flags: int, event: int) -> None:
        status = os.fstat(descriptor)
        self._mode = status.st_mode
        self._given = descriptor
        self._own = _open_again(descriptor, status, flags)
        self._fd = descriptor if self._own is None else self._own
        self._waits = not stat.S_ISREG(self._mode)
        self._event = event
        self._blocks = os.get_blocking(descriptor)
        self._proxy = self._make_proxy() if self._own is None and self._waits else None

    def _make_proxy(self) -> select.epoll | None:
        """What the event loop can watch in place of what was given, which some make non-blocking for that (uvloop)."""
        if sys.platform != "linux":
            return None
        proxy = select.epoll()
        try:
            proxy.register(self._fd, self._event)
        except PermissionError:  # there is nothing to wait for, as with /dev/null
            proxy.close()
            self._waits = False
            return None
        return proxy

    async def _until_ready(self) -> None:
        if not self._waits:
            await checkpoint()
        elif self._proxy is not None:
            await anyio.wait_readable(self._proxy.fileno())
        elif self._event == select.POLLIN:
            await anyio.wait_readable(self._fd)
        else:
            await anyio.wait_writable(self._fd)

    def close(self) -> None:
        """Let go of what was opened here; what was given stays open, and as it was."""
        own, self._own = self._own, None
        if own is not None:
            os.close(own)
        elif self._proxy is not None:
            self._proxy.close()
        elif self._blocks and not os.get_blocking(self._given):
            os.set_blocking(self._given, True)


class TerminalInput(_Descriptor):
    """Where keys come from."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, os.O_RDONLY, select.POLLIN)

    async def receive(self, size: int = _PIECE) -> bytes:
        """The next bytes; none at the end, which for a terminal is its hang-up.  A cancelled call takes nothing.

        :raises OSError: it cannot be read
        """
        while True:
            await self._until_ready()
            data = self.receive_nowait(size)
            if data is not None:
                return data

    def receive_nowait(self, size: int = _PIECE) -> bytes | None:
        """What is there, and None where nothing is.  Raises as :meth:`receive`."""
        if self._own is None and self._waits and not _ready(self._fd, self._event):
            return None  # somebody else was quicker
        try:
            return os.read(self._fd, size)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in _HUNG_UP:
                return b""
            raise


class TerminalOutput(_Descriptor):
    """Where the screen is."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, os.O_WRONLY, select.POLLOUT)
        # A duplicate that is closed at the end; a socket object has no other way to name a descriptor.
        self._socket = socket.socket(fileno=os.dup(descriptor)) if stat.S_ISSOCK(self._mode) else None
        # What surely does not block once there is room at all.
        self._sure = select.PIPE_BUF if stat.S_ISFIFO(self._mode) else 1 if os.isatty(descriptor) else _PIECE

    async def send(self, data: bytes) -> None:
        """Write all of it, as fast as it is taken; a terminal that is stopped makes this wait.  A cancelled call may have written a part.

        :raises OSError: it cannot be written; :class:`BrokenPipeError` where nobody reads any more
        """
        view = memoryview(data)
        await checkpoint()
        while view:
            written = self._write(view)
            view = view[written:]
            if view:
                await (checkpoint() if written else self._until_ready())

    def _write(self, view: memoryview) -> int:
        """Write what is taken at once; how much."""
        try:
            if self._socket is not None:
                return self._socket.send(view, socket.MSG_DONTWAIT)
            if self._own is not None or not self._waits:
                return os.write(self._fd, view[:_PIECE])
        except BlockingIOError:
            return 0
        return self._write_carefully(view[:_TURN])

    def _write_carefully(self, view: memoryview) -> int:
        written = 0
        while written < len(view) and _ready(self._fd, self._event):
            written += os.write(self._fd, view[written : written + self._sure])
        return written

    def close(self) -> None:
        super().close()
        if self._socket is not None:
            self._socket.close()
