"""Port-forwards whose server breaks, stalls, is older, or loses its pod, on every backend and event loop."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from kubex_stream import ClientOptions, PortForwardError
from kubex_stream.testing import EmbeddedCluster, EmbeddedWorkload
from tests.behaviour.forwarding import (
    HASTY,
    MIB,
    PATIENCE,
    PORTS,
    Protocol,
    behaving,
    echoes,
    forwarding_cluster,
    noise,
    nothing_left,
    pod,
    pods_of,
    read_exactly,
)
from tests.conftest import MakeClient

pytestmark = pytest.mark.anyio
both = pytest.mark.parametrize("protocol", ["tunnel", "legacy"])


@pytest.fixture(scope="module")
def forwarding() -> Generator[EmbeddedCluster, None, None]:
    with forwarding_cluster() as cluster:
        yield cluster


# Faults ---------------------------------------------------------------------------------------------------------------

BROKEN = {
    "GOAWAY": replace(HASTY, goaway_after_bytes=200_000),
    "a stream's reset": replace(HASTY, reset_stream_after_bytes=200_000),
    "garbage": replace(HASTY, tunnel_garbage_after_bytes=200_000),
    "the end of TCP": replace(HASTY, tcp_reset_after_bytes=200_000),
    "Close 1000": replace(HASTY, close_after_bytes=200_000),
    "Close 1011": replace(HASTY, close_after_bytes=200_000, close_code=1011),
}


@pytest.mark.parametrize("fault", BROKEN)
async def test_what_came_before_a_fault_is_handed_out_and_the_next_connection_works(
    make_client: MakeClient, forwarding: EmbeddedCluster, fault: str
) -> None:
    async with pods_of(make_client, forwarding) as pods:
        with behaving(forwarding, BROKEN[fault]):
            forwarder = pods.portforward.forwarder("ports")
            await forwarder.__aenter__()
        got = 0

        async def fetch() -> None:
            nonlocal got
            async with forwarder.connect(PORTS["send"]) as stream:
                await stream.send(b"1000000\n")
                async for piece in stream:
                    got += len(piece)

        try:
            with anyio.fail_after(PATIENCE), pytest.raises(PortForwardError) as caught:
                await fetch()
            assert caught.value.kind == ("reset" if fault == "a stream's reset" else "lost")
            assert got == 200_000 or (fault == "the end of TCP" and got <= 200_000)
            async with forwarder.connect(PORTS["echo"]) as stream:
                assert await echoes(stream, b"again")
        finally:
            await forwarder.__aexit__(None, None, None)


async def test_a_header_bomb_ends_the_tunnel_only(make_client: MakeClient, forwarding: EmbeddedCluster) -> None:
    with behaving(forwarding, replace(HASTY, header_bomb=True)):
        async with pods_of(make_client, forwarding) as pods:
            with pytest.raises(PortForwardError, match="header block") as caught:
                async with pods.portforward.connect("ports", PORTS["echo"], reconnect=0):
                    pytest.fail("it was not opened")
    assert caught.value.kind == "lost"


async def test_a_server_that_does_not_answer_can_be_cancelled(
    make_client: MakeClient, forwarding: EmbeddedCluster
) -> None:
    with behaving(forwarding, replace(HASTY, no_reply=True)):
        async with pods_of(make_client, forwarding) as pods:
            async with pods.portforward.forwarder("ports") as forwarder:
                with anyio.move_on_after(0.3) as scope:
                    async with forwarder.connect(PORTS["echo"]):
                        pytest.fail("it was not answered")
                assert scope.cancelled_caught
    await nothing_left(forwarding)


@pytest.mark.parametrize("protocol", ["tunnel", "legacy"])
async def test_cancelling_a_blocked_send_returns_and_leaves_nothing(
    make_client: MakeClient, forwarding: EmbeddedCluster, protocol: Protocol
) -> None:
    async with pods_of(make_client, forwarding, ClientOptions(close_timeout=0.1)) as pods:
        async with pods.portforward.connect("ports", PORTS["silent"], protocol=protocol) as stream:
            with anyio.move_on_after(0.3) as scope:
                while True:
                    await stream.send(bytes(MIB))
            assert scope.cancelled_caught
    await nothing_left(forwarding)


# Other servers --------------------------------------------------------------------------------------------------------


async def test_a_server_without_the_tunnel_gets_the_older_protocol(
    make_client: MakeClient, forwarding: EmbeddedCluster
) -> None:
    with behaving(forwarding, replace(HASTY, tunnel=False)):
        async with pods_of(make_client, forwarding) as pods:
            async with pods.portforward.connect("ports", PORTS["echo"]) as stream:
                assert await echoes(stream, noise(300_000))
                assert stream.protocol == "v4.channel.k8s.io"


async def test_a_pod_that_is_replaced(make_client: MakeClient, forwarding: EmbeddedCluster) -> None:
    forwarding.add_pod(pod("web-1", role="web"))
    forwarding.add_workload(EmbeddedWorkload("Deployment", "web", selector={"role": "web"}))
    try:
        async with pods_of(make_client, forwarding) as pods:
            async with pods.portforward.listen("deploy/web", ":8080") as (listener,):
                async with await anyio.connect_tcp("127.0.0.1", listener.local_port) as old:
                    assert await echoes(old, b"old")
                    await anyio.to_thread.run_sync(forwarding.delete_pod, "web-1")
                    with anyio.fail_after(PATIENCE):
                        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                            await read_exactly(old, 1)
                forwarding.add_pod(pod("web-2", role="web"))
                for _ in range(3):
                    async with await anyio.connect_tcp("127.0.0.1", listener.local_port) as local:
                        assert await echoes(local, b"new")
                assert listener.failures == 0
    finally:
        forwarding.remove_workload("Deployment", "web")
        forwarding.delete_pod("web-2")
