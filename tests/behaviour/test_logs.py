"""Following logs through everything that goes wrong: every line once and in order, on every backend."""

from __future__ import annotations

import random
import sys

import anyio
import pytest

if sys.platform == "win32":
    pytest.skip("the embedded cluster is POSIX only", allow_module_level=True)

from kubex_stream import ConnectionLost, LogEvent, LogLine, LogStream
from kubex_stream.testing import Behaviour, EmbeddedCluster, EmbeddedContainer, EmbeddedPod, HttpFailure
from tests.behaviour.following import OUTAGE, Open, opener, until
from tests.conftest import MakeClient

pytestmark = pytest.mark.anyio

TWO = EmbeddedPod("demo", labels={"app": "x"}, restart_policy="Always")


@pytest.fixture
def opened(make_client: MakeClient) -> Open:
    """A cluster of one's own, and its pods through a client of this backend."""
    return opener(make_client, TWO)


def numbers(first: int, last: int) -> bytes:
    """Lines with these numbers, the last one excluded."""
    return b"".join(b"%d\n" % number for number in range(first, last))


async def expect(log: LogStream[LogLine[bytes]], first: int, last: int) -> None:
    """Read lines with exactly these numbers."""
    for number in range(first, last):
        assert (await anext(log)).data == b"%d" % number


def kinds(events: list[LogEvent]) -> list[str]:
    """What has happened."""
    return [event.kind for event in events]


async def test_every_line_once_whatever_happens_to_the_connection(opened: Open) -> None:
    """Cuts, ends in order, silence, rotations and restarts, one after the other, while lines are written before and after each."""
    events: list[LogEvent] = []
    async with opened() as (cluster, pods):
        async with pods.logs.stream("demo", follow=True, inactivity=0.2, on_event=events.append) as log:
            at = 0
            for disaster in (
                "cut",
                "rotation",
                "end",
                "restart",
                "silence",
                "cut",
                "restart",
                "end",
                "rotation",
                "cut",
            ):
                cluster.write_log(numbers(at, at + 500))
                await expect(log, at, at + 250)
                if disaster == "rotation":
                    cluster.rotate_log()
                elif disaster == "restart":
                    cluster.restart_container()
                else:
                    assert cluster.fail_logs(disaster) == 1  # type: ignore[arg-type]
                cluster.write_log(numbers(at + 500, at + 1000))
                await expect(log, at + 250, at + 1000)
                at += 1000
    assert kinds(events).count("restarted") == 2
    assert kinds(events).count("resumed") >= 6
    assert "gap" not in kinds(events)


async def test_every_line_once_while_it_is_written_and_cut_at_random(opened: Open) -> None:
    """As above, and nobody waits for anybody."""
    lines, chance = 20_000, random.Random(7)
    disasters = ("cut", "end", "silence")

    async def write(cluster: EmbeddedCluster) -> None:
        at = 0
        while at < lines:
            end = min(lines, at + chance.randint(1, 200))
            cluster.write_log(numbers(at, end))
            at = end
            if chance.random() < 0.15:
                cluster.fail_logs(chance.choice(disasters))  # type: ignore[arg-type]
            await anyio.sleep(0.002)

    async with opened() as (cluster, pods), pods.logs.stream("demo", follow=True, inactivity=0.2) as log:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write, cluster)
            await expect(log, 0, lines)


@pytest.mark.parametrize("after", [70, 100, 1000, 50_000])
async def test_answers_that_are_all_cut_soon(opened: Open, after: int) -> None:
    """Bytes after which each answer is cut; those that hold no whole new line bring nothing, so the time has to advance."""
    async with opened() as (cluster, pods):
        for number in range(60):
            cluster.write_log(b"%d\n" % number, time_ns=(1_700_000_000 + 4 * number) * 1_000_000_000)
        async with pods.logs.stream("demo", follow=True) as log:
            cluster.behaviour = Behaviour(log_cut_after_bytes=after)
            await expect(log, 0, 60)


async def test_lines_of_one_time_and_one_content_are_counted(opened: Open) -> None:
    moment = 1_700_000_000 * 1_000_000_000
    async with opened() as (cluster, pods), pods.logs.stream("demo", follow=True) as log:
        for _ in range(3):
            cluster.write_log(b"same\n" * 5, time_ns=moment)
            assert [(await anext(log)).data for _ in range(5)] == [b"same"] * 5
            cluster.fail_logs("cut")
        cluster.write_log(b"same\nlast\n", time_ns=moment)
        assert [(await anext(log)).data for _ in range(2)] == [b"same", b"last"]


