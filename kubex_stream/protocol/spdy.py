"""SPDY/3.1 frames: bytes in any pieces to frames, and frames to bytes; sans-I/O.

Rules of this file:
- The pieces in which bytes come mean nothing.  Payload of a DATA frame is handed out as it comes; a control frame when it is whole.
- Every length is checked when it is announced, before anything is kept.
- What is broken is told once, behind everything that was whole; after it nothing is read any more.

    control frame   1 | version 3 (15 bits) | type (16) | flags (8) | length (24) | payload
    data frame      0 | stream (31)                     | flags (8) | length (24) | payload

Sources: SPDY protocol draft 3.1, sections 2.2 and 2.6; github.com/moby/spdystream spdy/types.go and read.go (what the Go ends refuse).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from kubex_stream.protocol.spdy_headers import HeaderDecompressor, SpdyError

__all__ = (
    "CANCEL",
    "FLAG_FIN",
    "MAX_DATA",
    "OK",
    "PROTOCOL_ERROR",
    "REFUSED_STREAM",
    "Broken",
    "Data",
    "Frame",
    "FrameDecoder",
    "GoAway",
    "Headers",
    "Ignored",
    "Ping",
    "RstStream",
    "SpdyError",
    "SynReply",
    "SynStream",
    "control_frame",
    "data_header",
    "encode_go_away",
    "encode_ping",
    "encode_rst_stream",
    "encode_syn_reply",
    "encode_syn_stream",
)

FLAG_FIN: Final = 0x01
#: Payload bytes of the largest DATA frame.
MAX_DATA: Final = 2**24 - 1
_MAX_ID: Final = 2**31 - 1

# Types of control frames.
_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _SETTINGS, _PING, _GO_AWAY, _HEADERS, _WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9

# Statuses of RST_STREAM.
PROTOCOL_ERROR: Final = 1
REFUSED_STREAM: Final = 3
CANCEL: Final = 5
#: The status of a GOAWAY in good order.
OK: Final = 0

_HEAD: Final = struct.Struct(">II")
_ID: Final = struct.Struct(">I")
_PAIR: Final = struct.Struct(">II")
_SYN: Final = struct.Struct(">IIBB")


class Data(NamedTuple):
    """Payload of a stream: a DATA frame, or as much of one as has come.

    :ivar fin: the stream's end; only ever with the last piece of a frame
    """

    stream_id: int
    payload: bytes | memoryview
    fin: bool


class SynStream(NamedTuple):
    """A stream is opened."""

    stream_id: int
    headers: dict[str, str]
    fin: bool


class SynReply(NamedTuple):
    """A stream is accepted."""

    stream_id: int
    headers: dict[str, str]
    fin: bool


class Headers(NamedTuple):
    """More headers of a stream."""

    stream_id: int
    headers: dict[str, str]
    fin: bool


class RstStream(NamedTuple):
    """A stream is given up."""

    stream_id: int
    status: int


class Ping(NamedTuple):
    """A ping, or its echo."""

    ping_id: int


class GoAway(NamedTuple):
    """Nothing more comes from the peer."""

    last_stream_id: int
    status: int


class Ignored(NamedTuple):
    """SETTINGS or WINDOW_UPDATE: read, and of no consequence to any implementation there is."""

    type: int


class Broken(NamedTuple):
    """What came is no SPDY."""

    error: SpdyError


Frame = Data | SynStream | SynReply | Headers | RstStream | Ping | GoAway | Ignored | Broken


# Encoding -------------------------------------------------------------------------------------------------------------


def control_frame(kind: int, payload: bytes, flags: int = 0) -> bytes:
    """Any control frame."""
    return _HEAD.pack(0x80030000 | kind, flags << 24 | len(payload)) + payload


def data_header(stream_id: int, size: int, *, fin: bool = False) -> bytes:
    """The eight bytes before ``size`` bytes of payload.

    :raises ValueError: the payload is too large for a frame
    """
    if size > MAX_DATA:
        raise ValueError(f"{size} bytes do not fit into a DATA frame, which holds {MAX_DATA}")
    return _HEAD.pack(_checked(stream_id), (FLAG_FIN if fin else 0) << 24 | size)


def encode_syn_stream(stream_id: int, block: bytes, *, fin: bool = False) -> bytes:
    """SYN_STREAM, at the highest priority, without an associated stream."""
    return control_frame(_SYN_STREAM, _SYN.pack(_checked(stream_id), 0, 0, 0) + block, FLAG_FIN if fin else 0)


def encode_syn_reply(stream_id: int, block: bytes, *, fin: bool = False) -> bytes:
    """SYN_REPLY."""
    return control_frame(_SYN_REPLY, _ID.pack(_checked(stream_id)) + block, FLAG_FIN if fin else 0)


def encode_rst_stream(stream_id: int, status: int) -> bytes:
    """RST_STREAM.

    :raises ValueError: the status 0, which is illegal
    """
    if status == 0:
        raise ValueError("RST_STREAM has no status 0")
    return control_frame(_RST_STREAM, _PAIR.pack(_checked(stream_id), status))


def encode_ping(ping_id: int) -> bytes:
    """PING."""
    return control_frame(_PING, _ID.pack(ping_id))


def encode_go_away(last_stream_id: int, status: int = OK) -> bytes:
    """GOAWAY."""
    return control_frame(_GO_AWAY, _PAIR.pack(last_stream_id, status))


def _checked(stream_id: int) -> int:
    if not 0 < stream_id <= _MAX_ID:
        raise ValueError(f"{stream_id} cannot be the id of a stream")
    return stream_id


# Decoding -------------------------------------------------------------------------------------------------------------


class FrameDecoder:
    """One direction's bytes, as frames.

    :param max_header_size: bytes that a header block may inflate to, and that any control frame may have
    """

    def __init__(self, max_header_size: int) -> None:
        self._headers = HeaderDecompressor(max_header_size)
        self._limit = max_header_size
        self._partial = bytearray()  # a header, or a control frame, that is not whole yet
        self._wanted = _HEAD.size  # bytes of it
        self._stream_id = self._left = 0  # of the DATA frame that is being read
        self._fin = False
        self._dead = False

    def feed(self, data: bytes | memoryview) -> list[Frame]:
        """The frames that are whole now, and the payload that has come.  Payload may be a view of ``data``."""
        frames: list[Frame] = []
        if self._left == len(data) and data and not self._dead:
            # The usual case: servers send a DATA frame's header and its payload in messages of their own.
            self._left = 0
            return [Data(self._stream_id, data, self._fin)]
        view, at = memoryview(data), 0
        try:
            while at < len(view) and not self._dead:
                at = self._payload(view, at, frames) if self._left else self._collect(view, at, frames)
        except SpdyError as error:
            self._dead = True
            frames.append(Broken(error))
        return frames

    def _payload(self, view: memoryview, at: int, frames: list[Frame]) -> int:
        piece = view[at : at + self._left]
        self._left -= len(piece)
        frames.append(Data(self._stream_id, piece, self._fin and not self._left))
        return at + len(piece)

    def _collect(self, view: memoryview, at: int, frames: list[Frame]) -> int:
        partial = self._partial
        taken = view[at : at + self._wanted - len(partial)]
        partial += taken
        if len(partial) == self._wanted:
            if len(partial) == _HEAD.size:
                self._head(frames)
            else:
                self._control(frames)
        return at + len(taken)

    def _head(self, frames: list[Frame]) -> None:
        first, second = _HEAD.unpack(self._partial)
        length = second & 0xFFFFFF
        if first & 0x80000000:
            self._check_control(first, length)
            self._wanted = _HEAD.size + length
            if not length:
                self._control(frames)
            return
        if not first:
            raise SpdyError("a DATA frame of stream 0")
        self._partial.clear()
        self._stream_id, self._left, self._fin = first, length, bool(second >> 24 & FLAG_FIN)
        if not length:
            frames.append(Data(first, b"", self._fin))

    def _check_control(self, first: int, length: int) -> None:
        version, kind = first >> 16 & 0x7FFF, first & 0xFFFF
        if version != 3:
            raise SpdyError(f"a control frame of SPDY version {version}")
        if kind not in _READERS:
            raise SpdyError(f"a control frame of the unknown type {kind}")
        if length > self._limit:
            raise SpdyError(f"a control frame of {length} bytes")
        least, exact = _LENGTHS[kind]
        if length < least or (exact and length != least):
            raise SpdyError(f"a control frame of type {kind} with {length} bytes")

    def _control(self, frames: list[Frame]) -> None:
        first, second = _HEAD.unpack_from(self._partial)
        payload = bytes(self._partial[_HEAD.size :])
        self._partial.clear()
        self._wanted = _HEAD.size
        frame = _READERS[first & 0xFFFF](self._headers, payload, bool(second >> 24 & FLAG_FIN))
        frames.append(frame)
        self._dead = isinstance(frame, GoAway)


def _stream_of(payload: bytes) -> int:
    stream_id = int(_ID.unpack_from(payload)[0]) & _MAX_ID
    if not stream_id:
        raise SpdyError("a control frame of stream 0")
    return stream_id


def _syn_stream(headers: HeaderDecompressor, payload: bytes, fin: bool) -> Frame:
    return SynStream(_stream_of(payload), headers.decompress(payload[_SYN.size :]), fin)


def _syn_reply(headers: HeaderDecompressor, payload: bytes, fin: bool) -> Frame:
    return SynReply(_stream_of(payload), headers.decompress(payload[_ID.size :]), fin)


def _more_headers(headers: HeaderDecompressor, payload: bytes, fin: bool) -> Frame:
    return Headers(_stream_of(payload), headers.decompress(payload[_ID.size :]), fin)


def _rst_stream(_headers: HeaderDecompressor, payload: bytes, _fin: bool) -> Frame:
    return RstStream(_stream_of(payload), _PAIR.unpack(payload)[1])


def _ping(_headers: HeaderDecompressor, payload: bytes, _fin: bool) -> Frame:
    ping = Ping(_ID.unpack(payload)[0])
    if not ping.ping_id:
        raise SpdyError("a PING without an id")
    return ping


def _go_away(_headers: HeaderDecompressor, payload: bytes, _fin: bool) -> Frame:
    last, status = _PAIR.unpack(payload)
    return GoAway(last & _MAX_ID, status)


def _settings(_headers: HeaderDecompressor, _payload: bytes, _fin: bool) -> Frame:
    return Ignored(_SETTINGS)


def _window_update(_headers: HeaderDecompressor, _payload: bytes, _fin: bool) -> Frame:
    return Ignored(_WINDOW_UPDATE)


_READERS: Final[Mapping[int, Callable[[HeaderDecompressor, bytes, bool], Frame]]] = {
    _SYN_STREAM: _syn_stream,
    _SYN_REPLY: _syn_reply,
    _RST_STREAM: _rst_stream,
    _SETTINGS: _settings,
    _PING: _ping,
    _GO_AWAY: _go_away,
    _HEADERS: _more_headers,
    _WINDOW_UPDATE: _window_update,
}
#: Of each type the least length, and whether it is the only one.
_LENGTHS: Final[Mapping[int, tuple[int, bool]]] = {
    _SYN_STREAM: (_SYN.size, False),
    _SYN_REPLY: (_ID.size, False),
    _RST_STREAM: (_PAIR.size, True),
    _SETTINGS: (_ID.size, False),
    _PING: (_ID.size, True),
    _GO_AWAY: (_PAIR.size, True),
    _HEADERS: (_ID.size, False),
    _WINDOW_UPDATE: (_PAIR.size, True),
}
