"""Bytes in any pieces to SPDY/3.1 frames; sans-I/O.

Rules of this file:
- The pieces in which bytes come mean nothing.  Payload of a DATA frame is handed out as it comes; a control frame when it is whole.
- Every length is checked when it is announced, before anything is kept.
- What is broken is told once, behind everything that was whole; after it nothing is read any more.

Source: github.com/moby/spdystream spdy/read.go (what the Go ends refuse; of other versions they take any, this end none).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from kubex_stream.protocol.spdy import (
    FLAG_FIN,
    FLAG_UNIDIRECTIONAL,
    HEAD,
    ID,
    MAX_DATA,
    MAX_ID,
    PAIR,
    SYN,
    Broken,
    Data,
    Frame,
    GoAway,
    Headers,
    Ignored,
    Kind,
    Ping,
    RstStream,
    SynReply,
    SynStream,
)
from kubex_stream.protocol.spdy_headers import HeaderDecompressor, SpdyError

__all__ = ("FrameDecoder",)

#: Payload below this is copied: a view costs more than these bytes, and keeps the whole message alive.
_SMALL: Final = 256


class FrameDecoder:
    """One direction's bytes, as frames.

    :param max_header_size: bytes that a header block may inflate to, and that it may have on the wire
    """

    def __init__(self, max_header_size: int) -> None:
        self._headers = HeaderDecompressor(max_header_size)
        self._limit = max_header_size
        self._partial = bytearray()  # a header, or a control frame, that is not whole yet
        self._wanted = HEAD.size  # bytes of it
        self._stream_id = self._left = 0  # of the DATA frame that is being read
        self._fin = False
        self._dead = False

    def feed(self, data: bytes | memoryview) -> list[Frame]:
        """The frames that are whole now, and the payload that has come.  Payload may be a view of ``data``."""
        if self._dead or not data:
            return []
        if self._left == len(data):
            # The usual case: servers send a DATA frame's header and its payload in messages of their own.
            self._left = 0
            return [Data(self._stream_id, data, self._fin)]
        frames: list[Frame] = []
        try:
            if self._left or len(data) > self._wanted - len(self._partial):
                self._read(memoryview(data), frames)
            else:
                self._partial += data
                self._complete(frames)
        except SpdyError as error:
            self._dead = True
            self._partial.clear()
            frames.append(Broken(error))
        return frames

    def _read(self, view: memoryview, frames: list[Frame]) -> None:
        at, size = 0, len(view)
        while at < size and not self._dead:
            if self._left:
                at = self._payload(view, at, frames)
            elif self._partial or size - at < HEAD.size or view[at] & 0x80:
                end = at + self._wanted - len(self._partial)
                self._partial += view[at:end]
                at = min(end, size)
                self._complete(frames)
            else:
                first, second = HEAD.unpack_from(view, at)
                self._data(first, second, frames)
                at += HEAD.size

    def _payload(self, view: memoryview, at: int, frames: list[Frame]) -> int:
        piece: bytes | memoryview = view[at : at + self._left]
        taken = len(piece)
        self._left -= taken
        if taken < _SMALL:
            piece = bytes(piece)
        frames.append(Data(self._stream_id, piece, self._fin and not self._left))
        return at + taken

    def _complete(self, frames: list[Frame]) -> None:
        """Go on, if what was to be collected is whole."""
        if len(self._partial) < self._wanted:
            return
        first, second = HEAD.unpack_from(self._partial)
        if not first & 0x80000000:
            self._partial.clear()
            self._data(first, second, frames)
        elif self._wanted == HEAD.size:
            self._wanted += self._checked_length(first, second)
        else:
            payload = bytes(self._partial[HEAD.size :])
            self._partial.clear()
            self._wanted = HEAD.size
            frames.append(_READERS[first & 0xFFFF].read(self._headers, payload, second >> 24))
            self._dead = type(frames[-1]) is GoAway

    def _data(self, first: int, second: int, frames: list[Frame]) -> None:
        if not first:
            raise SpdyError("a DATA frame of stream 0")
        self._stream_id, self._left, self._fin = first, second & MAX_DATA, bool(second >> 24 & FLAG_FIN)
        if not self._left:
            frames.append(Data(first, b"", self._fin))

    def _checked_length(self, first: int, second: int) -> int:
        version, number, length = first >> 16 & 0x7FFF, first & 0xFFFF, second & 0xFFFFFF
        if version != 3:
            raise SpdyError(f"a control frame of SPDY version {version}")
        kind = _READERS.get(number)
        if kind is None:
            raise SpdyError(f"a control frame of the unknown type {number}")
        if not kind.least <= length <= (kind.least if kind.exact else kind.least + self._limit):
            raise SpdyError(f"a control frame of type {number} with {length} bytes")
        if kind.bare and second >> 24:
            raise SpdyError(f"a control frame of type {number} with flags")
        return length


def _stream_of(payload: bytes) -> int:
    stream_id = int(ID.unpack_from(payload)[0]) & MAX_ID
    if not stream_id:
        raise SpdyError("a control frame of stream 0")
    return stream_id


def _syn_stream(headers: HeaderDecompressor, payload: bytes, flags: int) -> Frame:
    found = headers.decompress(payload[SYN.size :])
    if "host" in found:  # what replies may have
        raise SpdyError("a header that belongs to HTTP connections")
    return SynStream(_stream_of(payload), found, bool(flags & FLAG_FIN), bool(flags & FLAG_UNIDIRECTIONAL))


def _syn_reply(headers: HeaderDecompressor, payload: bytes, flags: int) -> Frame:
    return SynReply(_stream_of(payload), headers.decompress(payload[ID.size :]), bool(flags & FLAG_FIN))


def _more_headers(headers: HeaderDecompressor, payload: bytes, flags: int) -> Frame:
    return Headers(_stream_of(payload), headers.decompress(payload[ID.size :]), bool(flags & FLAG_FIN))


def _rst_stream(_headers: HeaderDecompressor, payload: bytes, _flags: int) -> Frame:
    status = PAIR.unpack(payload)[1]
    if not status:
        raise SpdyError("a RST_STREAM without a status")
    return RstStream(_stream_of(payload), status)


def _ping(_headers: HeaderDecompressor, payload: bytes, _flags: int) -> Frame:
    ping = Ping(ID.unpack(payload)[0])
    if not ping.ping_id:
        raise SpdyError("a PING without an id")
    return ping


def _go_away(_headers: HeaderDecompressor, payload: bytes, _flags: int) -> Frame:
    last, status = PAIR.unpack(payload)
    return GoAway(last & MAX_ID, status)


def _settings(_headers: HeaderDecompressor, payload: bytes, _flags: int) -> Frame:
    if len(payload) != ID.size + 8 * ID.unpack_from(payload)[0]:
        raise SpdyError("a SETTINGS frame whose count is not that of its settings")
    return Ignored(Kind.SETTINGS)


def _window_update(_headers: HeaderDecompressor, _payload: bytes, _flags: int) -> Frame:
    return Ignored(Kind.WINDOW_UPDATE)


class _Reader(NamedTuple):
    """A type of control frame: the least length, whether it is the only one, and whether flags are refused."""

    read: Callable[[HeaderDecompressor, bytes, int], Frame]
    least: int
    exact: bool = False
    bare: bool = False


_READERS: Final[Mapping[int, _Reader]] = {
    Kind.SYN_STREAM: _Reader(_syn_stream, SYN.size),
    Kind.SYN_REPLY: _Reader(_syn_reply, ID.size),
    Kind.RST_STREAM: _Reader(_rst_stream, PAIR.size, exact=True),
    Kind.SETTINGS: _Reader(_settings, ID.size),
    Kind.PING: _Reader(_ping, ID.size, exact=True, bare=True),
    Kind.GO_AWAY: _Reader(_go_away, PAIR.size, exact=True, bare=True),
    Kind.HEADERS: _Reader(_more_headers, ID.size),
    Kind.WINDOW_UPDATE: _Reader(_window_update, PAIR.size, exact=True, bare=True),
}
