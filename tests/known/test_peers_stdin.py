"""stdin: what users of other clients complain of.  Numbers are those of the table in README.md."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import anyio
import pytest
from anyio.lowlevel import checkpoint

from kubex_stream import HalfCloseUnsupported, Pods, create_client
from kubex_stream.testing import OLD_PROTOCOLS, Behaviour, EmbeddedCluster, HttpFailure
from tests.known.conftest import OpenPods
from tests.known.wire import V4, V5, read

pytestmark = pytest.mark.anyio


async def test_stdin_could_not_be_ended(open_pods: OpenPods, cluster: EmbeddedCluster) -> None:
    """1, 2, 3, 17, 18, 19: kubernetes/kubernetes #89899 "exec over web sockets protocol is flawed", kubernetes-client/python #2371
    "How to close stdin in a `exec` response?", kr8s #212 "Pod.exec stdin never closes", kubernetes-client/java #1822 and #685,
    kubernetes-client/csharp #1723: a command that reads to the end of its input never ended."""
    async with open_pods(cluster.configuration) as pods, pods.exec.stream("demo", ["cat"], stdin=True) as process:
        assert process.can_half_close
        await process.stdin.send(b"hello")
        await process.stdin.aclose()
        assert await read(process.stdout) == b"hello"
        assert await process.wait() == 0


async def test_stdin_was_refused_since_v4_was_offered(open_pods: OpenPods) -> None:
    """4, 5, 6, 8: kr8s #342, #571, #711, kubernetes_asyncio #403: v4 was offered and v5 demanded, so stdin never worked."""
    async with EmbeddedCluster(quiet=True) as cluster, open_pods(cluster.configuration) as pods:
        assert (await pods.exec.run("demo", ["sort"], input=b"b\na\n")).stdout == b"a\nb\n"
        assert cluster.requests[-1].header("Sec-WebSocket-Protocol") == V5
        async with pods.exec.stream("demo", ["true"], stdin=True) as process:
            assert process.subprotocol == V5
        assert cluster.requests[-1].header("Sec-WebSocket-Protocol").replace(" ", "") == f"{V5},{V4}"


async def test_an_old_server_was_recognised_by_guessing(open_pods: OpenPods) -> None:
    """7: kr8s PR #270 "Add support for v5 Exec protocol when using Kubernetes 1.29+" got a 403 from a 1.29 without v5.  What the server
    speaks is negotiated; what needs an end of stdin fails early, and says why."""
    async with (
        EmbeddedCluster(behaviour=Behaviour(protocols=OLD_PROTOCOLS), quiet=True) as cluster,
        open_pods(cluster.configuration) as pods,
    ):
        assert (await pods.exec.run("demo", ["echo", "hi"])).stdout == b"hi\n"
        with pytest.raises(HalfCloseUnsupported, match=r"does not speak v5\.channel\.k8s\.io .* nothing was started"):
            await pods.exec.run("demo", ["touch", "started"], input=b"x")
        assert not (cluster.directory() / "started").exists()
        async with pods.exec.stream("demo", ["head", "-c", "3"], stdin=True) as process:
            assert (process.subprotocol, process.can_half_close) == (V4, False)
            await process.stdin.send(b"abc")
            assert await read(process.stdout) == b"abc"


@pytest.mark.parametrize(
    "behaviour",
    [Behaviour(protocols=(V5,)), Behaviour(failures=(HttpFailure(400, b"subprotocol?", times=1),))],
    ids=["403", "400"],
)
async def test_a_gateway_that_takes_v5_only_refused_v4(open_pods: OpenPods, behaviour: Behaviour) -> None:
    """9: kubernetes-client/python #2355 "`sec-websocket-protocol` header defaults to `v4.channel.k8s.io` causing HTTP 400"."""
    async with EmbeddedCluster(behaviour=behaviour, quiet=True) as cluster, open_pods(cluster.configuration) as pods:
        assert (await pods.exec.run("demo", ["echo", "hi"])).stdout == b"hi\n"
        offers = [request.header("Sec-WebSocket-Protocol") for request in cluster.requests]
        assert offers == [V4, V5]


