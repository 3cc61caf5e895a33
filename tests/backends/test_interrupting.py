"""Waits for a message that end where it arrives, and that another task can end, where a backend can."""

from __future__ import annotations

import threading
import traceback
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import anyio
import pytest

from kubex_stream.client import Response, WebSocketConnection
from kubex_stream.configuration import ClientConfiguration
from kubex_stream.testing.conformance.kinds import OFFER
from kubex_stream.testing.conformance.raw import Peer, RawServer, close_frame, frame, sends
from kubex_stream_aiohttp import AioHttpClient
from kubex_stream_picows import PicowsClient
from tests.backends.conftest import Prepare

pytestmark = pytest.mark.anyio

each_backend = pytest.mark.parametrize("backend", [AioHttpClient, PicowsClient])


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The loops that both backends have."""
    return ("asyncio", {"use_uvloop": request.param})


@asynccontextmanager
async def opened(backend: type[AioHttpClient], url: str, prepare: Prepare) -> AsyncGenerator[WebSocketConnection, None]:
    async with backend(ClientConfiguration(url=url)) as client:
        websocket = await client.open_websocket(prepare(url + "/ws"), OFFER)
        assert not isinstance(websocket, Response)
        async with websocket:
            yield websocket


def on_demand(demanded: threading.Event) -> Any:
    def handle(peer: Peer) -> None:
        peer.accept()
        demanded.wait(10)
        peer.send(frame(b"message"))
        peer.rest()

    return handle


@each_backend
async def test_who_waits_goes_on_inside_of_the_callback_that_brought_the_bytes(
    backend: type[AioHttpClient], prepare: Prepare
) -> None:
    """And not a turn of the event loop later, with whatever version of the libraries below."""
    demanded, names = threading.Event(), set[str]()
    with RawServer(on_demand(demanded)) as server:
        async with opened(backend, server.url, prepare) as websocket:
            assert websocket.interruptible

            async def take() -> None:
                assert list(await websocket.receive_views()) == [b"message"]
                names.update(each.f_code.co_name for each, _ in traceback.walk_stack(None))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(take)
                await anyio.wait_all_tasks_blocked()
                demanded.set()
    assert names & {"data_received", "buffer_updated"}


@each_backend
async def test_the_other_ways_of_receiving_wait_on(backend: type[AioHttpClient], prepare: Prepare) -> None:
    demanded = threading.Event()
    with RawServer(on_demand(demanded)) as server:
        async with opened(backend, server.url, prepare) as websocket:
            taken: list[bytes] = []

            async def take() -> None:
                taken.append(await websocket.receive_bytes())

            with anyio.fail_after(10):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(take)
                    await anyio.wait_all_tasks_blocked()
                    websocket.interrupt()
                    await anyio.wait_all_tasks_blocked()
                    assert taken == []
                    demanded.set()
            assert taken == [b"message"]


@each_backend
async def test_an_interruption_after_the_end_hides_it_from_nobody(
    backend: type[AioHttpClient], prepare: Prepare
) -> None:
    with RawServer(sends(close_frame(1000))) as server:
        async with opened(backend, server.url, prepare) as websocket:
            with anyio.fail_after(10), pytest.raises(StopAsyncIteration):
                await websocket.receive_views()
            websocket.interrupt()
            with pytest.raises(StopAsyncIteration):
                await websocket.receive_views()


async def test_a_session_of_the_applications_own_receives_as_aiohttp_does(prepare: Prepare) -> None:
    with RawServer(sends(frame(b"one"), frame(b"two"), close_frame(1000))) as server:
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(aiohttp.ClientSession())
            client = await stack.enter_async_context(
                AioHttpClient(ClientConfiguration(url=server.url), session=session)
            )
            websocket = await client.open_websocket(prepare(server.url + "/ws"), OFFER)
            assert not isinstance(websocket, Response)
            async with websocket:
                assert not websocket.interruptible
                received = [await websocket.receive_bytes(), await websocket.receive_bytes()]
                assert received == [b"one", b"two"]
                with pytest.raises(StopAsyncIteration):
                    await websocket.receive_bytes()
