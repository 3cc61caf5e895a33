"""What once was lost, came twice, or ended what was followed: the corners of going on with a log."""

from __future__ import annotations

import sys

import anyio
import anyio.to_thread
import pytest

if sys.platform == "win32":
    pytest.skip("the embedded cluster is POSIX only", allow_module_level=True)

from kubex_stream import ApiError, ConnectionLost, Forbidden, LogEvent, StreamTimeout
from kubex_stream.testing import Behaviour, EmbeddedCluster, EmbeddedContainer, EmbeddedPod, HttpFailure
from tests.behaviour.following import LOG, OUTAGE, Open, opener, until
from tests.conftest import MakeClient

pytestmark = pytest.mark.anyio

DEMO = EmbeddedPod("demo", labels={"app": "x"}, restart_policy="Always")


@pytest.fixture
def opened(make_client: MakeClient) -> Open:
    """A cluster of one's own, and its pods through a client of this backend."""
    return opener(make_client, DEMO)


def asked(cluster: EmbeddedCluster) -> int:
    """How many requests for logs there have been."""
    return sum(request.path.endswith("/log") for request in tuple(cluster.requests))


async def test_a_quiet_log_is_not_given_up_because_its_connection_was_lost_once(opened: Open) -> None:
    """What counts is that the server answers, not that the container has something to say."""
    async with opened() as (cluster, pods):
        async with pods.logs.stream("demo", follow=True, inactivity=0.2, retry_for=0.5) as log:
            cluster.write_log(b"0\n")
            assert (await anext(log)).data == b"0"
            cluster.fail_logs("cut")
            before = asked(cluster)
            await until(cluster, lambda: asked(cluster) > before + 7)
            cluster.write_log(b"1\n")
            assert (await anext(log)).data == b"1"


async def test_connections_that_are_cut_while_nothing_is_written_are_not_given_up(opened: Open) -> None:
    """As by a load balancer whose patience is shorter than ours."""
    async with opened() as (cluster, pods):
        async with pods.logs.stream("demo", follow=True, inactivity=30, retry_for=2) as log:
            cluster.write_log(b"0\n")
            assert (await anext(log)).data == b"0"
            for _ in range(3):
                await until(cluster, lambda: cluster.open_logs == 1)
                await anyio.sleep(1.2)
                cluster.fail_logs("cut")
            cluster.write_log(b"1\n")
            assert (await anext(log)).data == b"1"


async def test_the_end_of_a_life_comes_although_the_next_one_is_quiet(opened: Open) -> None:
    events: list[LogEvent] = []
    async with opened() as (cluster, pods):
        async with pods.logs.stream("demo", follow=True, on_event=events.append) as log:
            cluster.write_log(b"0\n")
            assert (await anext(log)).data == b"0"
            cluster.behaviour = OUTAGE
            cluster.fail_logs("cut")
            cluster.write_log(b"1\n2\n")
            cluster.restart_container()
            cluster.behaviour = Behaviour()
            assert [(await anext(log)).data for _ in range(2)] == [b"1", b"2"]
            cluster.write_log(b"3\n")
            assert (await anext(log)).data == b"3"
    assert [event.kind for event in events if event.kind != "resumed"] == ["restarted"]


async def test_a_life_of_which_nothing_was_seen_comes_too(opened: Open) -> None:
    """Nothing had come when the connection was lost, so there is no line that could be missed."""
    async with opened() as (cluster, pods):
        async with pods.logs.stream("demo", follow=True) as log:
            await until(cluster, lambda: cluster.open_logs == 1)
            cluster.behaviour = OUTAGE
            cluster.fail_logs("cut")
            cluster.write_log(b"why it failed\n")
            cluster.restart_container()
            cluster.behaviour = Behaviour()
            cluster.write_log(b"next\n")
            assert [(await anext(log)).data for _ in range(2)] == [b"why it failed", b"next"]


