"""Who reads: of many tasks that wait for bytes of one socket, one at a time, and never one that nobody waits in.

Rules of this file:
- A task that waits for something, and finds nobody reading, reads; also what is for others.  When it leaves, one of the others is woken to
  take over, that one alone: a thousand that wait cost a thousandth of a wake-up each.
- Whoever was woken and is cancelled before it could act passes the turn on.
- Someone who reads only for others leaves as soon as anybody waits.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable
from contextlib import contextmanager
from typing import Generic, Self, TypeVar

import anyio

__all__ = ("Turns",)

T = TypeVar("T", bound=Hashable)


class Turns(Generic[T]):
    """The order of reading.

    :param allowed: whether reading may go on at all
    """

    def __init__(self, allowed: Callable[[], bool]) -> None:
        self._allowed = allowed
        self._waiting: dict[T, anyio.Event] = {}
        self._others_scope: anyio.CancelScope | None = None
        #: Whether somebody reads now.
        self.taken = False
        #: For whom, where it is one who waits.
        self.reader: T | None = None
        #: Whether something has come for the reader.
        self.news = False

    @property
    def wanted(self) -> bool:
        """Whether anybody waits."""
        return bool(self._waiting)

    def take(self, reader: T) -> Self:
        """The block reads, until there is news for ``reader``."""
        self.taken, self.reader, self.news = True, reader, False
        return self

    def __enter__(self) -> None:
        """Nothing; :meth:`take` has done it."""

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self.taken, self.reader = False, None
        if self._waiting:
            self.hand_over()

    @contextmanager
    def take_for_others(self) -> Generator[None, None, None]:
        """The block reads for nobody; it is cancelled when somebody waits."""
        self.taken = True
        try:
            with anyio.CancelScope() as self._others_scope:
                yield
        finally:
            self._others_scope = None
            self.taken = False
            self.hand_over()

    def interrupt(self) -> None:
        """End the reading for others."""
        if self._others_scope is not None:
            self._others_scope.cancel()

    async def wait(self, one: T) -> None:
        """Wait until there is news for ``one``, or it is its turn; look which."""
        event = self._waiting[one] = anyio.Event()
        self.interrupt()
        try:
            await event.wait()
        except BaseException:
            self._waiting.pop(one, None)
            self.hand_over()  # it may have been this one's turn
            raise

    def wake(self, one: T) -> None:
        """There is news for ``one``."""
        if one is self.reader:
            self.news = True
        event = self._waiting.pop(one, None)
        if event is not None:
            event.set()

    def hand_over(self) -> None:
        """Wake one of those who wait, where nobody reads and it is possible."""
        if self._waiting and not self.taken and self._allowed():
            self.wake(next(iter(self._waiting)))
