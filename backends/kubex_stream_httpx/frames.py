"""WebSocket frames (RFC 6455, section 5), client side, without any input or output.

Rules of this file:
- Linear in size, whatever the cuts: a payload that spans reads is kept as the pieces that came and joined once; fragments grow one
  buffer.  Memory is used for what has arrived, never for what a length field claims.
- A payload that lies within one read is handed out as a view of it: whoever needs it longer, or as ``bytes``, makes the only copy.
- Messages are binary.  A text message is an error as soon as its first header is seen, as is everything that the RFC forbids.
- The first error is final: :class:`FrameReader` raises it again on every later call.
"""

from __future__ import annotations

import os
import struct
from typing import Final, NoReturn, TypeAlias

from kubex_stream_httpx.masking import mask

__all__ = (
    "BINARY",
    "CLOSE",
    "PING",
    "PONG",
    "FrameError",
    "FrameReader",
    "Payload",
    "close_payload",
    "encode_frame",
    "parse_close",
)

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

PROTOCOL_ERROR: Final = 1002
UNSUPPORTED_DATA: Final = 1003
MESSAGE_TOO_BIG: Final = 1009
#: Stands for a Close frame without a code; never on the wire.
NO_CODE: Final = 1005

_FIN: Final = 0x80
_RESERVED: Final = 0x70
_MASKED: Final = 0x80
_LARGEST_CONTROL: Final = 125

Payload: TypeAlias = bytes | memoryview


