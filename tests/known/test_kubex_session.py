"""Sessions: what went wrong in the client whose names this library keeps, by the numbers of the table in README.md."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncGenerator
from typing import Final

import anyio
import pytest

from kubex_stream import (
    ConnectionFailed,
    ConnectionLost,
    HalfCloseUnsupported,
    OutputStream,
    ProcessError,
    ProtocolViolation,
    StatusMissing,
    StdinBroken,
    StreamTimeout,
    WebSocketConnection,
)
from kubex_stream.client import Request
from kubex_stream.testing import Behaviour, EmbeddedCluster, ScriptedPeer
from tests.known.conftest import OpenPods
from tests.known.wire import END_OF_STDIN, READY, SUCCESS, V4, err, exited, finish, happens, out, read, read_on, serving

pytestmark = pytest.mark.anyio

#: A Failure whose one cause has no message, which Go leaves out where it is empty.
NO_MESSAGE: Final = b'{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"X"}]}}'


@pytest.mark.parametrize(("count", "size"), [(5000, 20), (1000, 1024), (300, 32 * 1024)])
async def test_the_simplest_consumer_lost_data(open_pods: OpenPods, count: int, size: int) -> None:
    """kubex S-1: frames that had come before the consumer ran overflowed a queue, and the rest of the output was dropped."""
    pieces = [number.to_bytes(4, "big") * (size // 4) for number in range(count)]

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(READY, *map(out, pieces), SUCCESS)
        await peer.close()

    async with serving(script) as server, open_pods(server.configuration) as pods:
        async with pods.exec.stream("one", ["x"]) as process:
            assert await read(process.stdout) == b"".join(pieces)
            assert await process.wait() == 0


async def test_the_first_empty_frame_was_taken_for_the_status(open_pods: OpenPods, cluster: EmbeddedCluster) -> None:
    """kubex S-2: without outputs a server's first frame is an empty one on channel 3; the upload was cut and no exit code given."""
    data = bytes(range(256)) * 2000
    async with open_pods(cluster.configuration) as pods:
        command = ["sh", "-c", "cat >uploaded; exit 7"]
        done = await pods.exec.run("demo", command, input=data, stdout=False, stderr=False)
    assert done.exit_code == 7
    assert (cluster.directory() / "uploaded").read_bytes() == data


@pytest.mark.parametrize(
    "raw", [b"the runtime says no", NO_MESSAGE, b'{"status":"Maybe"}'], ids=["text", "cause", "unknown"]
)
async def test_a_status_that_is_slightly_off_was_dropped(open_pods: OpenPods, raw: bytes) -> None:
    """kubex S-3: a Status that could not be parsed left neither an exception nor its text."""
    async with (
        EmbeddedCluster(behaviour=Behaviour(raw_status=raw), quiet=True) as cluster,
        open_pods(cluster.configuration) as pods,
    ):
        with pytest.raises(ProtocolViolation, match="Status cannot be read") as raised:
            await pods.exec.run("demo", ["echo", "hi"])
    assert raised.value.raw == raw
    assert raised.value.stdout == b"hi\n"


async def test_a_cause_without_a_message_hid_the_exit_code(open_pods: OpenPods) -> None:
    """kubex S-3: one cause without a message, which Go leaves out where it is empty, made the whole Status unreadable."""
    status = json.loads(NO_MESSAGE)
    status["details"]["causes"].append({"reason": "ExitCode", "message": "3"})
    behaviour = Behaviour(raw_status=json.dumps(status).encode())
    async with EmbeddedCluster(behaviour=behaviour, quiet=True) as cluster, open_pods(cluster.configuration) as pods:
        done = await pods.exec.run("demo", ["true"])
    assert done.exit_code == 3
    assert done.status is not None
    assert [cause.reason for cause in done.status.causes] == ["X", "ExitCode"]


async def test_a_status_in_two_frames_was_lost(open_pods: OpenPods) -> None:
    """kubex S-3: the Status was taken to be one frame."""

    async def script(peer: ScriptedPeer) -> None:
        status = exited(9)
        await peer.send(READY, status[:20], b"\x03" + status[20:])
        await peer.close()

    async with serving(script) as server, open_pods(server.configuration) as pods:
        assert (await pods.exec.run("one", ["x"])).exit_code == 9


