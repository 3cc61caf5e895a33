"""Exit status: what users of other clients complain of.  Numbers are those of the table in README.md."""

from __future__ import annotations

import pytest

from kubex_stream import ConnectionLost, StartError, StatusMissing, StreamError, StreamTimeout
from kubex_stream.testing import Behaviour, EmbeddedCluster, ScriptedPeer
from tests.known.conftest import OpenPods
from tests.known.wire import READY, V4, V5, exited, finish, out, read, serving

pytestmark = pytest.mark.anyio

#: Ways in which a session ends without a word about the process, and what each of them is.
SILENT = [
    pytest.param(Behaviour(close_code=1000), StatusMissing, id="close-1000"),
    pytest.param(Behaviour(close_code=1001), StatusMissing, id="close-1001"),
    pytest.param(Behaviour(close_code=1011), ConnectionLost, id="close-1011"),
    pytest.param(Behaviour(tcp_end_before_status=True), ConnectionLost, id="end"),
    pytest.param(Behaviour(tcp_reset="before-status"), ConnectionLost, id="reset"),
]


@pytest.mark.parametrize("protocol", [V4, V5])
@pytest.mark.parametrize("way", ["kubelet", "apiserver"])
async def test_a_failure_to_start_was_an_invalid_literal(open_pods: OpenPods, protocol: str, way: str) -> None:
    """40, R-2: kubernetes-client/python #1840 "Reading returncode on failed stream command raises invalid literal error, instead of
    error cause": the Status of a failure has no exit code, and its text was taken for a number."""
    behaviour = Behaviour(way="apiserver" if way == "apiserver" else "kubelet")
    async with EmbeddedCluster(behaviour=behaviour, quiet=True) as cluster, open_pods(cluster.configuration) as pods:
        with pytest.raises(StartError, match=r"no-such-program.*executable file not found") as raised:
            await pods.exec.run("demo", ["no-such-program"], protocols=[protocol])
        assert raised.value.status is not None
        assert raised.value.status.reason == "InternalError"
        async with pods.exec.stream("demo", ["no-such-program"], protocols=[protocol]) as process:
            with pytest.raises(StartError):
                await process.wait()
            assert process.exit_code is None


@pytest.mark.parametrize(("behaviour", "error"), SILENT)
async def test_a_missing_status_was_a_type_error_or_a_success(
    open_pods: OpenPods, behaviour: Behaviour, error: type[StreamError]
) -> None:
    """42, 43, 46, R-2: kubernetes-client/python-base #194 "What is the returncode if self.read_channel(ERROR_CHANNEL) doesn't return
    anything?", kubernetes-client/python #2328 "pod_exec() yields inconsistent results", kubernetes/kubernetes #73056 "kubectl exec can
    unexpectedly exit 0", gravitational/teleport #24106 (a proxy that drops the Status)."""
    async with EmbeddedCluster(behaviour=behaviour, quiet=True) as cluster, open_pods(cluster.configuration) as pods:
        with pytest.raises(error) as raised:
            await pods.exec.run("demo", ["echo", "hi"])
        assert raised.value.stdout == b"hi\n"
        async with pods.exec.stream("demo", ["echo", "hi"], stdin=True) as process:
            with pytest.raises(error):
                await process.wait()
            assert process.exit_code is None
            assert process.status is None


async def test_after_a_timeout_the_status_was_empty(open_pods: OpenPods) -> None:
    """41: kubernetes-client/python #2156 "ERROR_CHANNEL of websocket client is empty when a timeout occurs"."""
    async with (
        EmbeddedCluster(behaviour=Behaviour(no_status=True), quiet=True) as cluster,
        open_pods(cluster.configuration) as pods,
    ):
        with pytest.raises(StreamTimeout, match="may still run"):
            await pods.exec.run("demo", ["true"], timeout=0.2)


async def test_the_exit_code_changed_when_it_was_asked_for_again(open_pods: OpenPods, cluster: EmbeddedCluster) -> None:
    """44: kubernetes-client/python-base #271 "WSClient returncode is not idempotent"."""
    async with open_pods(cluster.configuration) as pods:
        async with pods.exec.stream("demo", ["sh", "-c", "exit 3"]) as process:
            assert [await process.wait(), process.exit_code, await process.wait(), process.exit_code] == [3] * 4
        assert process.exit_code == 3
        done = await pods.exec.run("demo", ["sh", "-c", "exit 3"])
        assert [done.exit_code, done.exit_code] == [3, 3]


async def test_an_idle_connection_that_was_dropped_was_exit_code_0(open_pods: OpenPods) -> None:
    """45: actions/runner-container-hooks #228 "Kubernetes mode terminating early or not terminating at all": a load balancer drops a
    quiet session, and the job that still ran was taken for done."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(READY, out(b"step 1\n"))
        await peer.end()

    async with serving(script) as server, open_pods(server.configuration) as pods:
        with pytest.raises(ConnectionLost, match="7 bytes in") as raised:
            await pods.exec.run("one", ["x"])
        assert raised.value.stdout == b"step 1\n"
        assert raised.value.close_code is None


@pytest.mark.parametrize("code", [1, 2, 126, 137, 255])
async def test_an_exit_code_was_lost(open_pods: OpenPods, code: int) -> None:
    """43: kubernetes-client/python #2328 "pod_exec() yields inconsistent results": a code that was sent is the code that is given, also
    where the last output comes in the same packet."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(READY, out(b"last words"), exited(code))
        await peer.close()

    async with serving(script) as server, open_pods(server.configuration) as pods:
        assert (await pods.exec.run("one", ["x"])).exit_code == code
        async with pods.exec.stream("one", ["x"]) as process:
            assert await read(process.stdout) == b"last words"
            assert await process.wait() == code


async def test_a_failing_status_arrived_before_the_output_was_read(open_pods: OpenPods) -> None:
    """43: the same complaint, where output is read after the end."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(READY, out(b"a"), out(b"b"))
        await finish(peer, exited(4))

    async with (
        serving(script) as server,
        open_pods(server.configuration) as pods,
        pods.exec.stream("one", ["x"]) as process,
    ):
        assert await process.wait() == 4
        assert await read(process.stdout) == b"ab"