class FrameError(Exception):
    """The peer sent what the RFC, or the limit, forbids.

    :ivar code: for the Close frame that answers it
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class FrameReader:
    """From bytes in pieces of any size to messages and control frames.

    :param limit: bytes of the largest message; 0 for none
    """

    __slots__ = ("_data", "_error", "_final", "_limit", "_message", "_missing", "_opcode", "_pieces", "_position")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = b""
        self._position = 0
        self._opcode = -1  # of the frame whose payload is incomplete; -1 for none
        self._final = False
        self._pieces: list[Payload] = []
        self._missing = 0
        self._message: bytearray | None = None  # the fragments so far
        self._error: FrameError | None = None

    @property
    def inside_message(self) -> bool:
        """Whether bytes of an incomplete frame or message have come."""
        return self._opcode >= 0 or self._message is not None or self._position < len(self._data)

    def feed(self, data: bytes) -> None:
        """Add what has been read."""
        if self._missing:
            piece: Payload = data if len(data) <= self._missing else memoryview(data)[: self._missing]
            self._pieces.append(piece)
            self._missing -= len(piece)
            self._data, self._position = data, len(piece)
            return
        left = self._data[self._position :]
        self._data, self._position = (left + data if left else data), 0

    def next(self) -> tuple[int, Payload] | None:
        """The next message (as ``BINARY``) or control frame, None until more is fed.

        :raises FrameError: the peer's mistake, also on every later call
        """
        if self._error is not None:
            raise FrameError(self._error.code, str(self._error))
        while True:
            payload = self._payload()
            if payload is None:
                return None
            opcode, self._opcode = self._opcode, -1
            if opcode >= CLOSE or (self._final and self._message is None):
                return opcode, payload
            if self._message is None:
                self._message = bytearray()
            self._message += payload
            if self._final:
                whole, self._message = self._message, None
                return BINARY, memoryview(whole)

    def run(self, first: int, size: int, limit: int) -> list[bytes]:
        """The whole messages of one frame that come next and begin with the byte ``first``, without it: each smaller than ``limit``, and
        until they and the ``size`` bytes that were taken before are about as much.

        This is :meth:`next` for a flood of small messages: it stops at whatever is not plain, and leaves it to be judged there.
        """
        pieces: list[bytes] = []
        if self._opcode >= 0 or self._message is not None or self._error is not None:
            return pieces
        data, position = self._data, self._position
        whole = len(data)
        while size < limit and position + 4 < whole and data[position] == _FIN | BINARY:
            length, start = data[position + 1], position + 2
            if length == 126:
                length, start = data[position + 2] << 8 | data[position + 3], position + 4
            elif length > 126:  # a longer length field, or a mask
                break
            end = start + length
            if not length or end > whole or data[start] != first or length >= limit or 0 < self._limit < length:
                break
            pieces.append(data[start + 1 : end])
            size += length
            position = end
        self._position = position
        return pieces

    def _payload(self) -> Payload | None:
        if self._opcode >= 0:
            if self._missing:
                return None
            whole = b"".join(self._pieces)
            self._pieces.clear()
            return whole
        length = self._header()
        if length < 0:
            return None
        start, end = self._position, self._position + length
        if end <= len(self._data):
            self._position = end
            return memoryview(self._data)[start:end]
        self._pieces.append(memoryview(self._data)[start:])
        self._missing = end - len(self._data)
        self._data, self._position = b"", 0
        return None

    def _header(self) -> int:
        """Take the next header; the length of its payload, or -1 while it is incomplete."""
        data, start = self._data, self._position
        available = len(data) - start
        if available < 2:
            return -1
        first, length = data[start], data[start + 1]
        self._check(first, length)
        size = 2
        if length == 126:
            size = 4
        elif length == 127:
            size = 10
        if available < size:
            return -1
        if size > 2:
            length = int.from_bytes(data[start + 2 : start + size], "big")
        if self._limit and first & 0xF < CLOSE:
            total = length + len(self._message or b"")
            if total > self._limit:
                self._fail(
                    f"a message of more than {self._limit} bytes came, which ws_max_message_size forbids",
                    MESSAGE_TOO_BIG,
                )
        self._position = start + size
        self._opcode = first & 0xF
        if self._opcode < CLOSE:
            self._final = bool(first & _FIN)
        return length

    def _check(self, first: int, second: int) -> None:
        opcode = first & 0xF
        if first & _RESERVED:
            self._fail("a frame has reserved bits set, though no extension was negotiated")
        if second & _MASKED:
            self._fail("a frame of the server is masked")
        if opcode in (CLOSE, PING, PONG):
            if not first & _FIN:
                self._fail("a control frame is fragmented")
            if second > _LARGEST_CONTROL:
                self._fail("a control frame is longer than 125 bytes")
        elif opcode == TEXT:
            self._fail("a text message, where only binary ones are allowed", UNSUPPORTED_DATA)
        elif opcode == CONTINUATION:
            if self._message is None:
                self._fail("a continuation frame continues nothing")
        elif opcode == BINARY:
            if self._message is not None:
                self._fail("a new message begins inside of a fragmented one")
        else:
            self._fail(f"the opcode {opcode} is unknown")

    def _fail(self, text: str, code: int = PROTOCOL_ERROR) -> NoReturn:
        self._error = FrameError(code, text)
        raise self._error


def encode_frame(opcode: int, payload: bytes | bytearray | memoryview, key: bytes | None = None) -> bytes:
    """One FIN frame, masked.

    :param key: the four bytes of the mask; None for random ones
    """
    key = key or os.urandom(4)
    length = memoryview(payload).nbytes
    if length < 126:
        head = bytes((_FIN | opcode, _MASKED | length))
    elif length < 65536:
        head = struct.pack("!BBH", _FIN | opcode, _MASKED | 126, length)
    else:
        head = struct.pack("!BBQ", _FIN | opcode, _MASKED | 127, length)
    return b"".join((head, key, mask(payload, key)))


def close_payload(code: int, reason: str = "") -> bytes:
    """The payload of a Close frame."""
    return struct.pack("!H", code) + reason.encode()[: _LARGEST_CONTROL - 2]


def parse_close(payload: Payload) -> tuple[int, str]:
    """Code and reason of a Close frame; 1005 for one without a code.

    :raises FrameError: a payload of one byte
    """
    content = bytes(payload)
    if not content:
        return NO_CODE, ""
    if len(content) == 1:
        raise FrameError(PROTOCOL_ERROR, "a Close frame has half a code")
    return int.from_bytes(content[:2], "big"), content[2:].decode("utf-8", "replace")
