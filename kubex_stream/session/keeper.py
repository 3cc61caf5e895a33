"""The one task of a session: it pings, it notices a connection that died, and it reads for a consumer that stalls.

Rules of this file:
- Liveness and back-pressure are separate.  The deadline runs only while somebody really waits to read and a ping is unanswered; any byte
  is life; and stdin that the server may still be busy with suspends it, since a server that waits for its process to read answers
  nothing (k8s.io/apimachinery wsstream/conn.go writes stdin into an unbuffered pipe).
- A ping goes out only after an interval in which somebody waited to read and nothing came.  Where bytes flow they are the sign of life.
  Where bytes wait for a stalled consumer a ping does harm: a runtime that has finished has closed its socket, answers the ping with a
  TCP reset, and the reset throws away the output that is still on its way (measured on 1.36 with containerd, v4, 16 MiB, 20 s).
- On v5 the socket is never left unread for 3 s: there the server itself pings the runtime every 5 s, to the same effect.  So twice a second
  the keeper looks whether the socket rests, and then reads ahead, into memory and from there into a spool file.
- On other protocols it reads ahead too, so that control frames are answered, but only as far as memory goes.
"""

from __future__ import annotations

import logging
import time
from typing import Final

import anyio

from kubex_stream.errors import ConnectionLost
from kubex_stream.session.ending import Ending
from kubex_stream.session.multiplexer import ChannelSession

__all__ = ("Keeper",)

#: Seconds between two looks.
TICK: Final = 1.0
#: The same on v5, where two of them and the reading itself have to stay well below 3 s, on a busy machine too.
TICK_V5: Final = 0.5
#: Bytes a consumer takes in a tick when it clearly empties every buffer between it and the socket.
BUSY: Final = 1024 * 1024

_logger = logging.getLogger("kubex_stream")


class Keeper:
    """Keeps one session alive, and its socket read, until it ends or the task is cancelled."""

    def __init__(self, session: ChannelSession) -> None:
        self._session = session
        self._interval = session.options.heartbeat
        self._quiet = 0.0  # seconds in which somebody waited to read and nothing came, since the last arrival or ping
        self._pinged: float | None = None  # when the ping was sent that has not been answered
        self._sent_before_ping = 0
        self._confirmed = 0  # bytes of stdin that the server had taken when it answered
        self._signs = self._signs_of_life()
        self._silence = 0.0
        self._looked = time.monotonic()
        self._wait = 0.0  # seconds that the wait for the next look was to take
        self._warned = False

    async def run(self) -> None:
        """Until the session has ended."""
        session = self._session
        while not session.ended:
            taken, waited = session.bytes_in, session.reading
            self._wait = self._tick()
            with anyio.move_on_after(self._wait):
                await session.poked.wait()
            waited = waited and session.reading
            if self._rests(taken, self._was_poked()):
                waited = await self._read_ahead()
            await self._look(waited)
        if session.input.busy:
            await session.connection.abort()  # nobody takes what is being sent, and some transports would wait for that

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
        tick = TICK_V5 if self._session.protocol.half_close else TICK
        return tick if self._interval is None else max(0.01, min(tick, self._interval - self._quiet))

    # Reading for those who do not -------------------------------------------------------------------------------------

    async def _read_ahead(self) -> bool:
        """Read as far as there is room and until a consumer can do it; whether there was anything to wait for at all."""
        session = self._session
        limit = None if self._interval is None else max(0.01, self._interval - self._quiet)
        self._wait += limit or 0.0
        read = False
        with anyio.move_on_after(limit):
            while not session.ended and not session.reading and not session.contended and self._room():
                read = True
                await session.read_ahead()
        return read and self._room()

    def _room(self) -> bool:
        session = self._session
        buffer = max(session.outputs.values(), key=lambda output: output.size, default=None)
        if buffer is None or not buffer.full:
            return True
        if not session.protocol.half_close:
            return False
        error = next((each.spool_error for each in session.outputs.values() if each.full and each.spool_error), None)
        if error is None and buffer.size < session.options.spool_limit:
            return True
        if not self._warned:
            self._warned = True
            _logger.warning(
                "%s: %d bytes of %s are waiting for their consumer, %s; the stream is paused now, and the server may lose output if the "
                "process ends before it is read on",
                session.path, buffer.size, buffer.name,
                "more than spool_limit" if error is None else f"and no temporary file takes them ({error})",
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
            self._signs, self._silence, self._quiet = signs, 0.0, 0.0
            session.seen_alive()
            self._note_pong()
        elif not waited:
            self._quiet = 0.0
        else:
            self._quiet += elapsed
            if self._pinged is not None and self._pongs_show() and not self._stdin_outstanding():
                # Not more than was to be waited: a process that was stopped, or an event loop that was busy, was not listening.
                self._silence += min(elapsed, self._wait)
        if self._interval is None or session.ended:
            return
        deadline = session.options.heartbeat_timeout
        if deadline is not None and self._silence > deadline:
            await self._give_up()
        elif self._quiet >= self._interval:
            self._quiet = 0.0
            await self._ping()

    def _pongs_show(self) -> bool:
        """Whether an answer to a ping would be seen at all; if not, silence means nothing."""
        connection = self._session.connection
        return connection.last_activity is not None or connection.last_pong is not None

    def _note_pong(self) -> None:
        pong = self._session.connection.last_pong
        if pong is not None and self._pinged is not None and pong >= self._pinged:
            self._session.rtt = pong - self._pinged
            self._confirmed = self._sent_before_ping
            self._pinged = None

    def _stdin_outstanding(self) -> bool:
        return self._session.input.busy or self._session.input.bytes_out > self._confirmed

    async def _ping(self) -> None:
        session = self._session
        if session.input.busy:
            return
        before = session.input.bytes_out
        try:
            await session.connection.ping()
        except NotImplementedError:
            self._interval = None
            return
        except Exception:  # noqa: BLE001  # of whatever library a transport is made
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
