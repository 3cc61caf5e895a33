"""Logs: what users of other clients complain of.  Numbers are those of the table in README.md."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import anyio
import anyio.to_thread
import pytest

from kubex_stream import Pods
from kubex_stream.testing import EmbeddedCluster, EmbeddedContainer, EmbeddedPod
from tests.known.conftest import OpenPods

pytestmark = pytest.mark.anyio


@pytest.fixture
async def own() -> AsyncIterator[EmbeddedCluster]:
    """A cluster of one's own."""
    async with EmbeddedCluster([EmbeddedPod("demo", restart_policy="Always")], quiet=True) as cluster:
        yield cluster


async def test_a_character_between_two_pieces_was_torn(open_pods: OpenPods, own: EmbeddedCluster) -> None:
    """33, 97: kubernetes-client/python #717 "'utf-8' codec can't decode bytes" (tail log), #2087: characters were decoded piece by piece."""
    text = "grün 木 " * 40_000
    own.write_log(text.encode() + b"\n")
    async with open_pods(own.configuration) as pods:
        assert await pods.logs.read("demo", encoding="utf-8", errors="strict") == text + "\n"
        async with pods.logs.stream("demo", encoding="utf-8", errors="strict") as log:
            assert [line.data async for line in log] == [text]
        async with pods.logs.stream("demo", lines=False, encoding="utf-8", errors="strict") as pieces:
            assert "".join([piece async for piece in pieces]) == text + "\n"


async def test_a_log_that_looks_like_json_was_made_into_something_else(
    open_pods: OpenPods, own: EmbeddedCluster
) -> None:
    """34, 35: kubernetes-client/python #1032, #811, #1354: what looked like JSON was parsed, and came out as Python's text for it."""
    line = json.dumps({"level": "info", "ok": True, "nothing": None})
    own.write_log(line.encode() + b"\n")
    async with open_pods(own.configuration) as pods:
        assert await pods.logs.read("demo", encoding="utf-8") == line + "\n"
        async with pods.logs.stream("demo", encoding="utf-8") as log:
            assert [each.data async for each in log] == [line]


async def test_a_line_was_too_long(open_pods: OpenPods, own: EmbeddedCluster) -> None:
    """98: tomplus/kubernetes_asyncio #137, aiohttp #4453 "Line is too long", "Chunk too big"."""
    line = b"x" * (8 * 1024 * 1024)
    async with open_pods(own.configuration) as pods, pods.logs.stream("demo", follow=True) as log:
        own.write_log(line + b"\nnext\n")
        assert (await anext(log)).data == line
        assert (await anext(log)).data == b"next"


async def test_a_connection_that_broke_inside_of_a_line_was_an_error(open_pods: OpenPods, own: EmbeddedCluster) -> None:
    """99: tomplus/kubernetes_asyncio #352 "Not enough data for satisfy transfer length header", #325; the line came torn, or never."""
    async with open_pods(own.configuration) as pods, pods.logs.stream("demo", follow=True) as log:
        own.write_log(b"x" * 40_000)
        own.fail_logs("cut")
        own.write_log(b"end\nnext\n")
        assert (await anext(log)).data == b"x" * 40_000 + b"end"
        assert (await anext(log)).data == b"next"


async def test_following_stopped_when_the_log_was_rotated(open_pods: OpenPods, own: EmbeddedCluster) -> None:
    """101: kubernetes/kubectl #595, #1391, kubernetes #28369, #115701, #126564 "kubectl logs -f stops": at rotation, or at an end of the
    body for whatever reason."""
    async with open_pods(own.configuration) as pods, pods.logs.stream("demo", follow=True) as log:
        for number in range(6):
            own.write_log(b"%d\n" % number)
            assert (await anext(log)).data == b"%d" % number
            own.rotate_log()
            if number % 2:
                own.fail_logs("end")
                own.write_log(b"more\n")
                assert (await anext(log)).data == b"more"


async def test_following_ended_when_the_container_restarted(open_pods: OpenPods, own: EmbeddedCluster) -> None:
    """101: kubernetes/kubectl #595 and every other client: the stream ended with the container, which began again without it."""
    async with open_pods(own.configuration) as pods, pods.logs.stream("demo", follow=True) as log:
        own.write_log(b"before\n")
        assert (await anext(log)).data == b"before"
        own.restart_container()
        own.write_log(b"after\n")
        assert (await anext(log)).data == b"after"


