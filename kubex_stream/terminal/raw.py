"""Raw mode, and the way back from it.

Rules of this file:
- What the terminal was is noted before anything is changed, and put back exactly; nothing typed is thrown away, and nothing waits for a
  screen that is stopped.
- A mode is put back by whoever comes first: the end of the session, a signal (:mod:`kubex_stream.terminal.signals`), the end of the
  interpreter.  Each may come at any moment, and more than once.
- A forked child has the memory of all this and none of the business.
- One session has a terminal at a time: the second would take raw mode for what the terminal was.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import sys
from typing import Any, Final

if sys.platform != "win32":
    import termios

__all__ = ("RawMode",)

_taken: Final[set[tuple[int, int]]] = set()


class RawMode:
    """The mode of one terminal.

    :param descriptor: of a terminal; a duplicate is kept, so it may be closed meanwhile
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._fd = -1
        self._pid = os.getpid()
        self._before: list[Any] | None = None
        self._raw: list[Any] | None = None
        self._over = False
        status = os.fstat(descriptor)
        self._key = (status.st_rdev, status.st_ino)

    def enter(self) -> None:
        """Set raw mode, as ``cfmakeraw`` has it.

        :raises RuntimeError: another session of this process has the terminal
        :raises OSError: the terminal cannot be set
        """
        if self._key in _taken:
            raise RuntimeError("this terminal has an interactive session already; end that one first")
        _taken.add(self._key)
        self._fd = os.dup(self._descriptor)
        atexit.register(self.restore)
        try:
            self._set_raw()
        except BaseException as error:
            self.leave()
            if isinstance(error, termios.error):
                raise OSError(*error.args) from error
            raise

    def restore(self) -> None:
        """Put back what was there; :meth:`resume` sets raw mode again."""
        if self._before is not None and self._fd >= 0 and os.getpid() == self._pid:
            with contextlib.suppress(termios.error):  # it has gone
                _set(self._fd, self._before)

    def resume(self) -> None:
        """Set raw mode again, behind :meth:`restore` or after others had the terminal; what they made of it is put back at the end."""
        if self._before is not None and not self._over and os.getpid() == self._pid:
            with contextlib.suppress(termios.error):
                self._set_raw()

    def leave(self) -> None:
        """Put back what was there, for good."""
        self._over = True  # first, for a signal that comes now
        self.restore()
        self._before = None
        atexit.unregister(self.restore)
        _taken.discard(self._key)
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _set_raw(self) -> None:
        now = _get(self._fd)
        if now != self._raw:
            self._before = now
        _set(self._fd, _made_raw(now))
        self._raw = _get(self._fd)


def _get(fd: int) -> list[Any]:
    return termios.tcgetattr(fd)


def _set(fd: int, attributes: list[Any]) -> None:
    while True:
        try:
            # At once: what was written has its form already, and a screen that is stopped would be waited for.
            termios.tcsetattr(fd, termios.TCSANOW, attributes)
        except termios.error as error:
            if error.args[0] != errno.EINTR:  # stopped in the background, and continued
                raise
        else:
            return


def _made_raw(attributes: list[Any]) -> list[Any]:
    iflag, oflag, cflag, lflag, ispeed, ospeed, characters = attributes
    iflag &= ~(
        termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP
        | termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON
    )  # fmt: skip
    oflag &= ~termios.OPOST
    lflag &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    cflag = cflag & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    characters = list(characters)
    characters[termios.VMIN], characters[termios.VTIME] = 1, 0
    return [iflag, oflag, cflag, lflag, ispeed, ospeed, characters]
