"""The state of one SPDY/3.1 connection, either end of it, as Kubernetes uses it; sans-I/O.

Rules of this file:
- A method that sends gives the bytes to send.  They have to reach the wire in the order of the calls: stream ids only grow, and all header
  blocks of a direction are one compressed stream.
- ``receive`` never raises for what a peer sends: what is wrong is an event, behind all that was right.
- There is no flow control.  WINDOW_UPDATE and SETTINGS are dropped by the Go ends, so they are here; back-pressure is that of TCP.
- Frames of streams that are gone, or never were, are dropped at a server's end, as in Go.  At a client's end DATA of a stream that it never
  opened can only be garbage, and ends the connection: it would otherwise be waited for up to 16 MiB of it.
- The ids of streams only grow, also the peer's; what breaks that, or follows a FIN, is answered with a reset.
- Replies, resets and data of different streams come in any order.
Source: github.com/moby/spdystream connection.go and stream.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

from kubex_stream.protocol import spdy
from kubex_stream.protocol.spdy_decoder import FrameDecoder
from kubex_stream.protocol.spdy_headers import HeaderCompressor, SpdyError

__all__ = (
    "DataReceived",
    "Event",
    "Failed",
    "GoneAway",
    "PingAnswered",
    "SpdyConnection",
    "SpdyStream",
    "StreamEnded",
    "StreamOpened",
    "StreamReplied",
    "StreamReset",
)

#: Bytes of answers that may wait for being sent; a peer that makes more without reading them is attacking.
_MOST_ANSWERS: Final = 64 * 1024


class StreamOpened(NamedTuple):
    """The peer opens a stream; it waits for a reply or a reset."""

    stream_id: int
    headers: dict[str, str]
    fin: bool


class StreamReplied(NamedTuple):
    """The peer has accepted a stream."""

    stream_id: int
    headers: dict[str, str]


class DataReceived(NamedTuple):
    """Some payload, never empty; valid until the next ``receive``."""

    stream_id: int
    data: bytes | memoryview


class StreamEnded(NamedTuple):
    """The peer's half of a stream is closed: nothing more comes on it."""

    stream_id: int


class StreamReset(NamedTuple):
    """A stream is gone, both halves."""

    stream_id: int
    status: int


class PingAnswered(NamedTuple):
    """A ping of this end came back."""

    ping_id: int


class GoneAway(NamedTuple):
    """The peer has left the connection; no event comes after this one."""

    last_stream_id: int
    status: int


class Failed(NamedTuple):
    """The peer broke the protocol; no event comes after this one."""

    error: SpdyError


Event = StreamOpened | StreamReplied | DataReceived | StreamEnded | StreamReset | PingAnswered | GoneAway | Failed


@dataclass(slots=True)
class SpdyStream:
    """What is known of a stream that is not gone; its headers are not kept, a peer could make them large.

    :ivar mine: this end has opened it
    """

    mine: bool
    replied: bool = False
    local_ended: bool = False
    remote_ended: bool = False


