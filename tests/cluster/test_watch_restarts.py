"""Thousands of changes on a real cluster, replayed across everything at once: cuts, an API server that is stopped, killed and frozen, and a
compaction of the store.  The server that suffers is one of the tests' own, so that nobody else's streams break."""

from __future__ import annotations

import signal
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from kubex_stream import Backoff, BaseClient, ClientConfiguration, ClientOptions, Gone, Watch
from kubex_stream.client import create_client
from tests.cluster.conftest import KUBECONFIG
from tests.cluster.own_server import PIDFILE, OwnServer, own_server
from tests.cluster.test_portforward_losses import Wire, through_a_wire
from tests.cluster.test_watch import Maps
from tests.watch.replaying import Replayed

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not PIDFILE, reason="KUBEX_STREAM_APISERVER_PIDFILE names no API server"),
]

WRITERS, NAMES = 10, 12


@dataclass(frozen=True, slots=True)
class Run:
    """How many changes there are, and which backends watch them: two through wires that are cut, and one at the server that suffers."""

    loop: str
    changes: int
    backends: tuple[str, str, str]


RUNS = [Run("asyncio", 10_000, ("aiohttp", "httpx", "picows")), Run("trio", 2_000, ("httpx", "httpx", "httpx"))]


@pytest.fixture(params=RUNS, ids=lambda run: run.loop)
def run(request: pytest.FixtureRequest) -> Run:
    found: Run = request.param
    return found


@pytest.fixture
def anyio_backend(run: Run) -> str:
    return run.loop


async def replay(client: BaseClient, namespace: str, mark: str, into: Replayed) -> None:
    stream = Watch(client, backoff=Backoff(0.05, 1)).stream(
        "configmaps", namespace=namespace, label_selector={"mark": mark}, inactivity=3.0, notify=into.notices.append
    )
    async with stream as events:
        async for event in events:
            into.take(event)


async def change(maps: Maps, first: int, count: int, wires: list[Wire]) -> None:
    """So many changes by several writers at once, each with names of its own, while the wires are cut again and again."""

    async def write(writer: int) -> None:
        for number in range(first + writer, first + count, WRITERS):
            name = f"{writer}-{number // WRITERS % NAMES}"
            if number % 7 == 3 and name in maps.names:
                await maps.delete(name)
            else:
                await maps.put(name, str(number))
            if number % (count // 3) == 0:
                for wire in wires:
                    await wire.cut()

    async with anyio.create_task_group() as tasks:
        for writer in range(WRITERS):
            tasks.start_soon(write, writer)


@asynccontextmanager
async def writing(namespace: str, backend: str) -> AsyncGenerator[Maps, None]:
    """A client that writes, past all trouble; what it has written is removed in one request."""
    configuration = await ClientConfiguration.load(kubeconfig=KUBECONFIG)
    async with create_client(configuration, backend=backend) as client:
        maps = Maps(client, namespace)
        yield maps
        await maps.delete_all()


async def suffer(server: OwnServer, client: BaseClient, maps: Maps, changes: int, wires: list[Wire]) -> None:
    """All changes in four parts, and something else in each."""
    part = changes // 4
    await change(maps, 0, part, wires)
    # Away while the store forgets what happened meanwhile.
    await server.end(signal.SIGTERM)
    await change(maps, part, part, wires)
    await server.compact()
    await server.start(client)
    # Frozen for longer than a watch puts up with.
    server.send(signal.SIGSTOP)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(change, maps, 2 * part, part, wires)
        await anyio.sleep(5)
    server.send(signal.SIGCONT)
    # Killed, and back at once.
    await server.end(signal.SIGKILL)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.start, client)
        tasks.start_soon(change, maps, 3 * part, part, wires)


@pytest.mark.timeout(300)
async def test_everything_at_once(run: Run, namespace: str) -> None:
    told = [Replayed() for _ in run.backends]
    admin, translated, own = run.backends
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(own_server())
        configuration = server.at(await ClientConfiguration.load(kubeconfig=KUBECONFIG))
        suffering = create_client(configuration, options=ClientOptions(open_timeout=2.0), backend=own)
        await stack.enter_async_context(suffering)
        await server.start(suffering)
        near = [
            await stack.enter_async_context(through_a_wire(context, backend, namespace))
            for context, backend in (("admin", admin), ("translated", translated))
        ]
        maps = await stack.enter_async_context(writing(namespace, admin))
        await maps.put("before", "")
        begun = max((await maps.listed()).values())
        tasks = await stack.enter_async_context(anyio.create_task_group())
        for client, into in zip([*(pods.client for pods, _ in near), suffering], told, strict=True):
            tasks.start_soon(replay, client, namespace, maps.mark, into)
        await all_of(lambda: all(each.kinds("synced") for each in told))
        await suffer(server, suffering, maps, run.changes, [wire for _, wire in near])
        listed = await maps.listed()
        await all_of(lambda: all(each.state == listed for each in told))
        with pytest.raises(Gone) as caught:
            await anext(Watch(suffering).stream(maps.path, resource_version=begun, timeout=30))
        assert caught.value.status is not None
        assert caught.value.status.reason == "Expired"
        tasks.cancel_scope.cancel()
    assert all(len(each.kinds("resuming")) >= 6 for each in told[:2])
    assert any("nothing has come for 3 s" in str(notice.error) for notice in told[2].notices)
    assert told[2].kinds("relisted")
    assert all(isinstance(notice.error, Gone) for notice in told[2].kinds("relisting"))


async def all_of(holds: Any) -> None:
    with anyio.fail_after(60):
        while not holds():
            await anyio.sleep(0.05)
