"""Between the loop, where output comes in, and the threads that take it.

Rules of this file:
- The loop puts, any number of threads take; one lock guards all, and nobody keeps it while he waits.
- Nobody reads on for a program that does nothing: after :data:`LIMIT` characters that nobody has asked for, the loop is told to pause, which
  is back-pressure.  A thread that waits inside of a call wants whatever comes, as the official client's reads then too.  Each other call
  lets as much come again.
- What came before the end is there after it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import AnyStr, Final, Generic

from kubex_stream.compat.kubernetes.pieces import Pieces

__all__ = ("LIMIT", "End", "Inbox")

#: Characters, or bytes, that may come without anybody asking for them.
LIMIT: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class End:
    """How a session ended.

    :ivar code: the exit code; None where there is none
    :ivar failure: why there is none, where that is an error; its traceback is that of nobody
    :ivar status: what the server said, as JSON
    """

    code: int | None = None
    failure: Exception | None = None
    status: str = ""


class Inbox(Generic[AnyStr]):
    """What has come of each channel.

    :param channels: those that were asked for
    """

    def __init__(self, channels: Mapping[int, Pieces[AnyStr]]) -> None:
        self._channels: dict[int, Pieces[AnyStr]] = dict(channels)
        self._changed = threading.Condition()
        self._arrived = 0
        #: Changes when something is taken; whoever takes says so, with the lock held.
        self.taken = 0
        self._received = 0
        self._allowed = LIMIT
        self._waiting = 0
        self._paused = False
        self._end: End | None = None
        #: Makes the loop go on; callable from any thread.
        self.resume: Callable[[], object] = lambda: None

    # In the loop ------------------------------------------------------------------------------------------------------

    def put(self, channel: int, data: bytes) -> bool:
        """Add what has come; whether more may."""
        with self._changed:
            self._arrived += 1
            self._received += len(data)
            self._channels[channel].put(data, self._arrived)
            self._changed.notify_all()
        return self.wanted()

    def wanted(self) -> bool:
        """Whether more may come."""
        with self._changed:
            self._paused = not self._waiting and self._received >= self._allowed
            return not self._paused

    def finish(self, end: End) -> None:
        """There will be no more.  Only the first end counts."""
        with self._changed:
            if self._end is None:
                for pieces in self._channels.values():
                    pieces.put(b"", self._arrived + 1, last=True)
                self._end = end
            self._changed.notify_all()

    # In any thread ----------------------------------------------------------------------------------------------------

    @property
    def end(self) -> End | None:
        """How it ended; None while it goes on.  Needs no lock, so that a forked process may ask for it."""
        return self._end

    @property
    def arrived(self) -> int:
        """A number that changes when something comes."""
        with self._changed:
            return self._arrived

    @property
    def unread(self) -> int:
        """Characters, or bytes, that nobody has taken."""
        with self._changed:
            return sum(pieces.size for pieces in self._channels.values())

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """For the time of the block, let everything come."""
        with self._changed:
            self._waiting += 1
            self._let_flow()
        try:
            yield
        finally:
            with self._changed:
                self._waiting -= 1
                self._allowed = self._received + LIMIT

    def wait(self, ready: Callable[[], bool], timeout: float | None) -> bool:
        """Wait until something is the case, or until the end; whether it is the case.

        :param ready: is called with the lock held, and not again once it has said yes
        :param timeout: seconds; None for ever
        """
        with self._changed:
            found = ready()
            if found or self._end is not None or (timeout is not None and timeout <= 0):
                self._allowed = self._received + LIMIT
                self._let_flow()
                return found

        def over() -> bool:
            nonlocal found
            found = ready()
            return found or self._end is not None

        with self.flowing(), self._changed:
            self._changed.wait_for(over, timeout)
            return found

    def of(self, channel: int) -> Pieces[AnyStr] | None:
        """The pieces of a channel; to be looked at only by what is called with the lock held."""
        return self._channels.get(channel)

    def take_all(self) -> list[AnyStr]:
        """Everything of all channels, in the order in which it came."""
        with self._changed:
            self.taken += 1
            pieces = [piece for each in self._channels.values() for piece in each.take_numbered()]
        return [piece for _, piece in sorted(pieces, key=lambda piece: piece[0])]

    def _let_flow(self) -> None:
        if self._paused:
            self._paused = False
            self.resume()
