"""The aiohttp backend with the application's own session and WebSockets."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anyio
import anyio.to_thread
import httpx
import pytest

from kubex_stream.client import ClientOptions, WebSocketConnection
from kubex_stream.configuration import ClientConfiguration
from kubex_stream.errors import ConnectionLost
from kubex_stream.testing.conformance.raw import CLOSE, Head, Peer, RawServer, frame, proxy_handler, response
from kubex_stream_aiohttp import AioHttpClient, AioHttpWebSocketConnection
from tests.backends.conftest import Prepare

HERE = ClientConfiguration(url="http://127.0.0.1:1")


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The loops that aiohttp has."""
    return ("asyncio", {"use_uvloop": request.param})


@asynccontextmanager
async def opened(session: aiohttp.ClientSession | None = None, **options: Any) -> AsyncGenerator[AioHttpClient, None]:
    async with AioHttpClient(HERE, ClientOptions(**options), session=session) as client:
        assert isinstance(client, AioHttpClient)
        yield client


def test_a_session_of_another_library() -> None:
    with pytest.raises(TypeError, match=r"aiohttp\.ClientSession, not AsyncClient"):
        AioHttpClient(HERE, session=httpx.AsyncClient())  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_a_closed_session() -> None:
    session = aiohttp.ClientSession()
    await session.close()
    with pytest.raises(RuntimeError, match="closed"):
        async with opened(session):
            pass


@pytest.mark.anyio
async def test_options_that_a_session_decides_are_a_warning() -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.warns(UserWarning, match="pool_size is ignored"):
            AioHttpClient(HERE, ClientOptions(pool_size=3), session=session)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            AioHttpClient(HERE, session=session)


def both(heads: list[Head]) -> Any:
    def handle(peer: Peer) -> None:
        while peer.has_request():
            head = peer.head()
            heads.append(head)
            if head.all("Upgrade"):
                peer.send(peer.switching(head))
                peer.send(frame(peer.frame().payload, CLOSE))
            else:
                peer.send(response("200 OK", b"body", "Set-Cookie: seen=1"))

    return handle


@pytest.mark.anyio
async def test_a_session_is_used_and_not_closed(prepare: Prepare) -> None:
    heads: list[Head] = []
    events: list[str] = []

    async def note(*_: Any) -> None:
        events.append("start")

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(note)
    with RawServer(both(heads)) as server:
        own = {"X-Own": "1", "User-Agent": "theirs"}
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(headers=own, cookie_jar=jar, trace_configs=[trace]) as session:
            async with opened(session) as client:
                assert (await client.send_request(prepare(server.url))).content == b"body"
                stream = await client.open_stream(prepare(server.url))
                assert [piece async for piece in stream] == [b"body"]
                await stream.aclose()
                websocket = await client.open_websocket(prepare(server.url), ["v4.channel.k8s.io"])
                assert isinstance(websocket, WebSocketConnection)
                await websocket.close()
            assert not session.closed
            async with session.get(server.url) as answer:
                assert await answer.read() == b"body"
    assert [head.one("X-Own") for head in heads] == ["1"] * 4
    assert [head.one("User-Agent") for head in heads] == ["test"] * 3 + ["theirs"]
    assert [head.all("Cookie") for head in heads] == [[], *[["seen=1"]] * 3]
    assert len(events) == 4
    # One for the plain requests, the stream and the application; the WebSocket took the same one and used it up.
    assert server.connections == 2


@pytest.mark.anyio
async def test_headers_of_a_session_are_not_told_to_a_proxy(prepare: Prepare, server_tls: Any, client_tls: Any) -> None:
    heads: list[Head] = []
    proxied: list[Head] = []
    with RawServer(both(heads), context=server_tls) as server, RawServer(proxy_handler(proxied)) as proxy:
        async with (
            aiohttp.ClientSession(headers={"Authorization": "Bearer theirs"}) as session,
            opened(session) as client,
        ):
            await client.send_request(prepare(server.url, ssl_context=client_tls, proxy=proxy.url))
            await client.send_request(
                prepare(server.url, headers=[("Authorization", "Bearer ours")], ssl_context=client_tls, proxy=proxy.url)
            )
    assert [head.all("Authorization") for head in proxied] == [[]]
    assert [head.all("Authorization") for head in heads] == [["Bearer theirs"], ["Bearer ours"]]


