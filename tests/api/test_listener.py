"""Local listeners, on real local sockets, in front of a cluster that is none."""

from __future__ import annotations

import errno
import logging
import os
import resource
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import pytest

from kubex_stream import NotFound, Pods
from kubex_stream.api.listener import ConnectionEvent, Listeners
from kubex_stream.api.local import LocalListener
from tests.api.forwarding import ForwardingClient
from tests.client.memory import refusal
from tests.ports import free_port
from tests.session.memory import PATIENCE
from tests.session.test_turns import settled
from tests.session.tunnel_peer import PeerPair, SteppingPeer

pytestmark = pytest.mark.anyio

TUNNEL = "SPDY/3.1+portforward.k8s.io"


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")


@asynccontextmanager
async def listening(client: ForwardingClient, ports: Any, **options: Any) -> AsyncGenerator[Listeners, None]:
    async with client:
        with anyio.fail_after(PATIENCE):
            async with Pods(client).portforward.listen("web-0", ports, **options) as listeners:
                yield listeners
    assert client.retries.open == 0


async def exchange(port: int, data: bytes = b"echo", address: str = "127.0.0.1") -> bytes:
    """What comes back of what is sent."""
    received = b""
    async with await anyio.connect_tcp(address, port) as stream:
        await stream.send(data)
        while len(received) < len(data):
            received += await stream.receive()
    return received


