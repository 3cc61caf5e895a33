"""What servers answer to those who follow, what is in logs, and who leaves them: nothing of it may cost a line or leave anything open."""

from __future__ import annotations

import sys

import anyio
import pytest

if sys.platform == "win32":
    pytest.skip("the embedded cluster is POSIX only", allow_module_level=True)

from kubex_stream import ClientConfiguration, LogEvent, Observer
from kubex_stream.testing import Behaviour, EmbeddedCluster, EmbeddedContainer, EmbeddedPod, HttpFailure
from tests.behaviour.following import LOG, Open, opener, until
from tests.conftest import MakeClient

pytestmark = pytest.mark.anyio

DEMO = EmbeddedPod("demo", restart_policy="Always")


@pytest.fixture
def opened(make_client: MakeClient) -> Open:
    """A cluster of one's own, and its pods through a client of this backend."""
    return opener(make_client, DEMO)


async def test_credentials_that_are_renewed_while_a_log_is_followed(opened: Open) -> None:
    tokens = list[str]()

    async def token() -> str:
        return tokens[-1]

    def adapt(cluster: EmbeddedCluster) -> ClientConfiguration:
        tokens.append(cluster.token)
        return cluster.configuration.model_copy(update={"token": token})

    async with opened(adapt=adapt) as (cluster, pods), pods.logs.stream("demo", follow=True) as log:
        cluster.write_log(b"0\n")
        assert (await anext(log)).data == b"0"
        tokens.append(cluster.rotate_token())
        cluster.fail_logs("cut")
        cluster.write_log(b"1\n")
        assert (await anext(log)).data == b"1"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_refusals_that_pass(opened: Open, status: int) -> None:
    """The client does not try again by itself here, so following does, and waits as long as it is told to."""

    class Delays(Observer):
        def retried(self, path: str, error: Exception, delay: float) -> None:
            if path.endswith(LOG) and getattr(error, "status_code", None) == status:
                delays.append(delay)

    delays: list[float] = []
    failure = HttpFailure(status, b"later", headers={"Retry-After": "1"}, path=LOG, times=2)
    async with opened(retries=0, observer=Delays()) as (cluster, pods), pods.logs.stream("demo", follow=True) as log:
        cluster.write_log(b"0\n")
        assert (await anext(log)).data == b"0"
        cluster.behaviour = Behaviour(failures=(failure,))
        cluster.fail_logs("cut")
        cluster.write_log(b"1\n")
        assert (await anext(log)).data == b"1"
    assert delays == [1.0, 1.0]


@pytest.mark.parametrize("fault", ["cut", "end", "silence"])
async def test_any_bytes_come_as_they_were_written_also_behind_a_fault(opened: Open, fault: str) -> None:
    written = [b"", b"\r", b"one\r", b"\x00\xff\xfe", b"", b" 2026-03-01T08:15:30.123456789Z ", b"x" * 16_384, b"\t"]
    written += [b"y" * 16_385, b"z" * 50_000, "\u2028\x85\x0b".encode(), b"end"]
    async with opened() as (cluster, pods):
        async with pods.logs.stream("demo", follow=True, inactivity=0.3) as log:
            cluster.write_log(b"".join(line + b"\n" for line in written))
            seen = [(await anext(log)).data for _ in range(3)]
            cluster.fail_logs(fault)  # type: ignore[arg-type]
            seen += [(await anext(log)).data for _ in written[3:]]
            cluster.write_log(b"".join(line + b"\n" for line in written))
            again = [(await anext(log)).data for _ in written]
        assert (seen, again) == (written, written)


async def test_a_limit_of_bytes_counts_over_all_answers(opened: Open) -> None:
    async with opened() as (cluster, pods):
        async with pods.logs.stream("demo", follow=True, limit_bytes=12) as log:
            cluster.write_log(b"0123\n")
            assert (await anext(log)).data == b"0123"
            cluster.fail_logs("cut")
            cluster.write_log(b"4567\n")
            assert (await anext(log)).data == b"4567"
            cluster.restart_container()
            cluster.write_log(b"89ab\n")
            assert [(line.data, line.complete) async for line in log] == [(b"89", False)]


