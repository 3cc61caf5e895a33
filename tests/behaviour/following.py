"""What the tests of logs share: a cluster of one's own, its pods through a client of the backend under test, and waiting for it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

import anyio
import anyio.to_thread

from kubex_stream import ClientConfiguration, ClientOptions, Observer, Pods
from kubex_stream.testing import Behaviour, EmbeddedCluster, EmbeddedPod, HttpFailure
from tests.conftest import MakeClient

Open = Callable[..., AbstractAsyncContextManager[tuple[EmbeddedCluster, Pods]]]
#: No request gets through: the API server restarts.
OUTAGE: Final = Behaviour(failures=(HttpFailure(500, b"restarting"),))
#: The log of the pod that tests have where they name none.
LOG: Final = "/pods/demo/log"
PATIENCE: Final = 60.0


def opener(make_client: MakeClient, *usual: EmbeddedPod) -> Open:
    """Opens a cluster.

    :param usual: its pods, where none are named on opening
    """

    @asynccontextmanager
    async def enter(
        *pods: EmbeddedPod,
        adapt: Callable[[EmbeddedCluster], ClientConfiguration] | None = None,
        observer: Observer | None = None,
        **options: object,
    ) -> AsyncGenerator[tuple[EmbeddedCluster, Pods], None]:
        async with EmbeddedCluster(pods or usual, quiet=True) as cluster:
            configuration = cluster.configuration if adapt is None else adapt(cluster)
            given = ClientOptions(**options)  # type: ignore[arg-type]
            async with make_client(configuration, given, observer=observer) as client:
                with anyio.fail_after(PATIENCE):
                    yield cluster, Pods(client)

    return enter


async def until(cluster: EmbeddedCluster, condition: Callable[[], bool]) -> None:
    """Wait for the cluster."""
    await anyio.to_thread.run_sync(lambda: cluster.wait_for(condition, timeout=PATIENCE))