def connects(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def taken() -> Any:
    """A port that somebody else listens on."""
    with socket.create_server(("127.0.0.1", free_port())) as sock:
        yield sock.getsockname()[1]


async def test_ports_are_listened_on_and_connections_carried() -> None:
    events: list[ConnectionEvent] = []
    async with listening(
        ForwardingClient(), [":80", ":http"], address="127.0.0.1", on_event=events.append
    ) as listeners:
        assert [(each.remote, each.remote_port) for each in listeners] == [(80, 80), ("http", 8080)]
        assert len(listeners) == 2
        assert listeners[0:2] == [listeners[0], listeners[1]]
        assert repr(listeners[0]) == f"<PortForwardListener 127.0.0.1 port {listeners[0].local_port} -> 80>"
        for listener in listeners:
            assert listener.addresses == ("127.0.0.1",)
            assert await exchange(listener.local_port) == b"echo"
        with anyio.fail_after(PATIENCE):
            while len(events) < 4:
                await anyio.sleep(0.001)
        assert [event.kind for event in events if event.number == 1] == ["opened", "closed"]
        closed = next(event for event in events if event.number == 1 and event.kind == "closed")
        assert (closed.bytes_in, closed.bytes_out, closed.error, closed.listener) == (4, 4, None, listeners[0])
        assert closed.peer.startswith("127.0.0.1:")
        assert [(each.connections, each.active, each.failures, each.bytes_in) for each in listeners] == [
            (1, 0, 0, 4)
        ] * 2
        ports = [listener.local_port for listener in listeners]
    assert not any(connects(port) for port in ports)


@needs_ipv6
async def test_a_free_port_is_the_same_on_both_addresses_of_localhost() -> None:
    async with listening(ForwardingClient(), [":80"]) as listeners:
        assert listeners[0].addresses == ("127.0.0.1", "::1")
        for address in listeners[0].addresses:
            assert await exchange(listeners[0].local_port, address=address) == b"echo"


@needs_ipv6
async def test_one_address_of_localhost_is_enough(taken: int, caplog: pytest.LogCaptureFixture) -> None:
    async with listening(ForwardingClient(), [f"{taken}:80"]) as listeners:
        assert listeners[0].addresses == ("::1",)
        assert await exchange(taken, address="::1") == b"echo"
    assert f"127.0.0.1:{taken}" in caplog.text
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


async def test_an_address_that_is_needed_and_cannot_be_had_is_an_error_and_nothing_is_left(taken: int) -> None:
    client = ForwardingClient()
    free = free_port()
    with pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1:{taken}") as caught:
        async with listening(client, [f"{free}:80", f"{taken}:80"], address=["127.0.0.1"]):
            pytest.fail("entered")
    assert caught.value.errno == errno.EADDRINUSE
    assert not connects(free)
    assert all(connection.closed for connection in client.connections)


@needs_ipv6
async def test_of_several_addresses_that_are_needed_one_that_fails_closes_the_others(taken: int) -> None:
    with pytest.raises(OSError, match="cannot listen on"):
        async with listening(ForwardingClient(), [f"{taken}:80"], address=["::1", "127.0.0.1"]):
            pytest.fail("entered")
    LocalListener("::1", taken).close()


async def test_an_address_that_is_none_of_ours() -> None:
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1:0"):
        async with listening(ForwardingClient(), [":80"], address="192.0.2.1"):
            pytest.fail("entered")


async def test_ports_that_cannot_be_had_are_told_where_some_are_enough(taken: int) -> None:
    told: list[tuple[int, OSError]] = []

    def tell(port: int, error: OSError) -> None:
        told.append((port, error))

    options = {"address": "127.0.0.1", "on_unavailable": tell}
    async with listening(ForwardingClient(), [f"{taken}:80", ":81"], **options) as listeners:
        assert [listener.remote for listener in listeners] == [81]
        assert [port for port, _ in told] == [taken]
    with pytest.raises(OSError, match="cannot listen"):
        async with listening(ForwardingClient(), [f"{taken}:80"], **options):
            pytest.fail("entered")


async def test_a_port_that_the_target_does_not_have_is_an_error_before_anything_listens() -> None:
    free = free_port()
    with pytest.raises(NotFound, match="https"):
        async with listening(ForwardingClient(), [f"{free}:80", ":https"]):
            pytest.fail("entered")
    assert not connects(free)


async def test_a_failed_connection_is_told_and_the_listener_goes_on() -> None:
    client, events = ForwardingClient(), list[ConnectionEvent]()
    async with listening(client, [":80"], reconnect=0, on_event=events.append, address="127.0.0.1") as listeners:
        async with await anyio.connect_tcp("127.0.0.1", listeners[0].local_port) as first:
            await first.send(b"x")
            assert await first.receive() == b"x"
            client.answers[TUNNEL] = [refusal(500, message="error dialing backend")]
            async with await anyio.connect_tcp("127.0.0.1", listeners[0].local_port) as second:
                with pytest.raises(anyio.BrokenResourceError):
                    await second.receive()
            await first.send(b"y")
            assert await first.receive() == b"y"
        assert await exchange(listeners[0].local_port) == b"echo"
        failed = [event for event in events if event.kind == "failed"]
        assert [event.number for event in failed] == [2]
        assert "error dialing backend" in str(failed[0].error)
        assert listeners[0].failures == 1


async def test_a_refused_dial_is_a_reset_and_an_event_of_its_own() -> None:
    class Refusing(SteppingPeer):
        def on_data(self, pair: PeerPair, data: bytes) -> None:  # noqa: ARG002
            pair.refuse()

    client, events = ForwardingClient(), list[ConnectionEvent]()
    client.answers[TUNNEL] = [Refusing()]
    async with listening(client, [":80"], on_event=events.append, address="127.0.0.1") as listeners:
        async with await anyio.connect_tcp("127.0.0.1", listeners[0].local_port) as stream:
            await stream.send(b"x")
            with pytest.raises(anyio.BrokenResourceError):
                await stream.receive()
        await settled()
        assert [event.kind for event in events] == ["opened", "failed"]
        assert "connection refused" in str(events[1].error)


async def test_an_applications_error_in_its_callback_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def fail(event: ConnectionEvent) -> None:
        raise ZeroDivisionError(event.kind)

    async with listening(ForwardingClient(), [":80"], on_event=fail, address="127.0.0.1") as listeners:
        for _ in range(2):
            assert await exchange(listeners[0].local_port) == b"echo"
    assert "on_event failed" in caplog.text


@contextmanager
def no_descriptors() -> Generator[None, None, None]:
    """As if this process had opened all that it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_what_cannot_be_accepted_now_is_accepted_later(caplog: pytest.LogCaptureFixture) -> None:
    async with listening(ForwardingClient(), [":80"], address="127.0.0.1") as listeners:
        assert await exchange(listeners[0].local_port) == b"echo"
        with socket.socket() as sock:
            with no_descriptors():
                sock.connect(("127.0.0.1", listeners[0].local_port))
                sock.setblocking(False)
                while "cannot accept a connection" not in caplog.text:
                    await anyio.sleep(0.001)
            sock.send(b"patience")
            await anyio.wait_readable(sock)
            assert sock.recv(100) == b"patience"


async def test_leaving_cuts_what_is_open() -> None:
    async with listening(ForwardingClient(), [":80"], address="127.0.0.1") as listeners:
        stream = await anyio.connect_tcp("127.0.0.1", listeners[0].local_port)
        await stream.send(b"x")
        assert await stream.receive() == b"x"
    with pytest.raises(anyio.BrokenResourceError):
        await stream.receive()
    await stream.aclose()


async def test_leaving_by_an_error_or_a_cancellation_leaves_nothing() -> None:
    client = ForwardingClient()
    with anyio.CancelScope() as scope:
        async with listening(client, [":80"], address="127.0.0.1") as listeners:
            assert await exchange(listeners[0].local_port) == b"echo"
            port = listeners[0].local_port
            scope.cancel()
            await anyio.sleep_forever()
    assert not connects(port)
    assert all(connection.closed for connection in client.connections)
