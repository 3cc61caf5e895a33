"""SPDY/3.1 frames: what there are, and their bytes; sans-I/O.

    control frame   1 | version 3 (15 bits) | type (16) | flags (8) | length (24) | payload
    data frame      0 | stream (31)                     | flags (8) | length (24) | payload

Sources: SPDY protocol draft 3.1, sections 2.2 and 2.6; github.com/moby/spdystream spdy/types.go and read.go (what the Go ends refuse).
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple

from kubex_stream.protocol.spdy_headers import SpdyError

__all__ = (
    "CANCEL",
    "FLAG_FIN",
    "FLAG_UNIDIRECTIONAL",
    "HEAD",
    "ID",
    "MAX_DATA",
    "MAX_ID",
    "OK",
    "PAIR",
    "PROTOCOL_ERROR",
    "REFUSED_STREAM",
    "SYN",
    "Broken",
    "Data",
    "Frame",
    "GoAway",
    "Headers",
    "Ignored",
    "Kind",
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
FLAG_UNIDIRECTIONAL: Final = 0x02
#: Payload bytes of the largest DATA frame.
MAX_DATA: Final = 2**24 - 1
MAX_ID: Final = 2**31 - 1


# Statuses of RST_STREAM.
PROTOCOL_ERROR: Final = 1
REFUSED_STREAM: Final = 3
CANCEL: Final = 5
#: The status of a GOAWAY in good order.
OK: Final = 0

#: What every frame begins with: its first bit and what follows it, then flags and length.
HEAD: Final = struct.Struct(">II")
# What control frames begin with.
ID: Final = struct.Struct(">I")
PAIR: Final = struct.Struct(">II")
SYN: Final = struct.Struct(">IIBB")


class Kind(IntEnum):
    """Types of control frames."""

    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GO_AWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


class Data(NamedTuple):
    """Payload of a stream: a DATA frame, or as much of one as has come.

    :ivar fin: the stream's end; only ever with the last piece of a frame
    """

    stream_id: int
    payload: bytes | memoryview
    fin: bool


class SynStream(NamedTuple):
    """A stream is opened.

    :ivar unidirectional: only its opener may send
    """

    stream_id: int
    headers: dict[str, str]
    fin: bool
    unidirectional: bool = False


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
    """Any control frame.

    :raises ValueError: the payload is too large for a frame
    """
    if len(payload) > MAX_DATA:
        raise ValueError(f"{len(payload)} bytes do not fit into a frame, which holds {MAX_DATA}")
    return HEAD.pack(0x80030000 | kind, flags << 24 | len(payload)) + payload


def data_header(stream_id: int, size: int, *, fin: bool = False) -> bytes:
    """The eight bytes before ``size`` bytes of payload.

    :raises ValueError: the payload is too large for a frame
    """
    if size > MAX_DATA:
        raise ValueError(f"{size} bytes do not fit into a DATA frame, which holds {MAX_DATA}")
    return HEAD.pack(_checked(stream_id), (FLAG_FIN if fin else 0) << 24 | size)


def encode_syn_stream(stream_id: int, block: bytes, *, fin: bool = False) -> bytes:
    """SYN_STREAM, at the highest priority, without an associated stream."""
    return control_frame(Kind.SYN_STREAM, SYN.pack(_checked(stream_id), 0, 0, 0) + block, FLAG_FIN if fin else 0)


def encode_syn_reply(stream_id: int, block: bytes, *, fin: bool = False) -> bytes:
    """SYN_REPLY."""
    return control_frame(Kind.SYN_REPLY, ID.pack(_checked(stream_id)) + block, FLAG_FIN if fin else 0)


def encode_rst_stream(stream_id: int, status: int) -> bytes:
    """RST_STREAM.

    :raises ValueError: the status 0, which is illegal
    """
    if status == 0:
        raise ValueError("RST_STREAM has no status 0")
    return control_frame(Kind.RST_STREAM, PAIR.pack(_checked(stream_id), status))


def encode_ping(ping_id: int) -> bytes:
    """PING."""
    return control_frame(Kind.PING, ID.pack(ping_id))


def encode_go_away(last_stream_id: int, status: int = OK) -> bytes:
    """GOAWAY."""
    return control_frame(Kind.GO_AWAY, PAIR.pack(last_stream_id, status))


def _checked(stream_id: int) -> int:
    if not 0 < stream_id <= MAX_ID:
        raise ValueError(f"{stream_id} cannot be the id of a stream")
    return stream_id
