"""Port-forward: what users of other clients complain of.  Numbers as in README.md."""

from __future__ import annotations

import urllib.request
from collections.abc import Generator
from dataclasses import replace

import anyio
import anyio.to_thread
import pytest

from kubex_stream import ApiError, NotFound, Observer, PortForwardError
from kubex_stream.testing import EmbeddedCluster
from tests.behaviour.forwarding import (
    HASTY,
    MIB,
    PORTS,
    Protocol,
    behaving,
    echoes,
    forwarding_cluster,
    noise,
    nothing_left,
    read_all,
    settled,
)
from tests.known.conftest import OpenPods

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def forwarding() -> Generator[EmbeddedCluster, None, None]:
    with forwarding_cluster() as cluster:
        yield cluster


async def test_the_libraries_of_others_could_not_use_a_forwarded_port(
    open_pods: OpenPods, forwarding: EmbeddedCluster
) -> None:
    """73-77: kubernetes_asyncio #226, kubernetes-client/python #1534 and #1558 (AF_UNIX, so not on Windows), kr8s #223 "TCP socket closed
    when port forwarding", #569 "not working with python requests library": an ordinary client library over an ordinary local port."""

    def fetch(url: str) -> bytes:
        with urllib.request.urlopen(url) as response:
            body: bytes = response.read()
        return body

    async with open_pods(forwarding.configuration) as pods:
        async with pods.portforward.listen("svc/ports", ":web") as (web,):
            for address in web.addresses:
                host = f"[{address}]" if ":" in address else address
                for _ in range(3):
                    url = f"http://{host}:{web.local_port}/"
                    assert await anyio.to_thread.run_sync(fetch, url) == b"ports\n"


async def test_leaving_a_forward_raised_or_hung(open_pods: OpenPods, forwarding: EmbeddedCluster) -> None:
    """78: kr8s #221, #217 (errors and hanging when it is stopped), #104 (asyncio only): left at once with connections open, on every
    event loop, and the port is free again."""
    async with open_pods(forwarding.configuration) as pods:
        async with pods.portforward.listen("ports", f":{PORTS['echo']}", address="127.0.0.1") as (echo,):
            local = await anyio.connect_tcp("127.0.0.1", echo.local_port)
            assert await echoes(local, b"open")
        async with local:
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await local.receive()
        async with pods.portforward.listen("ports", f"{echo.local_port}:{PORTS['http']}", address="127.0.0.1"):
            pass


async def test_a_client_that_went_away_broke_the_forward(open_pods: OpenPods, forwarding: EmbeddedCluster) -> None:
    """79, 81: kubernetes #74551 "broken pipe", #111825 (a PostgreSQL client that resets): a local client that leaves in the middle of an
    answer ends nothing but its own connection."""
    async with open_pods(forwarding.configuration) as pods:
        ports = [f":{PORTS['send']}", f":{PORTS['echo']}"]
        async with pods.portforward.listen("ports", ports, half_close_delay=0.1) as (send, echo):
            for _ in range(3):
                async with await anyio.connect_tcp("127.0.0.1", send.local_port) as local:
                    await local.send(b"100000000\n")
                    await local.receive()  # and it is closed with much of the answer unread: a reset
            async with await anyio.connect_tcp("127.0.0.1", echo.local_port) as local:
                assert await echoes(local, noise(MIB))
    await nothing_left(forwarding)


async def test_the_first_connection_was_the_last(open_pods: OpenPods, forwarding: EmbeddedCluster) -> None:
    """80, 82: kubectl #1169, #1363 "drops connection to pod after first connection", kubernetes #78446: connections that are refused or reset
    do not end the forward."""
    async with open_pods(forwarding.configuration) as pods:
        ports = [f":{PORTS['reset']}", ":9999", f":{PORTS['echo']}"]
        async with pods.portforward.listen("ports", ports) as (reset, refused, echo):
            for listener in (reset, refused, reset, refused):
                async with await anyio.connect_tcp("127.0.0.1", listener.local_port) as local:
                    with pytest.raises(anyio.BrokenResourceError):
                        await local.receive()
            async with await anyio.connect_tcp("127.0.0.1", echo.local_port) as local:
                assert await echoes(local, b"alive")
            assert (reset.failures, refused.failures, echo.failures) == (2, 2, 0)