async def test_a_life_without_a_word_is_no_gap(opened: Open) -> None:
    events: list[LogEvent] = []
    async with opened() as (cluster, pods):
        async with pods.logs.stream("demo", follow=True, on_event=events.append) as log:
            cluster.write_log(b"0\n")
            assert (await anext(log)).data == b"0"
            before = asked(cluster)
            cluster.restart_container()
            await until(cluster, lambda: cluster.open_logs == 1 and asked(cluster) > before)
            cluster.behaviour = OUTAGE
            cluster.fail_logs("cut")
            cluster.restart_container()
            cluster.write_log(b"1\n")
            cluster.behaviour = Behaviour()
            assert (await anext(log)).data == b"1"
    assert "gap" not in [event.kind for event in events]


async def test_a_restart_while_its_log_is_asked_for_repeats_nothing(opened: Open) -> None:
    """The answer is of one life; by the time its lines are looked at, that life's log is the previous one."""
    async with opened() as (cluster, pods):

        def restart(event: LogEvent) -> None:
            if event.kind == "resumed" and cluster.restarts() == 1:
                cluster.write_log(b"3\n4\n")
                cluster.restart_container()
                cluster.write_log(b"5\n")

        async with pods.logs.stream("demo", follow=True, on_event=restart) as log:
            cluster.write_log(b"0\n")
            assert (await anext(log)).data == b"0"
            cluster.behaviour = OUTAGE
            cluster.fail_logs("cut")
            cluster.restart_container()
            cluster.write_log(b"1\n2\n")
            cluster.behaviour = Behaviour()
            assert [(await anext(log)).data for _ in range(5)] == [b"1", b"2", b"3", b"4", b"5"]


async def test_the_tail_of_an_empty_log_is_everything_that_is_written_later(opened: Open) -> None:
    async with opened() as (cluster, pods):
        async with pods.logs.stream("demo", follow=True, tail=1, inactivity=0.3) as log:
            await until(cluster, lambda: cluster.open_logs == 1)
            cluster.fail_logs("silence")
            cluster.write_log(b"0\n1\n2\n")
            assert [(await anext(log)).data for _ in range(3)] == [b"0", b"1", b"2"]


async def test_since_is_counted_from_when_it_was_said(opened: Open) -> None:
    async with opened() as (cluster, pods):
        async with pods.logs.stream("demo", follow=True, since=1, inactivity=2.3) as log:
            await until(cluster, lambda: cluster.open_logs == 1)
            cluster.fail_logs("silence")
            cluster.write_log(b"0\n")
            assert (await anext(log)).data == b"0"


async def test_from_now_on_holds_for_a_log_that_ends_without_a_line_end(opened: Open) -> None:
    container = EmbeddedContainer(command=["printf", "one\\nend"])
    pod = EmbeddedPod("demo", containers=[container], restart_policy="Always", restart_delay=60)
    async with opened(pod) as (cluster, pods):
        await until(cluster, lambda: not cluster.processes("demo"))
        async with pods.logs.stream("demo", follow=True, tail=0, inactivity=0.3) as log:
            await until(cluster, lambda: asked(cluster) >= 2 and not cluster.open_logs)
            cluster.restart_container()
            assert [(await anext(log)).data for _ in range(2)] == [b"one", b"end"]
            with anyio.move_on_after(0):
                await anext(log)
                pytest.fail("the log of before came too")


@pytest.mark.parametrize("path", ["/log", "/pods/demo"])
async def test_a_server_that_begins_may_refuse_for_a_while(opened: Open, path: str) -> None:
    """An API server that has just begun knows its roles a moment later than its port."""
    async with opened() as (cluster, pods):
        async with pods.logs.stream("demo", follow=True) as log:
            cluster.write_log(b"0\n")
            assert (await anext(log)).data == b"0"
            cluster.behaviour = Behaviour(failures=(HttpFailure(403, b"not yet", path=path, times=2),))
            cluster.fail_logs("end")
            cluster.write_log(b"1\n")
            assert (await anext(log)).data == b"1"
            cluster.fail_logs("end")  # it is still known that the container runs, so this is not its end
            cluster.write_log(b"2\n")
            assert (await anext(log)).data == b"2"


