"""Messages taken apart: ``receive_payload``, which a transport may leave to its default."""

from __future__ import annotations

import itertools

import anyio
import anyio.lowlevel
import pytest

from kubex_stream.client.websocket import WebSocketConnection
from kubex_stream.errors import ConnectionLost, ProtocolViolation
from kubex_stream.testing.conformance.base import Conformance, Connect
from kubex_stream.testing.conformance.raw import (
    PING,
    PONG,
    TEXT,
    Peer,
    RawServer,
    close_frame,
    ends_after,
    frame,
    sends,
)

__all__ = ("Payloads",)

LIMITS = (0, 40, 32 * 1024)
MESSAGES = [
    *(b"\x01" + b"%d," % number for number in range(50)),
    b"",
    *[b"\x02err"] * 3,
    *(b"\x01" + bytes([number]) * 1000 for number in range(40)),
    b"\x01" + b"L" * 70_000,
    *[b"\x01", b"\x01s", b"\x02"],
    b"\x03status",
]


class Payloads(Conformance):
    """Messages taken apart, alone and joined."""

    @pytest.mark.parametrize("join", LIMITS)
    @pytest.mark.parametrize("cut", [1, 7, 1009, 10**9])
    async def test_each_byte_comes_once_in_order_and_on_its_channel(
        self, connect: Connect, join: int, cut: int
    ) -> None:
        stream = bytearray()
        for number, message in enumerate(MESSAGES):
            stream += frame(message) + (frame(b"?", PING) if number % 13 == 5 else b"")
        pieces = [bytes(stream[start : start + cut]) for start in range(0, len(stream) if cut > 1 else 3000, cut)]
        if cut == 1:
            pieces.append(bytes(stream[3000:]))
        with RawServer(sends(*pieces, then=ends_after(close_frame(1000)))) as server:
            async with connect(server.url) as websocket:
                received: list[tuple[int, bytes, int]] = []
                with pytest.raises(StopAsyncIteration):
                    await payloads(websocket, join, received)
        assert sum(count for _, _, count in received) == len(MESSAGES)
        assert by_channel(received) == by_channel(
            [(message[0] if message else -1, message[1:], 1) for message in MESSAGES]
        )
        if not join:
            assert [(channel, payload) for channel, payload, _ in received] == [
                (message[0] if message else -1, message[1:]) for message in MESSAGES
            ]

    @pytest.mark.parametrize(
        ("ending", "error"),
        [(close_frame(1011), ConnectionLost), (frame(b"text", TEXT), ProtocolViolation), (b"\x82", ConnectionLost)],
        ids=["close", "violation", "cut"],
    )
    async def test_what_was_joined_comes_before_the_end(
        self, connect: Connect, ending: bytes, error: type[Exception]
    ) -> None:
        stream = b"".join(frame(b"\x01" + bytes([number])) for number in range(100)) + frame(b"", PONG) + ending
        # Who has broken the protocol is left at once, and may find that its connection is gone.
        then = Peer.rest if error is ProtocolViolation else ends_after(b"")
        with RawServer(sends(stream, then=then)) as server:
            async with connect(server.url) as websocket:
                received: list[tuple[int, bytes, int]] = []
                with pytest.raises(error):
                    await payloads(websocket, 1 << 20, received)
        assert b"".join(payload for _, payload, _ in received) == bytes(range(100))

    async def test_messages_of_that_size_are_left_alone(self, connect: Connect) -> None:
        """They are not copied once more, and memory is bounded."""
        sent = [
            b"\x01" + b"s" * 9,
            b"\x01" + b"s" * 50,
            b"\x01" + b"L" * 200,
            b"\x01" + b"M" * 99,
            b"\x01" + b"s" * 98,
        ] * 20
        with RawServer(sends(b"".join(map(frame, sent)), then=ends_after(close_frame(1000)))) as server:
            async with connect(server.url) as websocket:
                received: list[tuple[int, bytes, int]] = []
                with pytest.raises(StopAsyncIteration):
                    await payloads(websocket, 100, received)
        assert b"".join(payload for _, payload, _ in received) == b"".join(message[1:] for message in sent)
        for _, payload, count in received:
            assert len(payload) < 200 or count == 1
            assert b"L" not in payload or payload == b"L" * 200
            assert b"M" not in payload or payload == b"M" * 99

    async def test_a_cancelled_one_loses_nothing(self, connect: Connect) -> None:
        sent = [b"\x01" + bytes([number % 251]) * 40 for number in range(2000)]
        stream = b"".join(map(frame, sent))
        pieces = [stream[start : start + 333] for start in range(0, len(stream), 333)]
        received = bytearray()
        with RawServer(sends(*pieces)) as server:
            async with connect(server.url) as websocket:
                for attempt in itertools.count():
                    with anyio.CancelScope() as scope:
                        if attempt % 2:
                            scope.cancel()
                        received += (await websocket.receive_payload(500))[1]
                    if len(received) == 40 * len(sent):
                        break
                    if attempt % 2:
                        await anyio.lowlevel.checkpoint()
        assert received == b"".join(message[1:] for message in sent)

    async def test_the_other_ways_of_receiving_may_be_mixed_in(self, connect: Connect) -> None:
        stream = b"".join(frame(b"\x01a") + frame(b"\x01b") + frame(b"\x02c") + frame(b"\x02d") for _ in range(25))
        with RawServer(sends(stream)) as server:
            async with connect(server.url) as websocket:
                received = b""
                while len(received) < 100:
                    received += (await websocket.receive_payload(3))[1]
                    if len(received) < 100:
                        received += (await websocket.receive_bytes())[1:]
        assert received == b"abcd" * 25


async def payloads(websocket: WebSocketConnection, join: int, received: list[tuple[int, bytes, int]]) -> None:
    """Receive until that fails."""
    while True:
        received.append(await websocket.receive_payload(join))


def by_channel(received: list[tuple[int, bytes, int]]) -> list[tuple[int, bytes]]:
    """What came, with neighbours of one channel put together."""
    return [
        (channel, b"".join(payload for _, payload, _ in group))
        for channel, group in itertools.groupby(received, key=lambda each: each[0])
    ]
