"""Waiting for pods of the embedded cluster, on every backend and event loop."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest

if sys.platform == "win32":
    pytest.skip("the embedded cluster is POSIX only", allow_module_level=True)

from kubex_stream import BaseClient, Pods
from kubex_stream.testing import EmbeddedCluster, EmbeddedContainer, EmbeddedPod

if TYPE_CHECKING:
    from tests.conftest import MakeClient

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def watched() -> Generator[EmbeddedCluster, None, None]:
    with EmbeddedCluster(quiet=True) as cluster:
        yield cluster


async def opened(cluster: EmbeddedCluster) -> None:
    await anyio.to_thread.run_sync(cluster.wait_for, lambda: cluster.open_watches > 0)


@asynccontextmanager
async def pods_of(client: BaseClient) -> AsyncGenerator[Pods, None]:
    async with client:
        yield Pods(client, "shop")


@pytest.mark.parametrize("fault", [None, "cut", "end"])
async def test_waiting_for_a_pod_to_end_and_to_go(
    make_client: MakeClient, watched: EmbeddedCluster, fault: Any
) -> None:
    container = EmbeddedContainer(command=["sh", "-c", "read line"], stdin=True, stdin_once=True)
    watched.add_pod(EmbeddedPod("job", namespace="shop", containers=[container]))
    found: list[str] = []
    async with pods_of(make_client(watched.configuration)) as pods:
        assert (await pods.wait("job", "condition=Ready"))["status"]["phase"] == "Running"
        async with anyio.create_task_group() as tasks:

            async def wait() -> None:
                pod = await pods.wait("job", "jsonpath={.status.phase}=Succeeded")
                found.append(pod["status"]["phase"])

            tasks.start_soon(wait)
            await opened(watched)
            if fault is not None:
                watched.fail_watches(fault)
            async with pods.attach.stream("job", stdin=True) as process:
                assert process.stdin is not None
                await process.stdin.send(b"go\n")
                await process.wait()
        assert found == ["Succeeded"]
        async with anyio.create_task_group() as tasks:

            async def gone_too() -> None:
                await pods.wait("job", "delete")
                found.append("gone")

            tasks.start_soon(gone_too)
            await opened(watched)
            watched.delete_pod("job", "shop")
    assert found == ["Succeeded", "gone"]
