"""Logs on a real cluster: what its nodes and API servers do that has to be got over."""

from __future__ import annotations

import json
import os
import secrets
import signal
from pathlib import Path

import anyio
import pytest

from kubex_stream import ApiError, ClientConfiguration, LogEvent, NotFound, Pods, StreamTimeout, create_client
from kubex_stream.client import Request
from tests.cluster.conftest import IMAGE, KUBECONFIG, Connect
from tests.cluster.test_portforward_losses import FROZEN, through_a_wire

pytestmark = pytest.mark.anyio

LIVES = 3
PER_LIFE = 33_400
#: Writes its share of numbers with pauses, and fails; the last of its lives succeeds.
COUNTING = f"""
n=$(cat /state/n 2>/dev/null || echo 0); echo $((n+1)) >/state/n
i=$((n*{PER_LIFE})); end=$((i+{PER_LIFE}))
while [ $i -lt $end ]; do echo "line $i"; i=$((i+1)); [ $((i%3000)) = 0 ] && sleep 0.2; done
[ $n = {LIVES - 1} ]
"""


async def create(pods: Pods, command: str, *, image: str = IMAGE, policy: str = "OnFailure", **spec: object) -> str:
    """A pod of one container; its name."""
    name = f"log-{secrets.token_hex(4)}"
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent" if image == IMAGE else "Never",
        "command": ["/bin/sh", "-c", command],
        "volumeMounts": [{"name": "state", "mountPath": "/state"}],
    }
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "restartPolicy": policy,
            "volumes": [{"name": "state", "emptyDir": {}}],
            "containers": [container],
            **spec,
        },
    }
    path = f"/api/v1/namespaces/{pods.namespace}/pods"
    headers = {"Content-Type": "application/json"}
    await pods.client.request(Request(method="POST", path=path, body=json.dumps(body).encode(), headers=headers))
    return name


async def delete(pods: Pods, name: str) -> None:
    await pods.client.request(Request(method="DELETE", path=f"/api/v1/namespaces/{pods.namespace}/pods/{name}"))


