"""Receiving from an open WebSocket: messages, limits, what the protocol forbids."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from kubex_stream.errors import ConnectionLost, ProtocolViolation
from kubex_stream.testing.conformance.base import Conformance, Connect
from kubex_stream.testing.conformance.claims import needs
from kubex_stream.testing.conformance.raw import (
    CLOSE,
    PING,
    TEXT,
    Peer,
    RawServer,
    close_frame,
    ends_after,
    frame,
    sends,
)

__all__ = ("Receiving",)


class Receiving(Conformance):
    """Receiving from an open WebSocket: messages, limits, what the protocol forbids."""

    async def test_messages_come_whole_and_in_order(self, connect: Connect) -> None:
        messages = [b"", b"a", b"b" * 125, b"c" * 126, b"d" * 65535, b"e" * 65536, b"f" * 300_000]
        with RawServer(sends(b"".join(map(frame, messages)))) as server:
            async with connect(server.url) as websocket:
                assert [await websocket.receive_bytes() for _ in messages] == messages

    async def test_messages_that_came_with_the_101(self, connect: Connect) -> None:
        def handle(peer: Peer) -> None:
            peer.accept("v4.channel.k8s.io", frame(b"one"), frame(b"two")[:2])
            peer.send(frame(b"two")[2:])
            peer.rest()

        with RawServer(handle) as server:
            async with connect(server.url) as websocket:
                assert await websocket.receive_bytes() == b"one"
                assert await websocket.receive_bytes() == b"two"

    async def test_frames_in_single_bytes(self, connect: Connect) -> None:
        stream = frame(b"one") + frame(b"x" * 200) + frame(b"ping", PING) + frame(b"three")
        with RawServer(sends(*(bytes([byte]) for byte in stream))) as server:
            async with connect(server.url) as websocket:
                assert [await websocket.receive_bytes() for _ in range(3)] == [b"one", b"x" * 200, b"three"]

    async def test_fragments_are_put_together(self, connect: Connect) -> None:
        pieces = [
            frame(b"a", fin=False),
            frame(b"", 0, fin=False),
            frame(b"?", PING),
            frame(b"b", 0, fin=False),
            frame(b"c", 0),
            frame(b"d"),
        ]
        with RawServer(sends(*pieces)) as server:
            async with connect(server.url) as websocket:
                assert await websocket.receive_bytes() == b"abc"
                assert await websocket.receive_bytes() == b"d"

    @needs("many_fragments")
    async def test_many_fragments_take_linear_time(self, connect: Connect) -> None:
        count = 20_000
        stream = frame(b"x" * 50, fin=False) + frame(b"y" * 50, 0, fin=False) * count + frame(b"z", 0)
        with RawServer(sends(stream)) as server:
            async with connect(server.url) as websocket:
                assert await websocket.receive_bytes() == b"x" * 50 + b"y" * 50 * count + b"z"

    async def test_iteration_ends_in_order(self, connect: Connect) -> None:
        with RawServer(sends(frame(b"1"), frame(b"2"), then=ends_after(close_frame(1000)))) as server:
            async with connect(server.url) as websocket:
                assert [message async for message in websocket] == [b"1", b"2"]

    async def test_a_cancelled_receive_loses_nothing(self, connect: Connect) -> None:
        count = 400

        def handle(peer: Peer) -> None:
            peer.accept()
            for number in range(count):
                peer.send(frame(number.to_bytes(4, "big") * 100)[:7])
                peer.send(frame(number.to_bytes(4, "big") * 100)[7:])
            peer.rest()

        received: list[int] = []
        with RawServer(handle) as server:
            async with connect(server.url) as websocket:
                for attempt in range(100_000):
                    with anyio.CancelScope() as scope:
                        if attempt % 3:
                            scope.cancel()
                        else:
                            scope.deadline = anyio.current_time() + 0.0002
                        received.append(int.from_bytes((await websocket.receive_bytes())[:4], "big"))
                    if len(received) == count:
                        break
                    if attempt % 3:
                        await anyio.lowlevel.checkpoint()
        assert received == list(range(count))

    async def test_the_limit_itself_is_allowed(self, connect: Connect) -> None:
        with RawServer(sends(frame(b"x" * 1000), frame(b"y" * 500, fin=False), frame(b"y" * 500, 0))) as server:
            async with connect(server.url, ws_max_message_size=1000) as websocket:
                assert await websocket.receive_bytes() == b"x" * 1000
                assert await websocket.receive_bytes() == b"y" * 1000

    @pytest.mark.parametrize(
        "pieces",
        [
            pytest.param([frame(b"x" * 1001)], id="frame"),
            pytest.param([frame(b"", size=2**62)], id="announced"),
            pytest.param([frame(b"x" * 600, fin=False), frame(b"x" * 600, 0)], id="fragments"),
        ],
    )
    async def test_a_message_over_the_limit(self, connect: Connect, pieces: list[bytes]) -> None:
        last: list[int] = []

        def handle(peer: Peer) -> None:
            peer.accept()
            peer.send(frame(b"before"))
            for piece in pieces:
                peer.send(piece)
            last.append(peer.frame().code)
            peer.rest()

        with RawServer(handle) as server:
            async with connect(server.url, ws_max_message_size=1000) as websocket:
                assert await websocket.receive_bytes() == b"before"
                for _ in range(2):
                    with pytest.raises(ProtocolViolation, match="1000 bytes"):
                        await websocket.receive_bytes()
                assert websocket.closed
        assert last == [1009]

    async def test_no_limit(self, connect: Connect) -> None:
        with RawServer(sends(frame(b"x" * 3_000_000))) as server:
            async with connect(server.url, ws_max_message_size=None) as websocket:
                assert await websocket.receive_bytes() == b"x" * 3_000_000

    @pytest.mark.parametrize(
        ("bad", "code"),
        [
            pytest.param(frame(b"text", TEXT), 1003, id="text"),
            pytest.param(frame(b"", TEXT), 1003, id="empty-text"),
            pytest.param(frame(b"x", 3), 1002, id="opcode"),
            pytest.param(frame(b"x", 0), 1002, id="continuation"),
            pytest.param(bytes([0xC2, 1]) + b"x", 1002, id="rsv"),
            pytest.param(frame(b"x", PING, fin=False), 1002, id="fragmented-ping"),
            pytest.param(frame(b"x" * 126, PING), 1002, id="long-ping"),
            pytest.param(frame(b"\x03", CLOSE), 1002, id="short-close"),
            pytest.param(frame(b"a", fin=False) + frame(b"b"), 1002, id="interrupted"),
        ],
    )
    async def test_what_the_protocol_forbids(self, connect: Connect, bad: bytes, code: int) -> None:
        last: list[int] = []

        def handle(peer: Peer) -> None:
            peer.accept()
            peer.send(frame(b"before") + bad)
            last.append(peer.frame().code)
            peer.rest()

        with RawServer(handle) as server:
            async with connect(server.url) as websocket:
                assert await websocket.receive_bytes() == b"before"
                for _ in range(2):
                    with pytest.raises(ProtocolViolation):
                        await websocket.receive_bytes()
                assert websocket.closed
                with pytest.raises(ConnectionLost):
                    await websocket.send_bytes(b"x")
        assert last == [code]