@pytest.mark.parametrize("how", ["reset", "end"])
async def test_success_was_turned_into_failure(open_pods: OpenPods, how: str) -> None:
    """kubex S-4: where TCP ended without a Close after the Status, output and Status were thrown away for an error."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(READY, out(b"all of it"), SUCCESS)
        await (peer.reset() if how == "reset" else peer.end())

    async with serving(script) as server, open_pods(server.configuration) as pods:
        done = await pods.exec.run("one", ["x"])
        assert (done.exit_code, done.stdout) == (0, b"all of it")
        async with pods.exec.stream("one", ["x"], stdin=True) as process:
            assert await read(process.stdout) == b"all of it"
            assert await process.wait() == 0


async def test_stdin_that_a_process_does_not_read_failed_the_call(open_pods: OpenPods) -> None:
    """kubex S-5: ``head -1`` had answered and ended in success, and the call raised "send failed"."""
    behaviour = Behaviour(status_withheld_above=None, stdin_buffer=64 * 1024)
    async with EmbeddedCluster(behaviour=behaviour, quiet=True) as cluster, open_pods(cluster.configuration) as pods:
        done = await pods.exec.run("demo", ["head", "-1"], input=b"first\n" + b"another line\n" * 600_000)
    assert (done.exit_code, done.stdout) == (0, b"first\n")


async def test_stdin_was_one_giant_frame(open_pods: OpenPods) -> None:
    """kubex S-6: 5 MiB of stdin were one frame; above 32 MiB servers end such a connection."""
    data = bytes(5 * 1024 * 1024)
    sizes: list[int] = []

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(READY)
        while (message := await peer.receive_message()) not in (END_OF_STDIN, None):
            assert message is not None
            sizes.append(len(message) - 1)
        await finish(peer)

    async with serving(script) as server, open_pods(server.configuration) as pods:
        assert (await pods.exec.run("one", ["x"], input=data)).exit_code == 0
    assert sum(sizes) == len(data)
    assert max(sizes) == 64 * 1024


async def test_the_cause_of_a_broken_connection_was_overwritten(open_pods: OpenPods) -> None:
    """kubex S-7: ``raise … from None`` removed what the transport had said, and errors came in groups."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(READY, out(b"x"))
        await peer.reset()

    async with serving(script) as server, open_pods(server.configuration) as pods:
        with pytest.raises(ConnectionLost) as raised:
            await pods.exec.run("one", ["x"])
        assert isinstance(raised.value.__cause__, ConnectionLost)  # the transport's own; this one has numbers too
        assert raised.value.statistics is not None
    async with open_pods(server.configuration) as pods:
        with pytest.raises(ConnectionFailed) as refused:
            await pods.exec.run("one", ["x"])
    causes: list[BaseException] = [refused.value]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(cause)
    assert any(isinstance(cause, ConnectionRefusedError) for cause in causes), causes


async def test_output_before_an_abnormal_end_was_unreachable(open_pods: OpenPods) -> None:
    """kubex S-8: a connection that broke cancelled the task at once, and closed the streams that still held output."""
    ended = threading.Event()

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(READY, *[out(b"%03d" % number) for number in range(100)], err(b"last words"))
        await peer.reset()
        ended.set()

    async with serving(script) as server, open_pods(server.configuration) as pods:
        async with pods.exec.stream("one", ["x"]) as process:
            await happens(ended)
            got = [await process.stdout.receive(3) for _ in range(100)]
            assert b"".join(got) == b"".join(b"%03d" % number for number in range(100))
            with pytest.raises(ConnectionLost):
                await process.stdout.receive()
            assert await process.stderr.receive() == b"last words"
            with pytest.raises(ConnectionLost):
                await process.wait()


