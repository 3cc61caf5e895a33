"""Leaving a WebSocket: in order, against a peer that does not help, from other tasks, and cancelled."""

from __future__ import annotations

import gc
import ssl
import threading

import anyio
import anyio.to_thread
import pytest

from kubex_stream.client import WebSocketConnection
from kubex_stream.errors import ConnectionLost
from tests.backends.conftest import Connect, OpenClient, Prepare
from tests.backends.raw import CLOSE, Frame, Peer, RawServer, frame

pytestmark = pytest.mark.anyio


class Recorder:
    """A server that notes what comes; it answers a Close, or not."""

    def __init__(self, *, answers: bool = True, before_answer: bytes = b"") -> None:
        self.frames: list[Frame] = []
        self.ended = threading.Event()
        self._answers = answers
        self._before_answer = before_answer

    def __call__(self, peer: Peer) -> None:
        peer.accept()
        try:
            while True:
                item = peer.frame()
                self.frames.append(item)
                if item.opcode == CLOSE and self._answers:
                    peer.send(self._before_answer + frame(item.payload, CLOSE))
        except (EOFError, ConnectionResetError, ssl.SSLEOFError):
            self.ended.set()


async def happens(event: threading.Event) -> None:
    """Wait for what a server's thread tells."""
    with anyio.fail_after(10):
        assert await anyio.to_thread.run_sync(event.wait, 9)


