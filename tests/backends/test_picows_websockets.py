"""What only the picows backend has: its way from aiohttp's handshake to picows' frames, aiofastnet's TLS, and its bounds."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiofastnet
import aiohttp
import anyio
import anyio.to_thread
import pytest

from kubex_stream.client import ClientOptions, Response
from kubex_stream.configuration import ClientConfiguration
from kubex_stream.errors import ConnectionLost, ProtocolViolation
from kubex_stream.testing.conformance.kinds import OFFER
from kubex_stream.testing.conformance.raw import PING, PONG, Peer, RawServer, close_frame, frame, proxy_handler, sends
from kubex_stream_picows import PicowsClient, PicowsWebSocketConnection
from tests.backends.conftest import Prepare

pytestmark = pytest.mark.anyio
KIB, MIB = 1024, 1024 * 1024


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The loops that picows has."""
    return "asyncio", {"use_uvloop": request.param}


@asynccontextmanager
async def opened(
    prepare: Prepare,
    url: str,
    *,
    session: aiohttp.ClientSession | None = None,
    options: ClientOptions | None = None,
    **request: Any,
) -> AsyncGenerator[PicowsWebSocketConnection, None]:
    async with PicowsClient(ClientConfiguration(url=url), options, session=session) as client:
        websocket = await client.open_websocket(prepare(url + "/ws", **request), OFFER)
        assert not isinstance(websocket, Response), websocket
        assert isinstance(websocket, PicowsWebSocketConnection)
        try:
            yield websocket
        finally:
            await websocket.abort()


def echo(peer: Peer) -> None:
    """Give back one message and the Close."""
    peer.accept()
    peer.send(frame(peer.frame().payload))
    peer.send(frame(peer.frame().payload, 8))


@pytest.mark.parametrize("through_proxy", [False, True], ids=["direct", "proxy"])
async def test_tls_is_aiofastnets(
    prepare: Prepare, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, through_proxy: bool
) -> None:
    with RawServer(echo, context=server_tls) as server, RawServer(proxy_handler([])) as proxy:
        where: dict[str, Any] = {"proxy": proxy.url} if through_proxy else {}
        async with opened(prepare, server.url, ssl_context=client_tls, **where) as websocket:
            assert isinstance(websocket._transport, aiofastnet.Transport)
            assert websocket._transport.get_extra_info("ssl_object") is not None
            await websocket.send_bytes(bytes(MIB))
            assert await websocket.receive_bytes() == bytes(MIB)
            await websocket.close()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_session_of_the_applications_own_has_its_own_transports(
    prepare: Prepare, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, tls: bool
) -> None:
    """What was read ahead comes whole, also where TCP has ended since and the reader is slow."""
    size, count = 32 * KIB, 96

    def handle(peer: Peer) -> None:
        peer.accept()
        assert peer.frame().payload == b"go"
        for number in range(count):
            peer.send(frame(bytes([number]) * size))
        peer.send(close_frame(1000))
        peer.finish()
        peer.rest()

    context: dict[str, Any] = {"ssl_context": client_tls} if tls else {}
    with RawServer(handle, context=server_tls if tls else None) as server:
        async with (
            aiohttp.ClientSession() as session,
            opened(prepare, server.url, session=session, **context) as websocket,
        ):
            assert not isinstance(websocket._transport, aiofastnet.Transport)
            await websocket.send_bytes(b"go")
            for number in range(count):
                await anyio.sleep(0.002)
                assert await websocket.receive_bytes() == bytes([number]) * size
            with pytest.raises(StopAsyncIteration):
                await websocket.receive_bytes()


@pytest.mark.parametrize("goodbye", [False, True], ids=["cut", "goodbye"])
@pytest.mark.parametrize("count", [1, 2, 5])
async def test_what_came_with_the_end_while_the_event_loop_was_busy(
    prepare: Prepare, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, count: int, goodbye: bool
) -> None:
    """A session's own TLS decrypts only a part of it at once, and forgets the rest at the end, for a protocol with a buffer."""
    begin, sent = threading.Event(), threading.Event()

    def handle(peer: Peer) -> None:
        peer.accept()
        assert begin.wait(20)
        peer.send(frame(bytes(32 * KIB)) * count + close_frame(1000) * goodbye)
        peer.sock.shutdown(socket.SHUT_WR)
        sent.set()
        peer.wait_for_tcp_end()

    with RawServer(handle, context=server_tls) as server:
        async with (
            aiohttp.ClientSession() as session,
            opened(prepare, server.url, session=session, ssl_context=client_tls) as websocket,
        ):
            await anyio.sleep(0.01)
            begin.set()
            assert sent.wait(20)  # not awaited: this is what the event loop is busy with
            for _ in range(count):
                assert await websocket.receive_bytes() == bytes(32 * KIB)
            with pytest.raises(StopAsyncIteration if goodbye else ConnectionLost):
                await websocket.receive_bytes()


