"""A process at the other end: what an application holds while a session is open, and the scope that opens and leaves it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Generic, Literal, TypeVar

import anyio
from anyio.abc import TaskGroup

from kubex_stream.errors import KubexClientException
from kubex_stream.protocol.channels import RESIZE_CHANNEL, STDERR_CHANNEL, STDOUT_CHANNEL, encode_resize
from kubex_stream.protocol.status import Status
from kubex_stream.session.buffer import ChannelBuffer
from kubex_stream.session.ending import Ending
from kubex_stream.session.keeper import Keeper
from kubex_stream.session.multiplexer import ChannelSession
from kubex_stream.session.streams import OutputStream, StdinStream, TextOutputStream
from kubex_stream.statistics import SessionStatistics

__all__ = ("AttachedProcess", "ExecProcess", "OnCancel", "RemoteProcess", "SessionScope", "Streams")

#: What leaving a session before the process has ended means for the process.
OnCancel = Literal["leave", "kill"]

OutputT_co = TypeVar("OutputT_co", OutputStream, TextOutputStream, covariant=True)


class Streams:
    """Which streams a session asked for.

    :param outputs: the buffers by channel
    """

    def __init__(
        self, outputs: dict[int, ChannelBuffer], *, stdin: bool, tty: bool, encoding: str | None, errors: str
    ) -> None:
        self.outputs = outputs
        self.stdin = stdin
        self.tty = tty
        self.encoding = encoding
        self.errors = errors


class RemoteProcess(Generic[OutputT_co]):
    """What exec and attach have in common; applications get the subclasses."""

    def __init__(self, session: ChannelSession, streams: Streams) -> None:
        self._session = session
        self._streams = streams
        self._stdin = StdinStream(session, tty=streams.tty) if streams.stdin else None
        self._stdout = self._output(streams.outputs.get(STDOUT_CHANNEL))
        merged = streams.outputs.get(STDERR_CHANNEL) is streams.outputs.get(STDOUT_CHANNEL)
        self._stderr = None if merged else self._output(streams.outputs.get(STDERR_CHANNEL))

    def _output(self, buffer: ChannelBuffer | None) -> OutputStream | TextOutputStream | None:
        if buffer is None:
            return None
        stream = OutputStream(self._session, buffer)
        if self._streams.encoding is None:
            return stream
        return TextOutputStream(stream, self._streams.encoding, self._streams.errors)

    @property
    def stdin(self) -> StdinStream:
        """The process's input; ``aclose()`` ends it.

        :raises RuntimeError: it was not requested
        """
        if self._stdin is None:
            raise RuntimeError("stdin was not requested: pass stdin=True")
        return self._stdin

    @property
    def stdout(self) -> OutputT_co:
        """The process's output; with a tty, or with ``stderr=STDOUT``, its errors too.

        :raises RuntimeError: it was not requested
        """
        if self._stdout is None:
            raise RuntimeError("stdout was not requested: leave out stdout=False")
        return self._stdout  # type: ignore[return-value]  # chosen by the encoding, as the overloads of stream() say

    @property
    def stderr(self) -> OutputT_co:
        """The process's errors.  The order between them and stdout is not kept by any server.

        :raises RuntimeError: they were not requested, are merged into stdout, or there is a tty, which has one output only
        """
        if self._stderr is None:
            raise RuntimeError("stderr was not requested, or goes where stdout goes: a tty, or stderr=STDOUT")
        return self._stderr  # type: ignore[return-value]

    async def resize(self, *, width: int, height: int) -> None:
        """Tell the terminal's size.

        :param width: columns, 1 to 65535
        :param height: rows, 1 to 65535
        :raises ValueError: no such size
        :raises RuntimeError: there is no tty; a server would stop reading the connection at the second resize
        :raises StdinBroken: the process has ended
        """
        payload = encode_resize(width=width, height=height)
        if not self._streams.tty:
            raise RuntimeError("only a terminal has a size: pass tty=True")
        await self._session.input.send_message(bytes((RESIZE_CHANNEL,)) + payload)

    @property
    def subprotocol(self) -> str:
        """The negotiated subprotocol, as ``v5.channel.k8s.io``."""
        return self._session.protocol.name

    @property
    def can_half_close(self) -> bool:
        """Whether ``stdin.aclose()`` can end stdin."""
        return self._streams.stdin and (self._streams.tty or self._session.protocol.half_close)

    @property
    def status(self) -> Status | None:
        """The server's Status, None while there is none."""
        return self._session.ending.status if self._session.ending is not None else None

    @property
    def statistics(self) -> SessionStatistics:
        """Bytes, frames, idle seconds and round-trip time, now."""
        return self._session.statistics

    async def _ended(self) -> Ending:
        ending = await self._session.wait()
        if ending.error is not None:
            raise ending.error.with_traceback(None)
        return ending


