"""A watch that goes on until it is told not to.

Rules of this file:
- No task and no queue: whoever asks for the next event does the reading, so a slow consumer slows the server down, and nothing else.
- A cancelled wait ends the connection and loses nothing: what was read is kept, and the next wait goes on from the version behind it.
- What came before an end or an error is handed out before it.  Only ``stop`` drops what was not asked for yet.
- Silence is measured only while this side waits to read; a consumer that takes an hour for an event is not a dead server.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

import anyio
from anyio.lowlevel import checkpoint

from kubex_stream.api.objects import unexpected
from kubex_stream.api.watch_arrivals import Arrivals
from kubex_stream.api.watch_connection import FellSilent, WatchConnection
from kubex_stream.api.watch_events import WatchEvent, WatchNotice, standing
from kubex_stream.api.watch_settings import TROUBLE, FindPath, Trouble, WatchSettings, passes, refuses_to_stream
from kubex_stream.client.base import BaseClient
from kubex_stream.client.request import Request
from kubex_stream.errors import ApiError, ConnectionLost, Gone, KubexClientException, NotFound
from kubex_stream.watch.backoff import Pauses
from kubex_stream.watch.course import Ask, Course
from kubex_stream.watch.documents import parse
from kubex_stream.watch.known import Change

__all__ = ("WatchStream",)

T = TypeVar("T")
#: So often may a streamed state break before it is listed.
_STREAMED_ATTEMPTS: Final = 3
#: So many connections in a row that have never said anything are no accident.
_MUTE: Final = 2

_logger = logging.getLogger("kubex_stream")


class WatchStream(Generic[T]):
    """The events of a watch: ``async with … as events: async for event in events``.

    The block's end ends the watch.  Without a block, iterate to the end, or call :meth:`stop` and then :meth:`aclose`.

    Iteration raises

    - :class:`~kubex_stream.Gone` (410) where ``resource_version`` was given and is too old, at the beginning or later on,
    - :class:`~kubex_stream.ApiError` for everything else that the server refuses for good,
    - :class:`~kubex_stream.ConnectionFailed`, :class:`~kubex_stream.ConnectionLost` and :class:`~kubex_stream.StreamTimeout` where the very
      first request already fails, or ``give_up_after`` is over,

    and after that it has ended.  An error of the model is raised as it is, and the next event can be asked for.
    """

    def __init__(
        self,
        client: BaseClient,
        path: FindPath,
        course: Course,
        settings: WatchSettings,
        model: Callable[[dict[str, Any]], T],
    ) -> None:
        self._client = client
        self._find_path = path
        self._path = ""
        self._course = course
        self._settings = settings
        self._model = model
        self._pauses = Pauses(settings.backoff, settings.give_up_after)
        self._arrivals = Arrivals(course)
        self._connection: WatchConnection | None = None
        self._scope: anyio.CancelScope | None = None
        self._idle: anyio.Event | None = None
        self._deadline = math.inf
        self._begun = self._ended = self._stopped = self._established = False
        self._told_synced = course.given
        self._broken_states = 0
        self._opened_from = ""
        self._opened_at = 0.0
        self._not_before = -math.inf
        self._mute = 0

    def __repr__(self) -> str:
        state = "ended" if self._ended else f"at {self._course.version}" if self._course.version else "at its beginning"
        return f"<WatchStream {self._path or 'not opened'} ({state})>"

    # For the application ----------------------------------------------------------------------------------------------

    @property
    def resource_version(self) -> str:
        """The version to go on from behind what has been handed out; empty until the initial state is complete.

        While the differences to a new list are handed out, it is that list's already.
        """
        return self._course.version if self.synced else ""

    @property
    def synced(self) -> bool:
        """Whether everything that was there at the beginning has been handed out; at once where the caller gave a version."""
        return self._course.synced and not self._arrivals.has_initial

    def stop(self) -> None:
        """End the watch at once, from any task of this event loop; whoever waits for an event sees the end of the iteration."""
        self._ended = self._stopped = True
        self._arrivals.clear()
        if self._scope is not None:
            self._scope.cancel()

    async def aclose(self) -> None:
        """Stop, and wait until the connection is closed."""
        self.stop()
        with anyio.CancelScope(shield=True):
            while self._scope is not None:
                self._idle = self._idle or anyio.Event()
                await self._idle.wait()
            await self._disconnect()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchEvent[T]:
        change = await self._next(initial=False)
        if change is None:
            raise StopAsyncIteration
        return self._event(change)

    async def initial_state(self) -> list[WatchEvent[T]]:
        """The objects that were there at the beginning, as soon as all of them have come; iterating goes on behind them.

        Empty where a version was given.  Where the watch is stopped, or its time is over, what came until then.  Raises as the iteration,
        and what had come is then handed out by the next call, or by iterating.
        """
        found: list[tuple[Change, WatchEvent[T]]] = []
        try:
            while not self._told_synced and (change := await self._next(initial=True)) is not None:
                found.append((change, self._event(change)))
        except BaseException:
            self._arrivals.put_back(change for change, _ in reversed(found))  # for whoever asks next
            raise
        return standing(event for _, event in found)

    async def _next(self, *, initial: bool) -> Change | None:
        """The next change; None at the end, and where the initial state is asked for, at its end."""
        if self._scope is not None:
            raise anyio.BusyResourceError("waiting for the next event of")
        while True:
            if self._stopped:
                self._arrivals.clear()  # also of what came in the very moment
            item = self._arrivals.next()
            if isinstance(item, Change):
                return item
            if isinstance(item, Exception):
                self._ended = True
                raise item
            if item is not None:
                self._told_synced = self._told_synced or item.kind == "synced"
                self._tell(item)
                if initial and self._told_synced:
                    return None
            elif self._ended and self._arrivals.trouble is None:
                await self._disconnect()
                return None
            else:
                await self._step()

    def _event(self, change: Change) -> WatchEvent[T]:
        made = self._model(change.object)
        return WatchEvent(change.type, change.object, made, change.initial, change.relisted)

    def _tell(self, notice: WatchNotice) -> None:
        if self._settings.notify is not None:
            self._settings.notify(notice)

    # Reading ----------------------------------------------------------------------------------------------------------

    async def _step(self) -> None:
        """Do one thing: connect, read a piece, or deal with trouble.  However it is left, nothing stays half done."""
        if not self._begun and self._settings.timeout is not None:
            self._deadline = anyio.current_time() + self._settings.timeout
        self._begun = True
        with anyio.CancelScope(deadline=self._deadline) as scope:
            self._scope = scope
            try:
                await self._work()
            finally:
                self._scope = None
                if self._idle is not None:
                    self._idle.set()
                    self._idle = None
        if scope.cancel_called:
            self._ended = True

    async def _work(self) -> None:
        try:
            trouble, self._arrivals.trouble = self._arrivals.trouble, None
            if trouble is not None:
                await self._failed(trouble)
            else:
                await (self._connect() if self._connection is None else self._read(self._connection))
        except KubexClientException as error:
            await self._disconnect()
            self._arrivals.append(error)
        except BaseException as error:
            self._ended = self._ended or isinstance(error, Exception)
            await self._disconnect()
            raise

    async def _connect(self) -> None:
        if not self._path:
            self._path = await self._find_path()
        await anyio.sleep_until(self._not_before)
        ask = self._course.ask()
        self._arrivals.changes, self._opened_from = False, self._course.version
        self._opened_at = anyio.current_time()
        try:
            if ask.watch:
                self._connection = await WatchConnection.open(self._client, self._request(ask))
                self._mute += 1
            else:
                await self._list(ask)
        except TROUBLE as error:
            await self._failed(error)
        else:
            self._established = True
            self._pauses.succeeded()

    def _request(self, ask: Ask) -> Request:
        return self._settings.request(self._path, ask, self._deadline - anyio.current_time())

    async def _list(self, ask: Ask) -> None:
        request = self._request(ask)
        response = await self._client.request(request)
        try:
            self._arrivals.tell(self._course.listed(parse(response.content)))
        except ValueError:
            raise unexpected(request, response.status_code, "no list of objects") from None

    async def _read(self, connection: WatchConnection) -> None:
        try:
            lines = await connection.lines(self._settings.inactivity)
        except ConnectionLost as error:
            if isinstance(error, FellSilent) and self._course.streams_state:
                self._course.list_instead()  # some take the parameter and never say that the state is complete
            await self._failed(error)
            return
        self._mute = 0
        if lines is None:
            await self._reached_the_end()
            return
        self._arrivals.read(lines, self._path)
        await checkpoint()  # where pieces come faster than they are read, others have a turn, and a stop is heard

    # Endings ----------------------------------------------------------------------------------------------------------

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.aclose()

    async def _reached_the_end(self) -> None:
        await self._disconnect()
        self._resume(None, self._pauses.after_end(changes=self._came_on, lived=self._lived))

    @property
    def _came_on(self) -> bool:
        """Whether the connection has brought changes, and not those that the next one would bring again: a state, or any without versions."""
        return self._arrivals.changes and self._opened_from not in ("", self._course.version)

    @property
    def _lived(self) -> float:
        return anyio.current_time() - self._opened_at

    async def _failed(self, error: Trouble) -> None:
        await self._disconnect()
        if isinstance(error, Gone) or self._is_unknown(error):
            self._expired(error)
        elif isinstance(error, NotFound) and await self._moved():
            self._resume(error, self._pauses.after_failure(changes=False, lived=0.0, asked=None))
        elif self._lists_instead(error):
            return
        elif not self._established or not passes(error) or self._pauses.are_over(anyio.current_time()):
            self._arrivals.append(error)
        else:
            asked = error.retry_after if isinstance(error, ApiError) else None
            self._resume(error, self._pauses.after_failure(changes=self._came_on, lived=self._lived, asked=asked))

    def _is_unknown(self, error: Trouble) -> bool:
        """Whether the version may be one that the server has never had, as behind a restored backup: then there are not even bookmarks."""
        return (
            isinstance(error, FellSilent)
            and self._mute >= _MUTE
            and bool(self._course.version)
            and not self._course.given
        )

    async def _moved(self) -> bool:
        """Whether the resource is served elsewhere by now, as a later version of it."""
        before, self._path = self._path, await self._find_path(refresh=True)
        return self._path != before

    def _lists_instead(self, error: Exception) -> bool:
        return refuses_to_stream(error) and self._course.streams_state and self._course.list_instead()

    def _expired(self, error: Trouble) -> None:
        if not self._course.expired():
            self._arrivals.append(error)
            return
        delay = self._pauses.after_failure(changes=self._came_on, lived=self._lived, asked=None)
        self._not_before = anyio.current_time() + delay
        _logger.warning("%s; listing anew in %.1f s", error, delay)
        self._client.observer.retried(self._path, error, delay)
        self._arrivals.append(WatchNotice("relisting", "", error, delay))

    def _resume(self, error: Trouble | None, delay: float) -> None:
        self._not_before = anyio.current_time() + delay
        version = self._course.version
        if self._course.streams_state:
            self._broken_states += 1
            if self._broken_states >= _STREAMED_ATTEMPTS:
                self._course.list_instead()  # a list comes in pages, and those that have come need not come again
        if error is not None:
            _logger.warning("%s; going on from version %s in %.1f s", error, version or "(none yet)", delay)
            self._client.observer.retried(self._path, error, delay)
        else:
            _logger.debug("%s: the watch has ended; going on from version %s in %.1f s", self._path, version, delay)
        self._arrivals.append(WatchNotice("resuming", version, error, delay))