async def test_a_line_that_is_cut_in_its_middle_comes_whole_and_once(opened: Open) -> None:
    line = b"x" * 200_000
    async with opened() as (cluster, pods), pods.logs.stream("demo", follow=True) as log:
        cluster.write_log(b"first\n" + line[:100_000])
        assert (await anext(log)).data == b"first"
        cluster.fail_logs("cut")
        cluster.write_log(line[100_000:] + b"\nlast\n")
        assert [(await anext(log)).data for _ in range(2)] == [line, b"last"]


async def test_a_silent_connection_is_replaced_within_its_limit(opened: Open) -> None:
    events: list[LogEvent] = []
    async with opened() as (cluster, pods):
        async with pods.logs.stream("demo", follow=True, inactivity=0.3, on_event=events.append) as log:
            cluster.write_log(b"0\n")
            await expect(log, 0, 1)
            assert cluster.fail_logs("silence") == 1
            cluster.write_log(b"1\n")
            with anyio.fail_after(10):
                await expect(log, 1, 2)
    [resumed] = [event for event in events if event.kind == "resumed"]
    assert "nothing came for 0.3 s" in resumed.message


async def test_a_container_that_is_merely_quiet_is_asked_for_again_and_repeats_nothing(opened: Open) -> None:
    async with opened() as (cluster, pods), pods.logs.stream("demo", follow=True, inactivity=0.1) as log:
        cluster.write_log(b"0\n1\n")
        await expect(log, 0, 2)
        before = len(cluster.requests)
        await until(cluster, lambda: len(cluster.requests) > before + 6)
        cluster.write_log(b"2\n")
        await expect(log, 2, 3)


async def test_an_outage_of_the_server_is_waited_for(opened: Open) -> None:
    events: list[LogEvent] = []
    async with opened() as (cluster, pods):
        async with pods.logs.stream("demo", follow=True, on_event=events.append) as log:
            cluster.write_log(numbers(0, 10))
            await expect(log, 0, 5)
            cluster.behaviour = OUTAGE
            cluster.fail_logs("end")
            cluster.write_log(numbers(10, 20))
            await expect(log, 5, 10)
            before = len(cluster.requests)
            await until(cluster, lambda: len(cluster.requests) >= before + 2)
            cluster.behaviour = Behaviour()
            await expect(log, 10, 20)
    assert "gap" not in kinds(events)


async def test_an_outage_that_lasts_is_given_up(opened: Open) -> None:
    async with opened() as (cluster, pods), pods.logs.stream("demo", follow=True, retry_for=0.5) as log:
        cluster.write_log(b"0\n")
        await expect(log, 0, 1)
        cluster.behaviour = OUTAGE
        cluster.fail_logs("cut")
        with pytest.raises(Exception, match="restarting"):
            await anext(log)
        with pytest.raises(StopAsyncIteration):
            await anext(log)


async def test_a_restart_during_an_outage_loses_nothing(opened: Open) -> None:
    """What the container wrote before it was restarted is in its previous log."""
    events: list[LogEvent] = []
    async with opened() as (cluster, pods):
        async with pods.logs.stream("demo", follow=True, on_event=events.append) as log:
            cluster.write_log(numbers(0, 10))
            await expect(log, 0, 10)
            cluster.behaviour = OUTAGE
            cluster.fail_logs("cut")
            cluster.write_log(numbers(10, 20))
            cluster.restart_container()
            cluster.write_log(numbers(20, 30))
            cluster.behaviour = Behaviour()
            await expect(log, 10, 30)
    assert kinds(events).count("restarted") == 1
    assert "gap" not in kinds(events)


@pytest.mark.parametrize("disaster", ["two restarts", "rotation"])
async def test_lines_that_nobody_can_ask_for_any_more_are_a_gap(opened: Open, disaster: str) -> None:
    events: list[LogEvent] = []
    async with opened() as (cluster, pods):
        async with pods.logs.stream("demo", follow=True, on_event=events.append) as log:
            cluster.write_log(numbers(0, 10))
            await expect(log, 0, 10)
            cluster.behaviour = OUTAGE
            cluster.fail_logs("cut")
            cluster.write_log(numbers(10, 20))
            if disaster == "rotation":
                cluster.rotate_log()
            else:
                cluster.restart_container()
                cluster.restart_container()
            cluster.write_log(numbers(20, 30))
            cluster.behaviour = Behaviour()
            await expect(log, 20, 30)
    assert kinds(events).count("gap") == 1