async def test_every_line_once_through_cuts_and_restarts(context: str | None, backend: str, namespace: str) -> None:
    events: list[LogEvent] = []
    async with through_a_wire(context, backend, namespace) as (pods, wire):
        name = await create(pods, COUNTING)
        lines = LIVES * PER_LIFE
        async with pods.logs.stream(name, follow=True, on_event=events.append) as log:
            expected = cuts = 0
            async for line in log:
                assert line.data == b"line %d" % expected
                expected += 1
                if expected % (lines // 11) == 0:
                    await wire.cut()
                    cuts += 1
        assert (expected, cuts) == (lines, 11)
        await delete(pods, name)
    kinds = [event.kind for event in events]
    assert kinds.count("restarted") == LIVES - 1
    assert kinds.count("resumed") >= 5  # some cuts meet a connection that has come to its end
    assert "gap" not in kinds
    assert kinds[-1] == "ended"


async def test_reading_what_there_is(context: str | None, connect: Connect) -> None:
    async with connect(context) as pods:
        # The runtime reads the two streams side by side: what has no end would stand before whatever it reads next.
        name = await create(pods, "echo one; echo two >&2; sleep 1; printf end", policy="Never")
        async with pods.logs.stream(name, follow=True) as log:
            followed = sorted([(line.data, line.complete) async for line in log])
        assert followed == [(b"end", False), (b"one", True), (b"two", True)]
        text = await pods.logs.read(name, encoding="utf-8")
        assert sorted(text.split("\n")) == ["end", "one", "two"]
        assert await pods.logs.read(name, tail=0) == b""
        stamped = await pods.logs.read(name, timestamps=True)
        async with pods.logs.stream(name, lines=False, timestamps=True) as pieces:
            assert b"".join([piece async for piece in pieces]) == stamped
        await delete(pods, name)


async def test_a_long_line_is_one_line(context: str | None, connect: Connect) -> None:
    size = 300_000
    async with connect(context) as pods:
        name = await create(pods, f"echo first; head -c {size} /dev/zero | tr '\\0' x; echo; echo last", policy="Never")
        async with pods.logs.stream(name, follow=True) as log:
            assert [line.data async for line in log] == [b"first", b"x" * size, b"last"]
        await delete(pods, name)


async def test_a_silent_container_is_asked_for_again_and_nothing_comes_twice(
    context: str | None, connect: Connect
) -> None:
    async with connect(context) as pods:
        name = await create(pods, "echo one; echo two; sleep 3; echo three; sleep 2", policy="Never")
        async with pods.logs.stream(name, follow=True, inactivity=0.5) as log:
            assert [line.data async for line in log] == [b"one", b"two", b"three"]
        await delete(pods, name)


@pytest.mark.skipif(not FROZEN, reason="KUBEX_STREAM_APISERVER_PIDFILE names no API server that may be stopped")
@pytest.mark.parametrize("special_context", ["translated"], indirect=True)
async def test_an_api_server_that_stops_answering_loses_nothing(connect: Connect, special_context: str) -> None:
    pid = int(Path(FROZEN).read_text().split()[0])
    events: list[LogEvent] = []
    async with connect(special_context) as pods:
        name = await create(pods, "i=0; while [ $i -lt 60 ]; do echo $i; i=$((i+1)); sleep 0.1; done", policy="Never")
        async with pods.logs.stream(name, follow=True, inactivity=0.7, on_event=events.append) as log:
            seen = [(await anext(log)).data]
            os.kill(pid, signal.SIGSTOP)
            try:
                await anyio.sleep(2)
            finally:
                os.kill(pid, signal.SIGCONT)
            seen += [line.data async for line in log]
        await delete(pods, name)
    assert seen == [b"%d" % number for number in range(60)]
    assert "resumed" in {event.kind for event in events}


async def test_a_pod_that_is_deleted_ends_its_log(context: str | None, connect: Connect) -> None:
    async with connect(context) as pods:
        name = await create(pods, "echo here; sleep 1000", policy="Always")
        async with pods.logs.stream(name, follow=True) as log:
            assert (await anext(log)).data == b"here"
            await delete(pods, name)
            assert [line.data async for line in log] == []


async def test_what_has_not_started_says_why(context: str | None, connect: Connect) -> None:
    async with connect(context) as pods:
        missing = await create(pods, "true", image="registry.invalid/none:1")
        homeless = await create(pods, "true", nodeSelector={"no": "such-node"})
        with pytest.raises(StreamTimeout, match="ErrImageNeverPull"):
            async with pods.logs.stream(missing, follow=True, start_timeout=4) as log:
                await anext(log)
        with pytest.raises(StreamTimeout, match="Unschedulable"):
            async with pods.logs.stream(homeless, follow=True, start_timeout=2) as log:
                await anext(log)
        with pytest.raises(ApiError, match=r"waiting to start: .*not present"):
            await pods.logs.read(missing)
        with pytest.raises(ApiError, match="Unschedulable"):
            await pods.logs.read(homeless)
        await delete(pods, missing)
        await delete(pods, homeless)


async def test_what_is_not_there(context: str | None, connect: Connect) -> None:
    async with connect(context) as pods:
        with pytest.raises(NotFound):
            await pods.logs.read("nobody")
        with pytest.raises(ApiError, match="its containers are main, cat, shell, once"):
            await pods.logs.read("box", container="none")
        with pytest.raises(ApiError, match="no container 'none'; its containers are main, cat, shell, once"):
            async with pods.logs.stream("box", container="none"):
                pass
        with pytest.raises(ApiError, match='previous terminated container "main" in pod "box" not found'):
            await pods.logs.read("box", container="main", previous=True)
        with pytest.raises(NotFound, match="app=nobody"):
            async with pods.logs.stream(label_selector="app=nobody"):
                pass


async def test_all_containers_at_once(context: str | None, connect: Connect) -> None:
    async with connect(context) as pods:
        seen = set()
        with anyio.fail_after(30):
            async with pods.logs.stream("box", all_containers=True, follow=True, tail=5) as log:
                assert {source.container for source in log.sources} == {"main", "cat", "shell", "once"}
                async for line in log:
                    seen.add(line.container)
                    if b"line" in line.data:
                        break
        assert "main" in seen


async def test_init_containers_end_and_a_quiet_life_loses_nothing_of_the_one_before(
    context: str | None, backend: str, namespace: str
) -> None:
    """The connection is lost while the container fails; its next life has nothing to say."""
    lives = "[ -e /state/x ] && exec sleep 3; touch /state/x; echo one; sleep 2; echo two; exit 1"
    init = {"name": "init", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["/bin/sh", "-c", "echo set"]}
    events: list[LogEvent] = []
    async with through_a_wire(context, backend, namespace) as (pods, wire):
        name = await create(pods, lives, initContainers=[init])
        seen: list[tuple[str, bytes]] = []
        async with pods.logs.stream(name, all_containers=True, follow=True, on_event=events.append) as log:
            async for line in log:
                seen.append((line.container, line.data))
                if line.data == b"one":
                    await wire.cut()
        await delete(pods, name)
    assert sorted(seen) == [("init", b"set"), ("main", b"one"), ("main", b"two")]
    kinds = [event.kind for event in events]
    assert (kinds.count("restarted"), kinds.count("gap"), kinds.count("ended")) == (1, 0, 2)


#: 10.8 MB, which is more than a node keeps in one file, and then a little now and then until it has noticed.
ROTATED = """
pad=$(head -c 400 /dev/zero | tr '\\0' x); i=0
while [ $i -lt 27000 ]; do echo "$i $pad"; i=$((i+1)); done
while [ $i -lt 27180 ]; do echo "$i $pad"; i=$((i+1)); sleep 0.1; done
"""


def test_rotation_is_not_noticed(namespace: str) -> None:
    """It takes its time, and does not depend on how the bytes come; so it is run once."""
    events: list[LogEvent] = []

    async def main() -> None:
        configuration = await ClientConfiguration.load(kubeconfig=KUBECONFIG)
        async with create_client(configuration) as client:
            pods = Pods(client, namespace)
            name = await create(pods, ROTATED, policy="Never")
            async with pods.logs.stream(name, follow=True, on_event=events.append) as log:
                seen = [int(line.data.split()[0]) async for line in log]
            assert seen == list(range(27180))
            kept = await pods.logs.read(name)
            await delete(pods, name)
        if kept.startswith(b"0 "):
            pytest.skip("this cluster's nodes do not rotate at 10 MiB")

    anyio.run(main)
    assert {event.kind for event in events} <= {"waiting", "ended"}
