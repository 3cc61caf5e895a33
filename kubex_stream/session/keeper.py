"""The one task of a session: it pings, it notices a connection that died, and it reads for a consumer that stalls.

Rules of this file:
- Liveness and back-pressure are separate.  Pings go out on time whatever the consumer does; the deadline runs only while somebody really
  waits to read and a ping is unanswered; any byte is life; and stdin that the server may still be busy with suspends it, since a server
  that waits for its process to read answers nothing (k8s.io/apimachinery wsstream/conn.go writes stdin into an unbuffered pipe).
- On v5 the socket is never left unread for 3 s: a server that has finished loses what is undelivered when its reader stalls for 5 s.  So
  once a second the keeper looks whether the socket rests, and then reads ahead, into memory and from there into a spool file.
- On other protocols it reads ahead too, so that control frames are answered, but only as far as memory goes.
"""

from __future__ import annotations

import logging
import time
from typing import Final

import anyio

from kubex_stream.errors import ConnectionLost, KubexClientException
from kubex_stream.session.multiplexer import ChannelSession, Ending

__all__ = ("Keeper",)

#: Seconds between two looks.  Two of them and the reading itself have to stay below 3 s.
TICK: Final = 1.0
#: Bytes a consumer takes in a tick when it clearly empties every buffer between it and the socket.
BUSY: Final = 1024 * 1024

_logger = logging.getLogger("kubex_stream")


class Keeper:
    """Keeps one session alive, and its socket read, until it ends or the task is cancelled."""

    def __init__(self, session: ChannelSession) -> None:
        self._session = session
        self._interval = session.options.heartbeat
        now = time.monotonic()
        self._next_ping = now + (self._interval or 0.0)
        self._pinged: float | None = None  # when the ping was sent that has not been answered
        self._sent_before_ping = 0
        self._confirmed = 0  # bytes of stdin that the server had taken when it answered
        self._signs = self._signs_of_life()
        self._silence = 0.0
        self._looked = now
        self._warned = False

    async def run(self) -> None:
        """Until the session has ended."""
        session = self._session
        while not session.ended:
            taken, waited = session.bytes_in, session.reading
            with anyio.move_on_after(self._tick()):
                await session.poked.wait()
            waited = waited and session.reading
            if self._rests(taken, self._was_poked()):
                await self._read_ahead()
                waited = True
            await self._look(waited)

    def _rests(self, taken: int, poked: bool) -> bool:
        """Whether nobody is reading, and nobody has lately or somebody asked for it."""
        session = self._session
        return not (session.reading or session.ended) and (poked or session.bytes_in - taken < BUSY)

    def _was_poked(self) -> bool:
        poked = self._session.poked.is_set()
        if poked:
            self._session.poked = anyio.Event()
        return poked

    def _tick(self) -> float:
        if self._interval is None:
            return TICK
        return max(0.01, min(TICK, self._next_ping - time.monotonic()))

    # Reading for those who do not -------------------------------------------------------------------------------------

    async def _read_ahead(self) -> None:
        session = self._session
        limit = None if self._interval is None else max(0.01, self._next_ping - time.monotonic())
        with anyio.move_on_after(limit):
            while not session.ended and not session.reading and not session.contended and self._room():
                await session.read_ahead()

    def _room(self) -> bool:
        session = self._session
        buffer = session.fullest()
        if buffer is None or not buffer.full:
            return True
        if not session.protocol.half_close:
            return False
        if buffer.size < session.options.spool_limit:
            return True
        if not self._warned:
            self._warned = True
            _logger.warning(
                "%s: %d bytes of %s are waiting for their consumer, more than spool_limit; the stream is paused now, and the server "
                "may lose output if the process ends before it is read on",
                session.path, buffer.size, buffer.name,
            )  # fmt: skip
        return False

    # Keep-alive -------------------------------------------------------------------------------------------------------

    def _signs_of_life(self) -> tuple[object, ...]:
        connection = self._session.connection
        return (self._session.frames_in, connection.last_activity, connection.last_pong)

    async def _look(self, waited: bool) -> None:
        session, now = self._session, time.monotonic()
        elapsed, self._looked = now - self._looked, now
        signs = self._signs_of_life()
        if signs != self._signs:
            self._signs, self._silence = signs, 0.0
            session.seen_alive()
            self._note_pong()
        elif waited and self._pinged is not None and not self._stdin_outstanding():
            self._silence += elapsed
        if self._interval is None or session.ended:
            return
        deadline = session.options.heartbeat_timeout
        if deadline is not None and self._silence > deadline:
            await self._give_up()
        elif now >= self._next_ping:
            self._next_ping = now + self._interval
            await self._ping()

    def _note_pong(self) -> None:
        pong = self._session.connection.last_pong
        if pong is not None and self._pinged is not None and pong >= self._pinged:
            self._session.rtt = pong - self._pinged
            self._confirmed = self._sent_before_ping
            self._pinged = None

    def _stdin_outstanding(self) -> bool:
        return self._session.sending or self._session.bytes_out > self._confirmed

    async def _ping(self) -> None:
        session = self._session
        if session.sending:
            return
        before = session.bytes_out
        try:
            await session.connection.ping()
        except NotImplementedError:
            self._interval = None
            return
        except KubexClientException:
            return  # the reader will find out, after what is still there to be read
        if self._pinged is None:
            self._pinged, self._sent_before_ping = time.monotonic(), before

    async def _give_up(self) -> None:
        session = self._session
        error = ConnectionLost(
            f"no sign of life from the server for {self._silence:.0f} s: pings were not answered",
            statistics=session.statistics,
        )
        session.end(Ending(error=error))
        await session.connection.abort()
