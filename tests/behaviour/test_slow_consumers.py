"""Consumers that are slower than the process: the end of a session comes after its last byte, on every backend and event loop."""

from __future__ import annotations

import anyio
import pytest

from kubex_stream import ClientOptions, Pods
from kubex_stream.testing import EmbeddedCluster
from tests.conftest import MakeClient

pytestmark = pytest.mark.anyio
SIZE = 3 * 1024 * 1024


@pytest.mark.parametrize("stdin", [False, True], ids=["v4", "v5"])
async def test_the_end_of_tcp_does_not_overtake_what_a_slow_consumer_has_not_read(
    make_client: MakeClient, cluster: EmbeddedCluster, stdin: bool
) -> None:
    """The server has ended, and closed, long before; uvloop's TLS would drop what is not decrypted by then."""
    taken: list[int] = []

    async def one(pods: Pods) -> None:
        async with pods.exec.stream("demo", ["head", "-c", str(SIZE), "/dev/zero"], stdin=stdin) as process:
            total = 0
            async for chunk in process.stdout:
                total += len(chunk)
                await anyio.sleep(0.002)
            taken.append(total)
            assert await process.wait() == 0

    async with make_client(cluster.configuration, ClientOptions(stream_buffer_size=65536)) as client:
        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(one, Pods(client))
    assert taken == [SIZE] * 8
