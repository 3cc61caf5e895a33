"""Running a command to its end: input fed, output captured or passed on, and one result.

Capturing takes every payload straight from the connection into one growing buffer per output, which becomes the result without another
copy.  Where an output goes to a callback or a writer, each has a task that reads its stream, so that a slow one is back-pressure and, on v5,
is spooled for like any slow consumer.
"""

from __future__ import annotations

import inspect
import io
import logging
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

import anyio

from kubex_stream.errors import HalfCloseUnsupported, ProcessError, StartError, StdinBroken, StreamError, StreamTimeout
from kubex_stream.protocol.channels import STDERR_CHANNEL, STDOUT_CHANNEL
from kubex_stream.protocol.status import Status
from kubex_stream.session.ending import Ending
from kubex_stream.session.multiplexer import ChannelSession, Sink
from kubex_stream.session.process import ExecProcess, SessionScope
from kubex_stream.session.streams import OutputStream
from kubex_stream.statistics import SessionStatistics

__all__ = ("STDOUT", "AsyncWriter", "ExecResult", "Input", "Target", "check_input", "check_target", "run")

AnyStrT_co = TypeVar("AnyStrT_co", bytes, str, covariant=True)


_logger = logging.getLogger("kubex_stream")


class _Stdout:
    """The type of :data:`STDOUT`."""

    def __repr__(self) -> str:
        return "STDOUT"


#: As ``stderr=``: where stdout goes, as :data:`subprocess.STDOUT`.
STDOUT: Final = _Stdout()


class AsyncWriter(Protocol):
    """Something with an async ``send``, as every anyio ``ByteSendStream`` and anyio's files wrapped in one."""

    async def send(self, item: bytes, /) -> None:
        """Take bytes; return when there is room for more."""


#: Where an output goes: kept (True), not requested (False), or passed on in pieces.
Target = bool | Callable[[bytes], object] | AsyncWriter
Input = bytes | bytearray | memoryview | AsyncIterable[bytes]


@dataclass(frozen=True, slots=True, repr=False)
class ExecResult(Generic[AnyStrT_co]):
    """What a command left behind, much as :class:`subprocess.CompletedProcess` has it.

    :ivar args: the command
    :ivar exit_code: 0 to 255; 128 + n after signal n
    :ivar stdout: what it wrote, as text where an encoding was given; empty where stdout was not kept
    :ivar stderr: the same of stderr; empty with a tty and with ``stderr=STDOUT``
    :ivar status: the server's Status
    :ivar statistics: of the session
    :ivar input_taken: whether all of the input, and its end, had been sent when the process ended.  Where it had not, as with ``head``, a
        server that is still being sent to may lose the rest of the output, and report exit code 0 on v5 whatever the code was
    """

    args: tuple[str, ...]
    exit_code: int
    stdout: AnyStrT_co
    stderr: AnyStrT_co
    status: Status | None
    statistics: SessionStatistics
    input_taken: bool = True

    def __repr__(self) -> str:
        # Neither the command nor the Status, whose message repeats it on v4: a command line may hold secrets.
        return f"<ExecResult exit_code={self.exit_code} stdout[{len(self.stdout)}] stderr[{len(self.stderr)}]>"

    def check_returncode(self) -> None:
        """Raise :class:`~kubex_stream.errors.ProcessError` unless the exit code is 0."""
        if self.exit_code:
            raise ProcessError(f"the command ended with exit code {self.exit_code}{_tail(self.stderr)}", result=self)


def _tail(stderr: bytes | str) -> str:
    text = stderr if isinstance(stderr, str) else stderr[-2000:].decode("utf-8", "replace")
    last = text.strip().rpartition("\n")[2][-300:]
    return f": {last}" if last else ""


def check_input(given: object) -> None:
    """Refuse what cannot be sent, before anything is started.

    :raises TypeError: it is neither bytes nor an async iterable of bytes
    """
    if given is not None and not isinstance(given, bytes | bytearray | memoryview | AsyncIterable):
        raise TypeError(
            f"input must be bytes, or an async iterable of bytes, not {type(given).__name__}; encode text first"
        )


def check_target(name: str, target: object) -> None:
    """Refuse what cannot take output, before anything is sent.

    :raises TypeError: it is neither a bool, nor callable, nor has it an async ``send``
    """
    if not isinstance(target, bool) and not callable(target) and not callable(getattr(target, "send", None)):
        raise TypeError(
            f"{name} must be True, False, a function that takes bytes, or an object with an async send(), not {target!r}"
        )


class _Capture:
    """Where the outputs of one run go.

    :param merge: stderr goes where stdout goes
    """

    def __init__(self, stdout: Target, stderr: Target, *, merge: bool, encoding: str | None, errors: str) -> None:
        self._targets = {STDOUT_CHANNEL: stdout, STDERR_CHANNEL: stdout if merge else stderr}
        kept = [STDOUT_CHANNEL] if merge else [STDOUT_CHANNEL, STDERR_CHANNEL]
        self._kept = {channel: io.BytesIO() for channel in kept if self._targets[channel] is True}
        self._encoding = encoding
        self._errors = errors
        self.input_taken = True

    def keeps_all(self, session: ChannelSession) -> bool:
        return all(self._targets[channel] is True for channel in session.outputs)

    def sinks(self, session: ChannelSession) -> dict[int, Sink]:
        return {
            channel: self._kept[channel if channel in self._kept else STDOUT_CHANNEL].write
            for channel in session.outputs
        }

    def text(self, channel: int) -> Any:
        """What was kept of one output, in the form that was asked for."""
        raw = self._kept[channel].getvalue() if channel in self._kept else b""
        return raw if self._encoding is None else raw.decode(self._encoding, self._errors)

    def partial(self, channel: int) -> bytes | str:
        """The same, without ever failing at a character that was cut."""
        raw = self._kept[channel].getvalue() if channel in self._kept else b""
        return raw if self._encoding is None else raw.decode(self._encoding, "replace")

    async def copy(self, channel: int, stream: OutputStream) -> None:
        target = self._targets[channel]
        async for chunk in stream:
            if target is True:
                self._kept[channel].write(chunk)
            elif callable(target):
                answer = target(chunk)
                if inspect.isawaitable(answer):
                    await answer
            elif not isinstance(target, bool):
                await target.send(chunk)