async def test_following_hung_on_a_dead_connection(open_pods: OpenPods, own: EmbeddedCluster) -> None:
    """93, 101: kubernetes-client/python #1234, #1546, #1148: nothing came any more, and nobody noticed."""
    async with open_pods(own.configuration) as pods:
        async with pods.logs.stream("demo", follow=True, inactivity=0.3) as log:
            own.write_log(b"before\n")
            assert (await anext(log)).data == b"before"
            assert own.fail_logs("silence") == 1
            own.write_log(b"after\n")
            with anyio.fail_after(10):
                assert (await anext(log)).data == b"after"


async def test_following_never_returned_anything(open_pods: OpenPods, own: EmbeddedCluster) -> None:
    """101: kubernetes-client/python #199, #716: ``follow=True`` waited for the end of the log, which never comes, before it gave a line."""
    async with open_pods(own.configuration) as pods, pods.logs.stream("demo", follow=True) as log:
        for number in range(3):
            own.write_log(b"%d\n" % number)
            with anyio.fail_after(10):
                assert (await anext(log)).data == b"%d" % number


async def test_pieces_were_taken_for_lines(open_pods: OpenPods, own: EmbeddedCluster) -> None:
    """101: kubernetes-client/python #2426: what one read brought was a line, were it half of one or ten."""
    async with open_pods(own.configuration) as pods, pods.logs.stream("demo", follow=True) as log:
        own.write_log(b"one\ntwo\n\nthr")
        own.write_log(b"ee\nfour\n")
        assert [(await anext(log)).data for _ in range(5)] == [b"one", b"two", b"", b"three", b"four"]


async def test_the_last_line_was_lost_where_it_had_no_end(open_pods: OpenPods, own: EmbeddedCluster) -> None:
    """101: kubernetes-client/python's ``Watch`` drops what comes after the last line end."""
    own.add_pod(EmbeddedPod("short", containers=[EmbeddedContainer(command=["printf", "one\\nend"])]))
    async with open_pods(own.configuration) as pods, pods.logs.stream("short", follow=True) as log:
        assert [line.data async for line in log] == [b"one", b"end"]


async def test_a_timeout_of_requests_ended_what_is_followed(open_pods: OpenPods, own: EmbeddedCluster) -> None:
    """101: kr8s and lightkube: the client's timeout, 10 s by default there, was one of the whole stream or of a pause in it."""
    async with open_pods(own.configuration, timeout=1.0) as pods, pods.logs.stream("demo", follow=True) as log:
        begun = len(own.requests)
        with anyio.move_on_after(1.5):
            await anext(log)
        own.write_log(b"late\n")
        assert (await anext(log)).data == b"late"
        assert len([each for each in tuple(own.requests)[begun:] if each.path.endswith("/log")]) <= 1


async def test_what_was_written_before_somebody_attached_was_out_of_reach(
    open_pods: OpenPods, own: EmbeddedCluster
) -> None:
    """72: kubernetes/kubernetes #27264, #14703: attach shows nothing of before; the log has it, and both can be read at once."""
    main = EmbeddedContainer(command=["sh", "-c", "echo before; read line; echo $line; sleep 100"], stdin=True)
    own.add_pod(EmbeddedPod("talker", containers=[main]))
    async with open_pods(own.configuration) as pods, pods.logs.stream("talker", follow=True) as log:
        assert (await anext(log)).data == b"before"
        async with pods.attach.stream("talker", stdin=True) as process:
            await process.stdin.send(b"after\n")
            assert await process.stdout.receive() == b"after\n"
        assert (await anext(log)).data == b"after"


async def test_following_could_not_be_ended(open_pods: OpenPods, own: EmbeddedCluster) -> None:
    """100: kubernetes-client/python #1881, #422: who waited for a line could not be stopped."""

    async def wait(pods: Pods, tasks: anyio.abc.TaskGroup) -> None:
        async with pods.logs.stream("demo", follow=True) as log:
            tasks.start_soon(leave, tasks.cancel_scope)
            await anext(log)

    async def leave(scope: anyio.CancelScope) -> None:
        await anyio.to_thread.run_sync(lambda: own.wait_for(lambda: own.open_logs == 1))
        scope.cancel()

    async with open_pods(own.configuration) as pods:
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                await wait(pods, tasks)
        await anyio.to_thread.run_sync(lambda: own.wait_for(lambda: own.open_logs == 0))
