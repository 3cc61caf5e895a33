"""Forwarded connections as asyncio's reader and writer, and as sockets."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
from collections.abc import Generator
from typing import Any

import anyio
import pytest
import trustme

from kubex_stream import PortForwardError
from kubex_stream.testing import Behaviour, EmbeddedCluster
from kubex_stream.testing.conformance.raw import Peer, RawServer
from tests.backends.forwarded import (
    CUT,
    ECHO,
    MIB,
    ONCE,
    PATIENCE,
    REFUSED,
    RESET,
    SEND,
    SILENT,
    asyncio_pairs,
    connected,
    ended,
    forwarder,
    web_cluster,
)
from tests.conftest import LOOPS

pytestmark = pytest.mark.anyio
SHA256 = 1000


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    asyncio_pairs(metafunc)


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Readers and writers are asyncio's."""
    return LOOPS[request.param]


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def web() -> Generator[EmbeddedCluster, None, None]:
    with web_cluster(sha256="sha256") as cluster:
        yield cluster


def noise(size: int) -> bytes:
    return b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(size // 32))


# Reader and writer ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["tunnel", "legacy"])
async def test_large_transfers_both_ways_at_once(web: EmbeddedCluster, backend: str, protocol: str) -> None:
    data = noise(8 * MIB)
    async with forwarder(web, backend, protocol=protocol) as opened, opened.open_connection(ECHO) as (reader, writer):

        async def send() -> None:
            for start in range(0, len(data), 100_000):
                writer.write(data[start : start + 100_000])
                await writer.drain()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            assert await reader.readexactly(len(data)) == data


async def test_half_close_and_the_end_of_a_reader(web: EmbeddedCluster, backend: str) -> None:
    data = noise(MIB)
    web.behaviour = Behaviour(half_close=True, half_close_grace=0.1)
    try:
        async with forwarder(web, backend, half_close_delay=0) as opened:
            async with opened.open_connection(SHA256) as (reader, writer):
                writer.write(data)
                assert writer.can_write_eof()
                writer.write_eof()
                assert await reader.read() == hashlib.sha256(data).hexdigest().encode() + b"\n"
                assert reader.at_eof()
                assert await reader.read(1) == b""
    finally:
        web.behaviour = Behaviour(half_close_grace=0.1)


async def test_lines(web: EmbeddedCluster, backend: str) -> None:
    async with forwarder(web, backend) as opened, opened.open_connection(ECHO) as (reader, writer):
        writer.writelines([b"one\ntwo\n", b"three"])
        assert await reader.readline() == b"one\n"
        assert await reader.readuntil(b"o\n") == b"two\n"
        assert await reader.readexactly(5) == b"three"


@pytest.mark.parametrize("how", ["read", "all", "line", "until", "exactly", "lines"])
async def test_a_failure_is_told_after_what_came_before_it(web: EmbeddedCluster, backend: str, how: str) -> None:
    async with forwarder(web, backend) as opened, opened.open_connection(CUT) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert await reader.readexactly(99_999) == bytes(99_999)
        writer.write(b"now")
        if how in ("line", "read"):
            # What is left of it is handed out first.
            assert await (reader.readline() if how == "line" else reader.read(10)) == b"\0"
        elif how in ("until", "exactly"):
            with pytest.raises(asyncio.IncompleteReadError) as incomplete:
                await (reader.readuntil(b"\n") if how == "until" else reader.readexactly(10))
            assert incomplete.value.partial == b"\0"
            assert isinstance(incomplete.value.__cause__, PortForwardError)
        for _ in range(2):
            with pytest.raises(PortForwardError) as caught:
                await _next(reader, how)
            assert caught.value.kind == "reset"
        writer.write(b"x")
        with pytest.raises(PortForwardError):
            await writer.drain()


async def _next(reader: asyncio.StreamReader, how: str) -> None:
    match how:
        case "read":
            await reader.read(10)
        case "all":
            await reader.read()
        case "line":
            await reader.readline()
        case "until":
            await reader.readuntil(b"\n")
        case "exactly":
            await reader.readexactly(10)
        case _:
            async for _line in reader:
                pass


async def test_a_refused_dial(web: EmbeddedCluster, backend: str) -> None:
    async with forwarder(web, backend) as opened, opened.open_connection(REFUSED) as (reader, _writer):
        with pytest.raises(PortForwardError, match="nothing in the pod listens"):
            await reader.read(1)


async def test_a_writer_is_told_and_never_blocked_when_nobody_takes_it_any_more(
    web: EmbeddedCluster, backend: str
) -> None:
    async with forwarder(web, backend) as opened:
        async with opened.open_connection(ONCE) as (reader, writer):
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            assert (await reader.read()).endswith(b"once")  # an end in order

            async def flood() -> None:
                while True:
                    writer.write(bytes(65536))
                    await writer.drain()

            with pytest.raises(PortForwardError) as caught, anyio.fail_after(PATIENCE):
                await flood()
            assert caught.value.kind == "closed"
            assert await reader.read() == b""


async def test_what_was_written_before_leaving_arrives(backend: str) -> None:
    """A socket, a transport and a tunnel's worth of it, without a drain."""
    size = 16 * MIB
    received = 0

    async def count(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        nonlocal received
        while piece := await reader.read(MIB):
            received += len(piece)

    with web_cluster(count=count) as cluster:
        async with forwarder(cluster, backend) as opened:
            async with opened.open_connection(1000) as (_reader, writer):
                writer.write(bytes(size))
        await ended(cluster)
    assert received == size


@pytest.mark.parametrize("anyio_backend", ["asyncio", pytest.param("uvloop", marks=pytest.mark.volume)], indirect=True)
async def test_leaving_does_not_wait_for_a_pod_that_takes_nothing(
    web: EmbeddedCluster, caplog: pytest.LogCaptureFixture
) -> None:
    async with forwarder(web, "httpx") as opened:
        with anyio.fail_after(PATIENCE):
            async with opened.open_connection(SILENT) as (_reader, writer):
                writer.write(bytes(64 * MIB))
    assert "given up with something unsent" in caplog.text


async def test_leaving_by_an_error_or_cancelled_waits_for_nothing(web: EmbeddedCluster, backend: str) -> None:
    async with forwarder(web, backend) as opened:
        started = asyncio.Event()

        async def use(*, fail: bool = False) -> None:
            async with opened.open_connection(SILENT) as (reader, writer):
                writer.write(bytes(64 * MIB))
                started.set()
                if fail:
                    raise ZeroDivisionError
                await reader.read()

        with pytest.raises(ZeroDivisionError):
            await use(fail=True)
        await ended(web)
        for cancel_scope in (False, True):  # by Task.cancel, and by anyio
            started.clear()
            if cancel_scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(use)
                    await started.wait()
                    tasks.cancel_scope.cancel()
            else:
                task = asyncio.create_task(use())
                await started.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            await ended(web)


async def test_tls_over_a_writer(backend: str, authority: trustme.CA, client_tls: ssl.SSLContext) -> None:
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("db.test").configure_cert(server_tls)
    got: list[bytes] = []

    def upgrade(peer: Peer) -> None:
        """As a database: a word in clear, then TLS."""
        assert peer.read(8) == b"STARTTLS"
        peer.send(b"S")
        with server_tls.wrap_socket(peer.sock, server_side=True) as sock:
            secure = Peer(sock)
            data = secure.read(2 * MIB)
            secure.send(data[::-1])
            got.append(secure.rest())

    data = noise(2 * MIB)
    with RawServer(upgrade) as server, web_cluster(db=server.port) as cluster:
        async with forwarder(cluster, backend) as opened, opened.open_connection(1000) as (reader, writer):
            writer.write(b"STARTTLS")
            assert await reader.readexactly(1) == b"S"
            await writer.start_tls(client_tls, server_hostname="db.test")
            assert writer.get_extra_info("ssl_object").version().startswith("TLS")
            writer.write(data)
            assert await reader.readexactly(len(data)) == data[::-1]
            writer.write(b"goodbye")
    assert got == [b"goodbye"]


# Sockets --------------------------------------------------------------------------------------------------------------


async def _take(sock: socket.socket, size: int) -> bytes:
    data, loop = b"", asyncio.get_running_loop()
    while len(data) < size and (piece := await loop.sock_recv(sock, size)):
        data += piece
    return data


async def test_a_socket(web: EmbeddedCluster, backend: str) -> None:
    loop = asyncio.get_running_loop()
    async with forwarder(web, backend) as opened:
        end = await opened.open_socket(ECHO)
        with end.socket as sock:
            await loop.sock_sendall(sock, b"hello")
            assert await _take(sock, 5) == b"hello"
            await connected(web)
        await ended(web)  # closing the socket ends the connection
        assert end.failure is None


async def test_a_socket_that_is_half_closed_and_then_closed(web: EmbeddedCluster) -> None:
    web.behaviour = Behaviour(half_close=True, half_close_grace=0.1)
    try:
        # The older protocol's connection ends at once, a tunnel's only after its time for draining.
        async with forwarder(web, "httpx", protocol="legacy", half_close_delay=0) as opened:
            end = await opened.open_socket(SILENT)
            await connected(web)
            with end.socket as sock:
                sock.shutdown(socket.SHUT_WR)
            await ended(web)
    finally:
        web.behaviour = Behaviour(half_close_grace=0.1)


@pytest.mark.parametrize(("port", "kind"), [(REFUSED, "refused"), (RESET, "reset")])
async def test_a_socket_shows_an_end_and_its_owner_the_failure(
    web: EmbeddedCluster, backend: str, port: int, kind: str
) -> None:
    async with forwarder(web, backend) as opened:
        end = await opened.open_socket(port)
        with end.socket as sock:
            assert await _take(sock, 1) == b""
            assert end.failure is not None
            assert end.failure.kind == kind


async def test_a_socket_is_cut_when_its_forwarder_is_left(web: EmbeddedCluster, backend: str) -> None:
    async with forwarder(web, backend) as opened:
        end = await opened.open_socket(SEND)
    with end.socket as sock:
        assert await _take(sock, 1) == b""
    with pytest.raises(RuntimeError, match="not open"):
        await opened.open_socket(SEND)
