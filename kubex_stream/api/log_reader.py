"""Reading one container's log to its end, in as many answers as that takes.

Rules of this file:
- How an answer ends says little: a server that shuts down ends it in order, as the end of the container does, and a container may begin again.
  So the pod is asked.  A log is complete when an answer has ended in order that was opened after the container had been seen ended.
- Every further answer begins where the lines overlap (:mod:`kubex_stream.logs.position`).  Where they do not, the log is another one: the
  rest of the one before is read with ``previous``, before the first new line is handed out.
- A line that its answer does not end is kept back: the next answer has it whole.  Only of a complete log it is the last line.
- Silence is not told apart from a dead connection but ended: after the limit the log is asked for again, which costs a request and changes
  nothing for a container that is merely quiet.  Time counts only while we wait for the server.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final, Literal, Protocol

import anyio

from kubex_stream.api.log_contact import PASSING, LogContact, is_waiting
from kubex_stream.client.request import Request, StreamedResponse
from kubex_stream.errors import ApiError, ConnectionFailed, ConnectionLost, NotFound, StreamTimeout
from kubex_stream.logs.line import LogSource
from kubex_stream.logs.lines import NO_LOG, LineSplitter
from kubex_stream.logs.position import LogPosition, Overlap
from kubex_stream.logs.status import ContainerView
from kubex_stream.logs.wanted import Wanted

__all__ = ("Hand", "LogReader")


class Hand(Protocol):
    """Takes what has been read, and waits while there is no room for it."""

    async def __call__(self, source: LogSource, lines: list[bytes], *, whole: bool = True) -> None:
        """Take lines, with their times.

        :param whole: whether the last one has its end
        """


#: Seconds between two looks at a container that does not run.
_LOOK: Final = 1.0
_TROUBLE: Final = (ConnectionFailed, ConnectionLost, StreamTimeout, ApiError)


class _Silent(StreamTimeout):
    """Nothing came for too long."""


class LogReader:
    """Reads a log once.

    :param contact: asks the server about the container
    :param view: the container as it was seen last
    :param hand: takes the lines
    """

    def __init__(self, contact: LogContact, wanted: Wanted, view: ContainerView, hand: Hand) -> None:
        self._contact = contact
        self._source = contact.source
        self._wanted = wanted
        self._view = view
        self._hand = hand
        self._position = LogPosition()
        self._tail = b""
        #: Which of its lives has been read to its end, and which one is being read.
        self._complete: int | None = None
        self._restarts = view.restarts
        self._answers = 0
        self._progress = self._no_log = False
        #: How the last answer ended, where that was not in order.
        self._broken: Exception | None = None
        self._resuming: tuple[str, Exception | None] | None = None

    async def mark(self) -> None:
        """Begin here and now: find the last line that is not wanted, since only a line says where to go on after a cut.

        :raises ApiError: the server refused
        :raises ConnectionLost: the connection broke
        """
        request, lines, found = self._request(Wanted(tail=1)), LineSplitter(), list[bytes]()
        self._wanted = replace(self._wanted, tail=None)
        try:
            async with self._contact.client.stream(request) as response:
                async for piece in response:
                    found += lines.feed(piece)
        except ApiError as error:
            if not is_waiting(error):
                raise
        if found and not found[-1].startswith(NO_LOG):
            self._position.advance(found[-1:])

    # One answer -------------------------------------------------------------------------------------------------------

    async def read(self) -> None:
        """Read what is there, without following.

        :raises ApiError: the server refused, or there is no log
        :raises ConnectionLost: it broke; what had come was handed out before
        """
        async with self._contact.client.stream(self._request(self._wanted)) as response:
            self._note_opening(response)
            lines, pieces = LineSplitter(), aiter(response)
            while piece := await self._next(pieces):
                await self._take(lines.feed(piece))
            if rest := lines.rest():
                await self._take([rest], whole=False)

    async def copy(self, *, timestamps: bool) -> None:
        """Read what is there, as it is and without looking at it; otherwise as :meth:`read`.

        :param timestamps: whether every line has its time
        """
        request = self._request(self._wanted, timestamps=timestamps)
        async with self._contact.client.stream(request) as response:
            self._note_opening(response)
            pieces = aiter(response)
            while piece := await self._next(pieces):
                await self._hand(self._source, [piece], whole=False)

    async def _take(self, lines: list[bytes], *, whole: bool = True) -> None:
        if not lines:
            return
        if not self._position.begun and lines[0].startswith(NO_LOG):
            raise NotFound(f"the node has no log of {self._source} any more", status_code=404)
        self._position.advance(lines)
        self._progress = True
        self._contact.works()
        await self._hand(self._source, lines, whole=whole)

    def _request(self, wanted: Wanted, *, timestamps: bool = True) -> Request:
        query = [*wanted.query(), ("timestamps", str(timestamps).lower())]
        if self._position.begun:
            query = [pair for pair in query if pair[0] not in ("sinceTime", "sinceSeconds", "tailLines")]
            query.append(("sinceTime", self._position.since))
        if self._source.container:
            query.insert(0, ("container", self._source.container))
        return Request(path=self._contact.path, query=query, **self._contact.settings.given)

    async def _answer(self) -> None:
        """One answer of a log that is followed; returns at its end in order."""
        overlap, lines, checked = self._position.overlap(), LineSplitter(), False
        self._no_log, first = False, True
        async with self._contact.client.stream(self._request(self._wanted)) as response:
            self._note_opening(response)
            pieces = aiter(response)
            while piece := await self._next(pieces):
                self._no_log = self._no_log or (first and piece.startswith(NO_LOG))
                first = False
                new = overlap.new(lines.feed(piece))
                if new and overlap.continuity == "broken" and not checked:
                    checked = True
                    await self._bridge()
                if new:
                    self._tell_of_resuming(lines=True)
                    await self._take(new)
        rest = lines.rest()
        self._tail = rest if rest and not self._no_log and overlap.new([rest]) else b""

    def _note_opening(self, response: StreamedResponse) -> None:
        if response.status_code == 204:
            raise ApiError(f"container {self._source} is waiting to start: its pod has no node yet", status_code=400)
        self._answers += 1
        self._tell_of_resuming(lines=False)

    async def _next(self, pieces: AsyncIterator[bytes]) -> bytes:
        """The next piece of an answer; nothing at its end."""
        piece, limit = b"", self._contact.settings.inactivity
        with anyio.move_on_after(limit) as scope:
            piece = await anext(pieces, b"")
        if scope.cancelled_caught:
            raise _Silent(f"nothing came for {limit:g} s")
        return piece

    # Between two logs -------------------------------------------------------------------------------------------------

    async def _bridge(self) -> None:
        """The last line is not in this answer: hand out what the log before it had after that line."""
        view = await self._contact.look(self._view)
        restarted = view.restarts != self._restarts
        lives = None if self._complete is None else view.restarts - self._complete
        self._restarts = view.restarts
        whole = lives == 1
        if not whole:
            found = await self._read_previous()
            whole = found == "whole" or (found == "broken" and lives == 2)
        if not whole:
            self._contact.say(
                "gap", "lines may be missing: the last one that was read is in no log that can still be asked for"
            )
        if restarted:
            self._contact.say("restarted", f"the container has been restarted; {view.restarts} times by now")

    async def _read_previous(self) -> Literal["open", "whole", "broken", "none"]:
        wanted, whole = Wanted(previous=True), False
        while True:
            overlap, lines = self._position.overlap(), LineSplitter()
            try:
                async with self._contact.client.stream(self._request(wanted)) as response:
                    pieces = aiter(response)
                    while piece := await self._next(pieces):
                        await self._take_previous(overlap, lines.feed(piece))
                    await self._take_previous(overlap, [rest] if (rest := lines.rest()) else [], whole=False)
                return "whole" if whole else overlap.continuity
            except _TROUBLE as error:
                if isinstance(error, ApiError) and error.status_code not in PASSING:
                    return "whole" if whole else "none"
                self._contact.fails()
                await self._contact.pause(error)
            whole = whole or overlap.continuity == "whole"

    async def _take_previous(self, overlap: Overlap, lines: list[bytes], *, whole: bool = True) -> None:
        if not (lines and lines[0].startswith(NO_LOG)):
            await self._take(overlap.new(lines), whole=whole)

    # Following --------------------------------------------------------------------------------------------------------

    async def follow(self) -> None:
        """Read until there will be no more.

        :raises ApiError: the server refused; or the container will not start
        :raises StreamTimeout: it has not started in time
        :raises ConnectionLost: the connection broke, and there is no pod any more to ask for the rest
        """
        while True:
            await self._started()
            seen, error = self._view, await self._attempt()
            if error is None and seen.state in ("stopped", "over", "unknown"):
                await self._finish(seen.restarts)
                if seen.state != "stopped" or not await self._begins_again(seen.restarts):
                    return
                continue
            await self._contact.pause(error)
            self._view = await self._contact.look(self._view)
            if self._view.state == "over" and isinstance(error, ApiError) and is_waiting(error):
                raise error
            if self._view.state == "gone":
                await self._end_without_pod()
                return
            self._will_resume(error)

    def _will_resume(self, error: Exception | None) -> None:
        """Have it told, once that is so: of a connection that was lost when there is another one, else when lines come."""
        if error is None and self._view.state == "running":
            self._resuming = ("the log goes on; the server had ended it", None)
        elif error is not None and self._answers and not (isinstance(error, ApiError) and is_waiting(error)):
            self._resuming = (f"the log goes on; before, {error}", error)

    def _tell_of_resuming(self, *, lines: bool) -> None:
        if self._resuming is not None:
            message, error = self._resuming
            if lines or not (error is None or isinstance(error, _Silent)):
                self._resuming = None
                self._contact.say("resumed", message, error)

    async def _attempt(self) -> Exception | None:
        """One answer; how it failed, where that will pass."""
        self._progress = False
        try:
            await self._answer()
        except _Silent as error:
            self._broken = error
            return error
        except _TROUBLE as error:
            self._check_passing(error)
            if not isinstance(error, NotFound):
                self._broken = error
            self._contact.fails()
            return error
        self._broken = None
        if not self._progress and self._answers > 1:
            self._contact.fails()
        return None

    def _check_passing(self, error: Exception) -> None:
        """Raise what will not pass; at the beginning, also what may."""
        if isinstance(error, ApiError):
            passing = error.status_code in PASSING or is_waiting(error)
            if not passing and not (isinstance(error, NotFound) and self._answers):
                raise error
        elif not self._answers and not isinstance(error, ConnectionLost):
            raise error

    async def _end_without_pod(self) -> None:
        broken = self._broken
        if broken is not None:
            raise ConnectionLost(
                f"the log of {self._source} may be cut: its pod is gone, and before, {broken}"
            ) from broken
        await self._finish(self._restarts)

    async def _finish(self, restarts: int) -> None:
        """Everything of this life has come."""
        tail, self._tail, self._complete = self._tail, b"", restarts
        if self._no_log:
            self._contact.say("gap", "lines may be missing: the node has no log of this container any more")
        if tail:
            await self._take([tail], whole=False)
        self._wanted = replace(self._wanted, since=None, tail=None)  # of the next life everything is wanted

    async def _started(self) -> None:
        """Wait until the container has been started once."""
        if self._view.state != "waiting":
            return
        why: str | None = None
        limit = self._contact.settings.start_timeout
        with anyio.move_on_after(limit):
            while self._view.state == "waiting":
                if self._view.why != why:
                    why = self._view.why
                    self._contact.say("waiting", f"the container has not started: {why or 'no reason is given'}")
                await anyio.sleep(_LOOK)
                self._view = await self._contact.look(self._view)
        if self._view.state == "waiting":
            raise StreamTimeout(f"{self._source} has not started within {limit:g} s: {why or 'no reason is given'}")
        if self._view.state in ("over", "gone") and not self._view.started:
            why = self._view.why or ("its pod is gone" if self._view.state == "gone" else "its pod has ended")
            raise ApiError(f"{self._source} has not started, and will not: {why}", status_code=409)

    async def _begins_again(self, restarts: int) -> bool:
        """Wait until the container runs again; whether it does."""
        while True:
            self._view = await self._contact.look(self._view)
            if self._view.restarts > restarts and self._view.state != "waiting":
                return True
            if self._view.state in ("over", "gone", "unknown"):
                return False
            await anyio.sleep(_LOOK)
