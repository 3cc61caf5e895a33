"""Sending over an open WebSocket, pings included; the other side may not read."""

from __future__ import annotations

import threading
from contextlib import suppress

import anyio
import anyio.lowlevel
import pytest

from kubex_stream.client import WebSocketConnection
from kubex_stream.errors import ConnectionLost
from kubex_stream.testing.conformance.base import Conformance, Connect
from kubex_stream.testing.conformance.claims import needs
from kubex_stream.testing.conformance.peers import send_until_the_end
from kubex_stream.testing.conformance.raw import (
    CLOSE,
    PING,
    PONG,
    Frame,
    Peer,
    RawServer,
    frame,
)

__all__ = ("Sending",)


def pong_of(websocket: WebSocketConnection) -> float | None:
    """The time of its last pong now."""
    return websocket.last_pong


async def fill(websocket: WebSocketConnection, *, size: int = 65536) -> int:
    """Send until a send does not return any more, and cancel that one."""
    sent = 0
    while True:
        with anyio.move_on_after(0.3) as scope:
            await websocket.send_bytes(bytes([sent % 251]) * size)
        sent += 1
        if scope.cancelled_caught:
            return sent


class Stalled:
    """A server that does not read until it is told to."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.payloads: list[bytes] = []
        self.codes: list[int] = []

    def __call__(self, peer: Peer) -> None:
        peer.accept()
        peer.send(frame(b"hello"))
        assert self.go_on.wait(20)
        while True:
            try:
                item = peer.frame()
            except (EOFError, ConnectionResetError):
                return
            if item.opcode == CLOSE:
                self.codes.append(item.code)
                peer.send(frame(item.payload, CLOSE))
                return
            if item.opcode == PING:
                peer.send(frame(item.payload, PONG))
            elif item.opcode == 2:
                self.payloads.append(item.payload)


class Sending(Conformance):
    """Sending over an open WebSocket, pings included; the other side may not read."""

    async def test_a_message_is_one_masked_frame(self, connect: Connect) -> None:
        messages = [b"", b"a", b"b" * 125, b"c" * 126, b"d" * 65535, b"e" * 65536, b"f" * 1_000_000]
        received: list[Frame] = []

        def handle(peer: Peer) -> None:
            peer.accept()
            received.extend(peer.frame() for _ in messages)

        with RawServer(handle) as server:
            async with connect(server.url) as websocket:
                for message in messages:
                    await websocket.send_bytes(message)
                with pytest.raises(ConnectionLost):
                    await websocket.receive_bytes()
        assert [item.payload for item in received] == messages
        assert all(item.fin and item.masked and item.opcode == 2 for item in received)

    async def test_bytes_like(self, connect: Connect) -> None:
        numbers = memoryview(bytearray(range(16)))
        messages: list[bytearray | memoryview] = [
            bytearray(b"array"),
            memoryview(b"view"),
            numbers[::2],
            numbers.cast("I"),
        ]
        payloads: list[bytes] = []

        def handle(peer: Peer) -> None:
            peer.accept()
            payloads.extend(peer.frame().payload for _ in messages)

        with RawServer(handle) as server:
            async with connect(server.url) as websocket:
                for message in messages:
                    await websocket.send_bytes(message)
                with pytest.raises(ConnectionLost):
                    await websocket.receive_bytes()
        assert payloads == [b"array", b"view", bytes(range(0, 16, 2)), bytes(range(16))]

    async def test_what_is_sent_is_the_callers_again(self, connect: Connect) -> None:
        payloads: list[bytes] = []

        def handle(peer: Peer) -> None:
            peer.accept()
            payloads.extend(peer.frame().payload for _ in range(2))

        with RawServer(handle) as server:
            async with connect(server.url) as websocket:
                buffer = bytearray(b"one")
                await websocket.send_bytes(buffer)
                buffer[:] = b"two"
                await websocket.send_bytes(buffer)
                with pytest.raises(ConnectionLost):
                    await websocket.receive_bytes()
        assert payloads == [b"one", b"two"]

    async def test_a_cancelled_send_leaves_no_half_frame(self, connect: Connect) -> None:
        stalled = Stalled()
        with RawServer(stalled, receive_buffer=4096) as server:
            async with connect(server.url, close_timeout=10.0) as websocket:
                sent = await fill(websocket)
                stalled.go_on.set()
                # Either all of it goes on, or nothing can be sent any more.
                try:
                    for number in range(20):
                        await websocket.send_bytes(b"after%d" % number)
                except ConnectionLost:
                    assert "sends_go_on" not in self.transport.claims
                else:
                    assert await websocket.receive_bytes() == b"hello"
                    await websocket.close()
                    assert stalled.payloads[-20:] == [b"after%d" % number for number in range(20)]
                    assert stalled.codes == [1000]
        whole = [bytes([number % 251]) * 65536 for number in range(sent)]
        assert [payload for payload in stalled.payloads if not payload.startswith(b"after")] in (whole, whole[:-1])

    async def test_two_cancelled_sends_do_not_cancel_a_third(self, connect: Connect) -> None:
        stalled = Stalled()
        with RawServer(stalled, receive_buffer=4096) as server:
            async with connect(server.url, close_timeout=10.0) as websocket:
                await fill(websocket)
                lost = False

                async def send(data: bytes) -> None:
                    nonlocal lost
                    try:
                        await websocket.send_bytes(data)
                    except ConnectionLost:
                        lost = True

                # More than any library takes in without waiting.
                with anyio.move_on_after(0.1):
                    await send(b"x" * 1_000_000)
                async with anyio.create_task_group() as group:
                    group.start_soon(send, b"y" * 1_000_000)
                    await anyio.wait_all_tasks_blocked()
                    if "ping" in self.transport.claims:
                        with suppress(ConnectionLost):
                            await websocket.ping()
                    stalled.go_on.set()
                if lost:
                    assert "sends_go_on" not in self.transport.claims
                else:
                    await websocket.close()
                    assert stalled.payloads[-1] == b"y" * 1_000_000
                    assert {len(payload) for payload in stalled.payloads[:-1]} <= {65536, 1_000_000}

    async def test_reading_goes_on_while_a_send_is_blocked(self, connect: Connect) -> None:
        """Full duplex, pings included."""
        blocked = threading.Event()
        codes: list[int] = []

        def handle(peer: Peer) -> None:
            peer.accept()
            assert blocked.wait(20)
            for number in range(50):
                peer.send(frame(b"ping", PING) + frame(b"%d" % number) + frame(b"pong", PONG))
            item = peer.frame()
            while item.opcode != CLOSE:
                item = peer.frame()
            codes.append(item.code)
            peer.send(frame(item.payload, CLOSE))

        async def send() -> None:
            with pytest.raises(ConnectionLost):
                await send_until_the_end(websocket)

        with RawServer(handle, receive_buffer=4096) as server:
            async with connect(server.url, close_timeout=10.0) as websocket, anyio.create_task_group() as group:
                group.start_soon(send)
                await anyio.sleep(0.3)
                blocked.set()
                with anyio.fail_after(10):
                    assert [await websocket.receive_bytes() for _ in range(50)] == [
                        b"%d" % number for number in range(50)
                    ]
                await websocket.close()
        assert codes == [1000]

    async def test_pings_are_answered_in_receive(self, connect: Connect) -> None:
        pongs: list[bytes] = []

        def handle(peer: Peer) -> None:
            peer.accept()
            for payload in (b"", b"abc", b"x" * 125):
                peer.send(frame(payload, PING))
                item = peer.frame()
                assert item.opcode == PONG
                assert item.masked
                pongs.append(item.payload)
            peer.send(frame(b"done"))
            peer.rest()

        with RawServer(handle) as server:
            async with connect(server.url) as websocket:
                assert await websocket.receive_bytes() == b"done"
        assert pongs == [b"", b"abc", b"x" * 125]

    @needs("ping", "last_pong")
    async def test_a_ping_of_ours(self, connect: Connect) -> None:
        def handle(peer: Peer) -> None:
            peer.accept()
            item = peer.frame()
            assert item.opcode == PING
            assert item.masked
            peer.send(frame(item.payload, PONG) + frame(b"data"))
            peer.rest()

        with RawServer(handle) as server:
            async with connect(server.url) as websocket:
                assert pong_of(websocket) is None
                await websocket.ping()
                assert await websocket.receive_bytes() == b"data"
                pong = pong_of(websocket)
                assert pong is not None
                if "last_activity" in self.transport.claims:
                    assert websocket.last_activity is not None
                    assert websocket.last_activity >= pong

    @needs("last_activity")
    async def test_activity_is_any_frame(self, connect: Connect) -> None:
        steps = [threading.Event() for _ in range(3)]

        def handle(peer: Peer) -> None:
            peer.accept()
            for step, piece in zip(steps, (frame(b"data"), frame(b"", PONG), frame(b"", PING)), strict=True):
                assert step.wait(20)
                peer.send(piece)
            peer.rest()

        with RawServer(handle) as server:
            async with connect(server.url) as websocket:
                times = [websocket.last_activity]
                steps[0].set()
                await websocket.receive_bytes()
                times.append(websocket.last_activity)
                for step in steps[1:]:
                    step.set()
                    with anyio.move_on_after(0.2):
                        await websocket.receive_bytes()
                    times.append(websocket.last_activity)
                known = [time for time in times if time is not None]
                assert known[-3:] == sorted(set(known[-3:]))
