"""WebSocket frames as a server of golang.org/x/net/websocket handles them; sans-I/O.

Rules of this file:
- A frame is a message.  Nothing is joined: a continuation is handed out like any other frame (x/net hybi.go, HandleFrame).
- Nothing is judged: masks, reserved bits and opcodes are reported, and whoever reads decides.  The one exception is the length, which
  the real server refuses at the header, before the payload is there.
- Both directions are here, so that a scripted peer can send what a real server never would.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import Final

from kubex_stream.protocol.channels import MAX_SERVER_PAYLOAD

__all__ = (
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "TEXT",
    "Frame",
    "FrameReader",
    "FrameTooLarge",
    "close_payload",
    "encode_frame",
    "xor_mask",
)

CONTINUATION: Final = 0
TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10


class FrameTooLarge(Exception):
    """A frame's header announces more than the reader takes."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, its payload unmasked.

    :ivar opcode: 0 to 15; reserved ones too
    :ivar payload: the bytes
    :ivar fin: the FIN bit
    :ivar rsv: the three reserved bits as a number from 0 to 7
    :ivar masked: whether the sender had masked it
    """

    opcode: int
    payload: bytes
    fin: bool = True
    rsv: int = 0
    masked: bool = False


def xor_mask(payload: bytes, key: bytes) -> bytes:
    """``payload`` masked, or unmasked, with the four bytes of ``key``."""
    size = len(payload)
    pattern = (key * (size // 4 + 1))[:size]
    # One operation on one huge number is the fastest XOR that the standard library has.
    return (int.from_bytes(payload, "little") ^ int.from_bytes(pattern, "little")).to_bytes(size, "little")


def encode_frame(opcode: int, payload: bytes, *, fin: bool = True, rsv: int = 0, masked: bool = False) -> bytes:
    """The bytes of a frame.

    :param masked: mask it with a random key, as clients must and servers must not
    :raises ValueError: an opcode above 15 or reserved bits above 7
    """
    if not 0 <= opcode <= 15 or not 0 <= rsv <= 7:
        raise ValueError(f"a frame has an opcode from 0 to 15 and reserved bits from 0 to 7, not {opcode} and {rsv}")
    first, mask_bit, size = (0x80 if fin else 0) | rsv << 4 | opcode, 0x80 if masked else 0, len(payload)
    if size < 126:
        header = struct.pack("!BB", first, mask_bit | size)
    elif size < 65536:
        header = struct.pack("!BBH", first, mask_bit | 126, size)
    else:
        header = struct.pack("!BBQ", first, mask_bit | 127, size)
    if not masked:
        return header + payload
    key = os.urandom(4)
    return header + key + xor_mask(payload, key)


def close_payload(code: int, reason: str = "") -> bytes:
    """The payload of a Close frame."""
    return struct.pack("!H", code) + reason.encode()


class FrameReader:
    """Cuts a byte stream into frames.

    :param max_payload: the longest payload taken; None for any
    """

    def __init__(self, *, max_payload: int | None = MAX_SERVER_PAYLOAD) -> None:
        self._max_payload = max_payload
        self._buffer = bytearray()

    @property
    def buffered(self) -> int:
        """Bytes that wait for the rest of their frame."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take bytes from the connection."""
        self._buffer += data

    def next_frame(self) -> Frame | None:
        """The next whole frame, or None: more bytes are needed.

        :raises FrameTooLarge: as soon as its header is there
        """
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        masked, size, start = bool(buffer[1] & 0x80), buffer[1] & 0x7F, 2
        if size >= 126:
            start = 4 if size == 126 else 10
            if len(buffer) < start:
                return None
            size = int.from_bytes(buffer[2:start], "big")
        if self._max_payload is not None and size > self._max_payload:
            raise FrameTooLarge(f"a frame of {size} bytes; at most {self._max_payload} are taken")
        body = start + (4 if masked else 0)
        if len(buffer) < body + size:
            return None
        first = buffer[0]
        payload = bytes(memoryview(buffer)[body : body + size])
        if masked:
            payload = xor_mask(payload, bytes(buffer[start:body]))
        del buffer[: body + size]
        return Frame(first & 0x0F, payload, bool(first & 0x80), first >> 4 & 7, masked)
