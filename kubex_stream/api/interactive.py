"""Conversations between a terminal here and a process there.

Rules of this file:
- The terminal is taken when the session is open, and given back before the session is left: whatever goes wrong with the network, the user has
  the terminal already.
- The size goes first.  Later ones are read when they are sent, so the last one wins however many there were.
- All output is on the screen before the end is told; a screen that is stopped is waited for, and cancelling does not wait for it.
- What is typed goes on its way at once, and no more is read before it is: what the session does not get, the next reader does.  Only where
  there are detach keys is it read on, one key at a time, since they have to work when the connection does not.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from kubex_stream.errors import ProcessError, StdinBroken
from kubex_stream.protocol.status import Status
from kubex_stream.session.process import AttachedProcess, ExecProcess, SessionScope
from kubex_stream.session.streams import OutputStream
from kubex_stream.statistics import SessionStatistics
from kubex_stream.terminal.device import Terminal
from kubex_stream.terminal.keys import DetachKeys, parse_keys
from kubex_stream.terminal.taking import TakenTerminal, take

__all__ = ("Conversation", "InteractiveResult", "interact")

Process = ExecProcess[OutputStream] | AttachedProcess[OutputStream]

#: What is read at a time.  A terminal never holds more.
_PIECE: Final = 4096
#: How many pieces may wait for a connection that takes none, while detach keys are looked for.
_PIECES: Final = 16
#: Seconds that detaching waits for what was typed before.
_GRACE: Final = 1.0
_LARGEST: Final = 65535


@dataclass(frozen=True, slots=True, repr=False)
class InteractiveResult:
    """How an interactive session ended.

    :ivar exit_code: 0 to 255, 128 + n after signal n; None after detaching, and for attach, where nobody tells it
    :ivar detached: whether the detach keys ended it; then the process goes on
    :ivar status: the server's Status, None after detaching
    :ivar statistics: of the session
    """

    exit_code: int | None
    detached: bool
    status: Status | None
    statistics: SessionStatistics

    def __repr__(self) -> str:
        # Not the Status, whose message repeats the command line on v4.
        return f"<InteractiveResult exit_code={self.exit_code} detached={self.detached}>"

    def check_returncode(self) -> None:
        """Raise :class:`~kubex_stream.errors.ProcessError` where there is an exit code other than 0."""
        if self.exit_code:
            raise ProcessError(f"the command ended with exit code {self.exit_code}", result=self)


@dataclass(frozen=True, slots=True)
class Conversation:
    """What one side of it wants, checked when it is made.

    :ivar terminal: None for stdin and stdout of this process
    :ivar detach_keys: as ``ctrl-p,ctrl-q``; None for none
    :ivar tty: whether the process has a terminal
    :ivar redraw: whether the process has been drawing for another screen, and has to be told
    """

    terminal: Terminal | None
    detach_keys: str | None
    tty: bool
    redraw: bool = False

    def __post_init__(self) -> None:
        if sys.platform == "win32":
            raise NotImplementedError(
                "interactive sessions need a POSIX terminal; stream() with tty=True runs here too"
            )
        if self.terminal is not None and not isinstance(self.terminal, Terminal):
            raise TypeError(f"terminal is a kubex_stream.Terminal, not {type(self.terminal).__name__}")
        if self.detach_keys is not None:
            parse_keys(self.detach_keys)
        self.place.check_open()

    @property
    def place(self) -> Terminal:
        """The terminal."""
        return Terminal() if self.terminal is None else self.terminal

    def keys(self) -> DetachKeys | None:
        """What looks for the detach keys, where there are any."""
        return None if self.detach_keys is None else DetachKeys(parse_keys(self.detach_keys))


async def interact(scope: SessionScope[Any], conversation: Conversation, *, check: bool = False) -> InteractiveResult:
    """Open the session, connect it with the terminal until either side ends it, leave it, and give the result.

    :raises ProcessError: ``check`` is set and the exit code is not 0
    """
    process: Process
    async with scope as process:
        with take(conversation.place, raw=conversation.tty) as taken:
            talk = _Talk(process, taken, conversation)
            await talk.run()
        code = None if talk.detached else await process.wait()
        result = InteractiveResult(code, talk.detached, process.status, process.statistics)
    if check:
        result.check_returncode()
    return result


class _Talk:
    """The tasks of a conversation."""

    def __init__(self, process: Process, taken: TakenTerminal, conversation: Conversation) -> None:
        self._process = process
        self._taken = taken
        self._tty = conversation.tty
        self._redraw = conversation.redraw
        self._keys = conversation.keys()
        self._told: tuple[int, int] | None = None
        self._passed_on = anyio.Event()
        self.detached = False

    async def run(self) -> None:
        """Until the process has ended and everything is on the screen, or the detach keys have come."""
        failures: list[Exception] = []
        send, receive = anyio.create_memory_object_stream[bytes](_PIECES)
        with send, receive:
            async with anyio.create_task_group() as tasks:

                async def guarded(work: Callable[[], Awaitable[object]]) -> None:
                    # One failing part ends the others, and its exception leaves as it is, not in a group.
                    try:
                        await work()
                    except StdinBroken:
                        return  # how the process ended, or the connection broke, is for its output to tell
                    except Exception as error:  # noqa: BLE001  # re-raised below
                        failures.append(error)
                    else:
                        if not self.detached:
                            return
                    tasks.cancel_scope.cancel()

                if self._tty:
                    await guarded(self._tell_size)
                    tasks.start_soon(guarded, self._follow_size)
                if self._keys is None:
                    tasks.start_soon(guarded, self._type)
                else:
                    tasks.start_soon(guarded, partial(self._type_with_keys, self._keys, send))
                    tasks.start_soon(guarded, partial(self._pass_on, receive))
                await guarded(self._show)
                tasks.cancel_scope.cancel()
        if failures:
            raise failures[0]

    async def _show(self) -> None:
        async for piece in self._process.stdout:
            await self._taken.output.send(piece)

    # Sizes ------------------------------------------------------------------------------------------------------------

    async def _tell_size(self) -> None:
        """Tell the size as it is now, where there is one."""
        size = self._taken.terminal.size
        if size is None:
            return
        columns, rows = min(size[0], _LARGEST), min(size[1], _LARGEST)
        if self._redraw:
            # A process hears of a size only where it differs from the one before.
            self._redraw = False
            await self._process.resize(width=columns, height=rows + 1 if rows < _LARGEST else rows - 1)
        await self._process.resize(width=columns, height=rows)
        self._told = size

    async def _follow_size(self) -> None:
        while True:
            self._redraw = await self._taken.signals.news()
            if self._redraw or self._taken.terminal.size != self._told:
                await self._tell_size()

    # Keys -------------------------------------------------------------------------------------------------------------

    async def _type(self) -> None:
        while data := await self._taken.input.receive(_PIECE):
            await self._process.stdin.send(data)
        await self._process.stdin.aclose()

    async def _type_with_keys(self, keys: DetachKeys, out: MemoryObjectSendStream[bytes]) -> None:
        # One by one where somebody types: what comes behind the keys is for the next reader.
        source, singly = self._taken.input, self._taken.terminal.is_terminal
        async with out:
            while not keys.found:
                data = await source.receive(1 if singly else _PIECE)
                passed = keys.feed(data) if data else keys.rest()
                if singly:
                    passed += self._typed_already(keys)
                if passed:
                    await out.send(passed)
                if not data:
                    return
        # What came before the keys still goes, where the connection takes it.
        with anyio.move_on_after(_GRACE):
            await self._passed_on.wait()
        self.detached = True

    def _typed_already(self, keys: DetachKeys) -> bytes:
        passed = bytearray()
        while not keys.found and len(passed) < _PIECE and (data := self._taken.input.receive_nowait(1)):
            passed += keys.feed(data)
        return bytes(passed)

    async def _pass_on(self, pieces: MemoryObjectReceiveStream[bytes]) -> None:
        async for piece in pieces:
            await self._process.stdin.send(piece)
        self._passed_on.set()
        if self._keys is None or not self._keys.found:
            await self._process.stdin.aclose()
