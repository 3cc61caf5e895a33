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
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

import anyio
from anyio.lowlevel import checkpoint

from kubex_stream.api.objects import unexpected
from kubex_stream.api.watch_events import WatchEvent, WatchNotice
from kubex_stream.api.watch_settings import WatchSettings, passes
from kubex_stream.client.base import BaseClient
from kubex_stream.client.request import Request, StreamedResponse
from kubex_stream.errors import ApiError, ConnectionFailed, ConnectionLost, Gone, KubexClientException, StreamTimeout
from kubex_stream.watch.backoff import Pauses
from kubex_stream.watch.course import Ask, Course, Notice
from kubex_stream.watch.decoding import RawEvent, decode, error_of
from kubex_stream.watch.documents import parse
from kubex_stream.watch.known import Change
from kubex_stream.watch.lines import LineSplitter

__all__ = ("WatchStream",)

T = TypeVar("T")
#: How a server says that it does not stream a state: the API server's way, and that of others who do not know the parameter.
_NO_STREAMED_STATE: Final = frozenset({400, 422})
#: So often may a streamed state break before it is listed.
_STREAMED_ATTEMPTS: Final = 3

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
        path: Callable[[], Awaitable[str]],
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
        self._pauses = Pauses(settings.backoff)
        self._ready: deque[Change | WatchNotice | Exception] = deque()
        self._connection: AbstractAsyncContextManager[StreamedResponse] | None = None
        self._pieces: AsyncIterator[bytes] | None = None
        self._lines = LineSplitter()
        self._scope: anyio.CancelScope | None = None
        self._idle: anyio.Event | None = None
        self._deadline = math.inf
        self._begun = self._ended = self._established = False
        self._told_synced = course.given
        self._broken_states = 0
        self._changes = False
        self._opened_at = 0.0
        self._delay = 0.0
        self._failing_since: float | None = None

    def __repr__(self) -> str:
        state = "ended" if self._ended else f"at {self._course.version}" if self._course.version else "at its beginning"
        return f"<WatchStream {self._path or 'not opened'} ({state})>"

    # For the application ----------------------------------------------------------------------------------------------

    @property
    def resource_version(self) -> str:
        """The version that the next request would go on from; empty until the initial state is complete."""
        return self._course.version

    @property
    def synced(self) -> bool:
        """Whether everything that was there at the beginning has been handed out; at once where the caller gave a version."""
        return self._course.synced and not any(isinstance(item, Change) and item.initial for item in self._ready)

    def stop(self) -> None:
        """End the watch at once, from any task of this event loop; whoever waits for an event sees the end of the iteration."""
        self._ended = True
        self._ready.clear()
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
        event = await self._next(initial=False)
        if event is None:
            raise StopAsyncIteration
        return event

    async def initial_state(self) -> list[WatchEvent[T]]:
        """The objects that were there at the beginning, as soon as all of them have come; iterating goes on behind them.

        Empty where a version was given.  Where the watch is stopped, or its time is over, what came until then.  Raises as the iteration.
        """
        found: list[WatchEvent[T]] = []
        while not self._told_synced and (event := await self._next(initial=True)) is not None:
            found.append(event)
        return found

    async def _next(self, *, initial: bool) -> WatchEvent[T] | None:
        """The next event; None at the end, and where the initial state is asked for, at its end."""
        if self._scope is not None:
            raise anyio.BusyResourceError("waiting for the next event of")
        while True:
            while self._ready:
                item = self._ready.popleft()
                if isinstance(item, Change):
                    made = self._model(item.object)
                    return WatchEvent(item.type, item.object, made, item.initial, item.relisted)
                if isinstance(item, Exception):
                    self._ended = True
                    raise item
                self._told_synced = self._told_synced or item.kind == "synced"
                self._tell(item)
                if initial and self._told_synced:
                    return None
            if self._ended:
                await self._disconnect()
                return None
            await self._step()

    def _tell(self, notice: WatchNotice) -> None:
        if self._settings.notify is not None:
            self._settings.notify(notice)

    # Reading ----------------------------------------------------------------------------------------------------------

    async def _step(self) -> None:
        """Do one thing: connect, or read a piece.  However it is left, nothing stays half done."""
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
            await (self._connect() if self._pieces is None else self._read())
        except KubexClientException as error:
            await self._disconnect()
            self._ready.append(error)
        except BaseException as error:
            self._ended = self._ended or isinstance(error, Exception)
            await self._disconnect()
            raise

    async def _connect(self) -> None:
        if not self._path:
            self._path = await self._find_path()
        if self._delay:
            await anyio.sleep(self._delay)
            self._delay = 0.0
        ask = self._course.ask()
        self._changes = False
        self._opened_at = anyio.current_time()
        try:
            if ask.watch:
                await self._open(ask)
            else:
                await self._list(ask)
        except (ApiError, ConnectionFailed, ConnectionLost, StreamTimeout) as error:
            await self._failed(error)
        else:
            self._established = True
            self._failing_since = None

    def _request(self, ask: Ask) -> Request:
        query = [*ask.query, *self._settings.query]
        if ask.watch and self._deadline < math.inf:
            # A server that is asked for this many seconds lets go of the watch even where it never learns that nobody reads it.
            query.append(("timeoutSeconds", str(max(1, math.ceil(self._deadline - anyio.current_time())))))
        settings = self._settings
        return Request(path=self._path, query=query, headers=settings.headers, timeout=settings.request_timeout)

    async def _open(self, ask: Ask) -> None:
        connection = self._client.stream(self._request(ask))
        response = await connection.__aenter__()
        self._connection, self._pieces, self._lines = connection, aiter(response), LineSplitter()

    async def _list(self, ask: Ask) -> None:
        request = self._request(ask)
        response = await self._client.request(request)
        try:
            for told in self._course.listed(parse(response.content)):
                self._take(told)
        except ValueError:
            raise unexpected(request, response.status_code, "no list of objects") from None

    async def _read(self) -> None:
        assert self._pieces is not None
        piece: bytes | None = None
        try:
            with anyio.move_on_after(self._settings.inactivity) as waiting:
                piece = await anext(self._pieces, None)
        except ConnectionLost as error:
            await self._failed(error)
            return
        if waiting.cancelled_caught:
            await self._fell_silent()
        elif piece is None:
            await self._reached_the_end()
        else:
            await self._split(piece)
            await checkpoint()  # where pieces come faster than they are read, others have a turn, and a stop is heard

    async def _split(self, piece: bytes) -> None:
        for line in self._lines.feed(piece):
            try:
                event = decode(line)
            except ValueError:
                raise unexpected(Request(path=self._path), 200, "no watch event") from None
            if event.type == "ERROR":
                await self._failed(error_of(event.object, self._path))
                return
            self._take_event(event)

    def _take_event(self, event: RawEvent) -> None:
        for told in self._course.take(event):
            self._take(told)
        self._changes = self._changes or event.type != "BOOKMARK"

    def _take(self, told: Change | Notice) -> None:
        self._ready.append(WatchNotice(told.kind, told.version) if isinstance(told, Notice) else told)

    # Endings ----------------------------------------------------------------------------------------------------------

    async def _disconnect(self) -> None:
        connection, self._connection, self._pieces = self._connection, None, None
        if connection is not None:
            await connection.__aexit__(None, None, None)

    async def _reached_the_end(self) -> None:
        await self._disconnect()
        self._resume(None, self._pauses.after_end(changes=self._changes, lived=self._lived))

    @property
    def _lived(self) -> float:
        return anyio.current_time() - self._opened_at

    async def _fell_silent(self) -> None:
        if self._course.streams_state:
            self._course.list_instead()  # some take the parameter and never say that the state is complete
        seconds = self._settings.inactivity
        await self._failed(ConnectionLost(f"watching {self._path}: nothing has come for {seconds:g} s"))

    async def _failed(self, error: ApiError | ConnectionFailed | ConnectionLost | StreamTimeout) -> None:
        await self._disconnect()
        if isinstance(error, Gone):
            self._expired(error)
        elif self._lists_instead(error):
            self._delay = 0.0
        elif not self._established or not passes(error) or self._gives_up():
            self._ready.append(error)
        else:
            asked = error.retry_after if isinstance(error, ApiError) else None
            self._resume(error, self._pauses.after_failure(changes=self._changes, lived=self._lived, asked=asked))

    def _lists_instead(self, error: Exception) -> bool:
        refused = isinstance(error, ApiError) and error.status_code in _NO_STREAMED_STATE
        return refused and self._course.streams_state and self._course.list_instead()

    def _expired(self, error: Gone) -> None:
        if not self._course.expired():
            self._ready.append(error)
            return
        self._delay = self._pauses.after_failure(changes=self._changes, lived=self._lived, asked=None)
        _logger.warning("%s; listing anew in %.1f s", error, self._delay)
        self._client.observer.retried(self._path, error, self._delay)
        self._ready.append(WatchNotice("relisting", "", error, self._delay))

    def _resume(self, error: ApiError | ConnectionFailed | ConnectionLost | StreamTimeout | None, delay: float) -> None:
        self._delay = delay
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
        self._ready.append(WatchNotice("resuming", version, error, delay))

    def _gives_up(self) -> bool:
        now, limit = anyio.current_time(), self._settings.give_up_after
        if self._failing_since is None:
            self._failing_since = now
        return limit is not None and now - self._failing_since >= limit