class ExecProcess(RemoteProcess[OutputT_co]):
    """A running command, much as :class:`subprocess.Popen` has it."""

    @property
    def exit_code(self) -> int | None:
        """The exit code, 128 + n after signal n; None while it runs and when it ended without one."""
        ending = self._session.ending
        return None if ending is None or ending.error is not None else ending.code

    async def wait(self) -> int:
        """Wait for the process's end and give its exit code.  Output that nobody reads meanwhile is kept in the buffers.

        It ends when all holders of stdout and stderr have ended, children in the background included.  Cancel it freely.

        :raises UnreadChannelError: an output is full that nobody has ever read; nothing is lost
        :raises StartError: it did not start
        :raises ConnectionLost: the connection broke, so nobody knows
        :raises StatusMissing: the server closed the stream without saying
        :raises ProtocolViolation: the server broke the protocol
        """
        code = (await self._ended()).code
        assert code is not None
        return code

    def __repr__(self) -> str:
        ending = self._session.ending
        state = (
            "running"
            if ending is None
            else f"failed: {type(ending.error).__name__}"
            if ending.error
            else f"exited {ending.code}"
        )
        return f"<ExecProcess {self._session.path} ({state})>"


class AttachedProcess(RemoteProcess[OutputT_co]):
    """A container's main process, attached to."""

    async def wait(self) -> None:
        """Wait for the end of the attachment: the process's end, or that of its stdin where only this attachment feeds it.

        There is no exit code: a server reports Success whatever a main process returns.  Raises as :meth:`ExecProcess.wait`.
        """
        await self._ended()

    def __repr__(self) -> str:
        ending = self._session.ending
        state = "attached" if ending is None else f"failed: {type(ending.error).__name__}" if ending.error else "ended"
        return f"<AttachedProcess {self._session.path} ({state})>"


ProcessT_co = TypeVar(
    "ProcessT_co", bound=RemoteProcess[OutputStream] | RemoteProcess[TextOutputStream], covariant=True
)


class SessionScope(Generic[ProcessT_co]):
    """``async with``: opens the session on entry; on exit sends Close, waits at most the close timeout, and leaves nothing behind.

    It is entered and left in the same task, since it owns the task that keeps the session alive.  Leaving never waits for the remote
    process, and does not end it, unless ``on_cancel="kill"`` was given.

    :param connect: opens the connection and gives the session
    :param wrap: what ``async with`` gives
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[ChannelSession]],
        wrap: Callable[[ChannelSession], ProcessT_co],
        *,
        on_cancel: OnCancel,
        left: Callable[[BaseException | None], None],
    ) -> None:
        self._connect = connect
        self._wrap = wrap
        self._kill = on_cancel == "kill"
        self._left = left
        self._tasks: TaskGroup | None = None
        self.session: ChannelSession | None = None

    @property
    def kills(self) -> bool:
        """Whether leaving before the process has ended kills it."""
        return self._kill

    async def __aenter__(self) -> ProcessT_co:
        if self._tasks is not None:
            raise RuntimeError("a session is opened once; call stream() again for another one")
        session = self.session = await self._connect()
        tasks = self._tasks = anyio.create_task_group()
        await tasks.__aenter__()
        tasks.start_soon(Keeper(session).run)
        return self._wrap(session)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._tasks is not None
        assert self.session is not None
        ending = self.session.ending
        try:
            self._tasks.cancel_scope.cancel()
            await self._tasks.__aexit__(None, None, None)
        finally:
            with anyio.CancelScope(shield=True):
                await self.session.leave(kill=self._kill)
            failed = ending.error if ending is not None else None
            self._left(failed if isinstance(failed, KubexClientException) else error)
