"""The network streams of the httpx backend: what was accepted goes out whole, a cancelled read loses nothing, abort frees everybody."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Protocol

import anyio
import anyio.lowlevel
import httpcore
import pytest

from kubex_stream_httpx.network import SocketStream, Stream

pytestmark = pytest.mark.anyio


class Peer(Protocol):
    """The other end."""

    async def receive(self, max_bytes: int) -> bytes: ...
    async def write(self, buffer: bytes) -> None: ...
    async def aclose(self) -> None: ...


def sockets(buffer: int = 8192) -> tuple[SocketStream, SocketStream]:
    """Two ends with small buffers."""
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    return SocketStream(ends[0]), SocketStream(ends[1])


class TlsPeer:
    """A server's end of TLS, made here, so that our end does not only meet itself."""

    def __init__(self, lower: SocketStream, context: ssl.SSLContext) -> None:
        self._lower = lower
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def handshake(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._lower.write(self._outgoing.read())
                self._incoming.write(await self._lower.receive(65536))
            else:
                await self._lower.write(self._outgoing.read())
                return

    async def receive(self, max_bytes: int) -> bytes:
        while True:
            try:
                return self._tls.read(max_bytes)
            except ssl.SSLWantReadError:
                self._incoming.write(await self._lower.receive(65536))

    async def write(self, buffer: bytes) -> None:
        assert self._tls.write(buffer) == len(buffer)
        await self._lower.write(self._outgoing.read())

    async def aclose(self) -> None:
        await self._lower.aclose()


Connected = Callable[[], AbstractAsyncContextManager[tuple[Stream, Peer]]]


@pytest.fixture(params=["plain", "tls"])
def pair(request: pytest.FixtureRequest, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> Connected:
    """Our end and the peer's."""

    @asynccontextmanager
    async def connected() -> AsyncGenerator[tuple[Stream, Peer], None]:
        lower, theirs = sockets()
        ours: Stream = lower
        peer: Peer = theirs
        try:
            if request.param == "tls":
                peer = server = TlsPeer(theirs, server_tls)
                async with anyio.create_task_group() as group:
                    group.start_soon(server.handshake)
                    ours = await lower.start_tls(client_tls, "cluster.test")
            yield ours, peer
        finally:
            await ours.aclose()
            await peer.aclose()

    return connected


async def read_exactly(stream: Stream | Peer, count: int) -> bytes:
    content = b""
    while len(content) < count:
        piece = await stream.receive(count - len(content))
        assert piece, "ended early"
        content += piece
    return content


async def test_cancelled_writes_leave_whole_messages_in_order(pair: Connected) -> None:
    """Each message is a length and that many equal bytes, so the peer can tell where one was cut."""
    generator = random.Random(7)
    numbers: list[int] = []
    async with pair() as (ours, theirs):

        async def take() -> None:
            while not numbers or numbers[-1] != 255:
                size = int.from_bytes(await read_exactly(theirs, 4), "big")
                (number,) = set(await read_exactly(theirs, size))
                numbers.append(number)

        async def send(number: int) -> None:
            size = generator.choice([10, 5000, 40_000])
            await ours.write(size.to_bytes(4, "big") + bytes([number]) * size)

        for number in range(5):
            with anyio.move_on_after(0.002):
                await send(number)
        assert ours.backlog > 0
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(take)
                for number in range(5, 100):
                    with anyio.move_on_after(generator.choice([0, 0.0002, 0.01])):
                        await send(number)
                await send(255)
        assert ours.backlog == 0
    assert numbers == sorted(set(numbers))
    assert len(numbers) > 10


async def test_reading_goes_on_after_a_cancelled_write(pair: Connected) -> None:
    async with pair() as (ours, theirs):
        with anyio.move_on_after(0.05) as scope:
            while True:
                await ours.write(b"x" * 65536)
        assert scope.cancelled_caught
        assert ours.backlog > 0
        await theirs.write(b"still here")
        with anyio.fail_after(10):
            assert await read_exactly(ours, 10) == b"still here"


async def test_queued_bytes_never_wait(pair: Connected) -> None:
    async with pair() as (ours, theirs):
        with anyio.move_on_after(0.05):
            await ours.write(b"x" * 300_000)
        ours.queue(b"behind")
        await ours.nudge()
        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                group.start_soon(ours.flush)
                assert await read_exactly(theirs, 300_006) == b"x" * 300_000 + b"behind"


async def test_a_cancelled_receive_loses_nothing(pair: Connected) -> None:
    count = 3000
    received = bytearray()

    async with pair() as (ours, theirs), anyio.create_task_group() as group:

        async def send() -> None:
            for number in range(count):
                await theirs.write(number.to_bytes(2, "big"))
                if number % 50 == 0:
                    await anyio.sleep(0.001)

        group.start_soon(send)
        with anyio.fail_after(20):
            while len(received) < 2 * count:
                with anyio.move_on_after(0.0003):
                    received += await ours.receive(64)
    assert received == b"".join(number.to_bytes(2, "big") for number in range(count))


async def test_cancelled_by_asyncio_itself(pair: Connected, anyio_backend_name: str) -> None:
    """``asyncio.wait_for`` and ``asyncio.timeout`` know nothing of anyio's shields."""
    if anyio_backend_name != "asyncio":
        pytest.skip("asyncio's own cancellation")
    count = 2000
    received = bytearray()

    async with pair() as (ours, theirs), anyio.create_task_group() as group:

        async def send() -> None:
            for number in range(count):
                await theirs.write(number.to_bytes(2, "big"))
                if number % 20 == 0:
                    await anyio.sleep(0.001)

        group.start_soon(send)
        while len(received) < 2 * count:
            with suppress(TimeoutError):
                received += await asyncio.wait_for(ours.receive(64), 0.0003)
    assert received == b"".join(number.to_bytes(2, "big") for number in range(count))


async def test_abort_frees_a_reader_and_a_writer(pair: Connected) -> None:
    errors: list[type[Exception]] = []
    async with pair() as (ours, _):

        async def blocked(action: Callable[[], Awaitable[Any]]) -> None:
            try:
                while True:
                    await action()
            except (httpcore.ReadError, httpcore.WriteError) as error:
                errors.append(type(error))

        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                group.start_soon(blocked, lambda: ours.receive(1))
                group.start_soon(blocked, lambda: ours.write(b"x" * 65536))
                await anyio.wait_all_tasks_blocked()
                await ours.abort()
        with pytest.raises(httpcore.ReadError):
            await ours.receive(1)
        with pytest.raises(httpcore.WriteError):
            await ours.write(b"x")
    assert sorted(error.__name__ for error in errors) == ["ReadError", "WriteError"]


async def test_others_run_beside_a_stream_that_is_always_ready() -> None:
    ours, theirs = sockets(1 << 20)
    turns = 0
    stop = False

    async def other() -> None:
        nonlocal turns
        while not stop:
            turns += 1
            await anyio.lowlevel.checkpoint()

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(other)
            for _ in range(300):
                await ours.write(b"x" * 10_000)
                await theirs.receive(1 << 20)
            stop = True
    finally:
        await ours.aclose()
        await theirs.aclose()
    assert turns > 10


async def test_timeouts_are_httpcores() -> None:
    ours, theirs = sockets()
    try:
        with pytest.raises(httpcore.ReadTimeout):
            await ours.read(10, 0.01)
        with pytest.raises(httpcore.WriteTimeout):
            await ours.write(b"x" * 1_000_000, 0.01)
    finally:
        await ours.aclose()
        await theirs.aclose()
    ours, theirs = sockets()
    try:
        with pytest.raises(httpcore.ConnectTimeout):
            await ours.start_tls(ssl.create_default_context(), "cluster.test", 0.01)
    finally:
        await ours.aclose()
        await theirs.aclose()


async def test_what_httpcore_asks() -> None:
    ours, theirs = sockets()
    try:
        assert ours.get_extra_info("is_readable") is False
        await theirs.write(b"x")
        assert ours.get_extra_info("is_readable") is True
        assert ours.get_extra_info("socket").fileno() > 0
        assert ours.get_extra_info("ssl_object") is None
        await ours.aclose()
        assert ours.get_extra_info("is_readable") is True
    finally:
        await theirs.aclose()
