"""``pods.logs``: what can be asked for, of one container and of many, and how a stream behaves towards who reads it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

if sys.platform == "win32":
    pytest.skip("the embedded cluster is POSIX only", allow_module_level=True)

from kubex_stream import ApiError, LogEvent, NotFound, Pods, StreamTimeout
from kubex_stream.testing import Behaviour, EmbeddedCluster, EmbeddedContainer, EmbeddedPod, HttpFailure
from tests.behaviour.following import Open, opener
from tests.conftest import MakeClient

pytestmark = pytest.mark.anyio

PODS = (
    EmbeddedPod("demo", restart_policy="Always"),
    EmbeddedPod(
        "one",
        labels={"app": "web"},
        containers=[EmbeddedContainer("app", log_max_size=100_000_000), EmbeddedContainer("proxy")],
    ),
    EmbeddedPod(
        "two",
        labels={"app": "web"},
        containers=[EmbeddedContainer("app"), EmbeddedContainer("proxy")],
        annotations={"kubectl.kubernetes.io/default-container": "proxy"},
    ),
    EmbeddedPod("pending", phase="Pending"),
    EmbeddedPod("homeless", phase="Pending", scheduled=False),
)
MISSING = b"unable to retrieve container logs for containerd://0e52f171bea6d25d3eab8e60bd3da0d5585aded77511ae27a87b9e8e8bda91ac"


@pytest.fixture
def opened(make_client: MakeClient) -> Open:
    """A cluster of one's own, and its pods through a client of this backend."""
    return opener(make_client, *PODS)


# Reading ----------------------------------------------------------------------------------------------------------------


async def test_parts_of_a_log(opened: Open) -> None:
    second = 1_700_000_000 * 1_000_000_000
    async with opened() as (cluster, pods):
        for number in range(4):
            cluster.write_log(b"line %d\n" % number, time_ns=second + number * 1_000_000_000)
        whole = b"line 0\nline 1\nline 2\nline 3\n"
        assert await pods.logs.read("demo") == whole
        assert await pods.logs.read("demo", encoding="utf-8") == whole.decode()
        assert await pods.logs.read("demo", tail=2) == b"line 2\nline 3\n"
        assert await pods.logs.read("demo", limit_bytes=9) == b"line 0\nli"
        assert await pods.logs.read("demo", tail=1, timestamps=True) == b"2023-11-14T22:13:23.000000000Z line 3\n"
        moment = datetime(2023, 11, 14, 22, 13, 22, tzinfo=UTC)
        assert await pods.logs.read("demo", since=moment) == b"line 2\nline 3\n"
        assert await pods.logs.read("demo", since=timedelta(hours=1)) == b""
        async with pods.logs.stream("demo", since=moment, limit_bytes=9) as log:
            assert [(line.data, line.complete) async for line in log] == [(b"line 2", True), (b"li", False)]
        async with pods.logs.stream("demo", lines=False, limit_bytes=9) as pieces:
            assert b"".join([piece async for piece in pieces]) == b"line 0\nli"
        async with pods.logs.stream("demo", lines=False, encoding="utf-8", tail=1, timestamps=True) as texts:
            assert "".join([text async for text in texts]) == "2023-11-14T22:13:23.000000000Z line 3\n"
        async with pods.logs.stream("demo", follow=True, lines=False, limit_bytes=16) as pieces:
            assert b"".join([piece async for piece in pieces]) == b"line 0\nline 1\nli"


async def test_the_log_before_a_restart(opened: Open) -> None:
    async with opened() as (cluster, pods):
        with pytest.raises(ApiError, match='previous terminated container "main" in pod "demo" not found'):
            await pods.logs.read("demo", previous=True)
        cluster.write_log(b"before\n")
        cluster.restart_container()
        cluster.write_log(b"after\n")
        assert await pods.logs.read("demo", previous=True) == b"before\n"
        assert await pods.logs.read("demo") == b"after\n"
        async with pods.logs.stream("demo", previous=True) as log:
            assert [line.data async for line in log] == [b"before"]


async def test_a_log_that_is_not_text(opened: Open) -> None:
    async with opened() as (cluster, pods):
        cluster.write_log(b"good\nb\xffd\ngood\n")
        assert await pods.logs.read("demo", encoding="utf-8") == "good\nb\ufffdd\ngood\n"
        with pytest.raises(UnicodeDecodeError):
            await pods.logs.read("demo", encoding="utf-8", errors="strict")
        async with pods.logs.stream("demo", encoding="utf-8", errors="strict") as log:
            assert (await anext(log)).data == "good"
            with pytest.raises(UnicodeDecodeError, match="the log of demo/main is not all utf-8"):
                await anext(log)
            assert (await anext(log)).data == "good"
            with pytest.raises(anyio.EndOfStream):
                await log.receive_many()


async def test_many_lines_at_once_and_one_that_is_not_text(opened: Open) -> None:
    async with opened() as (cluster, pods):
        cluster.write_log(b"one\ntwo\nb\xffd\nthree\n")
        async with pods.logs.stream("demo", encoding="utf-8", errors="strict") as log:
            assert [line.data for line in await log.receive_many()] == ["one", "two"]
            with pytest.raises(UnicodeDecodeError):
                await log.receive_many()
            assert [line.data for line in await log.receive_many()] == ["three"]


