"""Test a program that uses kubex_stream against an embedded cluster, on two event loops, with and without faults.

pytest finds the fixture by itself when kubex-stream[testing] is installed.
"""

import pytest

from kubex_stream import ConnectionLost, Pods, create_client
from kubex_stream.testing import Behaviour, EmbeddedCluster


async def free_kilobytes(pods: Pods, pod: str) -> int:
    """The program under test: what `df` says is left where the container works."""
    done = await pods.exec.run(pod, ["df", "-Pk", "."], encoding="utf-8", check=True, timeout=10)
    return int(done.stdout.splitlines()[-1].split()[3])


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.mark.anyio
async def test_it_reads_what_df_says(kubex_stream_cluster: EmbeddedCluster) -> None:
    async with create_client(kubex_stream_cluster.configuration) as client:
        assert await free_kilobytes(Pods(client), "demo") > 0
    assert kubex_stream_cluster.requests[-1].values("command") == ["df", "-Pk", "."]


@pytest.mark.anyio
async def test_it_takes_no_half_answer(kubex_stream_cluster: EmbeddedCluster) -> None:
    kubex_stream_cluster.behaviour = Behaviour(tcp_reset_after_bytes=20)
    async with create_client(kubex_stream_cluster.configuration) as client:
        with pytest.raises(ConnectionLost):
            await free_kilobytes(Pods(client), "demo")
