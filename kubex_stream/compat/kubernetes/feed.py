"""Items that come in the loop, for a thread that takes them as it has time.

Rules of this file:
- At most :data:`AHEAD` items wait; then what makes them waits, and with it the server.
- What came before the end, or before an error, is taken before it.  Only :meth:`Feed.stop` drops what was not taken yet.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final, Generic, TypeVar

import anyio

from kubex_stream.compat.kubernetes.loop import BackgroundLoop, hold

__all__ = ("AHEAD", "Feed")

T = TypeVar("T")
#: Items that may wait.
AHEAD: Final = 256


class Feed(Generic[T]):
    """The items of one source.

    :param fill: runs in the loop, and puts items
    """

    def __init__(self, loop: BackgroundLoop, fill: Callable[[Feed[T]], Awaitable[None]]) -> None:
        self._loop = loop
        self._fill = fill
        self._changed = threading.Condition()
        self._fresh: list[T] = []  # what was not handed over yet
        self._items: deque[T] = deque()
        self._error: Exception | None = None
        self._ended = self._stopped = self._begun = False
        self._task: asyncio.Task[None] | None = None
        self._room: anyio.Event | None = None

    # In the loop ------------------------------------------------------------------------------------------------------

    def add(self, items: Sequence[T]) -> None:
        """Add items, however many wait.  They are handed over when this task has to wait, all in one go."""
        if not self._fresh:
            asyncio.get_running_loop().call_soon(self._hand_over)
        self._fresh.extend(items)

    async def put(self, items: Sequence[T]) -> None:
        """Add items, and wait while there are too many."""
        self.add(items)
        while len(self._fresh) + len(self._items) >= AHEAD:
            self._hand_over()
            with self._changed:
                if len(self._items) < AHEAD:
                    return
                self._room = anyio.Event()
            await self._room.wait()

    def _hand_over(self) -> None:
        with self._changed:
            if not self._stopped:
                self._items.extend(self._fresh)
            self._fresh.clear()
            self._changed.notify_all()

    async def _start(self) -> None:
        self._task = self._loop.spawn(self._run)
        if self._stopped:
            self._task.cancel()

    async def _run(self) -> None:
        error: Exception | None = None
        try:
            await self._fill(self)
        except Exception as failure:  # noqa: BLE001  # raised in the thread that takes the items
            error = failure
        finally:
            self._hand_over()
            with self._changed:
                self._error, self._ended = error, True
                self._changed.notify_all()

    def _make_room(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            room.set()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _stop(self) -> None:
        self._cancel()
        if self._task is not None:
            await asyncio.wait([self._task])

    # In any thread ----------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End it at once; whoever waits for an item sees the end.  What another process began is left to it."""
        if self._loop.foreign:
            return
        with self._changed:
            self._stopped = True
            self._items.clear()
            self._changed.notify_all()
        self._loop.call_soon(self._cancel)

    def close(self) -> None:
        """The same, and wait until its connection is closed, where this thread may wait."""
        self.stop()
        if self._begun and self._loop.usable and not self._loop.inside:
            self._loop.run(self._stop)

    def __iter__(self) -> Iterator[T]:
        """Take the items; the first call begins."""
        self._loop.check()
        self._begun = True
        self._loop.run(self._start)
        while True:
            items = self._take()
            if not items:
                return
            while items and not self._stopped:
                yield items.popleft()

    def _take(self) -> deque[T]:
        self._loop.check_process()
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._ended or self._stopped)
            items, self._items = self._items, deque()
            error, self._error = (None, self._error) if items or self._stopped else (self._error, None)
            waited_for = self._room is not None
        hold()
        if waited_for:
            self._loop.call_soon(self._make_room)
        if error is not None:
            raise error
        return items
