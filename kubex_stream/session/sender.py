"""The sending half of a session.

Rules of this file:
- One message is on its way at a time.  Those of a large send leave room between them for others, as a resize; the CLOSE of stdin waits for
  all of what was sent before it.
- How the process ended is for the reading half to say: a send that fails says only that no more input is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import anyio
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from kubex_stream.client.websocket import WebSocketConnection
from kubex_stream.errors import ConnectionLost, StdinBroken
from kubex_stream.statistics import SessionStatistics

__all__ = ("Sender",)

#: What may be sent before other tasks have their turn, in bytes; each message counts as so many more.
_TURN: Final = 256 * 1024
_MESSAGE: Final = 4 * 1024


class Sender:
    """Sends the messages of one session.

    :param ended: whether the session has ended
    :param arrived: how many messages have come
    :param statistics: of the session, for errors
    :param sent: is told the channel and payload size of each message
    """

    def __init__(
        self,
        connection: WebSocketConnection,
        *,
        chunk_size: int,
        ended: Callable[[], bool],
        arrived: Callable[[], int],
        statistics: Callable[[], SessionStatistics],
        sent: Callable[[int, int], None] | None,
    ) -> None:
        #: Bytes of stdin, and messages of any kind, that the connection has taken.
        self.bytes_out = self.frames_out = 0
        self._connection = connection
        self._chunk_size = chunk_size
        self._ended = ended
        self._arrived = arrived
        self._seen = 0  # messages that had come at the last turn
        self._since_turn = 0
        self._statistics = statistics
        self._sent = sent
        self._whole = anyio.Lock(fast_acquire=True)  # for all messages of one send
        self._single = anyio.Lock(fast_acquire=True)  # for one of them

    @property
    def busy(self) -> bool:
        """Whether a send is under way."""
        return self._whole.locked() or self._single.locked()

    async def send(self, channel: int, data: bytes | bytearray | memoryview) -> None:
        """Send bytes on one channel, in messages of the chunk size.

        A cancelled call may have sent the first of them.

        :raises StdinBroken: the session has ended, or its connection is gone
        """
        whole = data if type(data) is bytes else memoryview(data).cast("B")
        prefix = bytes((channel,))
        if len(whole) <= self._chunk_size and not self._whole.locked():
            await self.send_message(b"".join((prefix, whole)))
            self.bytes_out += len(whole)
            return
        view = memoryview(whole)
        async with self._whole:
            for start in range(0, len(view), self._chunk_size):
                chunk = view[start : start + self._chunk_size]
                await self.send_message(b"".join((prefix, chunk)))
                self.bytes_out += len(chunk)

    async def send_last(self, message: bytes) -> None:
        """Send one message behind everything that is being sent.  Raises as :meth:`send`."""
        async with self._whole:
            await self.send_message(message)

    async def send_message(self, message: bytes) -> None:
        """Send one message as it is, in between those of a send that is under way.  Raises as :meth:`send`."""
        await (checkpoint() if self._turn_due(len(message)) else checkpoint_if_cancelled())
        try:
            self._single.acquire_nowait()  # the usual case; that was a checkpoint
        except anyio.WouldBlock:
            await self._single.acquire()
        try:
            if self._ended():
                raise self._broken("the session has ended")
            await self._connection.send_bytes(message)
        except ConnectionLost as error:
            raise self._broken(str(error)) from error
        finally:
            self._single.release()
        self.frames_out += 1
        if self._sent is not None:
            self._sent(message[0], len(message) - 1)

    def _turn_due(self, size: int) -> bool:
        """Whether other tasks run first.

        What has arrived is taken in before anything is sent, as a Status, where the transport does not see to it by itself; and a flood of
        sends must not starve anybody.  Where something has come since the last turn, as in question and answer, both is done already.
        """
        arrived = self._arrived()
        if arrived != self._seen:
            self._seen, self._since_turn = arrived, size + _MESSAGE
            return False
        self._since_turn += size + _MESSAGE
        if self._since_turn <= _TURN and self._connection.reads_first:
            return False
        self._since_turn = 0
        return True

    def _broken(self, why: str) -> StdinBroken:
        return StdinBroken(f"the process takes no more input: {why}", statistics=self._statistics())
