"""Logs as they come: of one container, or of many at once, merged.

Rules of this file:
- Each log is read by a task; all hand what they read to one buffer that is bounded in bytes.  While it is full they wait, and with them the
  server.  The lines of one log stay in their order; between logs, they come as they come.
- Everything that was read is handed out before an error, or the end.
- Whoever waits for the next line may be cancelled; nothing is lost by that, and the stream goes on.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from kubex_stream.api.log_contact import LogContact, ReaderSettings, Tell
from kubex_stream.api.log_cursor import LogCursor
from kubex_stream.api.log_reader import LogReader
from kubex_stream.client.base import BaseClient
from kubex_stream.errors import KubexClientException
from kubex_stream.logs.line import LogEvent, LogSource
from kubex_stream.logs.shapes import Limit, Shaper
from kubex_stream.logs.status import ContainerView
from kubex_stream.logs.wanted import Wanted

__all__ = ("FoundLog", "LogPlan", "LogStream")

ItemT_co = TypeVar("ItemT_co", covariant=True)
_logger = logging.getLogger("kubex_stream")


class _Enough(Exception):
    """The limit of bytes is reached."""


@dataclass(frozen=True, slots=True)
class FoundLog:
    """A log that is to be read.

    :ivar uid: its pod's; "" where the pod may not be read
    :ivar view: its container, as it was seen
    :ivar granted: whether the pod was read by its name, not from a list
    """

    source: LogSource
    uid: str
    view: ContainerView
    granted: bool = False


@dataclass(frozen=True, slots=True)
class _Planned:
    """A log that waits for its turn.

    :ivar failed: what it has failed with already
    """

    cursor: LogCursor
    view: ContainerView
    failed: KubexClientException | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPlan:
    """How to read.

    :ivar find: which logs there are to read
    :ivar shaper: makes items of lines
    :ivar rest: makes items of what is left at the end, in order; None where nothing can be
    :ivar limit: of bytes; None for none
    :ivar plain: the bytes of one log as they come, where that is all that is wanted; with their times or not
    :ivar max_requests: logs that are read at once
    :ivar ignore_errors: whether the other logs are read on when one fails
    :ivar tell: is told what happens
    :raises TypeError: ``tell`` cannot be called
    """

    find: Callable[[], Awaitable[Sequence[FoundLog]]]
    wanted: Wanted
    settings: ReaderSettings
    shaper: Shaper
    rest: Callable[[LogSource], Iterator[Any]] | None
    limit: Limit | None
    plain: bool | None
    max_requests: int
    ignore_errors: bool
    tell: Tell | None

    def __post_init__(self) -> None:
        if self.tell is not None and not callable(self.tell):
            raise TypeError(f"on_event is a function of an event, not {type(self.tell).__name__}")


class LogStream(Generic[ItemT_co]):
    """An async context manager, whose value is itself: an async iterator over what the logs hold.

    Entering it finds the pods and containers and begins to read; leaving it ends that at once, and leaves nothing behind.  It is entered and
    left in the same task; any task may iterate, one at a time.
    """

    def __init__(self, client: BaseClient, plan: LogPlan) -> None:
        self._client = client
        self._plan = plan
        self._tasks: TaskGroup | None = None
        self._scopes: list[anyio.CancelScope] = []
        self._waiting: deque[_Planned] = deque()
        self._reading = 0
        self._found: tuple[LogSource, ...] = ()
        self._capacity = client.options.stream_buffer_size
        self._batches: deque[tuple[LogSource, list[bytes], bool, int]] = deque()
        self._size = 0
        self._items: Iterator[ItemT_co] = iter(())
        self._error: Exception | None = None
        self._late: UnicodeDecodeError | None = None
        self._rest = plan.rest
        self._ended = self._receiving = False
        self._filled = anyio.Event()
        self._emptied = anyio.Event()

    @property
    def sources(self) -> tuple[LogSource, ...]:
        """The logs that are read."""
        return self._found

    def __repr__(self) -> str:
        state = "not opened" if self._tasks is None else "ended" if self._ended else f"reading {self._reading}"
        return f"<LogStream of {', '.join(map(str, self._found)) or 'nothing yet'} ({state})>"

    async def __aenter__(self) -> Self:
        if self._tasks is not None:
            raise RuntimeError("a stream of logs is opened once; call stream() again for another one")
        found, plan = await self._plan.find(), self._plan
        if plan.wanted.follow and len(found) > plan.max_requests:
            raise ValueError(
                f"{len(found)} logs would be followed at once, and max_requests is {plan.max_requests}: raise it, or name fewer"
            )
        self._found = tuple(each.source for each in found)
        self._waiting.extend([await self._planned(each) for each in found])
        self._reading = min(len(found), plan.max_requests)
        self._ended = not found
        tasks = self._tasks = anyio.create_task_group()
        await tasks.__aenter__()
        for _ in range(self._reading):
            tasks.start_soon(self._read_some)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._tasks is not None
        self._ended = True
        self._batches.clear()
        self._items, self._late, self._rest = iter(()), None, None
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)

    # Reading ----------------------------------------------------------------------------------------------------------

    async def _read_some(self) -> None:
        """Read one log after the other, until there are no more."""
        try:
            with anyio.CancelScope() as scope:
                self._scopes.append(scope)
                while self._waiting:
                    await self._read(self._waiting.popleft())
        except Exception as error:  # noqa: BLE001  # raised where the lines are taken
            if self._error is None:
                self._error = error
            self._waiting.clear()
            for scope in self._scopes:
                scope.cancel()
        finally:
            self._reading -= 1
            if not self._reading or self._error is not None:
                self._ended = True
            self._filled.set()

    async def _planned(self, found: FoundLog) -> _Planned:
        plan = self._plan
        contact = LogContact(
            self._client, found.source, plan.settings, uid=found.uid, granted=found.granted, tell=self._tell
        )
        cursor = LogCursor(contact, plan.wanted, self._hand)
        try:
            if plan.wanted.follow and plan.wanted.tail == 0:
                await cursor.mark()
        except KubexClientException as error:
            if not plan.ignore_errors:
                raise
            return _Planned(cursor, found.view, error)
        return _Planned(cursor, found.view)

    async def _read(self, planned: _Planned) -> None:
        plan, contact = self._plan, planned.cursor.contact
        try:
            if planned.failed is not None:
                raise planned.failed
            if plan.wanted.follow:
                await LogReader(planned.cursor, planned.view).follow()
            elif plan.plain is not None:
                await planned.cursor.copy(timestamps=plan.plain)
            else:
                await planned.cursor.read()
        except _Enough:
            pass
        except KubexClientException as error:
            if not plan.ignore_errors:
                raise
            _logger.warning("%s: %s", contact.source, error)
            contact.say("failed", str(error), error)
            return
        contact.say("ended", "there will be no more of this log")

    def _tell(self, event: LogEvent) -> None:
        _logger.info("%s: %s", event.source, event.message)
        if self._plan.tell is not None:
            self._plan.tell(event)

    async def _hand(self, source: LogSource, lines: list[bytes], *, whole: bool = True) -> None:
        full = False
        if self._plan.limit is not None:
            lines, cut, full = self._plan.limit.cut(source, lines)
            whole = whole and not cut
        while self._size >= self._capacity:
            await self._emptied.wait()
        size = sum(map(len, lines))
        self._size += size
        self._batches.append((source, lines, whole, size))
        self._filled.set()
        if full:
            raise _Enough

    # Taking -----------------------------------------------------------------------------------------------------------

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ItemT_co:
        """The next line, or what comes next.

        :raises ApiError: the server refused a log, or a container will not start
        :raises ConnectionLost: the connection broke, and the log cannot be gone on with
        :raises StreamTimeout: a container has not started in time, or the server does not answer
        :raises UnicodeDecodeError: it is not text, and ``errors="strict"``; the next call goes on behind it
        """
        late, self._late = self._late, None
        if late is not None:
            raise late
        while True:
            for item in self._items:
                return item
            if self._batches:
                self._take_batch()
            else:
                await self._wait()

    async def receive_many(self) -> list[ItemT_co]:
        """What is there already, and at least one item: for who has a use for many at once.  Raises as :meth:`__anext__`.

        :raises EndOfStream: there is no more
        """
        try:
            found = [await anext(self)]
        except StopAsyncIteration:
            raise anyio.EndOfStream from None
        try:
            for item in self._items:
                found.append(item)  # what came before an error stays
        except UnicodeDecodeError as error:
            self._late = error
        return found

    def _take_batch(self) -> None:
        source, lines, whole, size = self._batches.popleft()
        self._items = self._plan.shaper(source, lines, whole)
        self._size -= size
        emptied, self._emptied = self._emptied, anyio.Event()
        emptied.set()

    async def _wait(self) -> None:
        if self._tasks is None:
            raise RuntimeError("the stream is not open: async with pods.logs.stream(…) as log")
        if self._ended:
            await anyio.lowlevel.checkpoint()  # whoever cancels us all means no end of the log
            error, self._error = self._error, None
            if error is not None:
                raise error
            if self._rest is None:
                raise StopAsyncIteration
            rest, self._rest = self._rest, None
            self._items = rest(self._found[0])
            return
        if self._receiving:
            raise anyio.BusyResourceError("waiting for the next line of")
        self._receiving = True
        try:
            self._filled = anyio.Event()
            await self._filled.wait()
        finally:
            self._receiving = False
