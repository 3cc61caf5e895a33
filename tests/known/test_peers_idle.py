"""Idle sessions, heartbeats, endings nobody tells of: what users of other clients complain of.  Numbers as in README.md."""

from __future__ import annotations

import random

import anyio
import anyio.to_thread
import pytest

from kubex_stream import ClientOptions, ConnectionLost, OutputStream, StatusMissing, StreamTimeout
from kubex_stream.testing import Behaviour, EmbeddedCluster, EmbeddedPod, ScriptedPeer
from tests.known.conftest import OpenPods
from tests.known.wire import PING, PONG, READY, V4, V5, finish, out, read, read_on, serving

pytestmark = pytest.mark.anyio


def test_by_default_there_are_pings() -> None:
    """61, 62, 63, 64: nobody should have to know of them."""
    assert ClientOptions().heartbeat == 10
    assert ClientOptions().heartbeat_timeout == 60


async def test_an_idle_session_was_dropped_for_want_of_pings(open_pods: OpenPods) -> None:
    """61, 62, 63, 64: kubernetes-client/python #1841 "Unexpected WebSocketConnectionClosedException ... missing pings?", kube-rs #1888
    "Idle websocket connections are closed after a few Minutes", kubernetes_asyncio #193, javascript #2870 "Exec timeout after 5 minutes"
    and #478, garden PR #3395, kubernetes/kubernetes #128314: pings go out into silence, whoever of the application waits."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(READY)
        for _ in range(5):
            frame = await peer.receive_frame()
            assert frame is not None
            assert frame.opcode == PING
            await peer.send_frame(PONG, frame.payload)
        await finish(peer)

    async with serving(script) as server, open_pods(server.configuration, heartbeat=0.02) as pods:
        assert (await pods.exec.run("one", ["x"])).exit_code == 0
        async with pods.exec.stream("one", ["x"]) as process:
            assert await process.wait() == 0
            assert process.statistics.rtt is not None


@pytest.mark.parametrize("protocol", [V4, V5])
async def test_a_heartbeat_killed_a_slow_reader(open_pods: OpenPods, protocol: str) -> None:
    """61-64, R-6: aiohttp PR #10544 "Handle PONG messages before closing connection due to heartbeat timeout", azure-sdk-for-python
    #31067, fabric8 #2050: a reader that sleeps longer than the heartbeat lost the connection, and all that it had not read."""
    size = 12 * 1024 * 1024  # more than the buffers of sockets take, so the server stands still too
    async with (
        EmbeddedCluster(quiet=True) as cluster,
        open_pods(cluster.configuration, heartbeat=0.02, heartbeat_timeout=0.1, spool_limit=0) as pods,
    ):
        command = ["head", "-c", str(size), "/dev/zero"]
        async with pods.exec.stream("demo", command, protocols=[protocol]) as process:
            begun = len(await process.stdout.receive())
            await anyio.sleep(0.4)  # several deadlines; as an application does that is busy
            assert begun + len(await read(process.stdout)) == size
            assert await process.wait() == 0


async def test_a_heartbeat_killed_an_upload(open_pods: OpenPods) -> None:
    """61-64, R-6: httpx-ws ended an upload that took longer than its interval and timeout with 1011 "Keepalive ping timeout"; a server
    whose process is not reading answers no ping."""
    data = random.Random(6).randbytes(3_000_000)
    async with (
        EmbeddedCluster(behaviour=Behaviour(stdin_buffer=32 * 1024), quiet=True) as cluster,
        open_pods(cluster.configuration, heartbeat=0.02, heartbeat_timeout=0.1) as pods,
    ):
        await pods.exec.run("demo", ["sh", "-c", "sleep 0.4; cat >taken"], input=data)
        assert (cluster.directory() / "taken").read_bytes() == data


