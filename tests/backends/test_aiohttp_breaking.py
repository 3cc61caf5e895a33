"""A peer that goes away while much is to be sent to it, through asyncio's TLS."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

import aiohttp
import anyio
import pytest

from kubex_stream.client import BaseClient, Response, WebSocketConnection
from kubex_stream.configuration import ClientConfiguration
from kubex_stream.errors import ConnectionLost
from kubex_stream.testing.conformance.kinds import OFFER
from kubex_stream.testing.conformance.raw import Peer, RawServer
from kubex_stream_aiohttp import AioHttpClient
from kubex_stream_picows import PicowsClient
from tests.backends.conftest import Prepare


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """uvloop has a TLS of its own."""
    return "asyncio", {"use_uvloop": False}


def drain(peer: Peer) -> None:
    """Take all that the kernel has, below TLS, so that the next write finds room; and leave nothing, so that the end is no reset."""
    with socket.fromfd(peer.sock.fileno(), peer.sock.family, peer.sock.type) as below:
        below.settimeout(0.2)
        try:
            while below.recv(1 << 20):
                pass
        except TimeoutError:
            pass


async def send_for_ever(websocket: WebSocketConnection) -> None:
    """Until it is cancelled or fails."""
    while True:
        await websocket.send_bytes(bytes(65536))


@pytest.mark.anyio
@pytest.mark.parametrize("owner", ["client", "application", "picows"])
async def test_the_end_comes_once_where_the_peer_leaves_between_two_writes(
    prepare: Prepare, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, owner: str
) -> None:
    """asyncio's TLS writes on inside of TCP's own writing, and TCP ends twice where that fails: an error that the event loop reports."""
    begin, gone = threading.Event(), threading.Event()

    def handle(peer: Peer) -> None:
        peer.accept()
        assert begin.wait(20)
        drain(peer)
        peer.sock.close()
        gone.set()

    with RawServer(handle, context=server_tls) as server:
        own: AbstractAsyncContextManager[Any] = nullcontext() if owner == "client" else aiohttp.ClientSession()
        async with own as session:
            configuration = ClientConfiguration(url=server.url)
            kind: type[BaseClient] = PicowsClient if owner == "picows" else AioHttpClient
            async with kind(configuration, session=session) as client:  # type: ignore[call-arg]
                websocket = await client.open_websocket(prepare(server.url + "/ws", ssl_context=client_tls), OFFER)
                assert not isinstance(websocket, Response)
                with anyio.move_on_after(0.3) as full:
                    await send_for_ever(websocket)
                assert full.cancelled_caught
                begin.set()
                assert gone.wait(20)  # not awaited: this is what the event loop is busy with
                with pytest.raises(ConnectionLost):
                    await send_for_ever(websocket)
                await websocket.abort()
