"""The channel protocols of exec and attach: one table, and the functions that read and write a message by a row of it.

Rules of this file:
- No I/O, no clock, no event loop; only the standard library.  Client and server use the same rows.
- A version is data.  What differs between versions is a column of the table, never a class.
- A WebSocket message is one channel number and a payload.  Messages are never split or joined here: the server takes every *frame* for
  a message (golang.org/x/net/websocket, hybi.go), so whoever sends must send each message as one unfragmented frame.
Sources: k8s.io/apimachinery pkg/util/remotecommand/constants.go (channels), pkg/util/httpstream/wsstream/conn.go (layout, CLOSE),
k8s.io/cri-streaming remotecommand/websocket.go (which endpoint takes which name), KEP-4006 (v5).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

__all__ = (
    "CLOSE_CHANNEL",
    "ERROR_CHANNEL",
    "MAX_SERVER_PAYLOAD",
    "PROTOCOLS",
    "RESIZE_CHANNEL",
    "STDERR_CHANNEL",
    "STDIN_CHANNEL",
    "STDOUT_CHANNEL",
    "V1",
    "V1_BASE64",
    "V4",
    "V4_BASE64",
    "V5",
    "ChannelProtocol",
    "encode_resize",
)

#: Client to server: the process's standard input.
STDIN_CHANNEL: Final = 0
#: Server to client: standard output.
STDOUT_CHANNEL: Final = 1
#: Server to client: standard error; never with a tty.
STDERR_CHANNEL: Final = 2
#: Server to client: the Status, as the last message with a payload.
ERROR_CHANNEL: Final = 3
#: Client to server: terminal sizes as JSON; only ever with a tty, since without one the second of them blocks a v5 server.
RESIZE_CHANNEL: Final = 4
#: Client to server, v5 only: ends the channel that the one payload byte names.
CLOSE_CHANNEL: Final = 255

#: The server's WebSocket library ends the connection at a frame above this (golang.org/x/net/websocket DefaultMaxPayloadBytes).
MAX_SERVER_PAYLOAD: Final = 32 * 1024 * 1024

_DIGITS = frozenset(b"0123456789")


@dataclass(frozen=True, slots=True)
class ChannelProtocol:
    """A row of the table: one WebSocket subprotocol of exec and attach.

    :ivar name: the subprotocol's name as it is negotiated; compared with its case
    :ivar half_close: whether a CLOSE message can end stdin
    :ivar json_status: whether channel 3 carries a JSON Status; otherwise it carries a text, on failure only
    :ivar base64: whether messages are text: a digit for the channel, then padded standard base64
    """

    name: str
    half_close: bool
    json_status: bool
    base64: bool

    def encode(self, channel: int, payload: bytes | bytearray | memoryview = b"") -> bytes:
        """The message that carries ``payload`` on ``channel``; for a base64 protocol the bytes of a text message.

        :raises ValueError: no such channel number
        """
        if not 0 <= channel <= 255:
            raise ValueError(f"a channel is a number from 0 to 255, not {channel}")
        if not self.base64:
            return b"".join((channel.to_bytes(1, "big"), payload))
        if channel > 9:
            raise ValueError(f"{self.name} writes channels as one digit; {channel} has none")
        return b"%d" % channel + base64.b64encode(payload)

    def decode(self, message: bytes) -> tuple[int, bytes] | None:
        """The channel and payload of a message; None for one that says nothing: empty, or not base64, which servers drop too."""
        if not message:
            return None
        if not self.base64:
            return message[0], message[1:]
        if message[0] not in _DIGITS:
            return None
        try:
            payload = base64.b64decode(message[1:], validate=True)
        except binascii.Error:
            return None
        # Padding behind whole groups is what Python lets pass and servers do not.
        return None if len(message) - 1 != (len(payload) + 2) // 3 * 4 else (message[0] - 0x30, payload)

    def encode_close(self, channel: int) -> bytes:
        """The message that half-closes ``channel``.

        :raises ValueError: this protocol has none; a server would drop it as an unknown channel
        """
        if not self.half_close:
            raise ValueError(f"{self.name or 'a connection without subprotocol'} cannot half-close a channel")
        return bytes((CLOSE_CHANNEL, channel))


V5: Final = ChannelProtocol("v5.channel.k8s.io", half_close=True, json_status=True, base64=False)
V4: Final = ChannelProtocol("v4.channel.k8s.io", half_close=False, json_status=True, base64=False)
V4_BASE64: Final = ChannelProtocol("v4.base64.channel.k8s.io", half_close=False, json_status=True, base64=True)
V1: Final = ChannelProtocol("channel.k8s.io", half_close=False, json_status=False, base64=False)
V1_BASE64: Final = ChannelProtocol("base64.channel.k8s.io", half_close=False, json_status=False, base64=True)
#: What a server speaks with a client that offered no subprotocol at all.
_UNNAMED: Final = ChannelProtocol("", half_close=False, json_status=False, base64=False)

#: Every subprotocol of exec and attach by its name.  v2 and v3 exist over SPDY only; a WebSocket server answers them with a 403.
PROTOCOLS: Final[Mapping[str, ChannelProtocol]] = MappingProxyType(
    {row.name: row for row in (V5, V4, V4_BASE64, V1, V1_BASE64, _UNNAMED)}
)


def encode_resize(*, width: int, height: int) -> bytes:
    """The payload of a resize message: capitalised keys, 16-bit sizes, a line feed (k8s.io/client-go remotecommand/v3.go).

    :param width: columns
    :param height: rows
    :raises ValueError: a size that does not fit 1 to 65535; a server that cannot decode one stops reading the whole connection
    """
    sizes: tuple[tuple[str, object], ...] = (("width", width), ("height", height))
    for name, size in sizes:
        if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= 0xFFFF:
            raise ValueError(f"{name} must be an integer from 1 to 65535, not {size!r}")
    return json.dumps({"Width": width, "Height": height}, separators=(",", ":")).encode() + b"\n"
