"""The command in processes that are forked from one which has imported it: most of what a start costs is importing.

Rules of this file:
- ``ready_made`` starts the process to fork from; it has one thread and opens nothing, so that its forks are as good as new.
- Between it and each command is a keeper: it waits for the command and tells how it ended.
- What a command is given is its own: arguments, environment, descriptors, signals.  What depends on how the interpreter starts is for the
  installed script.

Run as a program, this is that process: ``forked.py DESCRIPTOR``.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import IO, Self

__all__ = ("Forked", "ReadyMade", "ready_made")

_LENGTH = struct.Struct("!I")


class Forked:
    """A running command: what tests use of :class:`subprocess.Popen`, with a pipe for each of its descriptors."""

    def __init__(self, reply: socket.socket, stdin: IO[bytes] | None, stdout: IO[bytes], stderr: IO[bytes]) -> None:
        self._reply = reply
        self.stdin = stdin
        self.stdout: IO[bytes] | None = stdout
        self.stderr: IO[bytes] | None = stderr
        self.returncode: int | None = None
        self.pid = int.from_bytes(_exactly(reply, 4), "big")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()
        self.wait()
        self._reply.close()

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, or a signal's number below zero."""
        if self.returncode is None:
            self._reply.settimeout(timeout)
            try:
                status = int.from_bytes(_exactly(self._reply, 4), "big")
            except TimeoutError:
                raise subprocess.TimeoutExpired("kubex-stream", timeout or 0) from None
            self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it, unless the command is known to have ended."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ReadyMade:
    """The process to fork from."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    def start(self, arguments: Sequence[str], env: Mapping[str, str], stdin: int) -> Forked:
        """Start the command; ``stdin`` is ``subprocess.PIPE`` or ``subprocess.DEVNULL``."""
        reply, its_reply = socket.socketpair()
        pipes = [os.pipe() for _ in range(3)]
        (its_in, own_in), (own_out, its_out), (own_err, its_err) = pipes
        request = json.dumps([list(arguments), dict(env), os.getcwd(), stdin == subprocess.DEVNULL]).encode()
        socket.send_fds(self._channel, [_LENGTH.pack(len(request))], [its_in, its_out, its_err, its_reply.fileno()])
        self._channel.sendall(request)
        its_reply.close()
        for descriptor in (its_in, its_out, its_err):
            os.close(descriptor)
        given = os.fdopen(own_in, "wb")
        if stdin == subprocess.DEVNULL:
            given.close()
        return Forked(
            reply, None if stdin == subprocess.DEVNULL else given, os.fdopen(own_out, "rb"), os.fdopen(own_err, "rb")
        )


@contextmanager
def ready_made() -> Iterator[ReadyMade]:
    """The process to fork from, for the length of a block."""
    own, its = socket.socketpair()
    with own, its:
        command = [sys.executable, __file__, str(its.fileno())]
        with subprocess.Popen(
            command, pass_fds=[its.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        ) as process:
            its.close()
            yield ReadyMade(own)
            own.close()
            process.wait(30)


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise EOFError("the process to fork from is gone")
        data += piece
    return data


# The process itself ---------------------------------------------------------------------------------------------------


def _serve(channel: socket.socket) -> tuple[list[str], dict[str, str]] | None:
    """Fork for each request; returns what to do in the process that is to be the command, and None at the end."""
    while True:
        head, descriptors, _, _ = socket.recv_fds(channel, _LENGTH.size, 4)
        if not head:
            return None
        arguments, env, directory, no_stdin = json.loads(_exactly(channel, *_LENGTH.unpack(head)))
        if os.fork() == 0:
            channel.close()
            stdin, stdout, stderr, _ = descriptors
            if _is_the_command(*descriptors):
                if no_stdin:
                    stdin = os.open(os.devnull, os.O_RDONLY)
                for number, descriptor in enumerate((stdin, stdout, stderr)):
                    os.dup2(descriptor, number)
                os.closerange(3, max(*descriptors, stdin) + 1)
                os.chdir(directory)
                return arguments, env
        for descriptor in descriptors:
            os.close(descriptor)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass


def _is_the_command(stdin: int, stdout: int, stderr: int, reply: int) -> bool:
    """Fork once more; the keeper never returns."""
    pid = os.fork()
    if pid == 0:
        return True
    for descriptor in (stdin, stdout, stderr):
        os.close(descriptor)
    os.write(reply, pid.to_bytes(4, "big"))
    _, status = os.waitpid(pid, 0)
    with suppress(OSError):
        os.write(reply, status.to_bytes(4, "big"))
    os._exit(0)


def _main() -> int:
    import gc
    import importlib

    for name in ("kubex_stream.cli.app", "kubex_stream_aiohttp", "kubex_stream_httpx"):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    from kubex_stream.cli import main

    given = _serve(socket.socket(fileno=int(sys.argv[1])))
    if given is None:
        return 0
    arguments, env = given
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["kubex-stream", *arguments]
    return main()


if __name__ == "__main__":
    sys.exit(_main())