async def test_a_log_ends_with_its_container(opened: Open) -> None:
    container = EmbeddedContainer(command=["sh", "-c", "echo one; printf two"])
    async with opened(EmbeddedPod("demo", containers=[container])) as (_, pods):
        async with pods.logs.stream("demo", follow=True) as log:
            assert [(line.data, line.complete) async for line in log] == [(b"one", True), (b"two", False)]


async def test_a_container_that_begins_again_is_followed_on(opened: Open) -> None:
    """It fails twice; the third time it succeeds."""
    script = "echo x >>lives; n=$(wc -l <lives); echo $n; printf end; [ $n -ge 3 ]"
    container = EmbeddedContainer(command=["sh", "-c", script])
    events: list[LogEvent] = []
    pod = EmbeddedPod("demo", containers=[container], restart_policy="OnFailure", restart_delay=60)
    async with opened(pod) as (cluster, pods), pods.logs.stream("demo", follow=True, on_event=events.append) as log:
        while (await anext(log)).data != b"2":
            pass  # the first restart is at once, and who comes later than the first life has its log no more
        assert (await anext(log)).data == b"end"
        await until(cluster, lambda: not cluster.processes("demo"))
        cluster.restart_container()  # sooner than it would be
        assert [(await anext(log)).data for _ in range(2)] == [b"3", b"end"]
        assert [line async for line in log] == []
    assert kinds(events)[-1] == "ended"


async def test_a_log_ends_with_its_pod(opened: Open) -> None:
    async with opened() as (cluster, pods), pods.logs.stream("demo", follow=True) as log:
        cluster.write_log(b"0\n")
        await expect(log, 0, 1)
        await anyio.to_thread.run_sync(cluster.delete_pod, "demo")
        assert [line async for line in log] == []


async def test_a_pod_that_goes_while_its_log_cannot_be_read_may_have_said_more(opened: Open) -> None:
    async with opened() as (cluster, pods), pods.logs.stream("demo", follow=True) as log:
        cluster.write_log(b"0\n")
        await expect(log, 0, 1)
        cluster.behaviour = OUTAGE
        cluster.fail_logs("cut")
        cluster.write_log(b"1\n")
        await anyio.to_thread.run_sync(cluster.delete_pod, "demo")
        cluster.behaviour = Behaviour()
        with pytest.raises(ConnectionLost, match="the log of demo/main may be cut: its pod is gone"):
            await anext(log)


async def test_a_pod_of_the_same_name_is_another_one(opened: Open) -> None:
    async with opened() as (cluster, pods), pods.logs.stream("demo", follow=True) as log:
        cluster.write_log(b"0\n")
        await expect(log, 0, 1)
        await anyio.to_thread.run_sync(cluster.delete_pod, "demo")
        cluster.add_pod(TWO)
        cluster.write_log(b"not mine\n")
        assert [line async for line in log] == []


async def test_who_may_not_read_pods_follows_all_the_same(opened: Open) -> None:
    """Cuts are got over; what cannot be known without the pod is whether an end in order is the end."""
    async with opened() as (cluster, pods):
        cluster.behaviour = Behaviour(failures=(HttpFailure(403, path="/pods/demo", times=1),))
        async with pods.logs.stream("demo", follow=True) as log:
            cluster.write_log(b"0\n")
            await expect(log, 0, 1)
            cluster.fail_logs("cut")
            cluster.write_log(b"1\n")
            await expect(log, 1, 2)
            cluster.fail_logs("end")
            assert [line async for line in log] == []
        paths = [request.path for request in cluster.requests]
        assert paths.count("/api/v1/namespaces/default/pods/demo") == 1


async def test_from_now_on_means_from_now_on_after_a_cut_too(opened: Open) -> None:
    async with opened() as (cluster, pods):
        cluster.write_log(numbers(0, 10), time_ns=1_700_000_000 * 1_000_000_000)
        async with pods.logs.stream("demo", follow=True, tail=0) as log:
            cluster.write_log(numbers(10, 12))
            await until(cluster, lambda: cluster.open_logs == 1)
            cluster.fail_logs("cut")
            cluster.write_log(numbers(12, 14))
            await expect(log, 10, 14)


async def test_what_was_before_the_tail_stays_away_after_a_cut(opened: Open) -> None:
    async with opened() as (cluster, pods):
        cluster.write_log(numbers(0, 10))
        async with pods.logs.stream("demo", follow=True, tail=3) as log:
            await expect(log, 7, 10)
            cluster.fail_logs("cut")
            cluster.write_log(numbers(10, 12))
            await expect(log, 10, 12)