async def test_a_log_that_cannot_be_begun_is_given_up_after_the_time_for_starting(opened: Open) -> None:
    async with opened() as (cluster, pods):
        cluster.behaviour = Behaviour(failures=(HttpFailure(500, b"no such node", path=LOG),))
        async with pods.logs.stream("demo", follow=True, start_timeout=0.5) as log:
            with pytest.raises(ApiError, match="no such node"):
                await anext(log)


async def test_what_the_kubelet_does_not_know_yet_is_waited_for(opened: Open) -> None:
    """Who may not read pods cannot see that the container has not started, but is told so in one of several ways."""
    text = b'container "main" in pod "demo" is not available'
    async with opened() as (cluster, pods):
        failures = (HttpFailure(403, path="/pods/demo", times=1), HttpFailure(400, text, path=LOG, times=2))
        cluster.behaviour = Behaviour(failures=failures)
        cluster.write_log(b"0\n")
        async with pods.logs.stream("demo", follow=True) as log:
            assert (await anext(log)).data == b"0"


async def test_who_may_not_read_pods_is_told_of_the_end_of_one_too(opened: Open) -> None:
    async with opened() as (cluster, pods):
        cluster.behaviour = Behaviour(failures=(HttpFailure(403, path="/pods/demo", times=1),))
        async with pods.logs.stream("demo", follow=True) as log:
            cluster.write_log(b"0\n")
            assert (await anext(log)).data == b"0"
            cluster.behaviour = OUTAGE
            cluster.fail_logs("cut")
            await anyio.to_thread.run_sync(cluster.delete_pod, "demo")
            cluster.behaviour = Behaviour()
            with pytest.raises(ConnectionLost, match="may be cut: its pod is gone"):
                await anext(log)


async def test_one_of_many_that_refuses_at_the_beginning_is_left_out(opened: Open) -> None:
    labels, events = {"app": "x"}, list[LogEvent]()
    async with opened(EmbeddedPod("demo", labels=labels), EmbeddedPod("other", labels=labels)) as (cluster, pods):
        cluster.behaviour = Behaviour(failures=(HttpFailure(403, b"no", path=LOG),))
        given = {"label_selector": "app=x", "follow": True, "tail": 0, "on_event": events.append}
        async with pods.logs.stream(**given, ignore_errors=True) as log:  # type: ignore[call-overload]
            cluster.write_log(b"0\n", pod="other")
            assert (await anext(log)).data == b"0"
        with pytest.raises(Forbidden):
            async with pods.logs.stream(**given) as log:  # type: ignore[call-overload]
                await anext(log)
    assert [(event.kind, event.source.pod) for event in events] == [("failed", "demo")]


async def test_a_dead_connection_is_noticed_where_nothing_is_followed(opened: Open) -> None:
    async with opened() as (cluster, pods):
        cluster.write_log(b"one\ntwo\n")
        cluster.behaviour = Behaviour(log_silent_after_bytes=6)
        for lines in (True, False):
            async with pods.logs.stream("demo", lines=lines, inactivity=0.3) as log:
                with pytest.raises(StreamTimeout, match=r"nothing came for 0\.3 s"):
                    async for _ in log:
                        pass


@pytest.mark.parametrize("follow", [False, True])
async def test_text_that_ends_inside_of_a_character_says_so(opened: Open, follow: bool) -> None:
    async with opened() as (cluster, pods):
        cluster.write_log("grün\n".encode())
        given = {"lines": False, "follow": follow, "limit_bytes": 3, "encoding": "utf-8"}
        async with pods.logs.stream("demo", **given) as log:  # type: ignore[call-overload]
            assert "".join([text async for text in log]) == "gr\ufffd"
        async with pods.logs.stream("demo", **given, errors="strict") as log:  # type: ignore[call-overload]
            assert await anext(log) == "gr"
            with pytest.raises(UnicodeDecodeError, match="the log of demo/main is not all utf-8"):
                await anext(log)


async def test_a_stream_that_was_left_gives_nothing_more(opened: Open) -> None:
    async with opened() as (cluster, pods):
        cluster.write_log(b"0\n1\n2\n")
        async with pods.logs.stream("demo") as log:
            assert (await anext(log)).data == b"0"
        assert [line async for line in log] == []
