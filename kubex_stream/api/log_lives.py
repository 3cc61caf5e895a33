"""The lives of a container: each restart begins another log, and only the one before it can still be asked for.

Rules of this file:
- What a life wrote last is taken before the first line of the next one; as soon as that one is seen, for it may write nothing, and then the
  log of the one before is thrown away with the next restart.
- ``previous`` is the life before the one that runs; while none runs, it may be the very life whose log is asked for.
- What may have been missed is told, always; what has been proven whole is not.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from kubex_stream.api.log_contact import PASSING, REFUSALS
from kubex_stream.api.log_cursor import TROUBLE, LogCursor
from kubex_stream.core.lines import LineSplitter
from kubex_stream.errors import ApiError
from kubex_stream.logs.lines import NO_LOG
from kubex_stream.logs.position import Overlap
from kubex_stream.logs.status import ContainerView

__all__ = ("LogLives",)

#: What a previous log held: nothing new; the last line, and what was behind it; all of another life; not to be had; parts of several lives.
_Found = Literal["open", "whole", "broken", "none", "torn"]


class LogLives:
    """Crosses from one life to the next.

    :param view: the container as it was seen when its log was found
    """

    def __init__(self, cursor: LogCursor, view: ContainerView) -> None:
        self._cursor = cursor
        self._reading = view.restarts
        #: The life that was taken to its end, as long as nothing of a later one has been taken.
        self._complete: int | None = None
        self._tried: int | None = None

    def entered(self) -> None:
        """A line of the life that is read was taken."""
        self._complete = None

    def finished(self, life: int, *, proven: bool) -> None:
        """There will be no more of this life.

        :param proven: whether its log was seen to go on from the last line
        """
        if proven or self._complete == life - 1:
            self._complete = life

    async def notice(self, view: ContainerView) -> None:
        """The container was seen: where it has begun anew, take the rest of what came before.

        :raises Exception: what asking for it failed with for too long
        """
        if self._reading < view.restarts != self._tried:
            self._tried = view.restarts
            await self._cross(view, broken=False)

    async def bridge(self, view: ContainerView) -> bool:
        """The last line is not in an answer: take what comes between.  Raises as :meth:`notice`.

        :returns: whether that may be what is in the answer, so that another one is to be asked for
        """
        return await self._cross(view, broken=True)

    async def _cross(self, view: ContainerView, *, broken: bool) -> bool:
        before, begun = self._cursor.taken, self._cursor.position.begun
        lives = None if self._complete is None else view.restarts - self._complete
        found: _Found = "whole" if lives == 1 else await self._read_previous()
        gap = await self._is_gap(view, lives, found, begun)
        if gap and not broken and begun and found in ("open", "none"):
            return False  # the next line will tell
        if gap:
            self._cursor.contact.say(
                "gap", "lines may be missing: the last one that was read is in no log that can still be asked for"
            )
        if view.restarts > self._reading or (found == "whole" and lives is None):
            self._reading = max(view.restarts, self._reading + 1)  # a pod's status comes later than its log
            self._complete = self._reading - 1
            self._cursor.contact.say("restarted", f"the container has been restarted; {self._reading} times by now")
        return found in ("broken", "torn") and self._cursor.taken != before

    async def _is_gap(self, view: ContainerView, lives: int | None, found: _Found, begun: bool) -> bool:
        if begun and found == "whole":
            return False
        one_between = lives == 2 if begun else view.restarts == self._reading + 1
        if not one_between or found in ("none", "torn") or view.state != "running":
            return True
        # That one is whose log this was, unless it has become another one's meanwhile.
        return (await self._cursor.contact.look(view)).restarts != view.restarts

    async def _read_previous(self) -> _Found:
        """Take what is new in the previous log, in as many attempts as that takes; between two, it may become another life's."""
        cursor, before = self._cursor, self._cursor.taken
        wanted = replace(cursor.wanted, follow=False, previous=True)
        first: _Found | None = None
        while True:
            overlap, lines, taken = cursor.position.overlap(), LineSplitter(), cursor.taken
            try:
                async with cursor.ask(wanted) as pieces:
                    while piece := await cursor.next(pieces):
                        await self._take(overlap, lines.feed(piece))
                    await self._take(overlap, [rest] if (rest := lines.rest()) else [], whole=False)
                return _verdict(first, overlap.continuity)
            except TROUBLE as error:
                if isinstance(error, ApiError) and error.status_code not in (*PASSING, *REFUSALS):
                    return "none" if cursor.taken == before else "torn"
                cursor.contact.fails()
                await cursor.contact.pause(error)
            if cursor.taken != taken:
                first = _verdict(first, overlap.continuity)

    async def _take(self, overlap: Overlap, lines: list[bytes], *, whole: bool = True) -> None:
        if not (lines and lines[0].startswith(NO_LOG)):
            await self._cursor.take(overlap.new(lines), whole=whole)


def _verdict(first: _Found | None, last: _Found) -> _Found:
    """Of attempts of which the first that brought something found ``first``: all others have to go on from its last line."""
    return last if first is None else first if last == "whole" else "torn"
