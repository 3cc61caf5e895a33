"""The reference's way to a WebSocket on httpx: ``aconnect_ws``, entered by hand, and ``HttpxWebSocketConnection(cm, session)``."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread
import httpcore
import httpx
import pytest
from httpx_ws import AsyncWebSocketSession, aconnect_ws

from kubex_stream.errors import ConnectionLost, ProtocolViolation
from kubex_stream.testing.conformance.raw import BINARY, CLOSE, PING, PONG, TEXT, Frame, Handler, Peer, RawServer, frame
from kubex_stream_httpx import HttpxWebSocketConnection, WebSocketSession
from kubex_stream_httpx.foreign import as_stream
from kubex_stream_httpx.network import STREAM

pytestmark = pytest.mark.anyio


def sends(*data: bytes) -> Handler:
    """A server that says this and then only listens."""

    def handle(peer: Peer) -> None:
        peer.accept()
        for piece in data:
            peer.send(piece)
        peer.rest()

    return handle


def echoes(frames: list[Frame]) -> Handler:
    """A server that gives binary messages, pings and closes back."""

    def handle(peer: Peer) -> None:
        peer.accept()
        try:
            while True:
                item = peer.frame()
                frames.append(item)
                peer.send(frame(item.payload, PONG if item.opcode == PING else item.opcode))
        except (EOFError, ConnectionResetError):
            pass

    return handle


@pytest.fixture(params=[WebSocketSession, AsyncWebSocketSession], ids=["ours", "httpx-ws"])
def session_class(request: pytest.FixtureRequest) -> type[AsyncWebSocketSession]:
    chosen: type[AsyncWebSocketSession] = request.param
    return chosen


@asynccontextmanager
async def entered(
    url: str, session_class: type[AsyncWebSocketSession], *, close_timeout: float = 1.0
) -> AsyncGenerator[HttpxWebSocketConnection, None]:
    async with httpx.AsyncClient() as client:
        manager = aconnect_ws(
            url,
            client,
            subprotocols=["v4.channel.k8s.io"],
            session_class=session_class,
            keepalive_ping_interval_seconds=None,
        )
        session = await manager.__aenter__()
        connection = HttpxWebSocketConnection(manager, session, close_timeout=close_timeout)
        try:
            yield connection
        finally:
            await connection.close()


async def test_messages_both_ways(session_class: type[AsyncWebSocketSession]) -> None:
    frames: list[Frame] = []
    with RawServer(echoes(frames)) as server:
        async with entered(server.url, session_class) as connection:
            assert connection.negotiated_subprotocol == "v4.channel.k8s.io"
            first_activity = connection.last_activity
            for data in (b"a", bytearray(b"b" * 40_000), memoryview(b"c")):
                await connection.send_bytes(data)
                assert await connection.receive_bytes() == data
            assert first_activity is None
            assert connection.last_activity is not None
            closed_before = connection.closed
        assert (closed_before, connection.closed) == (False, True)
        with pytest.raises(ConnectionLost):
            await connection.send_bytes(b"late")
    assert [(item.fin, item.opcode) for item in frames] == [(True, BINARY)] * 3 + [(True, CLOSE)]


@pytest.mark.parametrize(
    ("ending", "error", "code"),
    [
        (frame(b"\x03\xe8", CLOSE), StopAsyncIteration, 1000),
        (frame(b"\x03\xf3", CLOSE), ConnectionLost, 1011),
        (frame(b"hello", TEXT), ProtocolViolation, None),
    ],
)
async def test_ends(
    session_class: type[AsyncWebSocketSession], ending: bytes, error: type[Exception], code: int | None
) -> None:
    with RawServer(sends(frame(b"data"), ending)) as server:
        async with entered(server.url, session_class, close_timeout=0.2) as connection:
            assert await connection.receive_bytes() == b"data"
            for _ in range(2):
                with pytest.raises(error):
                    await connection.receive_bytes()
            assert connection.closed
            assert connection.close_code == code


async def test_tcp_ends(session_class: type[AsyncWebSocketSession]) -> None:
    def handle(peer: Peer) -> None:
        peer.accept()
        peer.send(frame(b"data"))

    with RawServer(handle) as server:
        async with entered(server.url, session_class) as connection:
            assert await connection.receive_bytes() == b"data"
            for _ in range(2):
                with pytest.raises(ConnectionLost):
                    await connection.receive_bytes()


async def test_abort(session_class: type[AsyncWebSocketSession]) -> None:
    frames: list[Frame] = []
    with RawServer(echoes(frames)) as server:
        async with entered(server.url, session_class) as connection:
            await connection.send_bytes(b"x")
            assert await connection.receive_bytes() == b"x"
            await connection.abort()
            assert connection.closed
    assert [item.opcode for item in frames][:1] == [BINARY]


async def test_pings() -> None:
    frames: list[Frame] = []
    with RawServer(echoes(frames)) as server:
        async with entered(server.url, WebSocketSession) as connection:
            await connection.ping()
            await connection.send_bytes(b"x")
            assert await connection.receive_bytes() == b"x"
            assert connection.last_pong is not None
        async with entered(server.url, AsyncWebSocketSession) as connection:
            with pytest.raises(NotImplementedError):
                await connection.ping()


async def test_opened_under_a_deadline_and_closed_in_another_task() -> None:
    with RawServer(echoes([])) as server:
        async with httpx.AsyncClient() as client:
            manager = aconnect_ws(server.url, client, session_class=WebSocketSession)
            with anyio.fail_after(10):
                session = await manager.__aenter__()
            connection = HttpxWebSocketConnection(manager, session)
            with anyio.fail_after(10):
                async with anyio.create_task_group() as group:
                    group.start_soon(connection.close)


async def test_what_httpx_ws_offers_works_on_our_session() -> None:
    with RawServer(echoes([])) as server:
        async with (
            httpx.AsyncClient() as client,
            aconnect_ws(server.url, client, session_class=WebSocketSession) as session,
        ):
            await session.send_bytes(b"x")
            assert await session.receive_bytes(timeout=10) == b"x"
            with pytest.raises(TimeoutError):
                await session.receive_bytes(timeout=0.01)
            with pytest.raises(TypeError, match="binary"):
                await session.send_text("x")
            await session.close()
            await session.close()


# Streams that are not ours --------------------------------------------------------------------------------------------


class Foreign(httpcore.AsyncNetworkStream):
    """A stream whose writes wait until they are allowed."""

    def __init__(self) -> None:
        self.allowed = anyio.Event()
        self.written: list[bytes] = []

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        await self.allowed.wait()
        self.written.append(buffer)

    async def aclose(self) -> None:
        self.written.append(b"closed")

    def get_extra_info(self, info: str) -> object:
        # TLS, so a cancelled write may have left half a record.
        return object() if info == "ssl_object" else None


async def test_what_is_queued_goes_behind_what_is_written() -> None:
    inner = Foreign()
    stream = as_stream(inner)
    assert stream.get_extra_info(STREAM) is stream
    async with anyio.create_task_group() as group:
        group.start_soon(stream.write, b"frame")
        await anyio.wait_all_tasks_blocked()
        stream.queue(b"pong")
        with anyio.fail_after(1):
            await stream.nudge()
        assert inner.written == []
        inner.allowed.set()
    assert inner.written == [b"frame", b"pong"]
    assert stream.backlog == 0


async def test_nothing_follows_a_frame_that_may_be_cut() -> None:
    inner = Foreign()
    stream = as_stream(inner)
    with anyio.move_on_after(0.01) as scope:
        await stream.write(b"frame")
    assert scope.cancelled_caught
    inner.allowed.set()
    with pytest.raises(httpcore.WriteError, match="cancelled"):
        await stream.write(b"next")
    assert inner.written == []
    await stream.abort()
    assert inner.written == [b"closed"]


async def test_a_stream_of_httpcores_own_is_bounded_in_closing() -> None:
    """The peer does not read: the send blocks, is cancelled, and leaving takes no longer than it may."""
    look = threading.Event()

    def handle(peer: Peer) -> None:
        peer.accept()
        assert look.wait(20)
        peer.rest()

    with RawServer(handle, receive_buffer=4096) as server:
        async with entered(server.url, WebSocketSession, close_timeout=0.1) as connection:
            with anyio.move_on_after(0.3) as scope:
                while True:
                    await connection.send_bytes(b"x" * 65536)
            assert scope.cancelled_caught
            with anyio.fail_after(10):
                await connection.close()
        look.set()
