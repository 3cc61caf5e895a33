"""Output: what users of other clients complain of.  Numbers are those of the table in README.md."""

from __future__ import annotations

import gzip
import json
import os
import random
import resource
import threading

import anyio
import anyio.to_thread
import pytest

from kubex_stream import ConnectionLost, Pods, create_client
from kubex_stream.testing import Behaviour, EmbeddedCluster, ScriptedPeer
from tests.known.conftest import OpenPods
from tests.known.wire import END_OF_STDIN, PING, PONG, READY, SUCCESS, V5, finish, happens, out, read, serving

pytestmark = pytest.mark.anyio


async def test_long_output_was_cut_at_32768_characters(open_pods: OpenPods, cluster: EmbeddedCluster) -> None:
    """21, 22: kubernetes-client/python-base #190, kubernetes-client/python #2226 "Reading long stdout is truncated at 32768 chars"."""
    text = b"".join(b"%07d\n" % number for number in range(40_000))
    (cluster.directory() / "long").write_bytes(text)
    async with open_pods(cluster.configuration) as pods:
        assert (await pods.exec.run("demo", ["cat", "long"])).stdout == text
        async with pods.exec.stream("demo", ["cat", "long"]) as process:
            assert await read(process.stdout) == text


async def test_what_tls_had_buffered_was_not_seen(open_pods: OpenPods) -> None:
    """23, 24: kubernetes-client/python #2414 "stream api will lose data when use sslsocket", python-base #106 "select should not be used
    in WSClient": what had come in one TLS record was not read until more came."""

    async def script(peer: ScriptedPeer) -> None:
        for number in range(20):
            await peer.send(*[out(b"%d" % (number % 10))] * 50)
            assert await peer.receive_message() == b"\x00on"  # nothing more comes before all was seen
        assert await peer.receive_message() == END_OF_STDIN
        await finish(peer)

    async with serving(script, tls=True) as server, open_pods(server.configuration) as pods:
        async with pods.exec.stream("one", ["x"], stdin=True) as process:
            for number in range(20):
                got = b""
                while len(got) < 50:
                    got += await process.stdout.receive()
                assert got == b"%d" % (number % 10) * 50
                await process.stdin.send(b"on")
            await process.stdin.aclose()
            assert await process.wait() == 0


async def test_json_from_a_sidecar_was_cut_now_and_then(open_pods: OpenPods, cluster: EmbeddedCluster) -> None:
    """25, 26: apache/airflow #39267 "Intermittent json errors from xcom sidecar", #32111: many reads of one file, each of them whole."""
    document = {"rows": [[number, "x" * 50] for number in range(3000)]}
    (cluster.directory() / "return.json").write_text(json.dumps(document))
    async with open_pods(cluster.configuration) as pods, anyio.create_task_group() as tasks:

        async def one() -> None:
            done = await pods.exec.run("demo", ["cat", "return.json"], encoding="utf-8", check=True)
            assert json.loads(done.stdout) == document

        for _ in range(20):
            tasks.start_soon(one)


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(tcp_reset_after_bytes=100_000),
        Behaviour(tcp_end_before_status=True),
        Behaviour(tcp_reset="before-status"),
    ],
    ids=["in the middle", "end", "reset"],
)
async def test_output_was_cut_without_an_error(open_pods: OpenPods, behaviour: Behaviour) -> None:
    """27, 28: kubernetes/kubernetes #124571 "kubectl exec truncates stdout without reporting error", kubectl #1361: all output, or an
    error that has what came."""
    text = b"".join(b"%07d\n" % number for number in range(40_000))
    async with EmbeddedCluster(behaviour=behaviour, quiet=True) as cluster, open_pods(cluster.configuration) as pods:
        (cluster.directory() / "long").write_bytes(text)
        with pytest.raises(ConnectionLost) as raised:
            await pods.exec.run("demo", ["cat", "long"])
        assert isinstance(raised.value.stdout, bytes)
        assert text.startswith(raised.value.stdout)
        assert len(raised.value.stdout) == (behaviour.tcp_reset_after_bytes or len(text))


# It takes a stall of seconds, so both backends stall at the same time, on the one event loop that both have.
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_output_was_lost_behind_a_reader_that_stalls() -> None:
    """27, 28: the same complaints; on v5 a server throws away what a stalled reader has not read, under exit code 0."""
    size = 24 * 1024 * 1024  # more than the buffers of sockets take
    got: list[tuple[int, int]] = []
    async with EmbeddedCluster(behaviour=Behaviour(v5_loss_after=4.0), quiet=True) as cluster:

        async def stall(backend: str) -> None:
            command = ["head", "-c", str(size), "/dev/zero"]
            async with (
                create_client(cluster.configuration, backend=backend) as client,
                Pods(client).exec.stream("demo", command, stdin=True) as process,
            ):
                assert process.subprotocol == V5
                await anyio.sleep(5.5)
                got.append((len(await read(process.stdout)), await process.wait()))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stall, "aiohttp")
            tasks.start_soon(stall, "httpx")
        assert got == [(size, 0)] * 2
        assert cluster.lost_bytes == 0


