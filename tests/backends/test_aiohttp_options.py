"""What only the aiohttp backend has: its options, and sending without aiohttp's way of waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anyio
import anyio.to_thread
import pytest

from kubex_stream.client import ClientOptions
from kubex_stream.configuration import ClientConfiguration
from kubex_stream.core.params import Timeout
from kubex_stream.testing.conformance.raw import Peer, RawServer, response
from kubex_stream_aiohttp import AioHttpClient
from kubex_stream_aiohttp.settings import pool_connector, read_buffer, request_timeout, stream_timeout
from kubex_stream_aiohttp.writing import until_room, write_now
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


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"keep_alive_timeout": None}, "keep_alive_timeout=None is ignored"),
        ({"timeout": Timeout(write=3)}, "write= is ignored"),
    ],
)
def test_what_aiohttp_cannot_do_is_a_warning(options: dict[str, Any], text: str) -> None:
    with pytest.warns(UserWarning, match=text) as caught:
        AioHttpClient(HERE, ClientOptions(**options))
    assert len(caught) == 1
    assert caught[0].filename == __file__


@pytest.mark.anyio
async def test_a_timeout_of_one_request_warns_too(prepare: Prepare) -> None:
    def handle(peer: Peer) -> None:
        peer.head()
        peer.send(response("200 OK", b""))
        peer.rest()

    with RawServer(handle) as server:
        async with opened() as client:
            with pytest.warns(UserWarning, match="write= is ignored"):
                await client.send_request(prepare(server.url, timeout=Timeout(write=3)))


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("options", "limits"),
    [
        ({}, (100, 0, False)),
        ({"pool_size": None, "pool_size_per_host": None}, (0, 0, False)),
        ({"pool_size": 7, "pool_size_per_host": 3}, (7, 3, False)),
        ({"keep_alive": False, "keep_alive_timeout": 3.0}, (100, 0, True)),
        ({"keep_alive_timeout": 0.0}, (100, 0, False)),
    ],
)
async def test_the_pool(options: dict[str, Any], limits: tuple[int, int, bool]) -> None:
    connector = pool_connector(ClientOptions(**options))
    assert (connector.limit, connector.limit_per_host, connector.force_close) == limits
    await connector.close()


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, {"read_bufsize": 2**21}), ({"buffer_size": None}, {}), ({"buffer_size": 77}, {"read_bufsize": 77})],
)
def test_the_read_buffer(options: dict[str, Any], expected: dict[str, int]) -> None:
    assert read_buffer(ClientOptions(**options)) == expected


def test_timeouts() -> None:
    default = aiohttp.ClientTimeout(total=300, sock_connect=30)
    assert request_timeout(..., default) is default
    assert stream_timeout(..., default) == aiohttp.ClientTimeout(total=None, sock_connect=30)
    for mapped in (request_timeout, stream_timeout):
        assert mapped(None, default) == aiohttp.ClientTimeout(total=None)
        assert mapped(Timeout(9), default) == aiohttp.ClientTimeout(total=None)
        some = Timeout(9, connect=1, read=2, pool=3)
        assert mapped(some, default) == aiohttp.ClientTimeout(total=None, connect=4, sock_connect=1, sock_read=2)
        assert mapped(Timeout(pool=3), default) == aiohttp.ClientTimeout(total=None, connect=3)


class Sender:
    """What aiohttp's writer does: put the frame down, then wait for the future that all share."""

    def __init__(self, room: asyncio.Future[None] | None) -> None:
        self.sent: list[bytes] = []
        self._room = room

    async def send(self, data: bytes) -> None:
        self.sent.append(data)
        if self._room is not None:
            await self._room


async def write(sending: Coroutine[Any, Any, None]) -> None:
    room = write_now(sending)
    if room is not None:
        await until_room(room)


@pytest.mark.anyio
async def test_writing_with_room() -> None:
    sender = Sender(None)
    assert write_now(sender.send(b"1")) is None
    await write(sender.send(b"2"))
    assert sender.sent == [b"1", b"2"]


@pytest.mark.anyio
async def test_a_cancelled_write_leaves_the_future_of_all() -> None:
    room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    sender = Sender(room)
    with anyio.move_on_after(0.05) as scope:
        await write(sender.send(b"1"))
    assert scope.cancelled_caught
    assert not room.done()
    async with anyio.create_task_group() as group:
        group.start_soon(write, sender.send(b"2"))
        await anyio.wait_all_tasks_blocked()
        assert write_now(sender.send(b"3")) is room
        room.set_result(None)
    assert sender.sent == [b"1", b"2", b"3"]


@pytest.mark.anyio
async def test_the_failure_of_what_is_waited_for() -> None:
    room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    sender = Sender(room)
    write_now(sender.send(b"1"))
    room.set_exception(ConnectionResetError("gone"))
    with pytest.raises(ConnectionResetError):
        await write(sender.send(b"2"))
