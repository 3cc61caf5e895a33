"""What a client has said, as far as a recording can wait for it: how input is cut into messages is the client's affair.

Of a tunnel the streams count: that they are opened as recorded, what is sent on them, and that those for data end.  Pings, GOAWAY, request
ids, and the moment at which a client ends an error stream are its own affair.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Protocol, Self

from kubex_stream.protocol.channels import CLOSE_CHANNEL, PROTOCOLS, RESIZE_CHANNEL, STDIN_CHANNEL, ChannelProtocol
from kubex_stream.protocol.spdy_connection import (
    DataReceived,
    Failed,
    SpdyConnection,
    StreamEnded,
    StreamOpened,
    StreamReset,
)
from kubex_stream.testing import frames

__all__ = ("Heard", "listen")


class Heard(Protocol):
    """What was said up to some moment."""

    def add(self, opcode: int, payload: bytes) -> None:
        """Take a frame of the client."""

    def reaches(self, expected: Self) -> bool:
        """Whether everything in ``expected`` has been said.

        :raises AssertionError: something else has
        """


def _check(said: bytes, expected: bytes) -> bool:
    """Whether ``expected`` has been said.

    :raises AssertionError: something else has
    """
    common = min(len(said), len(expected))
    if said[:common] != expected[:common]:
        raise AssertionError("the client's input is not the recorded one")
    return len(said) >= len(expected)


class _HeardSession:
    """An exec or attach."""

    def __init__(self, row: ChannelProtocol) -> None:
        self._row = row
        self.stdin = b""
        self.sizes = 0
        self.half_closed = self.closed = False

    def add(self, opcode: int, payload: bytes) -> None:
        if opcode == frames.CLOSE:
            self.closed = True
        elif opcode < frames.CLOSE:
            self._add_message(self._row.decode(payload))

    def _add_message(self, message: tuple[int, bytes] | None) -> None:
        if message is None:
            return
        channel, payload = message
        if channel == STDIN_CHANNEL:
            self.stdin += payload
        elif channel == RESIZE_CHANNEL:
            self.sizes += 1
        elif channel == CLOSE_CHANNEL and self._row.half_close and payload == bytes((STDIN_CHANNEL,)):
            self.half_closed = True

    def reaches(self, expected: _HeardSession) -> bool:
        return (
            _check(self.stdin, expected.stdin)
            and self.sizes >= expected.sizes
            and self.half_closed >= expected.half_closed
            and self.closed >= expected.closed
        )


class _HeardForward:
    """A port-forward of the older protocol."""

    def __init__(self, row: ChannelProtocol) -> None:
        self._row = row
        self.channels: defaultdict[int, bytes] = defaultdict(bytes)
        self.closed = False

    def add(self, opcode: int, payload: bytes) -> None:
        if opcode == frames.CLOSE:
            self.closed = True
        elif opcode < frames.CLOSE and (message := self._row.decode(payload)) is not None:
            self.channels[message[0]] += message[1]

    def reaches(self, expected: _HeardForward) -> bool:
        said = [_check(self.channels[channel], data) for channel, data in expected.channels.items()]
        return all(said) and self.closed >= expected.closed


@dataclass(slots=True)
class _Stream:
    kind: str
    port: str
    data: bytes = b""
    ended: bool = False
    reset: bool = False


class _HeardTunnel:
    """A port-forward through a tunnel."""

    def __init__(self) -> None:
        self._spdy = SpdyConnection(client=False)
        self.streams: dict[int, _Stream] = {}
        self.closed = self.broken = False

    def add(self, opcode: int, payload: bytes) -> None:
        if opcode == frames.CLOSE:
            self.closed = True
        if opcode >= frames.CLOSE:
            return
        for event in self._spdy.receive(payload):
            match event:
                case StreamOpened(stream_id, headers, _):
                    self.streams[stream_id] = _Stream(headers.get("streamtype", ""), headers.get("port", ""))
                case DataReceived(stream_id, data):
                    self.streams[stream_id].data += data
                case StreamEnded(stream_id):
                    self.streams[stream_id].ended = True
                case StreamReset(stream_id):
                    self.streams[stream_id].reset = True
                case Failed():
                    self.broken = True

    def reaches(self, expected: _HeardTunnel) -> bool:
        said = [self._has(stream_id, stream) for stream_id, stream in expected.streams.items()]
        return all(said) and self.closed >= expected.closed and self.broken >= expected.broken

    def _has(self, stream_id: int, expected: _Stream) -> bool:
        stream = self.streams.get(stream_id)
        if stream is None:
            return False
        if (stream.kind, stream.port) != (expected.kind, expected.port):
            raise AssertionError(f"the client's stream {stream_id} is not the recorded one")
        complete = _check(stream.data, expected.data) and stream.reset >= expected.reset
        return complete and (stream.ended >= expected.ended or expected.kind != "data")


def listen(subprotocol: str, *, forward: bool) -> tuple[Heard, Heard]:
    """Two listeners of a kind: one for what a client says, and one for what the recorded one said.

    :param forward: whether it is a port-forward
    """
    if subprotocol not in PROTOCOLS:
        return _HeardTunnel(), _HeardTunnel()
    row = PROTOCOLS[subprotocol]
    return (_HeardForward(row), _HeardForward(row)) if forward else (_HeardSession(row), _HeardSession(row))