async def test_partial_output_was_lost_on_a_timeout(open_pods: OpenPods) -> None:
    """kubex S-9: what a command had written was thrown away when its time was over."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(READY, out(b"out"), err(b"err"))
        await read_on(peer)

    async with serving(script) as server, open_pods(server.configuration, close_timeout=0.1) as pods:
        with pytest.raises(StreamTimeout, match="did not end within") as raised:
            await pods.exec.run("one", ["x"], timeout=2)
    assert isinstance(raised.value, TimeoutError)
    assert (raised.value.stdout, raised.value.stderr) == (b"out", b"err")


async def test_a_run_could_only_keep_everything(open_pods: OpenPods, cluster: EmbeddedCluster) -> None:
    """kubex S-9: there was no way to take output as it comes, and none to have a bad exit code raised."""
    sizes: list[int] = []
    async with open_pods(cluster.configuration) as pods:
        command = ["sh", "-c", "head -c 2000000 /dev/zero; echo why >&2; exit 4"]
        with pytest.raises(ProcessError, match="exit code 4: why") as raised:
            await pods.exec.run("demo", command, stdout=lambda piece: sizes.append(len(piece)), check=True)
    assert sum(sizes) == 2_000_000
    assert (raised.value.exit_code, raised.value.result.stdout) == (4, b"")


async def test_an_end_without_a_status_was_no_error(open_pods: OpenPods) -> None:
    """kubex S-10: a server that closed without a Status gave a result without an exit code, and no exception."""
    async with (
        EmbeddedCluster(behaviour=Behaviour(close_code=1000), quiet=True) as cluster,
        open_pods(cluster.configuration) as pods,
    ):
        with pytest.raises(StatusMissing, match="no exit code") as raised:
            await pods.exec.run("demo", ["echo", "hi"])
        assert raised.value.stdout == b"hi\n"
        async with pods.exec.stream("demo", ["echo", "hi"]) as process:
            with pytest.raises(StatusMissing):
                await process.wait()
            assert process.exit_code is None


async def test_a_closed_stdin_was_a_runtime_error(open_pods: OpenPods, cluster: EmbeddedCluster) -> None:
    """kubex S-11: a stdin that was closed, or could not be, was told by no exception of its own."""
    async with open_pods(cluster.configuration) as pods:
        async with pods.exec.stream("demo", ["cat"], stdin=True) as process:
            await process.stdin.aclose()
            with pytest.raises(anyio.ClosedResourceError):
                await process.stdin.send(b"x")
        async with pods.exec.stream("demo", ["true"], stdin=True) as process:
            assert await process.wait() == 0
            with pytest.raises(StdinBroken) as raised:
                await process.stdin.send(b"x")
            assert isinstance(raised.value, BrokenPipeError)
        async with pods.exec.stream("demo", ["true"], stdin=True, protocols=[V4]) as process:
            assert not process.can_half_close
            with pytest.raises(HalfCloseUnsupported, match=r"v5\.channel\.k8s\.io"):
                await process.stdin.aclose()
        async with pods.exec.stream("demo", ["true"]) as process:
            with pytest.raises(RuntimeError, match="pass stdin=True"):
                _ = process.stdin


async def test_an_end_broke_async_generators(open_pods: OpenPods) -> None:
    """kubex S-12: the end of a connection was a StopAsyncIteration, which async generators turn into a RuntimeError."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(out(b"a"), out(b"b"), SUCCESS)
        await peer.close()

    async def messages(connection: WebSocketConnection) -> AsyncGenerator[bytes, None]:
        async for message in connection:
            yield message

    async def chunks(stream: OutputStream) -> AsyncGenerator[bytes, None]:
        while True:
            yield await stream.receive()

    async with serving(script) as server, open_pods(server.configuration) as pods:
        async with await pods.client.connect_websocket(Request(path="/x"), [V4]) as connection:
            assert [message async for message in messages(connection)] == [out(b"a"), out(b"b"), SUCCESS]
        async with pods.exec.stream("one", ["x"]) as process:
            pieces, got = chunks(process.stdout), b""
            while got != b"ab":
                got += await anext(pieces)
            with pytest.raises(anyio.EndOfStream):
                await anext(pieces)
