"""How a WebSocket ends from the other side, and that everything is handed out before."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

import anyio
import anyio.lowlevel
import pytest

from kubex_stream.client import WebSocketConnection
from kubex_stream.errors import ConnectionLost
from kubex_stream.testing.conformance.base import Conformance, Connect, Contexts
from kubex_stream.testing.conformance.cuts import receive_all
from kubex_stream.testing.conformance.raw import (
    CLOSE,
    Peer,
    RawServer,
    close_frame,
    frame,
    sends,
)

__all__ = ("Endings",)


def code_of(websocket: WebSocketConnection) -> int | None:
    """Its close code now; mypy takes a property for constant."""
    return websocket.close_code


class Endings(Conformance):
    """How a WebSocket ends from the other side, and that everything is handed out before."""

    @pytest.mark.parametrize(
        ("ending", "code"), [(close_frame(1000), 1000), (close_frame(1001, b"bye"), 1001), (frame(b"", CLOSE), 1005)]
    )
    async def test_an_end_in_order(self, connect: Connect, ending: bytes, code: int) -> None:
        with RawServer(sends(frame(b"1"), frame(b"2") + ending)) as server:
            async with connect(server.url) as websocket:
                assert [await websocket.receive_bytes() for _ in range(2)] == [b"1", b"2"]
                assert code_of(websocket) is None
                for _ in range(3):
                    with pytest.raises(StopAsyncIteration):
                        await websocket.receive_bytes()
                assert code_of(websocket) == (code if "close_code" in self.transport.claims else None)
                assert websocket.closed
                with pytest.raises(ConnectionLost):
                    await websocket.send_bytes(b"x")

    @pytest.mark.parametrize("code", [1002, 1011, 1012, 3000, 4999])
    async def test_a_close_that_is_an_error(self, connect: Connect, code: int) -> None:
        with RawServer(sends(frame(b"1"), close_frame(code, b"the reason"))) as server:
            async with connect(server.url) as websocket:
                assert await websocket.receive_bytes() == b"1"
                for _ in range(2):
                    with pytest.raises(ConnectionLost, match=str(code)) as caught:
                        await websocket.receive_bytes()
                    assert caught.value.close_code == code
                assert websocket.close_code == (code if "close_code" in self.transport.claims else None)

    @pytest.mark.parametrize("count", [1, 2, 5])
    async def test_all_that_came_with_the_end_while_the_event_loop_was_busy(
        self, connect: Connect, tls: Contexts, count: int
    ) -> None:
        """TLS has bytes to decrypt when the end of TCP is read."""
        begin, sent = threading.Event(), threading.Event()

        def handle(peer: Peer) -> None:
            peer.accept()
            assert begin.wait(20)
            peer.send(frame(bytes(32 * 1024)) * count)
            peer.sock.shutdown(socket.SHUT_WR)
            sent.set()
            peer.wait_for_tcp_end()

        received: list[bytes] = []
        with RawServer(handle, context=tls["server"]) as server:
            async with connect(server.url, tls["client"]) as websocket, anyio.create_task_group() as group:

                async def receive() -> None:
                    with pytest.raises(ConnectionLost):
                        await receive_all(websocket, received)

                group.start_soon(receive)
                await anyio.wait_all_tasks_blocked()
                begin.set()
                assert sent.wait(20)  # not awaited: this is what the event loop is busy with
        assert received == [bytes(32 * 1024)] * count

    @pytest.mark.parametrize("end", [Peer.finish, Peer.reset])
    async def test_the_end_of_tcp_without_a_close(self, connect: Connect, end: Callable[[Peer], None]) -> None:
        taken = threading.Event()

        def handle(peer: Peer) -> None:
            peer.accept()
            peer.send(frame(b"1") + frame(b"2"))
            # An RST makes the kernel forget what was not read yet.
            assert taken.wait(20)
            end(peer)

        with RawServer(handle) as server:
            async with connect(server.url) as websocket:
                assert await websocket.receive_bytes() == b"1"
                taken.set()
                assert await websocket.receive_bytes() == b"2"
                for _ in range(2):
                    with pytest.raises(ConnectionLost) as caught:
                        await websocket.receive_bytes()
                    assert caught.value.close_code is None
                assert websocket.close_code is None
                assert websocket.closed
                with pytest.raises(ConnectionLost):
                    await websocket.send_bytes(b"x")
                if "ping" in self.transport.claims:
                    with pytest.raises(ConnectionLost):
                        await websocket.ping()

    async def test_a_reset_right_behind_a_message_is_noticed(self, connect: Connect, tls: Contexts) -> None:
        """It may be told together with the message, and event loops differ in whether they tell it again."""

        def handle(peer: Peer) -> None:
            peer.accept()
            peer.send(frame(b"x" * 300_000))
            peer.reset()

        with RawServer(handle, context=tls["server"]) as server:
            for _ in range(10):
                async with connect(server.url, tls["client"]) as websocket:
                    with pytest.raises(ConnectionLost), anyio.fail_after(self.patience):
                        await receive_all(websocket, [])

    async def test_everything_is_handed_out_before_the_end(self, connect: Connect) -> None:
        count, size = 200, 20_000

        def handle(peer: Peer) -> None:
            peer.accept()
            for number in range(count):
                peer.send(frame(bytes([number]) * size))
            peer.finish()
            peer.rest()

        with RawServer(handle) as server:
            async with connect(server.url) as websocket:
                for number in range(count):
                    if number % 50 == 0:
                        await anyio.sleep(0.02)
                    assert await websocket.receive_bytes() == bytes([number]) * size
                with pytest.raises(ConnectionLost):
                    await websocket.receive_bytes()

    async def test_half_a_frame_is_no_message(self, connect: Connect) -> None:
        with RawServer(sends(frame(b"whole"), frame(b"half", size=100), then=Peer.finish)) as server:
            async with connect(server.url) as websocket:
                assert await websocket.receive_bytes() == b"whole"
                with pytest.raises(ConnectionLost):
                    await websocket.receive_bytes()

    async def test_a_half_close_behind_which_all_was_sent(self, connect: Connect) -> None:
        """The transport may end by itself behind its last byte, and its library not know that."""
        half_close, read_on = threading.Event(), threading.Event()

        def handle(peer: Peer) -> None:
            peer.accept()
            assert half_close.wait(20)
            peer.sock.shutdown(socket.SHUT_WR)
            assert read_on.wait(20)
            peer.rest()

        with RawServer(handle) as server:
            async with connect(server.url) as websocket:

                async def send() -> None:
                    with suppress(ConnectionLost):
                        await websocket.send_bytes(bytes(20 * 2**20))

                with anyio.fail_after(20):
                    async with anyio.create_task_group() as group:
                        group.start_soon(send)
                        await anyio.wait_all_tasks_blocked()
                        half_close.set()
                        await anyio.sleep(0.1)  # for the transport to see it, with much in its buffer
                        read_on.set()
                    await anyio.sleep(0.1)  # and what is to be sent to go
                    with pytest.raises(ConnectionLost):
                        await websocket.receive_bytes()
                    await websocket.close()
                    assert websocket.closed

    async def test_what_has_come_is_taken_in_before_a_write(self, connect: Connect) -> None:
        """A peer that has gone answers a write with a reset, and what the event loop has not read until then is lost."""
        go_on, gone = threading.Event(), threading.Event()

        def handle(peer: Peer) -> None:
            peer.accept()
            peer.send(frame(b"1"))
            assert go_on.wait(20)
            peer.send(frame(b"Status"))
            peer.sock.close()
            gone.set()

        with RawServer(handle) as server:
            async with connect(server.url) as websocket:
                if not websocket.reads_first:
                    go_on.set()
                    pytest.skip("sessions give this transport's event loop a turn before each message")
                assert await websocket.receive_bytes() == b"1"
                go_on.set()
                assert gone.wait(20)  # and the event loop has not seen it
                with suppress(ConnectionLost):
                    for _ in range(3):
                        await websocket.send_bytes(b"x" * 32768)
                assert await websocket.receive_bytes() == b"Status"
