"""Pseudo-terminals as tests use them: somebody who types, and looks at the screen.

- ``Pty``: both sides in this process.  It controls no process, so no signal tells of its sizes.
- ``Shell``: an interactive shell on a terminal of its own that controls it: jobs, signals and sizes are as for a user.  It is dash, which leaves
  the terminal's mode alone; bash puts it back itself after a job that was stopped or ended by a signal.
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self

import anyio
import pytest

from kubex_stream import InteractiveResult, Terminal

PATIENCE: Final = 20.0


def modes(descriptor: int) -> list[Any]:
    """All that ``stty -a`` shows, but the size."""
    return termios.tcgetattr(descriptor)


def is_raw(descriptor: int) -> bool:
    """Whether keys go through."""
    return not modes(descriptor)[3] & (termios.ICANON | termios.ISIG | termios.ECHO)


def set_size(descriptor: int, columns: int, rows: int) -> None:
    """Make the terminal another size."""
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


@contextmanager
def closing_descriptor(descriptor: int) -> Iterator[int]:
    """Close it behind the block."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class Pty:
    """A pseudo-terminal; ``with`` closes it."""

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        self.master, self.slave = os.openpty()
        os.set_blocking(self.master, False)
        self.seen = b""
        if columns:
            set_size(self.master, columns, rows)

    @property
    def terminal(self) -> Terminal:
        """The side that the library gets."""
        return Terminal(self.slave, self.slave)

    def type(self, keys: bytes) -> None:
        """Type."""
        assert os.write(self.master, keys) == len(keys)

    async def paste(self, keys: bytes) -> None:
        """Type more than a terminal holds."""
        view = memoryview(keys)
        while view:
            try:
                view = view[os.write(self.master, view) :]
            except BlockingIOError:
                await anyio.wait_writable(self.master)

    def resize(self, columns: int, rows: int) -> None:
        """Pull at the window's corner."""
        set_size(self.master, columns, rows)

    async def until(self, pattern: bytes) -> bytes:
        """Look at the screen until a pattern is on it, behind what was found before; what was seen up to its end."""
        with anyio.fail_after(PATIENCE):
            while (match := re.search(pattern, self.seen)) is None:
                await anyio.wait_readable(self.master)
                self.seen += os.read(self.master, 65536)
        found, self.seen = self.seen[: match.end()], self.seen[match.end() :]
        return found

    def left(self) -> bytes:
        """The line that is still there for whoever reads the terminal next."""
        assert select.select([self.slave], [], [], PATIENCE)[0], "nothing is left"
        return os.read(self.slave, 4096).rstrip(b"\r\n")

    def hang_up(self) -> None:
        """Close the window."""
        if self.master >= 0:
            os.close(self.master)
            self.master = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()
        os.close(self.slave)


class Running:
    """A session that runs in another task."""

    def __init__(self) -> None:
        self.result: InteractiveResult | None = None
        self.error: Exception | None = None
        self.over = anyio.Event()
        self.cancel: Callable[[], None] = lambda: None

    async def end(self) -> InteractiveResult:
        """Its result."""
        with anyio.fail_after(PATIENCE):
            await self.over.wait()
        if self.error is not None:
            raise self.error
        assert self.result is not None
        return self.result


@asynccontextmanager
async def session(pty: Pty, start: Callable[..., Any], *arguments: Any, **more: Any) -> AsyncGenerator[Running, None]:
    """Start one; leaving the block cancels it if it still runs.  The terminal is then as it was, however it ended."""
    running = Running()
    before = modes(pty.slave)
    more = {"terminal": pty.terminal, **more}

    async def run() -> None:
        try:
            running.result = await start(*arguments, **more)
        except Exception as error:  # noqa: BLE001  # for whoever waits for the end
            running.error = error
        finally:
            running.over.set()

    async with anyio.create_task_group() as tasks:
        running.cancel = tasks.cancel_scope.cancel
        tasks.start_soon(run)
        yield running
        tasks.cancel_scope.cancel()
    if pty.master >= 0:
        assert modes(pty.slave) == before


class Shell:
    """A shell at a terminal; see :func:`shell`."""

    def __init__(self, master: int, process: subprocess.Popen[bytes], directory: Path) -> None:
        self.master = master
        self.directory = directory
        self._process = process
        self._seen = b""

    def type(self, text: str) -> None:
        """Type, at once."""
        data = text.encode()
        assert os.write(self.master, data) == len(data)

    def until(self, pattern: str) -> str:
        """Look at the screen until a pattern is on it, behind what was found before; what was seen up to its end."""
        deadline = time.monotonic() + PATIENCE
        while (match := re.search(pattern.encode(), self._seen)) is None:
            if not select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))[0]:
                pytest.fail(f"{pattern!r} did not come; there is {self._seen!r}")
            self._seen += os.read(self.master, 65536)
        found, self._seen = self._seen[: match.end()], self._seen[match.end() :]
        return found.decode(errors="replace")

    def stty(self) -> str:
        """What ``stty -a`` says, run by the shell."""
        file = self.directory / "stty"
        self.type(f"stty -a >{file}; echo looke''d\r")
        self.until("looked")
        self.until("% ")
        return file.read_text()

    def resize(self, columns: int, rows: int) -> None:
        """Pull at the window's corner: whoever is in the foreground hears of it."""
        set_size(self.master, columns, rows)

    @property
    def is_raw(self) -> bool:
        """Whether keys go through."""
        return is_raw(self.master)

    def close(self) -> None:
        """Close the window, and end what is left."""
        for number in (signal.SIGHUP, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
        os.close(self.master)
        self._process.wait()


@contextmanager
def shell(directory: Path, env: Mapping[str, str] | None = None) -> Iterator[Shell]:
    """A dash with the prompt ``% ``, on a terminal of 80 columns and 24 rows."""
    dash = shutil.which("dash")
    if dash is None:
        pytest.skip("no dash in the PATH")
    master, slave = os.openpty()
    set_size(master, 80, 24)
    process = subprocess.Popen(
        [dash, "-i"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        env={**os.environ, "PS1": "% ", "ENV": "", "TERM": "xterm", **(env or {})},
        cwd=directory,
    )
    os.close(slave)
    screen = Shell(master, process, directory)
    try:
        screen.until("% ")
        yield screen
    finally:
        screen.close()