async def test_the_reply_was_cut_when_stdin_ended(open_pods: OpenPods, cluster: EmbeddedCluster) -> None:
    """10, 11, 12: ansible kubernetes.core PR #510, kube-rs #1689 "exec cannot read stdout/stderr data after stdin reaches EOF",
    kubernetes-client/javascript #465 "Status callback for exec is never called when stdin closes": the connection was closed to
    tell the end of stdin, and the answer went with it."""
    lines = [b"%06d\n" % number for number in range(30_000)]
    shuffled = random.Random(10).sample(lines, len(lines))
    async with open_pods(cluster.configuration) as pods:
        command = ["sh", "-c", "LC_ALL=C sort; echo errors too >&2; exit 5"]
        done = await pods.exec.run("demo", command, input=b"".join(shuffled))
        assert (done.exit_code, done.stderr) == (5, b"errors too\n")
        assert done.stdout == b"".join(lines)


# 40 MiB, so on one pair; an eighth of 256 MiB goes through every backend in tests/volume.
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_large_stdin_broke_the_connection(cluster: EmbeddedCluster) -> None:
    """13, 14, 15: kubernetes-client/python #1866 "Pod exec websocket fails with [Error 32] Broken Pipe on larger requests",
    inspect_k8s_sandbox PR #198 "Fix connection reset when piping large input to exec" and #244 "exec() silently drops large stdin":
    servers end a connection for a frame above 32 MiB."""
    data = random.Random(13).randbytes(1024 * 1024) * 40
    async with create_client(cluster.configuration, backend="httpx") as client:
        await Pods(client).exec.run("demo", ["sh", "-c", "cat >taken"], input=data)
        assert (cluster.directory() / "taken").read_bytes() == data


async def test_stdin_was_dropped_under_back_pressure(open_pods: OpenPods) -> None:
    """16: kubestellar/console #7995 "exec stdin silently dropped under backpressure"."""
    data = random.Random(16).randbytes(2_000_000)
    async with (
        EmbeddedCluster(behaviour=Behaviour(stdin_buffer=32 * 1024), quiet=True) as cluster,
        open_pods(cluster.configuration) as pods,
    ):
        await pods.exec.run("demo", ["sh", "-c", "sleep 0.2; cat >taken"], input=data)
        assert (cluster.directory() / "taken").read_bytes() == data


async def test_stdin_was_dropped_at_random(open_pods: OpenPods, cluster: EmbeddedCluster) -> None:
    """20: kubernetes/kubernetes #112834 "apiserver: command exec in pod randomly drops stdin"."""

    async def pieces(data: bytes, dice: random.Random) -> AsyncIterator[bytes]:
        start = 0
        while start < len(data):
            size = dice.choice((1, 7, 4096, 70_000))
            yield data[start : start + size]
            start += size
            await checkpoint()

    async with open_pods(cluster.configuration) as pods, anyio.create_task_group() as tasks:

        async def one(number: int) -> None:
            dice = random.Random(number)
            data = dice.randbytes(dice.randrange(200_000))
            done = await pods.exec.run("demo", ["cat"], input=pieces(data, dice))
            assert done.stdout == data
            assert done.statistics.bytes_out == len(data)

        for number in range(10):
            tasks.start_soon(one, number)


async def test_all_stdin_was_written_before_anything_was_read(open_pods: OpenPods) -> None:
    """R-4: lightkube 1.0.1, `cat` with 16 MiB of stdin: writing waited for reading, for ever, and not even a cancellation came back."""
    data = random.Random(4).randbytes(6 * 1024 * 1024)
    async with (
        EmbeddedCluster(behaviour=Behaviour(stdin_buffer=32 * 1024), quiet=True) as cluster,
        open_pods(cluster.configuration, stream_buffer_size=64 * 1024) as pods,
    ):
        assert (await pods.exec.run("demo", ["cat"], input=data)).stdout == data


async def test_streams_that_nobody_asked_for_were_requested(open_pods: OpenPods) -> None:
    """R-3: lightkube 1.0.1 always requested stdin and never ended it, so a command that reads it hung; what was not wanted was sent."""
    async with EmbeddedCluster(quiet=True) as cluster, open_pods(cluster.configuration) as pods:
        done = await pods.exec.run("demo", ["cat"], stderr=False)
        assert (done.exit_code, done.stdout) == (0, b"")
        request = cluster.requests[-1]
        flags = {name: request.value(name) for name in ("stdin", "stdout", "stderr", "tty")}
        assert flags == {"stdin": "false", "stdout": "true", "stderr": "false", "tty": "false"}