async def test_a_log_that_the_node_has_thrown_away(opened: Open) -> None:
    """The kubelet sends a sentence under a 200, which is no line of the log."""
    async with opened() as (cluster, pods):
        cluster.behaviour = Behaviour(failures=(HttpFailure(200, MISSING, path="/log"),))
        with pytest.raises(NotFound, match="the node has no log of demo any more"):
            await pods.logs.read("demo")
        async with pods.logs.stream("demo") as log:
            with pytest.raises(NotFound, match="the node has no log of demo/main any more"):
                await anext(log)


# What cannot be -----------------------------------------------------------------------------------------------------------


async def test_what_is_not_there_is_said_at_once(opened: Open) -> None:
    async with opened() as (_, pods):
        with pytest.raises(NotFound, match='pods "nobody" not found'):
            await pods.logs.read("nobody")
        with pytest.raises(NotFound, match='pods "nobody" not found'):
            async with pods.logs.stream("nobody"):
                pass
        with pytest.raises(ApiError, match=r"is not valid for pod one \(its containers are app, proxy\)"):
            await pods.logs.read("one", container="none")
        with pytest.raises(ApiError, match="pod 'one' has no container 'none'; its containers are app, proxy"):
            async with pods.logs.stream("one", container="none", follow=True):
                pass
        with pytest.raises(ApiError, match="several containers: name one of app, proxy, or pass all_containers=True"):
            async with pods.logs.stream("one"):
                pass
        with pytest.raises(ApiError, match=r"choose one of: \[app proxy\]"):
            await pods.logs.read("one")
        with pytest.raises(ApiError, match="unable to parse requirement"):
            async with pods.logs.stream(label_selector="app in ("):
                pass
        with pytest.raises(NotFound, match="no pod of namespace 'default' has the labels 'app=none'"):
            async with pods.logs.stream(label_selector="app=none"):
                pass


async def test_what_has_not_started_says_why(opened: Open) -> None:
    events: list[LogEvent] = []
    async with opened() as (_, pods):
        with pytest.raises(ApiError, match="is waiting to start: ContainerCreating"):
            await pods.logs.read("pending")
        with pytest.raises(ApiError, match="waiting to start: it has no node"):
            await pods.logs.read("homeless")
        with pytest.raises(ApiError, match="is waiting to start"):
            async with pods.logs.stream("pending") as log:
                await anext(log)
        with pytest.raises(StreamTimeout, match=r"has not started within 0\.2 s: ContainerCreating"):
            async with pods.logs.stream("pending", follow=True, start_timeout=0.2, on_event=events.append) as log:
                await anext(log)
    assert [(event.kind, event.message) for event in events] == [
        ("waiting", "the container has not started: ContainerCreating")
    ]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "name a pod, or give a label_selector"),
        ({"name": "demo", "label_selector": "app=web"}, "not both"),
        ({"label_selector": ""}, "every pod there is"),
        ({"name": "De_mo"}, "not the name of a pod"),
        ({"name": "demo", "container": "A"}, "not the name of a container"),
        ({"name": "demo", "container": "main", "all_containers": True}, "give one of the two"),
        ({"name": "demo", "all_containers": True, "lines": False}, "lines=False is for one container"),
        ({"label_selector": "a=b", "lines": False}, "lines=False is for one container"),
        ({"name": "demo", "max_requests": 0}, "at least 1"),
        ({"name": "demo", "max_requests": 2.5}, "max_requests is a whole number"),
        ({"name": "demo", "container": 5}, "container is a name, or a function of a pod, not int"),
        ({"name": "demo", "on_event": "print"}, "on_event is a function of an event, not str"),
        ({"label_selector": ["app=web"]}, "label_selector is text, as 'app=web', not list"),
        ({"name": "demo", "follow": True, "previous": True}, "nothing to follow"),
        ({"name": "demo", "follow": True, "inactivity": 0}, "inactivity must be a positive number of seconds or None"),
        ({"name": "demo", "start_timeout": -1}, "start_timeout must be a positive number"),
        ({"name": "demo", "retry_for": "long"}, "retry_for must be a positive number"),
        ({"name": "demo", "namespace": "No"}, "not the name of a namespace"),
    ],
)
async def test_what_makes_no_sense_is_refused_before_anything_is_sent(
    make_client: MakeClient, cluster: EmbeddedCluster, given: dict[str, Any], words: str
) -> None:
    async with make_client(cluster.configuration) as client:
        before = len(cluster.requests)
        with pytest.raises((TypeError, ValueError), match=words):
            Pods(client).logs.stream(**given)
        assert len(cluster.requests) == before


# Many at once ---------------------------------------------------------------------------------------------------------------