async def run(
    scope: SessionScope[ExecProcess[OutputStream]],
    args: tuple[str, ...],
    *,
    input: Input | None,  # subprocess's word
    stdout: Target,
    stderr: Target,
    merge: bool,
    timeout: float | None,
    encoding: str | None,
    errors: str,
    check: bool,
) -> ExecResult[Any]:
    """Open the session, feed and read it to its end, leave it, and give the result."""
    capture = _Capture(stdout, stderr, merge=merge, encoding=encoding, errors=errors)
    ending: Ending | None = None
    with anyio.move_on_after(timeout):
        async with scope as process:
            ending = await _converse(process, _session_of(scope), input, capture)
    if ending is None:
        raise StreamTimeout(
            f"the command did not end within {timeout:g} s"
            + ("" if scope.kills else "; it may still run, since leaving does not end it"),
            stdout=capture.partial(STDOUT_CHANNEL),
            stderr=capture.partial(STDERR_CHANNEL),
            statistics=None if scope.session is None else scope.session.statistics,
        )
    if ending.error is not None:
        _add_output(ending.error, capture)
        raise ending.error
    assert ending.code is not None
    result: ExecResult[Any] = ExecResult(
        args=args,
        exit_code=ending.code,
        stdout=capture.text(STDOUT_CHANNEL),
        stderr=capture.text(STDERR_CHANNEL),
        status=ending.status,
        statistics=_session_of(scope).statistics,
        input_taken=capture.input_taken,
    )
    if not result.input_taken and not result.exit_code:
        _logger.warning(
            "%s: the process ended while its input was still being sent; in that case a server may lose output, and report exit code 0 for "
            "another one",
            _session_of(scope).path,
        )
    if check:
        result.check_returncode()
    return result


def _session_of(scope: SessionScope[ExecProcess[OutputStream]]) -> ChannelSession:
    assert scope.session is not None
    return scope.session


def _add_output(error: Exception, capture: _Capture) -> None:
    """Partial output belongs to the error: a broken connection says nothing about what came before it."""
    if isinstance(error, StreamError | StartError):
        error.stdout, error.stderr = capture.partial(STDOUT_CHANNEL), capture.partial(STDERR_CHANNEL)


async def _converse(
    process: ExecProcess[OutputStream], session: ChannelSession, given: Input | None, capture: _Capture
) -> Ending:
    if given is not None and not process.can_half_close:
        raise HalfCloseUnsupported(
            f"input= needs an end of stdin, and the server speaks only {process.subprotocol}; nothing was sent. Use a server with "
            "v5.channel.k8s.io (Kubernetes 1.30), or stream(stdin=True) with a command that knows the end of its input by itself"
        )
    failures: list[Exception] = []
    async with anyio.create_task_group() as tasks:

        async def guarded(work: Callable[[], Awaitable[object]]) -> None:
            # One failing half ends the other, and its exception leaves as it is, not in a group.
            try:
                await work()
            except Exception as error:  # noqa: BLE001  # re-raised below
                failures.append(error)
                tasks.cancel_scope.cancel()

        if given is not None:
            tasks.start_soon(guarded, lambda: _feed(process, given, capture))
        if capture.keeps_all(session):
            await guarded(lambda: session.drain(capture.sinks(session)))
        else:
            await guarded(lambda: _copy_all(process, session, capture))
        tasks.cancel_scope.cancel()
    ending = session.ending
    if failures and (ending is None or failures[0] is not ending.error):
        raise failures[0]
    assert ending is not None
    return ending


async def _feed(process: ExecProcess[OutputStream], given: Input, capture: _Capture) -> None:
    capture.input_taken = False
    try:
        if isinstance(given, AsyncIterable):
            await _feed_pieces(process, given)
        else:
            await process.stdin.send(given)
        # The end of nothing changes nothing, so it does not matter whether it arrives.
        capture.input_taken = not process.statistics.bytes_out
        await process.stdin.aclose()
        capture.input_taken = True
    except StdinBroken:
        return  # it has stopped reading, as `head` does; how it ended is told by its Status


async def _feed_pieces(process: ExecProcess[OutputStream], pieces: AsyncIterable[bytes]) -> None:
    try:
        async for piece in pieces:
            await process.stdin.send(piece)
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()  # nobody else can, where one was made for this call and is not used up


async def _copy_all(process: ExecProcess[OutputStream], session: ChannelSession, capture: _Capture) -> None:
    streams = {STDOUT_CHANNEL: process.stdout} if STDOUT_CHANNEL in session.outputs else {}
    if STDERR_CHANNEL in session.outputs and session.outputs[STDERR_CHANNEL] is not session.outputs.get(STDOUT_CHANNEL):
        streams[STDERR_CHANNEL] = process.stderr
    failures: list[Exception] = []
    async with anyio.create_task_group() as tasks:

        async def copy(channel: int, stream: OutputStream) -> None:
            try:
                await capture.copy(channel, stream)
            except Exception as error:  # noqa: BLE001  # re-raised below
                failures.append(error)
                tasks.cancel_scope.cancel()

        for channel, stream in streams.items():
            tasks.start_soon(copy, channel, stream)
    if failures:
        raise failures[0]
    await session.wait()