@pytest.mark.parametrize("protocol", ["tunnel", "legacy"])
async def test_a_server_that_ended_was_not_told_to_the_local_client(
    open_pods: OpenPods, forwarding: EmbeddedCluster, protocol: Protocol
) -> None:
    """86: kubernetes #8766 (the local connection stays open when the pod's server has closed), client-go #329."""
    async with open_pods(forwarding.configuration) as pods:
        async with pods.portforward.listen("ports", f":{PORTS['banner']}", protocol=protocol) as (banner,):
            async with await anyio.connect_tcp("127.0.0.1", banner.local_port) as local:
                assert await read_all(local) == b"banner\n"


async def test_udp_failed_without_a_word(open_pods: OpenPods, forwarding: EmbeddedCluster) -> None:
    """87: kubernetes #47862: UDP cannot be forwarded, and it is said."""
    async with open_pods(forwarding.configuration) as pods:
        with pytest.raises(ApiError, match="only TCP can be forwarded"):
            async with pods.portforward.listen("svc/ports", ":dns"):
                pytest.fail("it cannot work")


async def test_writing_to_an_ended_connection_crashed(open_pods: OpenPods, forwarding: EmbeddedCluster) -> None:
    """88: kubernetes-client/javascript #459, #187 (write after end kills the process): an error with a name."""
    async with open_pods(forwarding.configuration) as pods:
        async with pods.portforward.connect("ports", PORTS["banner"]) as stream:
            await read_all(stream)
            with pytest.raises(PortForwardError, match="has ended the connection") as caught:
                await stream.send(b"x")
            assert caught.value.kind == "closed"


async def test_an_idle_forward_was_dropped(open_pods: OpenPods, forwarding: EmbeddedCluster) -> None:
    """89: kubernetes #80171, #19231: pings go out into silence, and what answers them is told."""
    async with open_pods(forwarding.configuration, heartbeat=0.05) as pods:
        async with pods.portforward.connect("ports", PORTS["echo"]) as stream:
            with anyio.fail_after(10):
                while stream.statistics.rtt is None:
                    await anyio.sleep(0.01)
            assert await echoes(stream, b"still here")


class _Opened(Observer):
    """Counts handshakes."""

    def __init__(self) -> None:
        self.count = 0

    def opened(self, path: str, subprotocol: str) -> None:
        self.count += path.endswith("/portforward") and subprotocol.startswith("SPDY/")


async def test_each_connection_cost_a_handshake(open_pods: OpenPods, forwarding: EmbeddedCluster) -> None:
    """90: kubernetes PR #50428 (a TLS handshake for each connection makes the older protocol half as fast): ten connections one after another,
    one handshake."""
    observer = _Opened()
    async with open_pods(forwarding.configuration, observer=observer) as pods:
        async with pods.portforward.listen("ports", f":{PORTS['banner']}") as (banner,):
            for number in range(10):
                async with await anyio.connect_tcp("127.0.0.1", banner.local_port) as local:
                    assert await read_all(local) == b"banner\n"
                with anyio.fail_after(10):
                    while banner.active:  # its tunnel is free again
                        await anyio.sleep(0.001)
                assert observer.count == 1, number


