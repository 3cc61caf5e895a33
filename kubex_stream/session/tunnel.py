"""One WebSocket that carries SPDY, and the forwarded connections inside of it.

Rules of this file:
- Exactly one task reads the WebSocket at a time, and it is one that waits for its own connection's bytes: no pump task and no queue stands
  between the socket and a consumer who has the tunnel for himself.  What it reads for others goes into their buffers; when it leaves, a
  waiting one takes over, and is woken alone.
- A connection that has the tunnel for itself and does not read stops the reading; that is its back-pressure.  In a shared tunnel it must not
  stop the others, so what it does not take goes to memory, then to a spool file, and only beyond ``spool_limit`` does the tunnel wait for it.
- A SYN_STREAM of which it is not known whether it was sent makes the tunnel unfit for new connections, as their header blocks could not be
  read any more; it does no harm to those it has.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import anyio
from anyio.lowlevel import checkpoint

from kubex_stream.client.observer import Observer
from kubex_stream.client.options import ClientOptions
from kubex_stream.client.websocket import WebSocketConnection
from kubex_stream.errors import ConnectionLost, KubexClientException
from kubex_stream.protocol import spdy_connection as events
from kubex_stream.protocol.portforward import pair_headers
from kubex_stream.protocol.spdy_connection import SpdyConnection
from kubex_stream.protocol.spdy_headers import SpdyError
from kubex_stream.session.conduit import EndOfInput, SpoiledTunnelError
from kubex_stream.session.frame_sender import FrameSender
from kubex_stream.session.interruptible import InterruptibleReceiver
from kubex_stream.session.leaving import let_go
from kubex_stream.session.pair import Pair
from kubex_stream.session.ping import PingLog
from kubex_stream.session.pressure import Pressure
from kubex_stream.session.turns import Turns

__all__ = ("Tunnel",)

#: Bytes that are read at once for those who are not waiting.
_AHEAD: Final = 64 * 1024
#: Seconds that a server which is not stuck takes for a frame or a ping, and more.
CONGESTED: Final = 0.5


class Tunnel:
    """One tunnel, and the only user of its WebSocket.

    :param path: of the request, for the observer
    :param released: called when one of its connections is gone, and when it has ended
    """

    def __init__(
        self,
        connection: WebSocketConnection,
        options: ClientOptions,
        *,
        path: str,
        observer: Observer,
        released: Callable[[Tunnel], None],
    ) -> None:
        self.connection = connection
        self.options = options
        self.path = path
        self.spdy = SpdyConnection(client=True)
        #: How it ended, None while it has not.
        self.ended: ConnectionLost | None = None
        #: Whether it takes no new connections.
        self.spoiled = False
        #: Makes the keeper look now; replaced by the keeper.
        self.poked = anyio.Event()
        self.pings = PingLog()
        self.frames_in = self.bytes_out = self._seen = 0  # the last: frames that had come at the last send
        self.empty_since = time.monotonic()
        self._pairs: dict[int, Pair] = {}  # by the ids of both streams
        self._open: set[Pair] = set()
        self._pressure = Pressure(options, path)
        self._turns: Turns[Pair] = Turns(self._may_go_on)
        self._receiver = InterruptibleReceiver(connection)
        self._requests = 0
        self._released = released
        self._observer = observer
        self._tell = self._tell_observer if type(observer).frame is not Observer.frame else None
        self.sender = FrameSender(connection, self._tell)

    @property
    def load(self) -> int:
        """How many connections it carries, those included that the server has not ended yet."""
        return len(self._open)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Its connections."""
        return tuple(self._open)

    @property
    def usable(self) -> bool:
        """Whether it takes new connections."""
        return self.ended is None and not self.spoiled

    @property
    def congested(self) -> bool:
        """Whether the server seems to be stuck with what it was sent, for one of the connections."""
        return max(self.sender.waiting, self.pings.waiting) > CONGESTED

    # Opening ----------------------------------------------------------------------------------------------------------

    async def open(self, port: int, end_of_input: EndOfInput) -> Pair:
        """Open a connection to a port and wait for the server's answer.  Cancelling it leaves nothing.

        :raises PortForwardError: the server refused, or the tunnel is lost
        :raises SpoiledTunnelError: nothing was sent, and another tunnel is needed
        """
        pair = Pair(self, port, end_of_input)
        self._open.add(pair)
        for each in self._open:
            self._weigh(each)  # one that had the tunnel for itself has it no longer
        try:
            await checkpoint()  # one that is cancelled already spoils nothing
            await self._sent(pair, lambda: self._opening_frames(pair))
            await pair.opened()
        except BaseException:
            self.abandon(pair)
            raise
        return pair

    def _opening_frames(self, pair: Pair) -> bytes:
        if self.spoiled:
            raise SpoiledTunnelError  # while this waited for its turn; the server would read another port in its headers
        for_errors, for_data = pair_headers(pair.port, self._requests)
        self._requests += 1
        try:
            pair.error_id, error = self.spdy.open_stream(for_errors)
            end = self.spdy.data(pair.error_id, b"", fin=True)  # this side never has anything to say there
            pair.data_id, data = self.spdy.open_stream(for_data)
        except SpdyError as full:
            raise pair.error("lost", str(full)) from full
        self._pairs[pair.error_id] = self._pairs[pair.data_id] = pair
        return error + end + data

    def abandon(self, pair: Pair) -> None:
        """Give a connection up at once: what it had sent may be lost."""
        pair.closed = True
        if pair.error_id and not pair.over:
            self.spoiled = True  # the server may be stuck with what is on its way
        self._drop(pair)

    def released(self, pair: Pair) -> None:
        """A connection was closed here; it goes once the server has ended it too."""
        if pair.over:
            self._drop(pair)
        self.poke()

    def interrupt(self, pair: Pair) -> None:
        """Let the task that receives from a connection look at it, whatever it waits for."""
        if pair is self._turns.reader:
            self._receiver.interrupt()
        self._turns.wake(pair)
        self._turns.hand_over()  # it may have been this one's turn, which it does not take now

    def concluded(self, pair: Pair) -> None:
        """The server has ended a connection."""
        if pair.closed:
            self._drop(pair)
        self._turns.wake(pair)
        self._turns.hand_over()

    def _drop(self, pair: Pair) -> None:
        for stream_id in (pair.data_id, pair.error_id):
            self._pairs.pop(stream_id, None)
            # A stream that only the server has ended is ended here too, or both would keep it for ever.
            self.sender.queue(self.spdy.reset(stream_id))
        self._pressure.forget(pair.buffer)
        if pair in self._open:
            self._open.discard(pair)
            self.empty_since = time.monotonic()
            self._turns.hand_over()
            self._released(self)

    # Reading ----------------------------------------------------------------------------------------------------------

    async def advance(self, wanted: Pair, size: int = 1) -> bytes | None:
        """Read until something has come for ``wanted``, or wait until another task's reading has brought something.

        :param size: bytes beyond which what has arrived already is not joined
        :returns: the payload itself, where its buffer is empty; None when there may be something else to look at
        """
        turns = self._turns
        if turns.taken or self._pressure:
            await turns.wait(wanted)
            return None
        with turns.take(wanted):
            while self.ended is None and not (turns.news or self._pressure):
                if (direct := await self._read(size)) is not None:
                    return direct
        await checkpoint()
        return None

    async def read_ahead(self) -> None:
        """Read for those who are not waiting, until somebody is, or a buffer is full."""
        with self._turns.take_for_others():
            while self._may_go_on() and not self._turns.wanted:
                await self._read(_AHEAD)

    @property
    def reading(self) -> bool:
        """Whether somebody reads."""
        return self._turns.taken

    @property
    def unread(self) -> bool:
        """Whether nobody reads although it could be done."""
        return not self._turns.taken and not self._turns.wanted and self._may_go_on()

    def _may_go_on(self) -> bool:
        return self.ended is None and not self._pressure

    async def _read(self, size: int) -> bytes | None:
        try:
            messages = await self._receiver.receive(size)
        except StopAsyncIteration:
            self.fail("the server closed it")
        except KubexClientException as error:
            self.fail(str(error), error)
        except Exception as error:  # noqa: BLE001  # of whatever library a transport is made
            self.fail(f"the transport failed: {error!r}", error)
        else:
            self.frames_in += len(messages)
            if self._tell is not None:
                for message in messages:
                    self._tell(len(message), sent=False)
            return self._dispatch(messages)
        return None

    def _dispatch(self, messages: Sequence[bytes | memoryview]) -> bytes | None:
        """Put what messages hold where it belongs; the payload itself where it is the reader's, and nothing is kept for him."""
        direct: list[bytes | memoryview] = []
        for message in messages:
            for event in self.spdy.receive(message):
                if type(event) is events.DataReceived:
                    self._take_in(*event, direct)
                else:
                    self._note(event)
        self.sender.queue(self.spdy.take_answers())
        return (bytes(direct[0]) if len(direct) == 1 else b"".join(direct)) or None

    def _take_in(self, stream_id: int, data: bytes | memoryview, direct: list[bytes | memoryview]) -> None:
        pair = self._pairs.get(stream_id)
        if pair is None:
            return
        if stream_id == pair.error_id:
            pair.error_text(bytes(data))
        elif pair.arrived(len(data)) and pair is self._turns.reader:
            direct.append(data)
        else:
            pair.put(bytes(data))
            self._weigh(pair)
            self._turns.wake(pair)

    def _note(self, event: events.Event) -> None:
        match event:
            case events.StreamReplied(stream_id):
                pair = self._pairs.get(stream_id)
                if pair is not None:
                    pair.replied.add(stream_id)
                    self._turns.wake(pair)
            case events.StreamEnded(stream_id) | events.StreamReset(stream_id):
                pair = self._pairs.get(stream_id)
                if pair is not None:
                    pair.stream_ended(stream_id, reset=isinstance(event, events.StreamReset))
            case events.PingAnswered(ping_id):
                self.pings.answered(ping_id)
            case events.GoneAway():
                self.fail("the server ended it (GOAWAY)")
            case events.Failed(error):
                self.fail(f"the server broke the protocol: {error}", error)

    def _weigh(self, pair: Pair) -> None:
        was_stopped = bool(self._pressure)
        self._pressure.weigh(pair.buffer, shared=len(self._open) > 1)
        if was_stopped and not self._pressure:
            self._turns.hand_over()
            self.poke()

    def relieve(self, pair: Pair) -> None:
        """Something was taken out of a connection's buffer."""
        if pair.buffer in self._pressure:
            self._weigh(pair)

    # Sending ----------------------------------------------------------------------------------------------------------

    async def send(self, pair: Pair, payload: bytes | memoryview, *, fin: bool = False) -> None:
        """Send one DATA frame; returns when the transport has room again.

        :raises PortForwardError: the server has ended the connection, or the tunnel is lost
        """
        # What has arrived comes first, and a flood must not starve others; where something has come just now, both is done.
        if self.frames_in == self._seen:
            await checkpoint()
        self._seen = self.frames_in
        await self._sent(pair, lambda: self._data_frame(pair, payload, fin))
        self.bytes_out += len(payload)

    def _data_frame(self, pair: Pair, payload: bytes | memoryview, fin: bool) -> bytes:
        frame = self.spdy.data(pair.data_id, payload, fin=fin)
        if not frame:
            pair.check_open()  # it may have been closed here while this waited for its turn
            raise pair.error("reset", f"the connection to port {pair.port} was reset")
        return frame

    async def _sent(self, pair: Pair, make: Callable[[], bytes]) -> None:
        if self.ended is not None:
            raise pair.lost(self.ended)
        try:
            await self.sender.send(make)
        except ConnectionLost as error:
            raise pair.lost(error) from error

    def queue_end(self, pair: Pair) -> None:
        """Send a connection's end without waiting for it."""
        self.sender.queue(self.spdy.data(pair.data_id, b"", fin=True))

    # Ending -----------------------------------------------------------------------------------------------------------

    def fail(self, text: str, cause: Exception | None = None) -> None:
        """The tunnel is over, and with it all its connections."""
        if self.ended is not None:
            return
        self.ended = ConnectionLost(text, close_code=self.connection.close_code)
        self.ended.__cause__ = cause
        for pair in tuple(self._open):
            pair.conclude(pair.lost(self.ended))
        self.poke()
        self._released(self)

    def _tell_observer(self, size: int, *, sent: bool = True) -> None:
        self._observer.frame(self.path, sent=sent, channel=0, size=size)

    def poke(self) -> None:
        """Let the keeper look now."""
        self.poked.set()
        self._turns.interrupt()

    async def leave(self) -> None:
        """Close the WebSocket; bounded by the close timeout."""
        error = self.ended  # where it had ended by itself
        self.fail("it was closed on this side")
        await let_go(self.connection, timeout=self.options.close_timeout + 1, path=self.path)
        self._observer.closed(self.path, error)
