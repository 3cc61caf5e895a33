"""A server's end of a tunnel without a network, driven by the test.

It speaks SPDY through the server's half of the protocol, which is tested by itself against recordings and an independent codec.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final

import anyio
from anyio.lowlevel import checkpoint

from kubex_stream import ClientOptions, Observer
from kubex_stream.protocol import spdy_connection as events
from kubex_stream.protocol.portforward import TUNNEL_PROTOCOL
from kubex_stream.protocol.spdy_connection import SpdyConnection
from kubex_stream.session.conduit import EndOfInput
from kubex_stream.session.pair import Pair
from kubex_stream.session.tunnel import Tunnel
from kubex_stream.session.tunnel_keeper import TunnelKeeper
from tests.session.memory import PATIENCE, MemoryConnection

PATH: Final = "/api/v1/namespaces/default/pods/web-0/portforward"
#: The end of input is passed on at once.
AT_ONCE: Final = EndOfInput(0.0, cuts=False)
#: No keep-alive, so that only what a test causes happens.
QUIET: Final = ClientOptions(heartbeat=None)
#: What a server says when nothing listens on a port.
REFUSED: Final = (
    "error forwarding port 81 to pod 5b2f, uid : failed to execute portforward in network namespace "
    '"/var/run/netns/x": failed to connect to localhost:81 inside namespace "5b2f": connection refused'
)


@dataclass(eq=False)
class PeerPair:
    """A connection as the server sees it."""

    peer: TunnelPeer
    headers: dict[str, str]
    error_id: int = 0
    data_id: int = 0
    received: bytearray = field(default_factory=bytearray)
    #: What the client did: its halves ended, its resets.
    ended: set[int] = field(default_factory=set)
    reset: set[int] = field(default_factory=set)

    @property
    def port(self) -> int:
        return int(self.headers["port"])

    @property
    def input_ended(self) -> bool:
        """Whether the client has ended its data."""
        return self.data_id in self.ended

    def reply(self) -> None:
        for stream_id in (self.error_id, self.data_id):
            self.peer.say(self.peer.spdy.reply(stream_id))

    def say(self, data: bytes) -> None:
        self.peer.say(self.peer.spdy.data(self.data_id, data))

    def end_data(self) -> None:
        self.peer.say(self.peer.spdy.data(self.data_id, b"", fin=True))

    def end_errors(self) -> None:
        self.peer.say(self.peer.spdy.data(self.error_id, b"", fin=True))

    def end(self) -> None:
        """In good order."""
        self.end_data()
        self.end_errors()

    def complain(self, text: str) -> None:
        self.peer.say(self.peer.spdy.data(self.error_id, text.encode()))

    def reset_data(self) -> None:
        self.peer.say(self.peer.spdy.reset(self.data_id))

    def reset_errors(self) -> None:
        self.peer.say(self.peer.spdy.reset(self.error_id))

    def refuse(self, text: str = REFUSED) -> None:
        """As containerd does it: FIN of the data, the text, and RST of the errors."""
        self.end_data()
        self.complain(text)
        self.reset_errors()


class TunnelPeer(MemoryConnection):
    """A tunnel's WebSocket.  Streams are accepted; the rest is the test's.

    :param accepts: whether it replies by itself
    """

    def __init__(self, *, accepts: bool = True) -> None:
        super().__init__(protocol=TUNNEL_PROTOCOL)
        self.spdy = SpdyConnection(client=False)
        self.accepts = accepts
        #: Connections in the order of their ids.
        self.pairs: list[PeerPair] = []
        #: Whether its transport takes no message now, and whether somebody waits for that.
        self.held = self.blocked = False
        #: Whether it is dead: it takes everything and does nothing.
        self.deaf = False
        self.pings = 0
        #: Messages are at most so large.
        self.piece: int | None = None
        self._streams: dict[int, PeerPair] = {}
        self._gathered: list[bytes] | None = None
        self._passes = 0

    # What the server does ---------------------------------------------------------------------------------------------

    def say(self, frame: bytes) -> None:
        if not frame:
            return
        if self._gathered is not None:
            self._gathered.append(frame)
        elif self.piece is None:
            self.feed(frame)
        else:
            self.feed(*(frame[start : start + self.piece] for start in range(0, len(frame), self.piece)))

    @contextmanager
    def one_message(self) -> Generator[None, None, None]:
        """Whatever is said in the block goes out as one message."""
        self._gathered = []
        yield
        message, self._gathered = b"".join(self._gathered), None
        self.say(message)

    def go_away(self) -> None:
        self.say(self.spdy.go_away())

    def hold(self) -> None:
        """Let the transport take nothing from now on."""
        self.held = True

    def let_one_through(self) -> None:
        self._passes += 1
        self._move()

    def let_go(self) -> None:
        self.held = False
        self._move()

    # What the client does ---------------------------------------------------------------------------------------------

    def on_message(self, message: bytes) -> None:
        if self.deaf:
            return
        for event in self.spdy.receive(message):
            self._on_event(event)
        answers = self.spdy.take_answers()
        self.pings += answers[:4] == b"\x80\x03\x00\x06"
        self.say(answers)

    def _on_event(self, event: events.Event) -> None:
        match event:
            case events.StreamOpened(stream_id, headers, fin):
                self._on_stream(stream_id, headers)
                assert not fin
            case events.DataReceived(stream_id, data):
                pair = self._streams[stream_id]
                assert stream_id == pair.data_id, "a client says nothing on the stream for errors"
                pair.received += data
                self.on_data(pair, bytes(data))
            case events.StreamEnded(stream_id):
                pair = self._streams[stream_id]
                pair.ended.add(stream_id)
                if stream_id == pair.data_id:
                    self.on_end(pair)
            case events.StreamReset(stream_id):
                self._streams[stream_id].reset.add(stream_id)
            case events.Failed(error):
                raise AssertionError(f"the client broke the protocol: {error}")

    def _on_stream(self, stream_id: int, headers: dict[str, str]) -> None:
        if headers["streamtype"] == "error":
            pair = PeerPair(self, headers, error_id=stream_id)
            self.pairs.append(pair)
        else:
            pair = next(each for each in self.pairs if each.headers["requestid"] == headers["requestid"])
            pair.data_id = stream_id
        self._streams[stream_id] = pair
        if pair.data_id:
            self.on_pair(pair)

    def on_pair(self, pair: PeerPair) -> None:
        """Both streams are there."""
        if self.accepts:
            pair.reply()

    def on_data(self, pair: PeerPair, data: bytes) -> None:
        """Data has come."""

    def on_end(self, pair: PeerPair) -> None:
        """The client has ended its data."""

    async def room(self) -> None:
        await checkpoint()
        try:
            while self.held and not self._passes and not self.closed:
                self.blocked = True
                self._move()
                await self._moved.wait()
        finally:
            self.blocked = False
        self._passes -= self._passes > 0


class SteppingPeer(TunnelPeer):
    """Suspends before each message, so that every receive can be cancelled, and others come in between."""

    async def receive_bytes(self) -> bytes:
        await checkpoint()
        return await super().receive_bytes()


class GatheringPeer(SteppingPeer):
    """Gives what has arrived together, in views that hold until the next call."""

    _given: Sequence[memoryview] = ()

    async def receive_views(self, size: int = 0) -> Sequence[memoryview]:
        for view in self._given:
            view.release()
        messages = [await self.receive_bytes()]
        while sum(map(len, messages)) < size and self._incoming and isinstance(self._incoming[0], bytes):
            message = self._next()
            assert message is not None
            messages.append(message)
        self._given = [memoryview(message) for message in messages]
        return self._given


class EchoPeer(GatheringPeer):
    """Gives back what it gets, and ends when the client does, as a server whose runtime carries the end."""

    def on_data(self, pair: PeerPair, data: bytes) -> None:
        pair.say(data)

    def on_end(self, pair: PeerPair) -> None:
        pair.end()


@asynccontextmanager
async def tunnel_to(
    peer: TunnelPeer, options: ClientOptions = QUIET, *, observer: Observer | None = None
) -> AsyncGenerator[Tunnel, None]:
    """A tunnel to it, with its keeper."""
    tunnel = Tunnel(peer, options, path=PATH, observer=observer or Observer(), released=lambda _: None)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(TunnelKeeper(tunnel).run)
        try:
            with anyio.fail_after(PATIENCE):
                yield tunnel
        finally:
            tasks.cancel_scope.cancel()


async def absorbed(tunnel: Tunnel, peer: TunnelPeer) -> None:
    """Let the keeper read all that has been said, without waiting for its next look."""
    tunnel.poke()
    await peer.until(lambda: peer.waiting or peer.closed)


async def opened(tunnel: Tunnel, *ports: int, end: EndOfInput = AT_ONCE) -> list[Pair]:
    """Connections to ports."""
    return [await tunnel.open(port, end) for port in ports]


async def everything(pair: Pair) -> bytes:
    """What comes until the end."""
    pieces = []
    while True:
        try:
            pieces.append(await pair.receive())
        except anyio.EndOfStream:
            return b"".join(pieces)
