"""Letting a task of asyncio go on inside of the event loop's callback that brought what it waits for.

A future's waiter goes on one turn of the loop after the future is done, and a turn asks the kernel for news: several per cent of what
a small message costs on its way through a port-forward.  Where the callback has nothing else to do, its task goes on right there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any

__all__ = ("Wake",)


class Wake:
    """What a task of asyncio waits for, once: as a future, but the task goes on inside of :meth:`set`.

    A task takes anything for a future that has ``_asyncio_future_blocking`` and these methods (asyncio.Task, PEP 3156).

    :param loop: the one that runs
    """

    __slots__ = ("_asyncio_future_blocking", "_context", "_done", "_error", "_loop", "_wake")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asyncio_future_blocking = False
        self._loop = loop
        self._wake: Callable[[Any], object] | None = None
        self._context: Context | None = None
        self._done = False
        self._error: BaseException | None = None

    def __await__(self) -> Generator[Wake, None, None]:
        self._asyncio_future_blocking = True
        yield self
        self.result()

    def set(self) -> None:
        """Let the task go on, now; soon where another task is running, since a task cannot run inside of one."""
        if not self._done and self._wake is not None and self._context is not None:
            self._done = True
            if asyncio.current_task(self._loop) is None:
                self._context.run(self._wake, self)
            else:
                self._loop.call_soon(self._wake, self, context=self._context)

    def soon(self) -> None:
        """Let the task go on in the next turn of the loop."""
        self.fail(None)

    def fail(self, error: BaseException | None) -> bool:
        """Let the task go on with an error, soon; False where it is going on already."""
        if self._done or self._wake is None:
            return False
        self._done, self._error = True, error
        self._loop.call_soon(self._wake, self, context=self._context)
        return True

    # What a task asks for ---------------------------------------------------------------------------------------------

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop of the task."""
        return self._loop

    def add_done_callback(self, wake: Callable[[Any], object], *, context: Context) -> None:
        """How to let the task go on."""
        self._wake, self._context = wake, context

    def done(self) -> bool:
        """Whether the task goes on."""
        return self._done

    def result(self) -> None:
        """Nothing; raises the error."""
        if self._error is not None:
            raise self._error

    def cancel(self, msg: object = None) -> bool:
        """The task is cancelled."""
        return self.fail(asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg))