async def test_output_had_to_be_utf_8(open_pods: OpenPods, cluster: EmbeddedCluster) -> None:
    """29, 30, 31, 32: kubernetes-client/python-base #88 and #192, kubernetes-client/python #1471 "Allow retrieval of binary data from
    WSClient output stream" and #2015 "copy tar.gz file from pod"."""
    data = bytes(range(256)) * 500 + random.Random(29).randbytes(100_000)
    (cluster.directory() / "data").write_bytes(data)
    async with open_pods(cluster.configuration) as pods:
        assert (await pods.exec.run("demo", ["cat", "data"])).stdout == data
        packed = await pods.exec.run("demo", ["gzip", "-c", "data"])
        assert gzip.decompress(packed.stdout) == data


async def test_characters_in_two_frames_were_corrupted(open_pods: OpenPods) -> None:
    """33, R-1: kubernetes-client/python #717 "'utf-8' codec can't decode bytes", dagster PR #33362, harbor PR #3079, JS PR #1900:
    each frame was decoded by itself."""
    text = "é漢🐳" * 50

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(READY, *[out(bytes((byte,))) for byte in text.encode()], SUCCESS)
        await peer.close()

    async with serving(script) as server, open_pods(server.configuration) as pods:
        assert (await pods.exec.run("one", ["x"], encoding="utf-8")).stdout == text
        async with pods.exec.stream("one", ["x"], encoding="utf-8") as process:
            assert "".join([piece async for piece in process.stdout]) == text


async def test_output_was_parsed(open_pods: OpenPods, cluster: EmbeddedCluster) -> None:
    """34, 35: kubernetes-client/python #1032 "exec command is parsing output if output looks like json", #811 and #1354: quotes and
    numbers were rewritten."""
    async with open_pods(cluster.configuration) as pods:
        for text in ('{"a": "b",  "c": 1e3}', "[1, 2]", "null", "007", "'x'"):
            done = await pods.exec.run("demo", ["printf", "%s", text], encoding="utf-8")
            assert done.stdout == text


async def test_a_slow_reader_was_disconnected(open_pods: OpenPods) -> None:
    """37: kubernetes-client/python #1302 "Pod exec websocket broken pipe": nobody answered the pings of a proxy while the application
    was busy with what it had."""
    answered = threading.Event()

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(READY, *[out(bytes(10_000))] * 20)
        await peer.send_frame(PING, b"there?")
        frame = await peer.receive_frame()
        while frame is not None and frame.opcode == PING:  # the client's own
            frame = await peer.receive_frame()
        assert frame is not None
        assert (frame.opcode, frame.payload) == (PONG, b"there?")
        answered.set()
        await finish(peer)

    async with serving(script) as server, open_pods(server.configuration, heartbeat=0.1) as pods:
        async with pods.exec.stream("one", ["x"]) as process:
            first = await process.stdout.receive()
            await happens(answered)
            assert len(first) + len(await read(process.stdout)) == 200_000


async def test_sessions_left_their_connections_open(open_pods: OpenPods) -> None:
    """38: kubernetes-client/python-base #53 "stream/ws_client.py doesn't close the connection if _preload_content is True"."""
    async with EmbeddedCluster(quiet=True) as cluster, open_pods(cluster.configuration) as pods:
        for _ in range(10):
            await pods.exec.run("demo", ["true"])
            async with pods.exec.stream("demo", ["cat"], stdin=True):
                pass
        await anyio.to_thread.run_sync(cluster.wait_for, lambda: cluster.connections == 0)


async def test_descriptors_above_1023_were_out_of_range(open_pods: OpenPods, cluster: EmbeddedCluster) -> None:
    """38: kubernetes-client/python-base PR #268 "filedescriptor out of range in select()"."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1500:
        pytest.skip("this process may not have so many descriptors")
    descriptors = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1500), hard))
    try:
        descriptors.append(os.open(os.devnull, os.O_RDONLY))
        while descriptors[-1] < 1100:
            descriptors.append(os.dup(descriptors[0]))
        async with open_pods(cluster.configuration) as pods:
            assert (await pods.exec.run("demo", ["cat"], input=b"hi")).stdout == b"hi"
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_stdout_stderr_and_exit_code_could_not_be_told_apart(
    open_pods: OpenPods, cluster: EmbeddedCluster
) -> None:
    """39: kubernetes-client/python #2300, #812, #1177: one text, and no exit code."""
    async with open_pods(cluster.configuration) as pods:
        done = await pods.exec.run("demo", ["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (done.stdout, done.stderr, done.exit_code) == (b"out\n", b"err\n", 3)
    assert done.status is not None
    assert done.status.reason == "NonZeroExitCode"


async def test_messages_above_64_kib_were_too_big(open_pods: OpenPods) -> None:
    """R-5: lightkube 1.0.1 ended a session with 1009 for a message of more than 64 KiB, which a proxy may have put together."""
    data = random.Random(5).randbytes(1_500_000)

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(READY, out(data))
        await finish(peer)

    async with serving(script) as server, open_pods(server.configuration) as pods:
        assert (await pods.exec.run("one", ["x"])).stdout == data
