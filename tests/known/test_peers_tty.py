"""Terminals and attachments: what users of other clients complain of.  Numbers are those of the table in README.md."""

from __future__ import annotations

import anyio
import pytest

from kubex_stream import OutputStream
from kubex_stream.testing import EmbeddedCluster, EmbeddedContainer, EmbeddedPod, ScriptedPeer
from tests.known.conftest import OpenPods
from tests.known.wire import READY, finish, out, read, serving

pytestmark = pytest.mark.anyio


async def until(stream: OutputStream, *texts: bytes) -> bytes:
    """What comes, until it holds each of the texts."""
    got = b""
    with anyio.fail_after(20):
        while not all(text in got for text in texts):
            got += await stream.receive()
    return got


async def test_a_terminal_could_not_be_resized(open_pods: OpenPods, cluster: EmbeddedCluster) -> None:
    """70: kubernetes-client/python #425 "Support tty resize in pod exec" and PR #515, javascript #239, java #2122, fabric8 #1374 and
    #2257: the size reaches the terminal, and the process is told of each change."""
    script = "trap 'echo told' WINCH; echo ready; while read line; do test $line = bye && exit 3; stty size; done"
    async with open_pods(cluster.configuration) as pods:
        async with pods.exec.stream("demo", ["bash", "-c", script], tty=True) as process:
            await until(process.stdout, b"ready")
            await process.resize(width=120, height=40)
            await process.stdin.send(b"on\n")
            await until(process.stdout, b"told\r\n", b"40 120\r\n")
            await process.resize(width=80, height=24)
            await process.stdin.send(b"on\n")
            await until(process.stdout, b"24 80\r\n")
            await process.stdin.send(b"bye\n")
            assert await process.wait() == 3


async def test_a_shell_could_not_be_talked_to(open_pods: OpenPods, cluster: EmbeddedCluster) -> None:
    """71: kubernetes-client/python #1689 "exec using python client not very interactive", #822, #1176, kubernetes_asyncio #72, #174,
    #290, and kubernetes-client/python PR #1805, which asks for an object like Popen."""
    async with open_pods(cluster.configuration) as pods:
        async with pods.exec.stream("demo", ["sh"], tty=True) as process:
            for number in range(5):
                await process.stdin.send(b"echo $((%d + 100))\n" % number)
                await until(process.stdout, b"%d\r\n" % (number + 100))
            await process.stdin.send(b"exit 7\n")
            assert await process.wait() == 7
        async with pods.exec.stream("demo", ["sh"], stdin=True) as process:
            for number in range(5):
                await process.stdin.send(b"echo $((%d + 100))\n" % number)
                assert await until(process.stdout, b"\n") == b"%d\n" % (number + 100)
            await process.stdin.aclose()
            assert await process.wait() == 0


async def test_a_terminal_lost_its_output_for_want_of_stdin(open_pods: OpenPods, cluster: EmbeddedCluster) -> None:
    """71: the same complaints: without stdin, and after its half-close, a runtime drops what a terminal shows."""
    async with open_pods(cluster.configuration) as pods:
        command = ["sh", "-c", "read line; sleep 0.1; echo got $line"]
        done = await pods.exec.run("demo", ["sh", "-c", "sleep 0.1; echo shown"], tty=True)
        assert (done.exit_code, done.stdout) == (0, b"shown\r\n")
        done = await pods.exec.run("demo", command, tty=True, input=b"this\n")
        assert done.exit_code == 0
        assert done.stdout.endswith(b"got this\r\n")


async def test_ctrl_c_did_not_reach_the_process(open_pods: OpenPods, cluster: EmbeddedCluster) -> None:
    """71, 69: the same complaints; a terminal is also the way to interrupt what runs."""
    async with open_pods(cluster.configuration) as pods:
        async with pods.exec.stream("demo", ["sh", "-c", "echo on; exec sleep 1000"], tty=True) as process:
            await until(process.stdout, b"on")
            await process.stdin.send(b"\x03")
            with anyio.fail_after(20):
                assert await process.wait() == 130


async def test_the_first_output_of_an_attachment_was_lost(open_pods: OpenPods) -> None:
    """72: kubernetes/kubernetes #27264, #14703, #56453: what was written before an attachment is not shown by any server; what is sent
    right behind the 101, and so in one packet with it, is."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(READY, out(b"first"), out(b" words"))
        await finish(peer)

    async with serving(script) as server, open_pods(server.configuration) as pods, pods.attach.stream("one") as process:
        assert await read(process.stdout) == b"first words"
        await process.wait()


async def test_everybody_attached_sees_everything_from_then_on(open_pods: OpenPods) -> None:
    """72: the same complaints."""
    pod = EmbeddedPod("box", containers=[EmbeddedContainer("cat", ["cat"], stdin=True)])
    async with EmbeddedCluster([pod], quiet=True) as cluster, open_pods(cluster.configuration) as pods:
        async with pods.attach.stream("box", stdin=True) as one, pods.attach.stream("box") as two:
            await anyio.to_thread.run_sync(cluster.wait_for, lambda: len(cluster.open_sessions) == 2)
            await one.stdin.send(b"to both\n")
            for process in (one, two):
                assert await until(process.stdout, b"\n") == b"to both\n"
