"""Local listeners on a real cluster: many connections at once, and what one of them must not do to the others."""

from __future__ import annotations

import json
import random
from contextlib import suppress

import anyio
import pytest

from kubex_stream import ConnectionEvent, PortForwardError
from kubex_stream.client import BaseClient, Request
from tests.cluster.conftest import Connect, Way, local_connection, on_each, read_all, read_exactly

pytestmark = pytest.mark.anyio

REQUEST = b"GET / HTTP/1.0\r\n\r\n"


async def echoed(port: int, seed: int, size: int = 20_000) -> None:
    """A connection of its own that gets back what it sends."""
    data = random.Random(seed).randbytes(size)
    async with local_connection(port) as local:
        await local.send(data)
        assert await read_exactly(local, size) == data


async def name_of_pod(port: int) -> str:
    async with local_connection(port) as local:
        await local.send(REQUEST)
        head, _, body = (await read_all(local)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200")
    return body.decode().strip()


async def was_reset(port: int) -> None:
    async with local_connection(port) as local:
        with pytest.raises(anyio.BrokenResourceError):
            await local.receive()


def failures(events: list[ConnectionEvent]) -> list[ConnectionEvent]:
    """Those that failed.  In the older protocol a client that goes away is a cut: that nothing was to come any more is not known."""
    found = [event for event in events if event.kind == "failed"]
    return [event for event in found if not (isinstance(event.error, PortForwardError) and event.error.kind == "cut")]


async def test_200_connections_at_once_and_more_one_after_another(
    connect: Connect, ports: str, ways: list[Way]
) -> None:
    async def check(way: Way) -> None:
        events: list[ConnectionEvent] = []
        async with connect(way.context) as pods:
            async with pods.portforward.listen(
                f"svc/{ports}", [":80", ":echo"], protocol=way.protocol, max_tunnels=8, on_event=events.append
            ) as listeners:
                once, after = listeners
                async with anyio.create_task_group() as tasks:
                    for number in range(200):
                        tasks.start_soon(echoed, once.local_port, number)
                for number in range(50):
                    await echoed(after.local_port, number, size=number + 1)
        assert failures(events) == []
        assert (once.connections, once.active, after.connections, after.active) == (200, 0, 50, 0)
        assert (once.bytes_in, once.bytes_out) == (200 * 20_000, 200 * 20_000)
        assert {event.number for event in events if event.kind != "opened"} == set(range(1, 251))
        assert listeners.forwarder.tunnels == 0

    with anyio.fail_after(120):
        await on_each(ways, check)


async def test_refused_and_stalled_ports_beside_working_ones(connect: Connect, ports: str, ways: list[Way]) -> None:
    """kubectl ends the whole forward at the first refused dial, and its one tunnel stands still with the first stalled port."""

    async def check(way: Way) -> None:
        events: list[ConnectionEvent] = []
        async with connect(way.context) as pods:
            async with (
                pods.portforward.listen(
                    f"deploy/{ports}",
                    [":8080", ":8084", ":9999", ":8085"],
                    protocol=way.protocol,
                    on_event=events.append,
                ) as (echo, stalled, refused, resetting),
                local_connection(stalled.local_port) as full,
            ):
                with anyio.move_on_after(1):
                    while True:
                        await full.send(bytes(1024 * 1024))  # nobody reads it: 30 MB and more come to a stop
                async with anyio.create_task_group() as tasks:
                    for number in range(20):
                        tasks.start_soon(echoed, echo.local_port, number)
                        if number % 5 == 0:
                            tasks.start_soon(was_reset, refused.local_port)
                            tasks.start_soon(was_reset, resetting.local_port)
                await echoed(echo.local_port, seed=0)
                assert (echo.connections, stalled.active, stalled.failures) == (21, 1, 0)
        failed = [(event.listener.remote_port, event.error) for event in failures(events)]
        assert [port for port, _ in failed].count(9999) == [port for port, _ in failed].count(8085) == 4
        assert len(failed) == 8
        for port, error in failed:
            assert isinstance(error, PortForwardError)
            assert (port, error.port, error.kind) in ((9999, 9999, "refused"), (8085, 8085, "reset"))

    with anyio.fail_after(60):
        await on_each(ways, check)


async def test_a_deleted_pod_and_its_replacement(connect: Connect, ports: str, ways: list[Way]) -> None:
    """Open connections end; the listener goes on, with the pod that comes next."""
    assert ports
    ready, deleted = anyio.Semaphore(0), anyio.Event()

    async def check(way: Way) -> None:
        async with (
            connect(way.context) as pods,
            pods.portforward.listen("deploy/single", [":8080", ":8081"], protocol=way.protocol) as (echo, http),
            local_connection(echo.local_port) as local,
        ):
            await local.send(b"before")
            assert await read_exactly(local, 6) == b"before"
            before = await name_of_pod(http.local_port)
            ready.release()
            await deleted.wait()
            # containerd ends it as if the server had: how it ends is not to be told from the wire.
            with suppress(anyio.BrokenResourceError):
                assert await read_all(local) == b""
            after = await eventually_name_of_pod(http.local_port)
            assert after != before
            await echoed(echo.local_port, seed=1)

    async def delete() -> None:
        for _ in ways:
            await ready.acquire()
        async with connect(ways[0].context) as pods:
            await delete_pods(pods.client, pods.namespace, "single")
        deleted.set()

    with anyio.fail_after(90):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(delete)
            tasks.start_soon(on_each, ways, check)


async def eventually_name_of_pod(port: int) -> str:
    """The pod runs a moment before its server listens: refused connections are not what is looked at here."""
    while True:
        with suppress(anyio.BrokenResourceError):
            return await name_of_pod(port)


async def delete_pods(client: BaseClient, namespace: str, app: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    answer = await client.request(Request(path=path, query=[("labelSelector", f"app={app}")]))
    for pod in json.loads(answer.content)["items"]:
        name = pod["metadata"]["name"]
        await client.request(Request(method="DELETE", path=f"{path}/{name}", query=[("gracePeriodSeconds", "0")]))
