"""The parts without a connection: the channel codec and the SPDY framer, fed from memory, beside one slice of each message.

A "command" here is that of the load server, ``down FRAME TOTAL``: its sizes say how much of what.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.clients.base import Client
from kubex_stream.protocol import spdy
from kubex_stream.protocol.channels import STDIN_CHANNEL, STDOUT_CHANNEL, V5
from kubex_stream.protocol.spdy_connection import SpdyConnection
from kubex_stream.protocol.spdy_decoder import FrameDecoder

__all__ = ("Decode", "Encode", "Slice", "SpdyDecode", "SpdyEncode")


class Slice(Client):
    """The least that taking a message apart can cost: one copy of its payload."""

    async def down(self, command: Sequence[str]) -> int:
        size, total, moved = int(command[1]), int(command[2]), 0
        message = bytes((STDOUT_CHANNEL,)) + bytes(size)
        for _ in range(total // size):
            moved += len(message[1:])
        return moved


class Decode(Client):
    """Messages to channels and payloads."""

    async def down(self, command: Sequence[str]) -> int:
        size, total, moved = int(command[1]), int(command[2]), 0
        message, decode = bytes((STDOUT_CHANNEL,)) + bytes(size), V5.decode
        for _ in range(total // size):
            decoded = decode(message)
            if decoded is not None:
                moved += len(decoded[1])
        return moved


class Encode(Client):
    """Channels and payloads to messages."""

    async def down(self, command: Sequence[str]) -> int:
        size, total, moved = int(command[1]), int(command[2]), 0
        payload, encode = bytes(size), V5.encode
        for _ in range(total // size):
            moved += len(encode(STDIN_CHANNEL, payload)) - 1
        return moved


class SpdyDecode(Client):
    """Messages of a tunnel to DATA frames; the head of each has a message of its own, as servers send it."""

    async def down(self, command: Sequence[str]) -> int:
        size, total, moved = int(command[1]), int(command[2]), 0
        decoder, head, payload = FrameDecoder(65536), spdy.data_header(1, size), bytes(size)
        for _ in range(total // size):
            for message in (head, payload):
                for frame in decoder.feed(message):
                    if isinstance(frame, spdy.Data):
                        moved += len(frame.payload)
        return moved


class SpdyEncode(Client):
    """Payload to DATA frames."""

    async def down(self, command: Sequence[str]) -> int:
        size, total, moved = int(command[1]), int(command[2]), 0
        connection, payload = SpdyConnection(client=True), bytes(size)
        stream_id, _ = connection.open_stream({"port": "80"})
        for _ in range(total // size):
            moved += len(connection.data(stream_id, payload)) - spdy.HEAD.size
        return moved