async def test_leaving_inside_of_what_a_session_reads(
    prepare: Prepare, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """asyncio's TLS fails when it is ended by who is told of its last bytes."""
    counts = range(17, 25)
    remaining = iter(counts)
    sent = threading.Semaphore(0)

    def handle(peer: Peer) -> None:
        peer.accept()
        peer.send(frame(bytes(32 * KIB)) * next(remaining))
        peer.sock.shutdown(socket.SHUT_WR)  # of TCP, without TLS's goodbye
        sent.release()
        peer.wait_for_tcp_end()

    with RawServer(handle, context=server_tls) as server:
        async with aiohttp.ClientSession() as session:
            for count in counts:
                async with opened(prepare, server.url, session=session, ssl_context=client_tls) as websocket:
                    await anyio.to_thread.run_sync(sent.acquire, True, 2.0)
                    await anyio.sleep(0.03)  # so much more is read ahead
                    for _ in range(count):
                        await websocket.receive_bytes()


async def test_nothing_is_logged(prepare: Prepare, caplog: pytest.LogCaptureFixture) -> None:
    """picows logs each connection, and each handshake with its headers, and each malformed frame."""
    caplog.set_level(1)
    for name in ("picows", "picows.client", "kubex_stream_picows"):
        caplog.set_level(1, logger=name)
    with RawServer(sends(frame(b"1") + b"\xf2\x00")) as server:
        async with opened(prepare, server.url, headers=[("Authorization", "Bearer opensesame")]) as websocket:
            assert await websocket.receive_bytes() == b"1"
            with pytest.raises(ProtocolViolation):
                await websocket.receive_bytes()
            assert "Authorization" not in websocket._frames.request.headers
    assert [each for each in caplog.records if each.name.startswith(("picows", "kubex_stream_picows"))] == []
    assert "opensesame" not in caplog.text


async def test_pings_are_answered_while_nobody_receives(prepare: Prepare) -> None:
    answered = threading.Event()

    def handle(peer: Peer) -> None:
        peer.accept("v4.channel.k8s.io", frame(b"1"), frame(b"are you there", PING))
        answer = peer.frame()
        assert (answer.opcode, answer.payload) == (PONG, b"are you there")
        answered.set()
        peer.rest()

    with RawServer(handle) as server:
        async with opened(prepare, server.url) as websocket:
            with anyio.fail_after(10):
                while not answered.is_set():
                    await anyio.sleep(0.01)
            assert await websocket.receive_bytes() == b"1"


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_what_nobody_takes_is_bounded(
    prepare: Prepare, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, tls: bool
) -> None:
    size, count = 8 * KIB, 4096

    def handle(peer: Peer) -> None:
        peer.accept()
        for number in range(count):
            peer.send(frame(number.to_bytes(4, "big") * (size // 4)))
        peer.send(close_frame(1000))
        peer.rest()

    context: dict[str, Any] = {"ssl_context": client_tls} if tls else {}
    with RawServer(handle, context=server_tls if tls else None) as server:
        async with opened(prepare, server.url, **context) as websocket:
            with anyio.fail_after(20):
                while not websocket._inbox._paused:
                    await anyio.sleep(0.01)
            for _ in range(20):
                await anyio.sleep(0.005)
                assert sum(map(len, websocket._inbox.messages)) < 2 * MIB
            for number in range(count):
                message = await websocket.receive_bytes()
                assert message == number.to_bytes(4, "big") * (size // 4)
            with pytest.raises(StopAsyncIteration):
                await websocket.receive_bytes()


@pytest.mark.parametrize("limit", [1000, 2 * MIB])
async def test_a_frame_over_the_limit_is_refused_by_its_header(prepare: Prepare, limit: int) -> None:
    refused = threading.Event()

    def handle(peer: Peer) -> None:
        peer.accept("v4.channel.k8s.io", frame(b"1"), frame(b"", size=2**40))
        assert peer.frame().code == 1009
        refused.set()
        peer.rest()

    with RawServer(handle) as server:
        async with opened(prepare, server.url, options=ClientOptions(ws_max_message_size=limit)) as websocket:
            assert await websocket.receive_bytes() == b"1"
            with pytest.raises(ProtocolViolation, match=f"more than {limit} bytes"):
                await websocket.receive_bytes()
            with anyio.fail_after(10):
                while not refused.is_set():
                    await anyio.sleep(0.01)


async def test_fragments_over_the_limit_are_not_collected(prepare: Prepare) -> None:
    pieces = frame(bytes(600), fin=False) + frame(bytes(600), 0, fin=False)
    with RawServer(sends(frame(b"1"), pieces)) as server:
        async with opened(prepare, server.url, options=ClientOptions(ws_max_message_size=1000)) as websocket:
            assert await websocket.receive_bytes() == b"1"
            with pytest.raises(ProtocolViolation, match="more than 1000 bytes"):
                await websocket.receive_bytes()


async def test_a_view_with_gaps(prepare: Prepare) -> None:
    with RawServer(echo) as server:
        async with opened(prepare, server.url) as websocket:
            await websocket.send_bytes(memoryview(b"a-b-c-")[::2])
            assert await websocket.receive_views() == [b"abc"]
            await websocket.close()


async def test_a_closed_client_leaves_no_connection(prepare: Prepare) -> None:
    with RawServer(sends()) as server:
        async with PicowsClient(ClientConfiguration(url=server.url)) as client:
            websocket = await client.open_websocket(prepare(server.url + "/ws"), OFFER)
            assert isinstance(websocket, PicowsWebSocketConnection)
        assert websocket.closed
        with pytest.raises(ConnectionLost):
            await websocket.receive_bytes()
