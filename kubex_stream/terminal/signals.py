"""Signals while a session has a terminal: sizes, suspension, and what would end the process.

Rules of this file:
- Signals belong to the application.  A handler here does its part and hands on to what was there before: a function is called, the default
  happens as if nobody had been in between, what was ignored stays ignored.
- What would end or stop the process finds the terminal restored.  Where the process goes on afterwards, raw mode is set again.
- At the end each signal gets back what it had, unless somebody has replaced our handler meanwhile.  Where one comes back later, put there by
  somebody who found it at his beginning, it only hands on.
- A handler runs between any two instructions, so it does not touch the event loop: it writes into a pipe, and a task waits for that.
- Only the main thread can have handlers, and only the terminal that controls this process tells it of sizes; elsewhere the size is looked at.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Final, Self

import anyio

from kubex_stream.terminal.raw import RawMode

__all__ = ("TerminalSignals",)

#: Seconds between two looks at the size of a terminal whose changes no signal tells.
LOOK: Final = 0.25
#: What does nothing by default.
_HARMLESS: Final = () if sys.platform == "win32" else (signal.SIGCONT, signal.SIGWINCH)
Handler = Callable[[int, FrameType | None], object]


class TerminalSignals:
    """The handlers of one session, as a context manager, and the news that they bring.

    :param mode: the raw mode to restore; None without one, so only sizes matter
    :param descriptor: of the terminal whose size matters; None where there is none
    """

    def __init__(self, mode: RawMode | None, descriptor: int | None) -> None:
        self._mode = mode
        self._descriptor = descriptor
        self._pid = os.getpid()
        self._active = False
        self._previous: dict[int, Any] = {}
        self._installed: dict[int, Handler] = {}
        self._pipe: tuple[int, int] = (-1, -1)
        self._resumed = False

    def __enter__(self) -> Self:
        self._pipe = os.pipe()
        for end in self._pipe:
            os.set_blocking(end, False)
        self._active = True
        if sys.platform != "win32" and threading.current_thread() is threading.main_thread():
            if self._mode is not None:
                for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
                    self._install(number, self._on_end)
                self._install(signal.SIGTSTP, self._on_stop)
                self._install(signal.SIGCONT, self._on_continue, always=True)
            if self._descriptor is not None:
                self._install(signal.SIGWINCH, self._on_size, always=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._active = False
        for number, handler in self._installed.items():
            if signal.getsignal(number) is handler:
                signal.signal(number, self._previous[number])
        self._installed.clear()
        for end in self._pipe:
            os.close(end)

    async def news(self) -> bool:
        """Wait until the size may have changed; whether the process was stopped meanwhile, so that the screen may be another's."""
        with anyio.move_on_after(None if self._told_of_sizes() else LOOK):
            await anyio.wait_readable(self._pipe[0])
        with contextlib.suppress(BlockingIOError):
            os.read(self._pipe[0], 4096)
        resumed, self._resumed = self._resumed, False
        return resumed

    def _told_of_sizes(self) -> bool:
        if self._descriptor is None:
            return True  # there is nothing to look at
        if sys.platform == "win32" or signal.SIGWINCH not in self._installed:
            return False
        try:
            os.tcgetpgrp(self._descriptor)
        except OSError:
            return False
        return True

    # Handlers ---------------------------------------------------------------------------------------------------------

    def _install(self, number: int, handler: Handler, *, always: bool = False) -> None:
        """
        :param always: also where the signal is ignored, which for some is the same as the default
        """
        previous = signal.getsignal(number)
        if previous is None or (previous is signal.SIG_IGN and not always):
            return  # a handler of another language's, or somebody's wish
        self._previous[number], self._installed[number] = previous, handler
        signal.signal(number, handler)

    @property
    def _in_charge(self) -> bool:
        return self._active and os.getpid() == self._pid

    def _on_size(self, number: int, frame: FrameType | None) -> None:
        self._wake()
        self._hand_on(number, frame)

    def _on_end(self, number: int, frame: FrameType | None) -> None:
        self._with_the_terminal_restored(number, frame)

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self._with_the_terminal_restored(number, frame)
        self._wake(resumed=True)

    def _on_continue(self, number: int, frame: FrameType | None) -> None:
        # Also behind a SIGSTOP, which nobody can handle: the shell has used the terminal meanwhile.
        if self._in_charge and self._mode is not None:
            self._mode.resume()
        self._wake(resumed=True)
        self._hand_on(number, frame)

    def _with_the_terminal_restored(self, number: int, frame: FrameType | None) -> None:
        mode = self._mode if self._in_charge else None
        if mode is not None:
            mode.restore()
        self._hand_on(number, frame)  # may not return: what it raises leaves the terminal restored
        if mode is not None and self._active:
            mode.resume()

    def _hand_on(self, number: int, frame: FrameType | None) -> None:
        previous = self._previous[number]
        if callable(previous):
            previous(number, frame)
        elif previous is signal.SIG_DFL and number not in _HARMLESS:
            ours = signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
            signal.signal(number, ours)  # a stop that is over

    def _wake(self, *, resumed: bool = False) -> None:
        self._resumed |= resumed
        if self._in_charge:
            with contextlib.suppress(OSError):  # full, which says the same
                os.write(self._pipe[1], b"\0")
