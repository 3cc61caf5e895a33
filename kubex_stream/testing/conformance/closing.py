"""Leaving a WebSocket in order, also against a peer that does not help."""

from __future__ import annotations

import threading

import anyio
import anyio.to_thread
import pytest

from kubex_stream.errors import ConnectionLost
from kubex_stream.testing.conformance.base import Conformance, Connect, Contexts
from kubex_stream.testing.conformance.peers import Deaf, Recorder, happens, send_until_the_end
from kubex_stream.testing.conformance.raw import CLOSE, Peer, RawServer, frame

__all__ = ("Closing",)


class Closing(Conformance):
    """Leaving a WebSocket in order, also against a peer that does not help."""

    @pytest.mark.parametrize("code", [1000, 1001, 4000])
    async def test_in_order(self, connect: Connect, tls: Contexts, code: int) -> None:
        recorder = Recorder(before_answer=frame(b"late") + frame(b"later") * 1000)
        with RawServer(recorder, context=tls["server"]) as server:
            async with connect(server.url, tls["client"], close_timeout=20.0) as websocket:
                await websocket.send_bytes(b"last")
                await websocket.close(code)
                assert websocket.closed
                assert websocket.close_code == (code if "close_code" in self.transport.claims else None)
                await happens(recorder.ended)
                await websocket.close()
                with pytest.raises(ConnectionLost):
                    await websocket.send_bytes(b"x")
                with pytest.raises(ConnectionLost):
                    await websocket.receive_bytes()
        assert [(item.opcode, item.payload) for item in recorder.frames] == [
            (2, b"last"),
            (CLOSE, code.to_bytes(2, "big")),
        ]

    async def test_after_the_peer_has_closed(self, connect: Connect, tls: Contexts) -> None:
        codes: list[int] = []
        ended = threading.Event()

        def handle(peer: Peer) -> None:
            peer.accept()
            peer.send(frame(b"\x03\xe8", CLOSE))
            codes.append(peer.frame().code)
            assert peer.rest() == b""
            ended.set()

        with RawServer(handle, context=tls["server"]) as server:
            async with connect(server.url, tls["client"], close_timeout=20.0) as websocket:
                with pytest.raises(StopAsyncIteration):
                    await websocket.receive_bytes()
                await websocket.close()
                await happens(ended)
        assert codes == [1000]

    async def test_after_tcp_has_ended(self, connect: Connect, tls: Contexts) -> None:
        def handle(peer: Peer) -> None:
            peer.accept()

        with RawServer(handle, context=tls["server"]) as server:
            async with connect(server.url, tls["client"], close_timeout=20.0) as websocket:
                with pytest.raises(ConnectionLost):
                    await websocket.receive_bytes()
                await websocket.close()
                assert websocket.closed

    async def test_a_peer_that_does_not_answer(self, connect: Connect, tls: Contexts) -> None:
        recorder = Recorder(answers=False)
        with RawServer(recorder, context=tls["server"]) as server:
            async with connect(server.url, tls["client"], close_timeout=0.2) as websocket:
                with anyio.fail_after(10):
                    await websocket.close()
                await happens(recorder.ended)
        assert [item.code for item in recorder.frames] == [1000]

    async def test_a_peer_that_sends_for_ever(self, connect: Connect, tls: Contexts) -> None:
        def handle(peer: Peer) -> None:
            peer.accept()
            try:
                while True:
                    peer.send(frame(b"x" * 10_000))
            except OSError:
                pass

        with RawServer(handle, context=tls["server"]) as server:
            async with connect(server.url, tls["client"], close_timeout=0.2) as websocket:
                await websocket.receive_bytes()
                with anyio.fail_after(10):
                    await websocket.close()

    async def test_a_peer_that_does_not_read(self, connect: Connect, tls: Contexts) -> None:
        deaf = Deaf()
        with RawServer(deaf, context=tls["server"], receive_buffer=4096) as server:
            async with (
                connect(server.url, tls["client"], close_timeout=0.2) as websocket,
                anyio.create_task_group() as group,
            ):

                async def send() -> None:
                    with pytest.raises(ConnectionLost):
                        await send_until_the_end(websocket)

                group.start_soon(send)
                await anyio.sleep(0.3)
                with anyio.fail_after(10):
                    await websocket.close()
            deaf.look.set()

    async def test_a_cancelled_close_ends_tcp(self, connect: Connect, tls: Contexts) -> None:
        recorder = Recorder(answers=False)
        with RawServer(recorder, context=tls["server"]) as server:
            async with connect(server.url, tls["client"], close_timeout=60.0) as websocket:
                with anyio.move_on_after(0.2) as scope:
                    await websocket.close()
                assert scope.cancelled_caught
                assert websocket.closed
                await happens(recorder.ended)

    async def test_a_close_in_a_cancelled_scope(self, connect: Connect, tls: Contexts) -> None:
        recorder = Recorder(answers=False)
        with RawServer(recorder, context=tls["server"]) as server:
            async with connect(server.url, tls["client"], close_timeout=60.0) as websocket:
                with anyio.CancelScope() as scope:
                    scope.cancel()
                    await websocket.close()
                await happens(recorder.ended)

    async def test_from_another_task_while_one_receives(self, connect: Connect, tls: Contexts) -> None:
        recorder = Recorder()
        with RawServer(recorder, context=tls["server"]) as server:
            async with (
                connect(server.url, tls["client"], close_timeout=20.0) as websocket,
                anyio.create_task_group() as group,
            ):

                async def receive() -> None:
                    with pytest.raises((ConnectionLost, StopAsyncIteration)):
                        await websocket.receive_bytes()

                group.start_soon(receive)
                await anyio.wait_all_tasks_blocked()
                with anyio.fail_after(10):
                    await websocket.close()
                assert websocket.close_code == (1000 if "close_code" in self.transport.claims else None)
        assert recorder.ended.is_set()

    async def test_while_another_receives_and_the_peer_is_silent(self, connect: Connect) -> None:
        recorder = Recorder(answers=False)
        with RawServer(recorder) as server:
            async with connect(server.url, close_timeout=0.2) as websocket, anyio.create_task_group() as group:

                async def receive() -> None:
                    with pytest.raises(ConnectionLost):
                        await websocket.receive_bytes()

                group.start_soon(receive)
                await anyio.wait_all_tasks_blocked()
                with anyio.fail_after(10):
                    await websocket.close()

    async def test_data_for_another_task_is_not_lost_to_a_close(self, connect: Connect) -> None:
        with RawServer(Recorder(before_answer=frame(b"late"))) as server:
            async with connect(server.url, close_timeout=20.0) as websocket, anyio.create_task_group() as group:
                received: list[bytes] = []

                async def receive() -> None:
                    received.append(await websocket.receive_bytes())

                group.start_soon(receive)
                await anyio.wait_all_tasks_blocked()
                await websocket.close()
        assert received == [b"late"]
