"""Real processes with pipes or a terminal, started and reaped on the cluster's event loop.

Rules of this file:
- Every process leads a session of its own and has a variable in its environment that names its pod, so that what it leaves behind can be
  found and ended, wherever it went.
- What cannot start is found out first, with the words of runc.
- No buffer here: output is read when somebody takes it, input is written when the process does.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import signal
import stat
import struct
import subprocess
import termios
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ("MARKER", "OUTPUT_SIZE", "Process", "StartFailure", "kill_marked", "start_process")

#: The environment variable that marks the processes of a pod.
MARKER: Final = "KUBEX_STREAM_EMBEDDED_POD"
#: What is read from a process at a time; so no frame is longer than this and a channel byte.
OUTPUT_SIZE: Final = 32 * 1024
_TERMINAL_SCRIPT: Final = 'tty=$1; shift; exec "$@" <>"$tty" >&0 2>&0'


class StartFailure(Exception):
    """A process cannot start; the text is runc's."""


@dataclass(frozen=True, slots=True)
class _Ends:
    """The file descriptors of a process to be: the child's, and ours."""

    child: tuple[int, int, int]
    stdin: int | None
    stdout: int | None
    stderr: int | None


class Process:
    """A running process and our ends of its standard streams.

    :ivar command: its words
    :ivar stdin: a file descriptor to write to; None without; of a terminal the same as ``stdout``
    :ivar stdout: a file descriptor to read from; None without
    :ivar stderr: likewise
    """

    def __init__(self, popen: subprocess.Popen[bytes], command: Sequence[str], tty: bool, ends: _Ends) -> None:
        self._popen = popen
        self.command = tuple(command)
        self.tty = tty
        self.stdin, self.stdout, self.stderr = ends.stdin, ends.stdout, ends.stderr
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self._watch()

    def on_end(self, function: Callable[[], None]) -> None:
        """Call ``function`` when it has ended."""
        self._ended.add_done_callback(lambda _: function())

    @property
    def pid(self) -> int:
        """Its process id, which is its process group's and its session's too."""
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; 128 + n where signal n ended it."""
        return self._ended.result() if self._ended.done() else None

    async def wait(self) -> int:
        """Its exit code, when it has ended; 128 + n where signal n ended it."""
        return await asyncio.shield(self._ended)

    def _watch(self) -> None:
        try:
            pidfd = os.pidfd_open(self.pid)
        except (AttributeError, OSError):  # not Linux, or not allowed
            threading.Thread(target=self._wait_in_thread, daemon=True).start()
            return
        self._loop.add_reader(pidfd, self._reap, pidfd)

    def _reap(self, pidfd: int) -> None:
        self._loop.remove_reader(pidfd)
        os.close(pidfd)
        self._tell(self._popen.wait())

    def _wait_in_thread(self) -> None:
        code = self._popen.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._tell, code)

    def _tell(self, code: int) -> None:
        if not self._ended.done():
            self._ended.set_result(code if code >= 0 else 128 - code)

    def kill(self) -> None:
        """SIGKILL for the process, not for its children; as the runtime does."""
        if not self._ended.done():
            self._popen.send_signal(signal.SIGKILL)

    def kill_group(self) -> None:
        """SIGKILL for the process and for those of its children that are in its group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def resize(self, *, width: int, height: int) -> None:
        """Set the size of its terminal, in characters; nothing without one."""
        if self.tty and self.stdout is not None:
            with contextlib.suppress(OSError):
                fcntl.ioctl(self.stdout, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def unread_stdin(self) -> int:
        """Bytes that were written to its stdin and that it has not read."""
        if self.stdin is None or self.tty:
            return 0
        with contextlib.suppress(OSError):
            count: int = struct.unpack("i", fcntl.ioctl(self.stdin, termios.FIONREAD, b"\0\0\0\0"))[0]
            return count
        return 0

    async def read(self, fd: int) -> bytes:
        """Some output from ``stdout`` or ``stderr``; nothing at its end, which is when all who hold it have closed it."""
        while True:
            try:
                return os.read(fd, OUTPUT_SIZE)
            except BlockingIOError:
                await _ready(self._loop.add_reader, self._loop.remove_reader, fd)
            except OSError as error:
                if error.errno == errno.EIO:  # a terminal that nobody has open any more
                    return b""
                raise

    async def write(self, data: bytes | memoryview) -> int:
        """Write some of ``data`` to its stdin, as soon as it takes any; how many bytes.

        :raises BrokenPipeError: nobody will read that any more
        """
        while True:
            if self.stdin is None:
                raise BrokenPipeError(errno.EPIPE, "stdin is closed")
            try:
                return os.write(self.stdin, data)
            except BlockingIOError:
                await _ready(self._loop.add_writer, self._loop.remove_writer, self.stdin)
            except OSError as error:
                raise BrokenPipeError(errno.EPIPE, "nobody reads") from error

    def close_stdin(self) -> None:
        """End its stdin; a terminal has no such end, so nothing happens to one."""
        if self.stdin is not None and not self.tty:
            self._loop.remove_writer(self.stdin)
            os.close(self.stdin)
            self.stdin = None

    def close(self) -> None:
        """Close our ends."""
        for fd in {self.stdin, self.stdout, self.stderr} - {None}:
            assert fd is not None
            self._loop.remove_reader(fd)
            self._loop.remove_writer(fd)
            os.close(fd)
        self.stdin = self.stdout = self.stderr = None


async def _ready(add: Callable[..., None], remove: Callable[[int], object], fd: int) -> None:
    event = asyncio.Event()
    add(fd, event.set)
    try:
        await event.wait()
    finally:
        remove(fd)


def _check(command: Sequence[str], directory: Path, path: str) -> None:
    if not command:
        raise StartFailure("args must not be empty")
    name = command[0]
    prefix = f'unable to start container process: exec: "{name}": '
    if "\0" in "".join(command):
        raise StartFailure("unable to start container process: exec: invalid argument")
    if "/" not in name:
        candidates = [os.path.join(entry, name) for entry in path.split(os.pathsep)] if name else []
        if not any(os.path.isfile(file) and os.access(file, os.X_OK) for file in candidates):
            raise StartFailure(f"{prefix}executable file not found in $PATH")
        return
    try:
        mode = os.stat(directory / name).st_mode
    except OSError as error:
        raise StartFailure(f"{prefix}stat {name}: {(error.strerror or '').lower()}") from None
    if stat.S_ISDIR(mode) or not os.access(directory / name, os.X_OK):
        raise StartFailure(f"{prefix}permission denied")


def _pipe(*, child_reads: bool, wanted: bool) -> tuple[int, int | None]:
    """The child's end and ours; the null device and nothing where no stream is wanted."""
    if not wanted:
        return os.open(os.devnull, os.O_RDWR), None
    reader, writer = os.pipe()
    child, ours = (reader, writer) if child_reads else (writer, reader)
    os.set_blocking(ours, False)
    return child, ours


def start_process(
    command: Sequence[str],
    *,
    directory: Path,
    env: Mapping[str, str],
    tty: bool = False,
    stdin: bool = False,
    stdout: bool = True,
    stderr: bool = True,
) -> Process:
    """Start ``command`` on the running event loop.

    :param directory: where it starts, and where a relative program is looked for
    :param env: its whole environment; PATH in it is searched
    :param tty: with a terminal of its own, whose size is 0 by 0 at first; then there is no stderr
    :param stdin: with a stdin; otherwise it reads end-of-file
    :param stdout: whether anybody wants its output; otherwise it goes to the null device
    :param stderr: likewise
    :raises StartFailure: it cannot start
    """
    _check(command, directory, env.get("PATH", os.defpath))
    if tty:
        return _start_on_terminal(command, directory, env)
    pairs = [
        _pipe(child_reads=True, wanted=stdin),
        _pipe(child_reads=False, wanted=stdout),
        _pipe(child_reads=False, wanted=stderr),
    ]
    ends = _Ends((pairs[0][0], pairs[1][0], pairs[2][0]), pairs[0][1], pairs[1][1], pairs[2][1])
    return Process(_popen(command, directory, env, ends, command[0]), command, False, ends)


def _start_on_terminal(command: Sequence[str], directory: Path, env: Mapping[str, str]) -> Process:
    master, slave = os.openpty()
    os.set_blocking(master, False)
    # The shell holds the terminal from the start; it opens it once more, as the leader of a session, to make it the controlling one.
    ends = _Ends((slave, slave, slave), master, master, None)
    words = ["/bin/sh", "-c", _TERMINAL_SCRIPT, "sh", os.ttyname(slave), *command]
    return Process(_popen(words, directory, env, ends, command[0]), command, True, ends)


def _popen(
    words: Sequence[str], directory: Path, env: Mapping[str, str], ends: _Ends, name: str
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            words,
            cwd=directory,
            env=env,
            stdin=ends.child[0],
            stdout=ends.child[1],
            stderr=ends.child[2],
            start_new_session=True,
        )
    except OSError as error:
        for fd in {ends.stdin, ends.stdout, ends.stderr} - {None}:
            assert fd is not None
            os.close(fd)
        reason = "exec format error" if error.errno == errno.ENOEXEC else (error.strerror or str(error)).lower()
        raise StartFailure(f'unable to start container process: exec: "{name}": {reason}') from None
    finally:
        for fd in set(ends.child):
            os.close(fd)


def kill_marked(values: set[str]) -> int:
    """SIGKILL for every process whose marker is one of ``values``, also for those that left their session; how many.  Linux only."""
    count = 0
    marks = {f"{MARKER}={value}".encode() for value in values}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if not marks.isdisjoint((entry / "environ").read_bytes().split(b"\0")):
                os.kill(int(entry.name), signal.SIGKILL)
                count += 1
    return count