class SpdyConnection:
    """One end.

    :param client: whether this end opens the streams; its ids are odd
    :param max_header_size: bytes that a header block may inflate to
    :param max_streams: streams that may be open at once
    """

    def __init__(self, *, client: bool, max_header_size: int = 64 * 1024, max_streams: int = 10_000) -> None:
        self._client = client
        self._decoder = FrameDecoder(max_header_size)
        self._compressor = HeaderCompressor()
        self._max_streams = max_streams
        self._streams: dict[int, SpdyStream] = {}
        #: The streams that are not gone, by id.
        self.streams: Mapping[int, SpdyStream] = MappingProxyType(self._streams)
        self._next_stream = self._next_ping = 1 if client else 2
        self._last_received = 0
        self._answers = bytearray()
        self._done = False  # nothing more is read
        self._leaving = False  # the peer reads nothing more

    # Sending ----------------------------------------------------------------------------------------------------------

    def open_stream(self, headers: Mapping[str, str], *, fin: bool = False) -> tuple[int, bytes]:
        """Open a stream: its id, and SYN_STREAM.

        :raises SpdyError: the connection is over, too many streams are open, or no id is left
        :raises ValueError: the headers cannot be sent
        """
        if self._done or self._leaving:
            raise SpdyError("no stream can be opened: the connection is over")
        if len(self._streams) >= self._max_streams:
            raise SpdyError(f"no stream can be opened: {self._max_streams} are open")
        while self._next_stream in self._streams:  # the peer may have taken an id of this end's
            self._next_stream += 2
        stream_id = self._next_stream
        if stream_id > spdy.MAX_ID:
            raise SpdyError("no stream can be opened: every id has been used")
        frame = spdy.encode_syn_stream(stream_id, self._compressor.compress(headers), fin=fin)
        self._next_stream += 2
        self._streams[stream_id] = SpdyStream(mine=True, local_ended=fin)
        return stream_id, frame

    def reply(self, stream_id: int, headers: Mapping[str, str] | None = None, *, fin: bool = False) -> bytes:
        """SYN_REPLY; nothing for a stream that is gone, has its reply, or was opened by this end."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.mine or stream.replied:
            return b""
        fin = fin and not stream.local_ended
        frame = spdy.encode_syn_reply(stream_id, self._compressor.compress(headers or {}), fin=fin)
        stream.replied = True
        if fin:
            self._end_local(stream_id)
        return frame

    def data(self, stream_id: int, payload: bytes | bytearray | memoryview, *, fin: bool = False) -> bytes:
        """A DATA frame; nothing for a stream that is gone or whose half this end has closed.

        :raises ValueError: the payload is too large for a frame
        """
        stream = self._streams.get(stream_id)
        if stream is None or stream.local_ended:
            return b""
        size = payload.nbytes if isinstance(payload, memoryview) else len(payload)
        frame = b"".join((spdy.data_header(stream_id, size, fin=fin), payload))
        if fin:
            self._end_local(stream_id)
        return frame

    def reset(self, stream_id: int, status: int = spdy.CANCEL) -> bytes:
        """Give a stream up; nothing for one that is gone."""
        if self._streams.pop(stream_id, None) is None:
            return b""
        return spdy.encode_rst_stream(stream_id, status)

    def ping(self) -> tuple[int, bytes]:
        """A ping: its id, and the frame."""
        ping_id = self._next_ping
        self._next_ping = (ping_id + 2) & 0xFFFFFFFF or 2
        return ping_id, spdy.encode_ping(ping_id)

    def go_away(self, status: int = spdy.OK) -> bytes:
        """GOAWAY.  The peer stops reading at it; no stream can be opened any more."""
        self._leaving = True
        return spdy.encode_go_away(self._last_received, status)

    def take_answers(self) -> bytes:
        """What the protocol itself wants to be sent now."""
        if not self._answers:
            return b""
        answers = bytes(self._answers)
        self._answers.clear()
        return answers

    # Receiving --------------------------------------------------------------------------------------------------------

    def receive(self, data: bytes | bytearray | memoryview) -> list[Event]:
        """What bytes of the peer mean, in order."""
        events: list[Event] = []
        for frame in self._decoder.feed(memoryview(data) if isinstance(data, bytearray) else data):
            if self._done:
                break
            if type(frame) is spdy.Data:
                self._data(frame, events)
            else:
                self._control(frame, events)
        return events

    def _data(self, frame: spdy.Data, events: list[Event]) -> None:
        stream_id, payload, fin = frame
        stream = self._streams.get(stream_id)
        if stream is None:
            if self._client and (stream_id % 2 == 0 or stream_id >= self._next_stream):
                self._fail(f"DATA of the stream {stream_id}, which was never opened", events)
        elif not stream.remote_ended:
            if payload:
                events.append(DataReceived(stream_id, payload))
            if fin:
                self._end_remote(stream_id, events)
        elif payload:
            # Said to be over and then not: its bytes would be lost.
            self._refuse(stream_id, spdy.PROTOCOL_ERROR, events)

    def _control(self, frame: spdy.Frame, events: list[Event]) -> None:
        match frame:
            case spdy.SynStream():
                self._opened(frame, events)
            case spdy.SynReply():
                self._replied(frame, events)
            case spdy.Headers(stream_id, _, fin):
                if fin and stream_id in self._streams:
                    self._end_remote(stream_id, events)
            case spdy.RstStream(stream_id, status):
                if self._streams.pop(stream_id, None) is not None:
                    events.append(StreamReset(stream_id, status))
            case spdy.Ping(ping_id):
                if ping_id % 2 == self._next_ping % 2:
                    events.append(PingAnswered(ping_id))
                else:
                    self._answer(spdy.encode_ping(ping_id), events)
            case spdy.GoAway(last_stream_id, status):
                self._done = True
                events.append(GoneAway(last_stream_id, status))
            case spdy.Broken(error):
                self._done = True
                events.append(Failed(error))

    def _opened(self, frame: spdy.SynStream, events: list[Event]) -> None:
        stream_id = frame.stream_id
        if self._client:
            self._refuse(stream_id, spdy.REFUSED_STREAM, events)
        elif stream_id in self._streams or (self._last_received and stream_id < self._last_received + 2):
            self._refuse(stream_id, spdy.PROTOCOL_ERROR, events)
        elif len(self._streams) >= self._max_streams:
            self._refuse(stream_id, spdy.REFUSED_STREAM, events)
        elif frame.fin and frame.unidirectional:
            self._last_received = stream_id
            self._refuse(stream_id, spdy.PROTOCOL_ERROR, events)  # nobody could send anything on it
        else:
            self._last_received = stream_id
            self._streams[stream_id] = SpdyStream(mine=False, local_ended=frame.unidirectional, remote_ended=frame.fin)
            events.append(StreamOpened(stream_id, frame.headers, frame.fin))

    def _replied(self, frame: spdy.SynReply, events: list[Event]) -> None:
        stream = self._streams.get(frame.stream_id)
        if stream is None or stream.replied or not stream.mine:
            return
        stream.replied = True
        events.append(StreamReplied(frame.stream_id, frame.headers))
        if frame.fin:
            self._end_remote(frame.stream_id, events)

    def _refuse(self, stream_id: int, status: int, events: list[Event]) -> None:
        """Reset a stream that the peer may not use so, and one of that id that is open: for the peer it is gone with it."""
        if self._streams.pop(stream_id, None) is not None:
            events.append(StreamReset(stream_id, status))
        self._answer(spdy.encode_rst_stream(stream_id, status), events)

    def _answer(self, frame: bytes, events: list[Event]) -> None:
        self._answers += frame
        if len(self._answers) > _MOST_ANSWERS:
            self._fail("more pings and refused streams than can be answered", events)

    def _fail(self, text: str, events: list[Event]) -> None:
        self._done = True
        events.append(Failed(SpdyError(text)))

    def _end_local(self, stream_id: int) -> None:
        stream = self._streams[stream_id]
        stream.local_ended = True
        if stream.remote_ended:
            del self._streams[stream_id]

    def _end_remote(self, stream_id: int, events: list[Event]) -> None:
        stream = self._streams[stream_id]
        if stream.remote_ended:
            return
        stream.remote_ended = True
        events.append(StreamEnded(stream_id))
        if stream.local_ended:
            del self._streams[stream_id]