async def test_replies_were_lost_and_retries_never_ended(open_pods: OpenPods, forwarding: EmbeddedCluster) -> None:
    """R-8: `kubernetes` loses what arrives after the local end, kr8s tries a pod that is not there for ever: the reply to a client that has
    ended its input arrives whole, and a target that is not there is an error."""
    async with open_pods(forwarding.configuration) as pods:
        async with pods.portforward.listen("ports", f":{PORTS['send']}") as (send,):
            async with await anyio.connect_tcp("127.0.0.1", send.local_port) as local:
                await local.send(b"2000000\n")
                await local.send_eof()
                assert len(await read_all(local)) == 2_000_000
        with pytest.raises(NotFound):
            async with pods.portforward.listen("nobody", ":80"):
                pytest.fail("there is no such pod")


@pytest.mark.parametrize("protocol", ["tunnel", "legacy"])
async def test_closed_connections_stayed_open_in_the_cluster(
    open_pods: OpenPods, forwarding: EmbeddedCluster, protocol: Protocol
) -> None:
    """kubex P-1: twenty local connections are closed; the pod's server, which says nothing by itself, was left with all of them.  P-2: with
    one port a connection, each of them ends by itself."""
    async with open_pods(forwarding.configuration) as pods:
        async with pods.portforward.listen(
            "ports",
            f":{PORTS['echo']}",
            protocol=protocol,
            half_close_delay=0.1,
        ) as (echo,):
            for _ in range(20):
                async with await anyio.connect_tcp("127.0.0.1", echo.local_port) as local:
                    assert await echoes(local, b"x")
            await settled(forwarding, lambda: not forwarding.forwarded_connections)


async def test_an_error_of_the_port_was_nobodys(open_pods: OpenPods, forwarding: EmbeddedCluster) -> None:
    """kubex P-3: the error channel had to be watched beside the stream: here the stream itself raises."""
    async with open_pods(forwarding.configuration) as pods:
        async with pods.portforward.connect("ports", 9999, protocol="legacy") as stream:
            with pytest.raises(PortForwardError, match="connection refused"):
                await stream.receive()


@pytest.mark.parametrize("protocol", ["tunnel", "legacy"])
async def test_a_stalled_reader_lost_the_connection_to_its_own_pings(
    open_pods: OpenPods, forwarding: EmbeddedCluster, protocol: Protocol
) -> None:
    """kubex P-4: a reader that sleeps longer than the keep-alive's deadline got 4 of 268 MB and a clean end."""
    size = 12 * MIB
    async with open_pods(forwarding.configuration, heartbeat=0.02, heartbeat_timeout=0.1) as pods:
        async with pods.portforward.connect("ports", PORTS["send"], protocol=protocol) as stream:
            await stream.send(b"%d\n" % size)
            await stream.receive(1)
            await anyio.sleep(0.4)  # several deadlines
            assert len(await read_all(stream)) == size - 1


async def test_a_listener_told_nothing(open_pods: OpenPods, forwarding: EmbeddedCluster) -> None:
    """kubex P-5: the chosen port, refusals and what becomes of connections are told, Services are resolved."""
    async with open_pods(forwarding.configuration) as pods:
        async with pods.portforward.listen("svc/ports", [":80", ":7"]) as listeners:
            assert [each.remote_port for each in listeners] == [80, 7]
            assert all(each.local_port for each in listeners)
        with behaving(forwarding, replace(HASTY, rbac="nobody")), pytest.raises(ApiError) as caught:
            async with pods.portforward.listen("ports", ":80"):
                pytest.fail("it is forbidden")
        assert caught.value.status_code == 403


async def test_a_closed_stream_looked_like_an_ended_one(open_pods: OpenPods, forwarding: EmbeddedCluster) -> None:
    """kubex P-6: anyio's contract, also for small pieces of large messages."""
    async with open_pods(forwarding.configuration) as pods:
        async with pods.portforward.connect("ports", PORTS["send"]) as stream:
            await stream.send(b"100000\n")
            pieces = [await stream.receive(1000) for _ in range(5)]
            assert all(0 < len(piece) <= 1000 for piece in pieces)
            await stream.aclose()
            with pytest.raises(anyio.ClosedResourceError):
                await stream.receive()
            with pytest.raises(anyio.ClosedResourceError):
                await stream.send(b"x")
