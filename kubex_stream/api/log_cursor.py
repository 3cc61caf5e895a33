"""One container's log, asked for as often as that is needed: what has been taken of it, and where another answer begins.

Rules of this file:
- Whatever is followed is asked for with the times of its lines, since only they say where to go on.
- Lines are handed on in the order of the log; the position is known before they are, so that being cancelled there repeats nothing.
- Time counts only while we wait for the server, not while the one who reads is slow.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final, Protocol

import anyio

from kubex_stream.api.log_contact import LogContact, is_waiting
from kubex_stream.client.request import Request
from kubex_stream.core.lines import LineSplitter
from kubex_stream.errors import ApiError, ConnectionFailed, ConnectionLost, NotFound, StreamTimeout
from kubex_stream.logs.line import LogSource
from kubex_stream.logs.lines import NO_LOG
from kubex_stream.logs.position import LogPosition
from kubex_stream.logs.wanted import Wanted

__all__ = ("TROUBLE", "Hand", "LogCursor", "Silent")

#: What an answer may fail with that does not mean that the next one will.
TROUBLE: Final = (ConnectionFailed, ConnectionLost, StreamTimeout, ApiError)


class Silent(StreamTimeout):
    """Nothing came for too long."""


class Hand(Protocol):
    """Takes what has been read, and waits while there is no room for it."""

    async def __call__(self, source: LogSource, lines: list[bytes], *, whole: bool = True) -> None:
        """Take lines, with their times.

        :param whole: whether the last one has its end
        """


class LogCursor:
    """Reads one container's log.

    :param contact: asks the server about the container
    :param hand: takes the lines
    :ivar wanted: what to ask for, until a line has come
    :ivar taken: how many times lines were taken
    """

    def __init__(self, contact: LogContact, wanted: Wanted, hand: Hand) -> None:
        self.contact = contact
        self.source = contact.source
        self.wanted = wanted
        self.position = LogPosition()
        self.taken = 0
        self._hand = hand
        self._asked: float | None = None

    # Answers ----------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def ask(self, wanted: Wanted, *, timestamps: bool = True) -> AsyncGenerator[AsyncIterator[bytes], None]:
        """An answer, for :meth:`next`; of what is wanted, or where lines have been taken, from there on."""
        async with self.contact.client.stream(self._request(wanted, timestamps=timestamps)) as response:
            if response.status_code == 204:
                raise ApiError(f"container {self.source} is waiting to start: its pod has no node yet", status_code=400)
            yield aiter(response)

    def _request(self, wanted: Wanted, *, timestamps: bool) -> Request:
        now = anyio.current_time()
        self._asked = now if self._asked is None else self._asked
        query = [*wanted.query(now - self._asked), ("timestamps", str(timestamps).lower())]
        if self.position.begun:
            query = [pair for pair in query if pair[0] not in ("sinceTime", "sinceSeconds", "tailLines")]
            query.append(("sinceTime", self.position.since))
        if self.source.container:
            query.insert(0, ("container", self.source.container))
        return Request(path=self.contact.path, query=query, **self.contact.settings.given)

    async def next(self, pieces: AsyncIterator[bytes]) -> bytes:
        """The next piece of an answer; nothing at its end.

        :raises Silent: none came for too long
        """
        piece, limit = b"", self.contact.settings.inactivity
        with anyio.move_on_after(limit) as scope:
            piece = await anext(pieces, b"")
        if scope.cancelled_caught:
            raise Silent(f"nothing came for {limit:g} s")
        return piece

    async def take(self, lines: list[bytes], *, whole: bool = True) -> None:
        """Hand lines on.

        :param whole: whether the last one has its end
        :raises NotFound: it is no log that came, but word that there is none
        """
        if not lines:
            return
        if not self.position.begun and lines[0].startswith(NO_LOG):
            raise NotFound(f"the node has no log of {self.source} any more", status_code=404)
        self.position.advance(lines)
        self.taken += 1
        self.contact.works()
        await self._hand(self.source, lines, whole=whole)

    # What needs one answer only ---------------------------------------------------------------------------------------

    async def read(self) -> None:
        """Read what is there, without following.

        :raises ApiError: the server refused, or there is no log
        :raises ConnectionLost: it broke; what had come was handed out before
        :raises StreamTimeout: it was silent for too long
        """
        async with self.ask(self.wanted) as pieces:
            lines = LineSplitter()
            while piece := await self.next(pieces):
                await self.take(lines.feed(piece))
            if rest := lines.rest():
                await self.take([rest], whole=False)

    async def copy(self, *, timestamps: bool) -> None:
        """Read what is there, as it is and without looking at it; otherwise as :meth:`read`.

        :param timestamps: whether every line has its time
        """
        async with self.ask(self.wanted, timestamps=timestamps) as pieces:
            while piece := await self.next(pieces):
                await self._hand(self.source, [piece], whole=False)

    async def mark(self) -> None:
        """Begin here and now: find the last line that is not wanted, since only a line says where to go on after a cut.

        :raises ApiError: the server refused
        :raises ConnectionLost: the connection broke
        """
        lines, found = LineSplitter(), list[bytes]()
        try:
            async with self.ask(Wanted(tail=1)) as pieces:
                while piece := await self.next(pieces):
                    found += lines.feed(piece)
        except ApiError as error:
            if not is_waiting(error):
                raise
        self.wanted = replace(self.wanted, tail=None)
        found += [rest] if (rest := lines.rest()) else []
        if found and not found[-1].startswith(NO_LOG):
            self.position.advance(found[-1:])
