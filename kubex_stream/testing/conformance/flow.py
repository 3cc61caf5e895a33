"""Back-pressure both ways, several senders, and views."""

from __future__ import annotations

import socket
import threading
from typing import Final

import anyio
import anyio.to_thread
import pytest

from kubex_stream.testing.conformance.base import Conformance, Connect
from kubex_stream.testing.conformance.raw import CLOSE, Peer, RawServer, frame, sends

__all__ = ("Flow",)

#: Bytes that a transport and the kernel may hold together for a side that does not take them; a flood is many times that.
ROOM: Final = 16 * 1024 * 1024
FLOOD: Final = 8 * ROOM
SIZE: Final = 32 * 1024


class Flow(Conformance):
    """Back-pressure both ways, several senders, and views."""

    async def test_a_consumer_that_stalls_stops_the_server(self, connect: Connect) -> None:
        """Memory stays bounded: what nobody takes is not read."""
        sent, stalled, go_on = [0], threading.Event(), threading.Event()

        def handle(peer: Peer) -> None:
            peer.accept()
            piece = frame(b"x" * SIZE)
            peer.sock.settimeout(0.2)
            try:
                while sent[0] < FLOOD:
                    peer.send(piece)
                    sent[0] += SIZE
            except TimeoutError:
                stalled.set()
            stalled.set()
            assert go_on.wait(20)

        with RawServer(handle) as server:
            async with connect(server.url) as websocket:
                assert await websocket.receive_bytes() == b"x" * SIZE
                await anyio.to_thread.run_sync(stalled.wait, 15)
                go_on.set()
                assert sent[0] < ROOM
                for _ in range(sent[0] // SIZE - 1):
                    assert len(await websocket.receive_bytes()) == SIZE

    async def test_a_server_that_stalls_stops_the_sender(self, connect: Connect) -> None:
        done = threading.Event()

        def handle(peer: Peer) -> None:
            peer.accept()
            assert done.wait(20)

        sent = 0
        with RawServer(handle, receive_buffer=4096) as server:
            async with connect(server.url) as websocket:
                while sent < FLOOD:
                    with anyio.move_on_after(0.2) as scope:
                        await websocket.send_bytes(b"x" * SIZE)
                    if scope.cancelled_caught:
                        break
                    sent += SIZE
                done.set()
        assert sent < ROOM

    async def test_senders_take_turns(self, connect: Connect) -> None:
        """One task sends at a time, each message another one."""
        received: list[bytes] = []

        def handle(peer: Peer) -> None:
            peer.accept()
            while (item := peer.frame()).opcode != CLOSE:
                received.append(item.payload)
            peer.send(frame(item.payload, CLOSE))

        lock = anyio.Lock()
        with RawServer(handle) as server:
            async with connect(server.url, close_timeout=10.0) as websocket:

                async def send(sender: int) -> None:
                    for number in range(50):
                        async with lock:
                            await websocket.send_bytes(bytes([sender, number]) * 2000)

                async with anyio.create_task_group() as group:
                    for sender in range(8):
                        group.start_soon(send, sender)
                await websocket.close()
        for sender in range(8):
            mine = [payload for payload in received if payload[0] == sender]
            assert mine == [bytes([sender, number]) * 2000 for number in range(50)]
        assert len(received) == 400

    async def test_views_hold_until_the_next_call(self, connect: Connect) -> None:
        messages = [bytes([number]) * (1 + number * 300) for number in range(200)]
        with RawServer(sends(b"".join(map(frame, messages)))) as server:
            async with connect(server.url) as websocket:
                received: list[bytes] = []
                while len(received) < len(messages):
                    if len(received) % 3:
                        received += [bytes(view) for view in await websocket.receive_views(len(received) * 10)]
                    else:
                        received.append(await websocket.receive_bytes())
                assert received == messages

    async def test_views_wait_for_no_second_message(self, connect: Connect) -> None:
        def handle(peer: Peer) -> None:
            peer.accept()
            for _ in range(3):
                peer.send(frame(b"question"))
                assert peer.frame().payload == b"answer"
            peer.rest()

        with RawServer(handle) as server:
            async with connect(server.url) as websocket:
                for _ in range(3):
                    assert list(map(bytes, await websocket.receive_views(2**20))) == [b"question"]
                    await websocket.send_bytes(b"answer")

    async def test_an_interrupted_wait_gives_nothing_and_loses_nothing(self, connect: Connect) -> None:
        def handle(peer: Peer) -> None:
            peer.accept()
            assert peer.frame().payload == b"more"
            peer.send(frame(b"first") + frame(b"second"))
            peer.rest()

        with RawServer(handle) as server:
            async with connect(server.url) as websocket:
                if not websocket.interruptible:
                    pytest.skip("a wait of this transport is ended by a cancellation only")
                websocket.interrupt()  # nobody waits, and whoever comes next is not meant
                taken: list[bytes] = []
                returned = 0

                async def take() -> None:
                    nonlocal returned
                    taken.extend(map(bytes, await websocket.receive_views()))
                    returned += 1

                for times in (1, 2):
                    async with anyio.create_task_group() as group:
                        group.start_soon(take)
                        await anyio.wait_all_tasks_blocked()
                        assert returned < times
                        websocket.interrupt()
                    assert (taken, returned) == ([], times)
                await websocket.send_bytes(b"more")
                while len(taken) < 2:
                    await take()
                assert taken == [b"first", b"second"]

    async def test_what_receive_bytes_gives_is_the_callers(self, connect: Connect) -> None:
        messages = [bytes([number]) * 1000 for number in range(100)]
        with RawServer(sends(b"".join(map(frame, messages)))) as server:
            async with connect(server.url) as websocket:
                received = [await websocket.receive_bytes() for _ in messages]
        assert received == messages
        assert {type(message) for message in received} == {bytes}

    async def test_both_ways_at_once(self, connect: Connect) -> None:
        """A megabyte or more each way, echoed, while neither waits for the other."""
        count = 100

        def handle(peer: Peer) -> None:
            peer.accept()
            peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(count):
                peer.send(frame(peer.frame().payload))
            peer.rest()

        messages = [bytes([number]) * SIZE for number in range(count)]
        received: list[bytes] = []
        with RawServer(handle) as server:
            async with connect(server.url) as websocket:

                async def send() -> None:
                    for message in messages:
                        await websocket.send_bytes(message)

                with anyio.fail_after(20):
                    async with anyio.create_task_group() as group:
                        group.start_soon(send)
                        received += [await websocket.receive_bytes() for _ in messages]
        assert received == messages
