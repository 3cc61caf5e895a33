"""Following one container's log to its end, in as many answers as that takes.

Rules of this file:
- How an answer ends says little: a server that shuts down ends it in order, as the end of the container does, and a container may begin again.
  So the pod is asked.  A log is complete when an answer has ended in order that was opened after the container had been seen ended.
- Every further answer begins where the lines overlap (:mod:`kubex_stream.logs.position`).  Where they do not, the log is another one
  (:mod:`kubex_stream.api.log_lives`).
- A line that its answer does not end is kept back: the next answer has it whole.  Only of a complete log it is the last line.
- Silence is not told apart from a dead connection but ended: after the limit the log is asked for again, which costs a request and changes
  nothing for a container that is merely quiet.
- Only what does not answer fails.  A container that is quiet for hours behind connections that are cut every minute does not.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import anyio

from kubex_stream.api.log_contact import PASSING, REFUSALS, is_waiting, look_again
from kubex_stream.api.log_cursor import TROUBLE, LogCursor, Silent
from kubex_stream.api.log_lives import LogLives
from kubex_stream.core.lines import LineSplitter
from kubex_stream.errors import ApiError, ConnectionLost, NotFound, StreamTimeout
from kubex_stream.logs.lines import NO_LOG
from kubex_stream.logs.status import ContainerView

__all__ = ("LogReader",)

#: Seconds that an answer has to stay open for the server to count as one that answers.
_STEADY: Final = 1.0


class _AskAgain(Exception):
    """What is in this answer may have been taken from another one."""


class LogReader:
    """Follows a log once.

    :param view: the container as it was seen last
    """

    def __init__(self, cursor: LogCursor, view: ContainerView) -> None:
        self._cursor = cursor
        self._contact = cursor.contact
        self._source = cursor.source
        self._view = view
        self._lives = LogLives(cursor, view)
        self._tail = b""
        self._answers = 0
        #: Of the last answer: when it was opened; whether anything came; whether it was no log; whether it went on from the last line.
        self._opened: float | None = None
        self._came = self._no_log = self._proven = False
        #: How the last answer ended, where that was not in order.
        self._broken: Exception | None = None
        self._resuming: tuple[str, Exception | None] | None = None

    async def follow(self) -> None:
        """Read until there will be no more.

        :raises ApiError: the server refused; or the container will not start
        :raises StreamTimeout: it has not started in time
        :raises ConnectionLost: the connection broke, and there is no pod any more to ask for the rest
        """
        while True:
            await self._started()
            await self._lives.notice(self._view)
            seen, error = self._view, await self._attempt()
            if error is None and seen.state in ("stopped", "over", "unknown"):
                await self._finish(seen.restarts)
                if seen.state != "stopped" or not await self._begins_again(seen.restarts):
                    return
                continue
            await self._contact.pause(error, ... if self._answers else self._contact.settings.start_timeout)
            self._view = await self._contact.look(self._view)
            if self._view.state == "over" and isinstance(error, ApiError) and is_waiting(error):
                raise error
            if self._view.state == "gone" or (self._view.state == "unknown" and isinstance(error, NotFound)):
                await self._end_without_pod()
                return
            self._will_resume(error)

    # One answer -------------------------------------------------------------------------------------------------------

    async def _attempt(self) -> Exception | None:
        """One answer; how it failed, where that will pass."""
        while True:
            taken, self._opened, self._came = self._cursor.taken, None, False
            try:
                await self._answer()
                self._broken = None
                if self._cursor.taken == taken and self._answers > 1:
                    self._unproductive()
                return None
            except _AskAgain:
                continue
            except TROUBLE as error:
                self._check_passing(error)
                if not isinstance(error, NotFound):
                    self._broken = error
                if isinstance(error, Silent):
                    self._contact.works()
                    self._had_nothing()
                else:
                    self._unproductive()
                return error

    async def _answer(self) -> None:
        """One answer; returns at its end in order."""
        cursor = self._cursor
        overlap, lines = cursor.position.overlap(), LineSplitter()
        self._no_log, bridged = False, False
        async with cursor.ask(cursor.wanted) as pieces:
            self._note_opening()
            while piece := await cursor.next(pieces):
                self._no_log = self._no_log or (not self._came and piece.startswith(NO_LOG))
                self._came = True
                new = overlap.new(lines.feed(piece))
                if not new:
                    continue
                if overlap.continuity == "broken" and not bridged:
                    bridged = True
                    await self._bridge()
                self._tell_of_resuming(lines=True)
                self._lives.entered()
                await cursor.take(new)
        rest = lines.rest()
        self._tail = rest if rest and not self._no_log and overlap.new([rest]) else b""
        if self._tail and overlap.continuity == "broken" and not bridged:
            await self._bridge()
        self._proven = overlap.continuity != "open"

    async def _bridge(self) -> None:
        view = await self._contact.look(self._view)
        if view.state == "gone" and view.why:
            raise NotFound(f"the log of {self._source} has ended: {view.why}", status_code=404)
        if await self._lives.bridge(view):
            raise _AskAgain

    def _unproductive(self) -> None:
        """An answer brought nothing: the next one is asked for later, unless this one was open for some time."""
        if self._opened is not None and anyio.current_time() - self._opened >= _STEADY:
            self._contact.works()
            self._had_nothing()
        self._contact.fails()

    def _had_nothing(self) -> None:
        """An answer that was open for some time without a byte had none to give: what comes from now on is wanted, not its end."""
        if not self._came and not self._cursor.position.begun:
            self._cursor.wanted = replace(self._cursor.wanted, tail=None)

    def _check_passing(self, error: Exception) -> None:
        """Raise what will not pass; at the beginning, also what may."""
        if isinstance(error, ApiError):
            passing = error.status_code in PASSING or is_waiting(error)
            passing = passing or (bool(self._answers) and error.status_code in (404, *REFUSALS))
            if not passing:
                raise error
        elif not self._answers and not isinstance(error, ConnectionLost):
            raise error

    # What is told -----------------------------------------------------------------------------------------------------

    def _note_opening(self) -> None:
        self._answers += 1
        self._opened = anyio.current_time()
        self._tell_of_resuming(lines=False)

    def _will_resume(self, error: Exception | None) -> None:
        """Have it told, once that is so: of a connection that was lost when there is another one, else when lines come."""
        if error is None and self._view.state == "running":
            self._resuming = ("the log goes on; the server had ended it", None)
        elif error is not None and self._answers and not (isinstance(error, ApiError) and is_waiting(error)):
            self._resuming = (f"the log goes on; before, {error}", error)

    def _tell_of_resuming(self, *, lines: bool) -> None:
        if self._resuming is not None:
            message, error = self._resuming
            if lines or not (error is None or isinstance(error, Silent)):
                self._resuming = None
                self._contact.say("resumed", message, error)

    # Beginnings and ends ----------------------------------------------------------------------------------------------

    async def _started(self) -> None:
        """Wait until the container has been started once."""
        if self._view.state != "waiting":
            return
        why: str | None = None
        limit, begun = self._contact.settings.start_timeout, anyio.current_time()
        with anyio.move_on_after(limit):
            while self._view.state == "waiting":
                if self._view.why != why:
                    why = self._view.why
                    self._contact.say("waiting", f"the container has not started: {why or 'no reason is given'}")
                await look_again(begun)
                self._view = await self._contact.look(self._view)
        if self._view.state == "waiting":
            raise StreamTimeout(f"{self._source} has not started within {limit:g} s: {why or 'no reason is given'}")
        if self._view.state in ("over", "gone") and not self._view.started:
            why = self._view.why or ("its pod is gone" if self._view.state == "gone" else "its pod has ended")
            raise ApiError(f"{self._source} has not started, and will not: {why}", status_code=409)

    async def _begins_again(self, restarts: int) -> bool:
        """Wait until the container runs again; whether it does."""
        begun = anyio.current_time()
        while True:
            self._view = await self._contact.look(self._view)
            if self._view.restarts > restarts and self._view.state != "waiting":
                return True
            if self._view.state in ("over", "gone", "unknown"):
                return False
            await look_again(begun)

    async def _end_without_pod(self) -> None:
        broken = self._broken
        if broken is not None:
            raise ConnectionLost(
                f"the log of {self._source} may be cut: its pod is gone, and before, {broken}"
            ) from broken
        await self._finish(self._view.restarts)

    async def _finish(self, life: int) -> None:
        """Everything of this life has come."""
        tail, self._tail = self._tail, b""
        if self._no_log:
            self._contact.say("gap", "lines may be missing: the node has no log of this container any more")
        if tail:
            self._lives.entered()
            await self._cursor.take([tail], whole=False)
        self._lives.finished(life, proven=self._proven or self._no_log)
        # Of the next life everything is wanted.
        self._cursor.wanted = replace(self._cursor.wanted, since=None, tail=None)
