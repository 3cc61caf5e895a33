"""One thread with one event loop for a whole process, where everything of this package happens.

Rules of this file:
- It is started when it is first needed, and ended at exit or by :func:`shutdown`; after that it may be started again.
- What is opened runs as one task from its beginning to its end.  Ending the loop cancels these tasks, waits for them, and then closes the
  clients.
- A child process has the loop's memory but not its thread.  It starts one of its own, and what its parent had opened stays the parent's:
  nothing of it is closed, since the sockets and the selector are shared.
- A daemon thread that waits here at the end of the program is left waiting, as one that waits for a socket is: it would run its code, or tell
  of a broken connection, while the interpreter is taken down.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

__all__ = ("BackgroundLoop", "background", "hold", "shutdown")

T = TypeVar("T")
#: Seconds for all sessions and clients to close at the end; what takes longer is dropped.
_ENDING: Final = 10.0
_NAME: Final = "kubex-stream"
_CLOSED: Final = "this has been closed by shutdown(), or by the end of the program"


class BackgroundLoop:
    """The thread and its loop; see :func:`background`."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closers: list[Callable[[], Awaitable[object]]] = []
        self._ended = False
        self._waited_for: set[concurrent.futures.Future[Any]] = set()
        self._scheduling = threading.RLock()  # one that a garbage collection inside of it may take again
        started: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._work, args=(started,), name=_NAME, daemon=True)
        self._thread.start()
        started.result()

    def _work(self, started: concurrent.futures.Future[None]) -> None:
        try:
            asyncio.run(self._main(started))
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)
        finally:
            self._ended = True
            with self._scheduling:
                late = tuple(self._waited_for)
            for future in late:
                future.cancel()  # it came too late to be begun

    async def _main(self, started: concurrent.futures.Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        started.set_result(None)
        await self._stopping.wait()
        self._ended = True
        with suppress(TimeoutError):
            async with asyncio.timeout(_ENDING):
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
                await asyncio.gather(*(close() for close in self._closers), return_exceptions=True)

    @property
    def foreign(self) -> bool:
        """Whether it is another process's, whose threads may have held any lock at the fork."""
        return self._pid != os.getpid()

    @property
    def usable(self) -> bool:
        """Whether it runs, and in this process."""
        return not self._ended and not self.foreign

    @property
    def inside(self) -> bool:
        """Whether this is its own thread, which must not wait for itself."""
        return threading.current_thread() is self._thread

    def check(self) -> None:
        """Refuse to wait where that would never end.

        :raises RuntimeError: it has ended, belongs to another process, or this is its own thread
        """
        self.check_process()
        if self._ended:
            raise RuntimeError(_CLOSED)
        if self.inside:
            raise RuntimeError("this would wait for itself: do not call it from inside of this library's own thread")

    def check_process(self) -> None:
        """Refuse what another process has opened.

        :raises RuntimeError: so it is
        """
        hold()
        if self.foreign:
            raise RuntimeError(
                "this was opened before a fork, by the parent process, and is the parent's: open it here"
            )

    def at_end(self, close: Callable[[], Awaitable[object]]) -> None:
        """Have something closed at the end, after all tasks."""
        self._closers.append(close)

    def call_soon(self, function: Callable[[], object]) -> None:
        """Run a function in the loop, soon; not at all where it has ended."""
        if self.usable:
            with suppress(RuntimeError):  # it ends at this moment
                self._loop.call_soon_threadsafe(function)

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine in the loop and wait for its result.  An interrupted wait cancels it."""
        self.check()
        with self._scheduling:
            if self._ended:
                raise RuntimeError(_CLOSED)
            future = asyncio.run_coroutine_threadsafe(work(), self._loop)
            self._waited_for.add(future)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise RuntimeError(_CLOSED) from None
        finally:
            future.cancel()
            self._waited_for.discard(future)
            hold()

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        """Start a task that the end of the loop cancels and waits for; only inside of the loop."""
        task = self._loop.create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def stop(self) -> None:
        """End it, and wait for that."""
        if self.usable and not self.inside:
            self._loop.call_soon_threadsafe(self._stopping.set)
        if not self.foreign and not self.inside:
            self._thread.join(_ENDING + 5)


class _State:
    """The loop of this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.loop: BackgroundLoop | None = None
        #: Whether the program ends.
        self.leaving = False
        #: Those of parent processes: closing their selectors here would take the parents' sockets out of them.
        self.inherited: list[BackgroundLoop] = []


_state = _State()


def background() -> BackgroundLoop:
    """The loop of this process, running."""
    hold()
    with _state.lock:
        if _state.loop is None or not _state.loop.usable:
            _state.loop = BackgroundLoop()
        return _state.loop


def hold() -> None:
    """Let a daemon thread go no further when the program ends; for a time only, as something at the end may wait for it."""
    if _state.leaving:
        thread = threading.current_thread()
        if thread.daemon and thread.name != _NAME:
            threading.Event().wait(_ENDING)


def shutdown() -> None:
    """Close everything that was opened through this package, and end its thread.  Called at exit by itself.

    Whoever waits in another thread sees the end of what it waits for.  The next call of anything here starts anew, so a program that forks
    can call it before, and a test at its end.
    """
    with _state.lock:
        loop, _state.loop = _state.loop, None
    if loop is not None:
        loop.stop()


def _leave() -> None:
    _state.leaving = True
    shutdown()


def _forked() -> None:
    _state.leaving = False
    _state.lock = threading.Lock()  # another thread may have held it
    if _state.loop is not None:
        _state.inherited.append(_state.loop)
        _state.loop = None


atexit.register(_leave)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