async def test_logs_that_are_empty_end(opened: Open) -> None:
    pod = EmbeddedPod("demo", containers=[EmbeddedContainer("main", command=["true"])])
    async with opened(pod) as (_, pods):
        assert await pods.logs.read("demo") == b""
        for follow in (False, True):
            async with pods.logs.stream("demo", follow=follow) as log:
                assert [line async for line in log] == []
        async with pods.logs.stream("demo", lines=False) as pieces:
            assert [piece async for piece in pieces] == []


@pytest.mark.parametrize("moment", ["outage", "reading", "waiting"])
async def test_who_is_cancelled_leaves_nothing_open(opened: Open, moment: str) -> None:
    async with opened() as (cluster, pods):
        with anyio.CancelScope() as scope:
            async with pods.logs.stream("demo", follow=True) as log:
                cluster.write_log(b"0\n" * 10)
                await anext(log)
                if moment == "outage":
                    cluster.behaviour = Behaviour(failures=(HttpFailure(503, b"restarting"),))
                    before = len(cluster.requests)
                    cluster.fail_logs("cut")
                    await until(cluster, lambda: len(cluster.requests) > before)
                scope.cancel()
                while moment != "reading":
                    await anext(log)
        await until(cluster, lambda: cluster.open_logs == 0)


async def test_who_waits_in_another_task_is_told_of_the_end(opened: Open) -> None:
    seen: list[bytes] = []
    async with opened() as (cluster, pods), anyio.create_task_group() as tasks:
        async with pods.logs.stream("demo", follow=True) as log:
            cluster.write_log(b"0\n")
            seen.append((await anext(log)).data)

            async def rest() -> None:
                seen.extend([line.data async for line in log])
                seen.append(b"end")

            tasks.start_soon(rest)
            await anyio.wait_all_tasks_blocked()
    assert seen == [b"0", b"end"]


async def test_a_hundred_logs_at_once(opened: Open) -> None:
    """More than a client keeps connections for plain requests; one connection lost, and the others do not notice."""
    events: list[LogEvent] = []
    names = [f"pod-{number}" for number in range(60)]
    two = [EmbeddedContainer("a"), EmbeddedContainer("b")]
    declared = [EmbeddedPod(name, labels={"app": "x"}, containers=two, restart_policy="Always") for name in names]
    async with opened(*declared, pool_size=10) as (cluster, pods):
        given = {"label_selector": "app=x", "all_containers": True, "follow": True, "max_requests": 120}
        async with pods.logs.stream(**given, on_event=events.append) as log:  # type: ignore[call-overload]
            await until(cluster, lambda: cluster.open_logs == 120)
            cluster.fail_logs("cut", pod="pod-7")
            for name in names:
                for container in ("a", "b"):
                    cluster.write_log(b"here\n", pod=name, container=container)
            seen = {str((await anext(log)).source) for _ in range(120)}
    assert seen == {f"{name}/{container}" for name in names for container in ("a", "b")}
    assert {event.source.pod for event in events} <= {"pod-7"}


async def test_one_that_reads_slowly_does_not_stop_the_others(opened: Open) -> None:
    """A buffer that is full holds back its readers, and goes on with all of them."""
    pods_of = [EmbeddedPod(name, labels={"app": "x"}, restart_policy="Always") for name in ("one", "two")]
    async with opened(*pods_of, stream_buffer_size=1000) as (cluster, pods):
        for number in range(300):
            for name in ("one", "two"):
                cluster.write_log(b"%d %s\n" % (number, b"x" * 500), pod=name)
        seen: dict[str, list[int]] = {"one": [], "two": []}
        async with pods.logs.stream(label_selector="app=x", follow=True, inactivity=0.2) as log:
            while sum(map(len, seen.values())) < 600:
                line = await anext(log)
                seen[line.pod].append(int(line.data.split()[0]))
                if len(seen["one"]) % 50 == 1:
                    cluster.fail_logs("cut")
                    await anyio.sleep(0.02)
        assert seen == {"one": list(range(300)), "two": list(range(300))}


async def test_being_cancelled_is_not_the_end_of_the_log(opened: Open) -> None:
    """What reads is cancelled with what waits, and may notice first."""
    ended = False
    async with opened() as (cluster, pods):
        with anyio.CancelScope() as scope:
            async with pods.logs.stream("demo", follow=True) as log:
                cluster.write_log(b"0\n" * 10)
                async for _ in log:
                    scope.cancel()
                ended = True
        assert scope.cancelled_caught
        await until(cluster, lambda: cluster.open_logs == 0)
    assert not ended
