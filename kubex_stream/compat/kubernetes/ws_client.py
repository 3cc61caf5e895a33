"""``WSClient``: a command, or an attachment, for code that is not async."""

from __future__ import annotations

import json
import math
import weakref
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, AnyStr, Final, Generic, Self

from kubex_stream.compat.kubernetes.errors import translated
from kubex_stream.compat.kubernetes.inbox import Inbox
from kubex_stream.compat.kubernetes.loop import BackgroundLoop, hold
from kubex_stream.compat.kubernetes.pieces import Pieces
from kubex_stream.compat.kubernetes.session import Session
from kubex_stream.errors import StdinBroken
from kubex_stream.protocol.channels import ERROR_CHANNEL, RESIZE_CHANNEL, STDERR_CHANNEL, STDIN_CHANNEL, STDOUT_CHANNEL

__all__ = ("WSClient",)

#: No time out; the official client's way to say so besides None.
_FOREVER: Final = math.inf


class WSClient(Generic[AnyStr]):
    """An open session, with the methods of the official client's ``WSClient``; got from :func:`stream`.

    Output comes by itself, as far as it is wanted: after 1 MiB that nobody has asked for, the command has to wait.  A method that waits lets
    everything come meanwhile.  Any number of threads may use one object.  Nothing that has come is ever lost: not by a timeout, not by the end
    of the session, not by a character or a line that is split.

    A session whose connection breaks, that ends without a word of the command's end, or whose command did not start, raises an
    ``ApiException`` from whatever asks for more than what had come, and from :attr:`returncode`.

    :ivar binary: whether outputs are bytes
    :ivar newline: what ends a line
    """

    def __init__(self, loop: BackgroundLoop, session: Session[AnyStr], inbox: Inbox[AnyStr], newline: AnyStr) -> None:
        self._loop = loop
        self._session: Session[AnyStr] = session
        self._inbox: Inbox[AnyStr] = inbox
        self._empty: AnyStr = newline[:0]
        self.binary = isinstance(newline, bytes)
        self.newline: AnyStr = newline
        self._noted = 0  # what had arrived when update() looked last
        self._closed = self._end_seen = self._status_taken = False
        self._left_at_end: int | None = None
        weakref.finalize(self, session.abandon).atexit = False

    # Waiting ----------------------------------------------------------------------------------------------------------

    def update(self, timeout: float | None = 0) -> None:
        """Wait for output, of any channel, that has come since the last call.

        :param timeout: seconds at most; None for ever
        :raises ApiException: the session has failed, and everything that had come was read
        """
        self._wait(lambda: self._inbox.arrived != self._noted, timeout)
        self._noted = self._inbox.arrived
        if self._inbox.end is not None:
            self._look_at_end()

    def run_forever(self, timeout: float | None = None) -> None:
        """Wait for the end; what comes meanwhile is kept, all of it.

        :param timeout: seconds at most, after which it returns all the same; None, or 0, for ever
        :raises ApiException: the session has failed; what had come can be read
        """
        self._wait(lambda: False, timeout or None)
        if self._inbox.end is not None:
            self._end_seen = True
            self._raise_failure()

    def is_open(self) -> bool:
        """Whether more may come, or a loop that reads while this is true has not had the chance to read everything."""
        self._loop.check_process()
        if self._closed:
            return False
        return self._inbox.end is None or not (self._end_seen or not self._inbox.unread)

    @property
    def returncode(self) -> int | None:
        """The exit code, 128 + n after signal n; None while it runs, and where the session was closed here before its end.

        :raises ApiException: there is no exit code, and why: it did not start, the connection broke, the server did not say
        """
        self._loop.check_process()
        end = self._inbox.end
        if end is None:
            return None
        self._raise_failure()
        return end.code

    @property
    def subprotocol(self) -> str:
        """What the server has agreed to, as ``v4.channel.k8s.io``."""
        return self._session.subprotocol

    # Reading ----------------------------------------------------------------------------------------------------------

    def peek_channel(self, channel: int, timeout: float | None = 0) -> AnyStr:
        """What has come of a channel, and stays there; empty where nothing comes in time, and at the end.

        :param channel: 1 for stdout, 2 for stderr, 3 for what the server says of the end, as JSON
        :param timeout: seconds to wait for it; None for ever
        :raises ApiException: the session has failed, and nothing is left to read of this channel
        """
        return self._read(channel, timeout, Pieces.peek)

    def read_channel(self, channel: int, timeout: float | None = 0) -> AnyStr:
        """The same, and it is taken."""
        return self._read(channel, timeout, Pieces.take)

    def readline_channel(self, channel: int, timeout: float | None = None) -> AnyStr:
        """The next line, without its end; at the end of the output what is left of it.

        Empty where no whole line comes in time; what came of it stays.  Raises as :meth:`peek_channel`.
        """
        line = self._taken(_checked(channel), timeout, Pieces.line)
        if line is None and self._inbox.end is not None:
            line = self._taken(channel, 0, Pieces.line)  # what came between the two
            return self._read(channel, 0, Pieces.take) if line is None else line
        return self._empty if line is None else line

    def read_all(self) -> AnyStr:
        """Everything of stdout and stderr that was not read yet, as it came."""
        self._loop.check_process()
        return self._empty.join(self._inbox.take_all())

    def peek_stdout(self, timeout: float | None = 0) -> AnyStr:
        """As :meth:`peek_channel`."""
        return self.peek_channel(STDOUT_CHANNEL, timeout)

    def read_stdout(self, timeout: float | None = None) -> AnyStr:
        """As :meth:`read_channel`."""
        return self.read_channel(STDOUT_CHANNEL, timeout)

    def readline_stdout(self, timeout: float | None = None) -> AnyStr:
        """As :meth:`readline_channel`."""
        return self.readline_channel(STDOUT_CHANNEL, timeout)

    def peek_stderr(self, timeout: float | None = 0) -> AnyStr:
        """As :meth:`peek_channel`."""
        return self.peek_channel(STDERR_CHANNEL, timeout)

    def read_stderr(self, timeout: float | None = None) -> AnyStr:
        """As :meth:`read_channel`."""
        return self.read_channel(STDERR_CHANNEL, timeout)

    def readline_stderr(self, timeout: float | None = None) -> AnyStr:
        """As :meth:`readline_channel`."""
        return self.readline_channel(STDERR_CHANNEL, timeout)

    # Writing ----------------------------------------------------------------------------------------------------------

    def write_channel(self, channel: int, data: str | bytes | bytearray | memoryview) -> None:
        """Send, and return when the connection has taken it, whatever its size; what comes meanwhile is kept.

        :param channel: 0 for stdin; 4 for the size of the terminal, as ``'{"Width": 120, "Height": 40}'``
        :raises StdinBroken: the command, or its stdin, has ended, or the connection is gone; it is a BrokenPipeError
        :raises RuntimeError: stdin, or the tty, was not asked for
        :raises ValueError: another channel, or no size
        """
        if not isinstance(data, str | bytes | bytearray | memoryview):
            raise TypeError(f"what is written is text or bytes, not {type(data).__name__}")
        raw = data.encode() if isinstance(data, str) else data
        if channel == STDIN_CHANNEL:
            self._session.call(lambda process: process.stdin.send(raw))
        elif channel == RESIZE_CHANNEL:
            width, height = _size(bytes(raw))
            self._session.call(lambda process: process.resize(width=width, height=height))
        else:
            raise ValueError(f"only stdin (0) and the size (4) can be written, not channel {channel!r}")

    def write_stdin(self, data: str | bytes | bytearray | memoryview) -> None:
        """As :meth:`write_channel` with channel 0."""
        self.write_channel(STDIN_CHANNEL, data)

    def close_channel(self, channel: int) -> None:
        """End stdin; output goes on.  With a tty this is the character 0x04.

        :raises HalfCloseUnsupported: the server speaks v4 only, which has no such end
        :raises ValueError: another channel than 0
        """
        if channel != STDIN_CHANNEL:
            raise ValueError(f"only stdin (0) can be ended, not channel {channel!r}")
        if self._inbox.end is None:
            with suppress(StdinBroken):  # it has ended meanwhile
                self._session.call(lambda process: process.stdin.aclose())

    # Leaving ----------------------------------------------------------------------------------------------------------

    def close(self, **_: object) -> None:
        """Close the session, whether it has ended or not; the command is not ended by that.  What had come can be read.

        Keyword arguments, as the official client passes them on to its WebSocket library, change nothing.
        """
        self._loop.check_process()
        self._closed = True
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        end = self._inbox.end
        state = (
            "open"
            if end is None
            else "failed"
            if end.failure
            else "closed"
            if end.code is None
            else f"exited {end.code}"
        )
        return f"<WSClient ({state})>"

    # Inside -----------------------------------------------------------------------------------------------------------

    def _wait(self, ready: Callable[[], bool], timeout: float | None) -> bool:
        seconds = _seconds(timeout)
        self._loop.check_process()
        if self._inbox.end is None and (seconds is None or seconds > 0):
            self._loop.check()
        found = self._inbox.wait(ready, seconds)
        hold()
        return found

    def _read(self, channel: int, timeout: float | None, take: Callable[[Pieces[AnyStr]], AnyStr]) -> AnyStr:
        if _checked(channel) == ERROR_CHANNEL:
            return self._read_status(timeout, keep=take is Pieces.peek)
        found = self._taken(channel, timeout, take)
        if not found and self._inbox.end is not None:
            found = self._taken(channel, 0, take)  # what came between the two
            if not found:
                self._end_seen = True
                self._raise_failure()
        return found or self._empty

    def _taken(
        self, channel: int, timeout: float | None, take: Callable[[Pieces[AnyStr]], AnyStr | None]
    ) -> AnyStr | None:
        """What a function takes of a channel as soon as there is something; looked for and taken under one lock, as others read too."""
        pieces = self._inbox.of(channel)
        found: AnyStr | None = None

        def look() -> bool:
            nonlocal found
            if pieces is not None and pieces.size:
                found = take(pieces)
                if found is not None and take is not Pieces.peek:
                    self._inbox.taken += 1
            return found is not None

        self._wait(look, timeout)
        return found

    def _read_status(self, timeout: float | None, *, keep: bool) -> AnyStr:
        self._wait(lambda: False, timeout)
        end = self._inbox.end
        if end is None or self._status_taken:
            return self._empty
        self._status_taken = not keep
        text: Any = end.status.encode() if self.binary else end.status
        return self._empty + text  # type: ignore[no-any-return]

    def _look_at_end(self) -> None:
        """Let a loop of update() and reading go on until it has read what is left; one that reads nothing ends."""
        taken = self._inbox.taken
        if not self._inbox.unread or self._left_at_end == taken:
            self._end_seen = True
        self._left_at_end = taken
        if not self._inbox.unread:
            self._raise_failure()

    def _raise_failure(self) -> None:
        end = self._inbox.end
        if end is not None and end.failure is not None:
            with translated():
                raise end.failure.with_traceback(None)


def _checked(channel: object) -> int:
    if isinstance(channel, bool) or not isinstance(channel, int):
        raise TypeError(f"a channel is a number, as STDOUT_CHANNEL, not {type(channel).__name__}")
    return channel


def _seconds(timeout: object) -> float | None:
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or math.isnan(timeout):
        raise TypeError(f"timeout is a number of seconds, or None, not {timeout!r}")
    return None if timeout == _FOREVER else max(0.0, timeout)


def _size(raw: bytes) -> tuple[int, int]:
    try:
        told = json.loads(raw)
        return told["Width"], told["Height"]
    except (ValueError, TypeError, KeyError):
        raise ValueError('the size of a terminal is JSON, as \'{"Width": 120, "Height": 40}\'') from None