@pytest.fixture(params=["plain", "tls"])
def tls(
    request: pytest.FixtureRequest, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> dict[str, ssl.SSLContext | None]:
    """The contexts of the server and of the client."""
    with_tls = request.param == "tls"
    return {"server": server_tls if with_tls else None, "client": client_tls if with_tls else None}


Contexts = dict[str, ssl.SSLContext | None]


@pytest.mark.parametrize("code", [1000, 1001, 4000])
async def test_in_order(connect: Connect, tls: Contexts, code: int) -> None:
    recorder = Recorder(before_answer=frame(b"late") + frame(b"later") * 1000)
    with RawServer(recorder, context=tls["server"]) as server:
        async with connect(server.url, tls["client"], close_timeout=20.0) as websocket:
            await websocket.send_bytes(b"last")
            await websocket.close(code)
            assert websocket.closed
            assert websocket.close_code == code
            await happens(recorder.ended)
            await websocket.close()
            with pytest.raises(ConnectionLost):
                await websocket.send_bytes(b"x")
            with pytest.raises(ConnectionLost):
                await websocket.receive_bytes()
    assert [(item.opcode, item.payload) for item in recorder.frames] == [(2, b"last"), (CLOSE, code.to_bytes(2, "big"))]


async def test_after_the_peer_has_closed(connect: Connect, tls: Contexts) -> None:
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


async def test_after_tcp_has_ended(connect: Connect, tls: Contexts) -> None:
    def handle(peer: Peer) -> None:
        peer.accept()

    with RawServer(handle, context=tls["server"]) as server:
        async with connect(server.url, tls["client"], close_timeout=20.0) as websocket:
            with pytest.raises(ConnectionLost):
                await websocket.receive_bytes()
            await websocket.close()
            assert websocket.closed


async def test_a_peer_that_does_not_answer(connect: Connect, tls: Contexts) -> None:
    recorder = Recorder(answers=False)
    with RawServer(recorder, context=tls["server"]) as server:
        async with connect(server.url, tls["client"], close_timeout=0.2) as websocket:
            with anyio.fail_after(10):
                await websocket.close()
            await happens(recorder.ended)
    assert [item.code for item in recorder.frames] == [1000]


async def test_a_peer_that_sends_for_ever(connect: Connect, tls: Contexts) -> None:
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


async def send_until_the_end(websocket: WebSocketConnection) -> None:
    """Send until that fails."""
    while True:
        await websocket.send_bytes(b"x" * 65536)


class Deaf:
    """A server that reads nothing after the handshake, until it is told to look whether TCP has ended."""

    def __init__(self) -> None:
        self.look = threading.Event()

    def __call__(self, peer: Peer) -> None:
        peer.accept()
        assert self.look.wait(20)
        peer.rest()


async def test_a_peer_that_does_not_read(connect: Connect, tls: Contexts) -> None:
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


async def test_a_cancelled_close_ends_tcp(connect: Connect, tls: Contexts) -> None:
    recorder = Recorder(answers=False)
    with RawServer(recorder, context=tls["server"]) as server:
        async with connect(server.url, tls["client"], close_timeout=60.0) as websocket:
            with anyio.move_on_after(0.2) as scope:
                await websocket.close()
            assert scope.cancelled_caught
            assert websocket.closed
            await happens(recorder.ended)


async def test_a_close_in_a_cancelled_scope(connect: Connect, tls: Contexts) -> None:
    recorder = Recorder(answers=False)
    with RawServer(recorder, context=tls["server"]) as server:
        async with connect(server.url, tls["client"], close_timeout=60.0) as websocket:
            with anyio.CancelScope() as scope:
                scope.cancel()
                await websocket.close()
            await happens(recorder.ended)


async def test_from_another_task_while_one_receives(connect: Connect, tls: Contexts) -> None:
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
            assert websocket.close_code == 1000
    assert recorder.ended.is_set()


async def test_while_another_receives_and_the_peer_is_silent(connect: Connect) -> None:
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


async def test_data_for_another_task_is_not_lost_to_a_close(connect: Connect) -> None:
    with RawServer(Recorder(before_answer=frame(b"late"))) as server:
        async with connect(server.url, close_timeout=20.0) as websocket, anyio.create_task_group() as group:
            received: list[bytes] = []

            async def receive() -> None:
                received.append(await websocket.receive_bytes())

            group.start_soon(receive)
            await anyio.wait_all_tasks_blocked()
            await websocket.close()
    assert received == [b"late"]


async def test_abort_sends_no_close(connect: Connect, tls: Contexts) -> None:
    recorder = Recorder()
    with RawServer(recorder, context=tls["server"]) as server:
        async with connect(server.url, tls["client"]) as websocket:
            await websocket.send_bytes(b"last")
            await anyio.sleep(0.05)
            await websocket.abort()
            assert websocket.closed
            await happens(recorder.ended)
            await websocket.abort()
            await websocket.close()
            with pytest.raises(ConnectionLost):
                await websocket.receive_bytes()
            with pytest.raises(ConnectionLost):
                await websocket.send_bytes(b"x")
    assert [item.payload for item in recorder.frames] == [b"last"]


async def test_abort_frees_blocked_tasks(connect: Connect, tls: Contexts) -> None:
    deaf = Deaf()
    with RawServer(deaf, context=tls["server"], receive_buffer=4096) as server:
        async with connect(server.url, tls["client"]) as websocket:
            sent: list[int] = []

            async def send_counted() -> None:
                while True:
                    await websocket.send_bytes(b"x" * 65536)
                    sent.append(65536)

            async def send() -> None:
                with pytest.raises(ConnectionLost):
                    await send_counted()

            async def receive() -> None:
                with pytest.raises(ConnectionLost):
                    await websocket.receive_bytes()

            with anyio.fail_after(10):
                async with anyio.create_task_group() as group:
                    group.start_soon(send)
                    group.start_soon(receive)
                    await anyio.sleep(0.3)
                    before = len(sent)
                    await websocket.abort()
            # The one that was blocked has not returned as if it had been sent.
            assert len(sent) == before
        deaf.look.set()


async def test_abort_does_not_wait(connect: Connect, tls: Contexts) -> None:
    deaf = Deaf()
    with RawServer(deaf, context=tls["server"], receive_buffer=4096) as server:
        async with connect(server.url, tls["client"]) as websocket:
            with anyio.move_on_after(0.5):
                while True:
                    await websocket.send_bytes(b"x" * 65536)
            with anyio.CancelScope() as scope:
                scope.cancel()
                await websocket.abort()
            assert websocket.closed
        deaf.look.set()


async def test_closing_the_client_ends_what_is_open(client_for: OpenClient, prepare: Prepare) -> None:
    recorder = Recorder()
    with RawServer(recorder) as server:
        async with client_for() as client:
            websocket = await client.open_websocket(prepare(server.url), ["v4.channel.k8s.io"])
        await happens(recorder.ended)
        assert isinstance(websocket, WebSocketConnection)
        with pytest.raises(ConnectionLost):
            await websocket.send_bytes(b"x")
        assert websocket.closed
        # What is left over would say so now.
        del websocket
        gc.collect()


async def test_a_hundred_and_more_at_once(client_for: OpenClient, prepare: Prepare) -> None:
    """None of them counts against the pool."""
    with RawServer(Recorder()) as server:
        async with client_for(pool_size=2, pool_size_per_host=...) as client:
            websockets = []
            with anyio.fail_after(30):
                for _ in range(120):
                    websockets.append(await client.open_websocket(prepare(server.url), ["v4.channel.k8s.io"]))
                async with anyio.create_task_group() as group:
                    for websocket in websockets:
                        group.start_soon(websocket.close)  # type: ignore[union-attr]
