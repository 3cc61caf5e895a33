"""Port-forward as users rely on it, on every backend and event loop, over the tunnel and the older protocol."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from dataclasses import replace

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from kubex_stream import ClientOptions, ConnectionEvent, PortForwardError
from kubex_stream.testing import Behaviour, EmbeddedCluster
from tests.behaviour.forwarding import (
    HASTY,
    MIB,
    PORTS,
    REFUSED,
    Protocol,
    behaving,
    echoes,
    forwarding_cluster,
    noise,
    nothing_left,
    pods_of,
    read_all,
)
from tests.conftest import MakeClient

pytestmark = pytest.mark.anyio
both = pytest.mark.parametrize("protocol", ["tunnel", "legacy"])


@pytest.fixture(scope="module")
def forwarding() -> Generator[EmbeddedCluster, None, None]:
    with forwarding_cluster() as cluster:
        yield cluster


# One connection -------------------------------------------------------------------------------------------------------


@both
async def test_bytes_go_both_ways_at_once(
    make_client: MakeClient, forwarding: EmbeddedCluster, protocol: Protocol
) -> None:
    async with pods_of(make_client, forwarding) as pods:
        async with pods.portforward.connect("ports", PORTS["echo"], protocol=protocol) as stream:
            assert await echoes(stream, noise(4 * MIB))
            assert stream.statistics.bytes_in == stream.statistics.bytes_out == 4 * MIB
    await nothing_left(forwarding)


@both
async def test_the_pods_end_comes_after_all_it_sent(
    make_client: MakeClient, forwarding: EmbeddedCluster, protocol: Protocol
) -> None:
    async with pods_of(make_client, forwarding, ClientOptions(stream_buffer_size=65536)) as pods:
        async with pods.portforward.connect("ports", PORTS["send"], protocol=protocol) as stream:
            await stream.send(b"3000000\n")
            total = 0
            async for piece in stream:
                total += len(piece)
                await anyio.lowlevel.checkpoint()
            assert total == 3_000_000


@both
async def test_a_refused_dial_is_told_in_the_servers_words_but_without_its_paths(
    make_client: MakeClient, forwarding: EmbeddedCluster, protocol: Protocol
) -> None:
    async with pods_of(make_client, forwarding) as pods:
        async with pods.portforward.connect("ports", REFUSED, protocol=protocol) as stream:
            with pytest.raises(
                PortForwardError, match="connection refused: nothing in the pod listens on port 9999"
            ) as caught:
                await stream.receive()
            assert (caught.value.kind, caught.value.port) == ("refused", REFUSED)
            assert "netns" not in str(caught.value)
            with pytest.raises(PortForwardError, match="connection refused"):
                await stream.send(b"x")


@both
async def test_a_reset_by_the_pods_server_is_no_end(
    make_client: MakeClient, forwarding: EmbeddedCluster, protocol: Protocol
) -> None:
    async with pods_of(make_client, forwarding) as pods:
        async with pods.portforward.connect("ports", PORTS["reset"], protocol=protocol) as stream:
            with pytest.raises(PortForwardError) as caught:
                await read_all(stream)
            assert caught.value.kind == "reset"


@pytest.mark.parametrize("target", ["pod/ports", "svc/ports", "deploy/ports", "rs/ports", "sts/ports"])
async def test_targets_by_name_of_a_port(make_client: MakeClient, forwarding: EmbeddedCluster, target: str) -> None:
    async with pods_of(make_client, forwarding) as pods:
        async with pods.portforward.connect(target, "echo") as stream:
            assert await echoes(stream, b"hello")
            assert (stream.pod, stream.port) == ("ports", PORTS["echo"])


# Half-close -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("through", ["connect", "listen"])
async def test_an_answer_after_the_end_of_input_where_the_runtime_carries_it(
    make_client: MakeClient, forwarding: EmbeddedCluster, through: str
) -> None:
    data = noise(MIB)
    with behaving(forwarding, replace(HASTY, half_close=True)):
        async with pods_of(make_client, forwarding) as pods:
            if through == "connect":
                async with pods.portforward.connect("ports", PORTS["sha256"]) as stream:
                    await stream.send(data)
                    await stream.send_eof()
                    answer = await read_all(stream)
            else:
                async with pods.portforward.listen("ports", f":{PORTS['sha256']}") as (listener,):
                    async with await anyio.connect_tcp("127.0.0.1", listener.local_port) as local:
                        await local.send(data)
                        await local.send_eof()
                        answer = await read_all(local)
    assert answer.split()[0].decode() == hashlib.sha256(data).hexdigest()


async def test_an_answer_that_is_under_way_is_whole_where_the_runtime_would_cut_it(
    make_client: MakeClient, forwarding: EmbeddedCluster
) -> None:
    """containerd cuts one second after an end of input, and says nothing: so the end waits for the answer."""
    size = 6 * MIB
    async with pods_of(make_client, forwarding, ClientOptions(stream_buffer_size=65536)) as pods:
        async with pods.portforward.listen("ports", f":{PORTS['send']}") as (listener,):
            async with await anyio.connect_tcp("127.0.0.1", listener.local_port) as local:
                await local.send(b"%d\n" % size)
                await local.send_eof()
                total = 0
                async for piece in local:
                    total += len(piece)
                    if total < 4 * MIB:
                        await anyio.sleep(0.0002 * len(piece) / 1024)  # longer than the runtime's second, all in all
    assert total == size


async def test_a_cut_is_told_where_it_can_be_known(make_client: MakeClient, forwarding: EmbeddedCluster) -> None:
    with behaving(forwarding, Behaviour()):
        async with pods_of(make_client, forwarding, ClientOptions(stream_buffer_size=65536)) as pods:
            async with pods.portforward.connect("ports", PORTS["send"], half_close_delay=0) as stream:
                await stream.send(b"100000000\n")
                await stream.send_eof()
                await stream.receive()
                await anyio.sleep(1.5)  # the runtime's second passes while nobody reads
                with pytest.raises(PortForwardError, match="may be incomplete") as caught:
                    await read_all(stream)
    assert caught.value.kind == "cut"


async def test_the_older_protocol_cannot_end_its_input_and_says_so(
    make_client: MakeClient, forwarding: EmbeddedCluster
) -> None:
    async with pods_of(make_client, forwarding) as pods:
        async with pods.portforward.connect(
            "ports", PORTS["sha256"], protocol="legacy", half_close_delay=0.1
        ) as stream:
            await stream.send(b"abc")
            await stream.send_eof()
            with pytest.raises(
                PortForwardError, match="cannot tell the pod's server that the input has ended"
            ) as caught:
                await read_all(stream)
    assert caught.value.kind == "cut"
    await nothing_left(forwarding)


# Many connections -----------------------------------------------------------------------------------------------------


@both
async def test_many_connections_at_once_and_one_after_another(
    make_client: MakeClient, forwarding: EmbeddedCluster, protocol: Protocol
) -> None:
    events: list[ConnectionEvent] = []
    async with pods_of(make_client, forwarding) as pods:
        async with pods.portforward.listen(
            "ports", f":{PORTS['echo']}", protocol=protocol, max_tunnels=4, half_close_delay=0.1, on_event=events.append
        ) as (listener,):

            async def one(number: int) -> None:
                async with await anyio.connect_tcp("127.0.0.1", listener.local_port) as local:
                    assert await echoes(local, noise(20_000, number))

            async with anyio.create_task_group() as tasks:
                for number in range(40):
                    tasks.start_soon(one, number)
            for number in range(10):
                await one(number)
    assert [event.kind for event in events].count("opened") == 50
    assert not [event.error for event in events if event.error]
    assert listener.connections == 50
    assert (listener.failures, listener.active) == (0, 0)
    await nothing_left(forwarding)


@both
async def test_a_refused_port_and_a_stalled_one_leave_the_others_alone(
    make_client: MakeClient, forwarding: EmbeddedCluster, protocol: Protocol
) -> None:
    """kubectl gives up the whole forward at the first refused dial, and one tunnel stands still when a server does not read."""
    ports = [f":{PORTS['echo']}", f":{PORTS['silent']}", f":{REFUSED}"]
    failed: list[ConnectionEvent] = []
    async with pods_of(make_client, forwarding, ClientOptions(close_timeout=0.1)) as pods:
        async with pods.portforward.listen(
            "ports", ports, protocol=protocol, on_event=lambda event: failed.append(event) if event.error else None
        ) as (echo, silent, refused):
            async with await anyio.connect_tcp("127.0.0.1", silent.local_port) as stalled:
                with anyio.move_on_after(0.5) as full:
                    while True:
                        await stalled.send(bytes(65536))
                assert full.cancelled_caught
                for _ in range(2):
                    async with await anyio.connect_tcp("127.0.0.1", refused.local_port) as local:
                        with pytest.raises(anyio.BrokenResourceError):
                            await local.receive()
                    async with await anyio.connect_tcp("127.0.0.1", echo.local_port) as local:
                        assert await echoes(local, noise(MIB))
    assert [event.listener.remote_port for event in failed] == [REFUSED, REFUSED]
    assert "connection refused" in str(failed[0].error)


async def test_a_slow_consumer_of_a_shared_tunnel_loses_nothing_and_stops_nobody(
    make_client: MakeClient, forwarding: EmbeddedCluster
) -> None:
    options = ClientOptions(stream_buffer_size=65536)
    async with pods_of(make_client, forwarding, options) as pods:
        async with pods.portforward.forwarder("ports", share=True) as forwarder:
            async with forwarder.connect(PORTS["send"]) as slow, forwarder.connect(PORTS["echo"]) as quick:
                await slow.send(b"4000000\n")
                for number in range(5):
                    assert await echoes(quick, noise(500_000, number))
                assert len(await read_all(slow)) == 4_000_000
            assert forwarder.tunnels == 1


async def test_a_tunnel_is_used_again(make_client: MakeClient, forwarding: EmbeddedCluster) -> None:
    async with pods_of(make_client, forwarding) as pods:
        async with pods.portforward.forwarder("ports") as forwarder:
            before = len([each for each in forwarding.requests if each.path.endswith("/portforward")])
            for _ in range(5):
                stream = await forwarder.connect(PORTS["banner"])
                assert await read_all(stream) == b"banner\n"
                await stream.aclose()
            after = len([each for each in forwarding.requests if each.path.endswith("/portforward")])
    assert after == before