async def test_logs_are_merged_and_labelled_and_each_keeps_its_order(opened: Open) -> None:
    async with opened() as (cluster, pods):
        for number in range(200):
            for pod in ("one", "two"):
                for container in ("app", "proxy"):
                    cluster.write_log(b"%d\n" % number, pod=pod, container=container)
        seen: dict[tuple[str, str], list[int]] = {}
        async with pods.logs.stream(label_selector="app=web", all_containers=True, follow=True) as log:
            assert [str(source) for source in log.sources] == ["one/app", "one/proxy", "two/app", "two/proxy"]
            for _ in range(800):
                line = await anext(log)
                seen.setdefault((line.pod, line.container), []).append(int(line.data))
        assert seen == {(pod, name): list(range(200)) for pod in ("one", "two") for name in ("app", "proxy")}


async def test_a_function_chooses_the_container_of_each_pod(opened: Open) -> None:
    async with opened() as (_, pods):
        choice = pods.logs.stream(label_selector="app=web", container=lambda pod: pod["spec"]["containers"][0]["name"])
        async with choice as log:
            assert [str(source) for source in log.sources] == ["one/app", "two/app"]
        async with pods.logs.stream("two") as log:
            assert [str(source) for source in log.sources] == ["two/proxy"]  # the annotated one


async def test_no_more_requests_at_once_than_asked_for(opened: Open) -> None:
    async with opened() as (cluster, pods):
        for pod in ("one", "two"):
            for container in ("app", "proxy"):
                cluster.write_log(f"{pod} {container}\n".encode(), pod=pod, container=container)
        async with pods.logs.stream(label_selector="app=web", all_containers=True, max_requests=1) as log:
            lines = [line.data async for line in log]
        assert lines == [b"one app", b"one proxy", b"two app", b"two proxy"]  # one after the other
        with pytest.raises(ValueError, match="4 logs would be followed at once, and max_requests is 3"):
            async with pods.logs.stream(label_selector="app=web", all_containers=True, follow=True, max_requests=3):
                pass


@pytest.mark.parametrize("ignore", [True, False])
async def test_one_that_fails_among_others(opened: Open, ignore: bool) -> None:
    events: list[LogEvent] = []
    async with opened() as (cluster, pods):
        cluster.write_log(b"fine\n", pod="one", container="app")
        cluster.behaviour = Behaviour(failures=(HttpFailure(403, b"no", path="/two/log"),))
        stream = pods.logs.stream(
            label_selector="app=web", container="app", max_requests=1, ignore_errors=ignore, on_event=events.append
        )
        async with stream as log:
            assert (await anext(log)).data == b"fine"
            with pytest.raises(StopAsyncIteration if ignore else ApiError):
                await anext(log)
    assert [(event.kind, event.source.pod) for event in events] == [("ended", "one")] + [("failed", "two")] * ignore


# Who reads ------------------------------------------------------------------------------------------------------------------


async def test_waiting_can_be_cancelled_and_nothing_is_lost(opened: Open) -> None:
    async with opened() as (cluster, pods), pods.logs.stream("demo", follow=True) as log:
        for number in range(30):
            with anyio.move_on_after(0.001):
                await anext(log)
                pytest.fail("there was nothing to read")
            cluster.write_log(b"%d\n" % number)
            assert (await anext(log)).data == b"%d" % number


async def test_only_one_waits_at_a_time(opened: Open) -> None:
    async with opened() as (_, pods), pods.logs.stream("demo", follow=True) as log, anyio.create_task_group() as tasks:
        tasks.start_soon(anext, log)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(anyio.BusyResourceError):
            await anext(log)
        tasks.cancel_scope.cancel()


async def test_leaving_ends_the_requests(opened: Open) -> None:
    async with opened() as (cluster, pods):
        async with pods.logs.stream("one", all_containers=True, follow=True):
            await anyio.to_thread.run_sync(lambda: cluster.wait_for(lambda: cluster.open_logs == 2))
        await anyio.to_thread.run_sync(lambda: cluster.wait_for(lambda: cluster.open_logs == 0))


async def test_an_error_of_the_block_is_what_comes_out_of_it(opened: Open) -> None:
    async with opened() as (_, pods):
        with pytest.raises(KeyError, match="mine"):
            async with pods.logs.stream("demo", follow=True):
                raise KeyError("mine")


async def test_who_does_not_read_holds_up_the_server(opened: Open) -> None:
    line = b"x" * 10_000 + b"\n"
    async with opened(stream_buffer_size=65536) as (cluster, pods):
        cluster.write_log(line * 3000, pod="one", container="app")
        async with pods.logs.stream("one", container="app") as log:
            await anext(log)
            with pytest.raises(TimeoutError):
                await anyio.to_thread.run_sync(lambda: cluster.wait_for(lambda: cluster.open_logs == 0, timeout=0.5))
            assert 1 + len([line async for line in log]) == 3000


async def test_it_is_opened_once_and_before_it_is_read(opened: Open) -> None:
    async with opened() as (_, pods):
        stream = pods.logs.stream("demo")
        with pytest.raises(RuntimeError, match="not open"):
            await anext(stream)
        async with stream:
            assert "demo/main" in repr(stream)
        with pytest.raises(RuntimeError, match="opened once"):
            async with stream:
                pass
