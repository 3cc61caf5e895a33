"""An asyncio event loop in a thread of its own, so that a server serves tests on any event loop, or on none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ("LoopThread",)

T = TypeVar("T")


class LoopThread:
    """Runs coroutines in a thread.

    :param name: of the thread
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.SelectorEventLoop()  # never a loop that a policy would choose
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the thread and wait for its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def run(self, function: Callable[[], T]) -> T:
        """Run a function in the thread and wait for its result."""

        async def wrapped() -> T:
            return function()

        return self.call(wrapped())

    def stop(self) -> None:
        """End the loop and the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