@pytest.mark.anyio
async def test_leaving_a_stream_spares_a_connection_that_has_gone_back(prepare: Prepare) -> None:
    """It may carry another request by then."""
    steps = [threading.Event(), threading.Event()]

    def handle(peer: Peer) -> None:
        peer.head()
        peer.send(response("200 OK", b"body"))
        peer.head()
        steps[0].set()
        assert steps[1].wait(20)
        peer.send(response("200 OK", b"second"))
        peer.rest()

    with RawServer(handle) as server:
        async with aiohttp.ClientSession() as session, opened(session) as client:
            stream = await client.open_stream(prepare(server.url))
            assert [piece async for piece in stream] == [b"body"]
            async with anyio.create_task_group() as group:

                async def second() -> None:
                    assert (await client.send_request(prepare(server.url))).content == b"second"

                group.start_soon(second)
                assert await anyio.to_thread.run_sync(steps[0].wait, 10)
                await stream.aclose()
                steps[1].set()


# A WebSocket of the application's own ---------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_websocket_that_the_application_opened() -> None:
    def handle(peer: Peer) -> None:
        peer.accept()
        assert peer.frame().payload == b"there"
        peer.send(frame(b"and back"))
        peer.send(frame(peer.frame().payload, CLOSE))
        peer.rest()

    with RawServer(handle) as server:
        async with aiohttp.ClientSession() as session:
            ws = await session.ws_connect(server.url, autoclose=False, autoping=False, protocols=["v4.channel.k8s.io"])
            connection = AioHttpWebSocketConnection(ws)
            assert connection.negotiated_subprotocol == "v4.channel.k8s.io"
            await connection.send_bytes(b"there")
            assert await connection.receive_bytes() == b"and back"
            await connection.close()
            assert connection.close_code == 1000


@pytest.mark.anyio
async def test_aborting_a_websocket_that_the_application_opened() -> None:
    """What waits to be sent is not sent."""
    look, taken = threading.Event(), []

    def handle(peer: Peer) -> None:
        peer.accept()
        assert look.wait(20)
        taken.append(len(peer.rest()))

    with RawServer(handle, receive_buffer=4096) as server:
        async with aiohttp.ClientSession() as session:
            ws = await session.ws_connect(server.url, autoclose=False, autoping=False)
            connection = AioHttpWebSocketConnection(ws)
            with anyio.move_on_after(0.3):
                await connection.send_bytes(b"x" * 50_000_000)
            await connection.abort()
            look.set()
    assert taken[0] < 50_000_000


@pytest.mark.anyio
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
async def test_a_close_has_closed_the_socket(prepare: Prepare) -> None:
    def handle(peer: Peer) -> None:
        peer.accept()
        peer.send(frame(peer.frame().payload, CLOSE))
        peer.rest()

    with RawServer(handle) as server:
        async with opened() as client:
            websocket = await client.open_websocket(prepare(server.url), ["v4.channel.k8s.io"])
            assert isinstance(websocket, AioHttpWebSocketConnection)
            assert websocket._transport is not None
            path = f"/proc/self/fd/{websocket._transport.get_extra_info('socket').fileno()}"
            name = os.readlink(path)
            await websocket.close()
            assert not os.path.lexists(path) or os.readlink(path) != name


@pytest.mark.anyio
async def test_a_second_receiver() -> None:
    def handle(peer: Peer) -> None:
        peer.accept()
        peer.rest()

    with RawServer(handle) as server:
        async with aiohttp.ClientSession() as session:
            ws = await session.ws_connect(server.url, autoclose=False, autoping=False)
            connection = AioHttpWebSocketConnection(ws)

            async def receive() -> None:
                with pytest.raises(ConnectionLost):
                    await connection.receive_bytes()

            async with anyio.create_task_group() as group:
                group.start_soon(receive)
                await anyio.wait_all_tasks_blocked()
                with pytest.raises(RuntimeError, match="another task"):
                    await connection.receive_bytes()
                await connection.abort()


@pytest.mark.anyio
async def test_a_peer_that_only_pings_does_not_fill_the_memory(prepare: Prepare) -> None:
    ready, count = threading.Event(), 40_000

    def handle(peer: Peer) -> None:
        peer.accept()
        peer.send(frame(b"x" * 125, 9) * count)
        peer.send(frame(b"done"))
        assert ready.wait(20)
        peer.rest()

    with RawServer(handle, receive_buffer=4096) as server:
        async with opened() as client:
            websocket = await client.open_websocket(prepare(server.url), ["v4.channel.k8s.io"])
            assert isinstance(websocket, AioHttpWebSocketConnection)
            with anyio.move_on_after(0.3):
                while True:
                    await websocket.send_bytes(b"x" * 65536)
            assert await websocket.receive_bytes() == b"done"
            transport = websocket._transport
            assert transport is not None
            # All the pongs would be 5 MB.
            assert transport.get_write_buffer_size() < 2_000_000
            ready.set()
            await websocket.abort()