async def test_a_session_that_idles_out_ended_without_a_word(open_pods: OpenPods) -> None:
    """65: kubernetes/kubernetes #66661 "kubectl exec times out if no output is produced": servers end a session after hours without
    data, pings or not, and that is an error here, not an end."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(READY)
        await peer.close(1000)

    async with (
        serving(script) as server,
        open_pods(server.configuration) as pods,
        pods.exec.stream("one", ["x"]) as process,
    ):
        with pytest.raises(StatusMissing, match="there is no exit code"):
            await process.stdout.receive()


async def test_a_lost_connection_said_nothing_of_what_it_had_carried(open_pods: OpenPods) -> None:
    """66: inspect_k8s_sandbox #38 "`WebSocketConnectionClosedException` Connection to remote host was lost."."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(READY, out(b"12345"))
        assert await peer.receive_message() == b"\x00123"
        await peer.reset()

    async with serving(script) as server, open_pods(server.configuration) as pods:
        async with pods.exec.stream("one", ["x"], stdin=True) as process:
            await process.stdin.send(b"123")
            assert await read_until_lost(process.stdout) == b"12345"
            with pytest.raises(ConnectionLost, match=r"5 bytes in, 3 bytes out, idle for \d+\.\d s") as raised:
                await process.wait()
    assert raised.value.statistics is not None
    assert raised.value.statistics[:4] == (5, 3, 2, 1)


async def read_until_lost(stream: OutputStream) -> bytes:
    """What comes before the connection is lost."""
    got = b""
    try:
        while True:
            got += await stream.receive()
    except ConnectionLost:
        return got


async def test_a_frozen_session_was_never_noticed(open_pods: OpenPods) -> None:
    """67: kubernetes-client/python #1132 "Websocket streaming connection never closes", kubernetes/kubernetes #89233: a server that has
    vanished says nothing, for ever."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(READY, out(b"so far"))
        await read_on(peer)  # no pong, no Close

    options = {"heartbeat": 0.05, "heartbeat_timeout": 0.2, "close_timeout": 0.1}
    async with serving(script) as server, open_pods(server.configuration, **options) as pods:
        with anyio.fail_after(20), pytest.raises(ConnectionLost, match="no sign of life") as raised:
            await pods.exec.run("one", ["x"])
        assert raised.value.stdout == b"so far"


async def test_a_pod_was_removed_and_its_sessions_stayed_open(open_pods: OpenPods) -> None:
    """67: kubernetes/kubernetes #129144 "When a pod is removed, running execs stay open but frozen"."""
    async with EmbeddedCluster([EmbeddedPod("gone")], quiet=True) as cluster, open_pods(cluster.configuration) as pods:
        async with pods.exec.stream("gone", ["sh", "-c", "echo on; sleep 1000"]) as process:
            assert await process.stdout.receive() == b"on\n"
            await anyio.to_thread.run_sync(cluster.delete_pod, "gone")
            with anyio.fail_after(20):
                assert await process.wait() == 137


async def test_a_timeout_raised_nothing(open_pods: OpenPods) -> None:
    """68: kubernetes-client/python #1086 "Websocket call should throw an error when client-side timeout is reached", #2292 (a tuple),
    kr8s #672 "Allow Settable Timeout in Pod.exec"."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(READY, out(b"so far"))
        await read_on(peer)

    async with serving(script) as server, open_pods(server.configuration, close_timeout=0.1) as pods:
        with pytest.raises(TimeoutError) as raised:
            await pods.exec.run("one", ["x"], timeout=0.4)
        assert isinstance(raised.value, StreamTimeout)
        assert raised.value.stdout == b"so far"
        with pytest.raises(ValueError, match="positive number of seconds"):
            await pods.exec.run("one", ["x"], request_timeout=(3, 5))  # type: ignore[call-overload]


async def test_closing_left_the_command_running(open_pods: OpenPods) -> None:
    """69: kubernetes/kubernetes #89031, kubectl #1076, javascript #2532 "WebSocket Close Does Not Clean Up Running Commands", runc #3359:
    no server ends a command whose client has left; whoever wants it ended can say so."""
    async with EmbeddedCluster(quiet=True) as cluster, open_pods(cluster.configuration) as pods:
        async with pods.exec.stream("demo", ["sh", "-c", "echo on; exec sleep 1000"], on_cancel="kill") as process:
            assert await process.stdout.receive() == b"on\n"
            assert len(cluster.processes()) == 1
        await anyio.to_thread.run_sync(cluster.wait_for, lambda: not cluster.processes())
        with pytest.raises(StreamTimeout):
            await pods.exec.run("demo", ["sleep", "1000"], on_cancel="kill", timeout=0.2)
        await anyio.to_thread.run_sync(cluster.wait_for, lambda: not cluster.processes())
        async with pods.exec.stream("demo", ["sh", "-c", "echo on; exec sleep 1000"]) as process:
            assert await process.stdout.receive() == b"on\n"
        assert len(cluster.processes()) == 1
