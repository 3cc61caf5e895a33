"""Around every verb: logging, signals, and what becomes of its errors."""

from __future__ import annotations

import logging
import os
import signal
import sys
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import anyio

from kubex_stream.cli.connection import FRAMES
from kubex_stream.cli.failures import message_of, say
from kubex_stream.cli.local import fill_descriptors
from kubex_stream.cli.usage import UsageError
from kubex_stream.client.registry import load_backend
from kubex_stream.errors import KubexClientException

__all__ = ("FAILED", "guarded", "loop_of", "run_async")

#: The exit code of everything that went wrong here, as opposed to in the remote process.
FAILED: Final = 1
#: What a shell reports of a program that wrote to a pipe that nobody reads.
BROKEN_PIPE: Final = 141

_logger = logging.getLogger("kubex_stream")


def guarded(action: Callable[[], int], verbosity: int) -> int:
    """Run a verb; its errors become a line on stderr.

    :param verbosity: how often ``-v`` was given
    :returns: the exit code
    """
    fill_descriptors()
    with _log_on_stderr(verbosity), warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = lambda message, *_: say(f"Warning: {message}")
        try:
            return action()
        except (KubexClientException, UsageError, ImportError, OSError, ValueError, TypeError) as error:
            if isinstance(error, BrokenPipeError) and not isinstance(error, KubexClientException):
                _forget_stdout()
                return BROKEN_PIPE
            _logger.log(FRAMES, "the error in full:", exc_info=error)
            say(message_of(error))
            return FAILED


@contextmanager
def _log_on_stderr(verbosity: int) -> Iterator[None]:
    handler = logging.StreamHandler(sys.stderr)
    if sys.stderr is not None and sys.stderr.isatty():
        handler.terminator = "\r\n"  # a terminal in raw mode does not go back to the left by itself
    handler.setFormatter(logging.Formatter("kubex-stream: %(message)s"))
    before = _logger.level
    _logger.addHandler(handler)
    _logger.setLevel((logging.WARNING, logging.INFO, logging.DEBUG, FRAMES)[min(verbosity, 3)])
    try:
        yield
    finally:
        _logger.removeHandler(handler)
        _logger.setLevel(before)


def _forget_stdout() -> None:
    """Keep the interpreter from complaining at its end about what it could not write."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _as_a_shell(number: int) -> int:
    return 128 + number


def run_async(
    verb: Callable[[], Awaitable[int]], backend: str | None, *, on_signal: Callable[[int], int] = _as_a_shell
) -> int:
    """Run a verb on an event loop that the backend runs on, until it ends or a signal ends it.

    :param backend: its name; None for one that will be chosen
    :param on_signal: the exit code after a signal, where it is not 128 and the signal's number
    :returns: the verb's exit code, or that of the signal
    :raises BackendNotAvailable: there is no such backend
    """
    outcome = _Outcome()
    anyio.run(_supervise, verb, outcome, on_signal, backend=loop_of(backend))
    if outcome.error is not None:
        raise outcome.error
    return outcome.code


def loop_of(backend: str | None) -> str:
    """The event loop to run a backend on.

    :raises BackendNotAvailable: there is no such backend
    """
    loops = frozenset({"asyncio"}) if backend is None else load_backend(backend).event_loops
    return "asyncio" if "asyncio" in loops else min(loops)


class _Outcome:
    """How a verb ended."""

    def __init__(self) -> None:
        self.code = FAILED
        self.error: Exception | None = None


async def _supervise(verb: Callable[[], Awaitable[int]], outcome: _Outcome, on_signal: Callable[[int], int]) -> None:
    async with anyio.create_task_group() as tasks:
        if sys.platform != "win32":  # there, Ctrl-C is a KeyboardInterrupt
            tasks.start_soon(_watch_signals, outcome, on_signal, tasks.cancel_scope)
        try:
            outcome.code = await verb()
        except Exception as error:  # noqa: BLE001  # raised again outside of the task group, which would wrap it
            outcome.error = error
        tasks.cancel_scope.cancel()


if sys.platform != "win32":

    async def _watch_signals(outcome: _Outcome, on_signal: Callable[[int], int], scope: anyio.CancelScope) -> None:
        wanted = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
            wanted.append(signal.SIGHUP)
        with anyio.open_signal_receiver(*wanted) as signals:
            async for number in signals:
                outcome.code = on_signal(number)
                scope.cancel()
                return
