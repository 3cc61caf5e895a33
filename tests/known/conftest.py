"""What the tests of known defects share.  All of them but the check of the table need an embedded cluster, which is POSIX only."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from kubex_stream import ClientConfiguration, ClientOptions, Observer, Pods

if TYPE_CHECKING:
    from tests.conftest import MakeClient

if sys.platform == "win32":
    collect_ignore_glob = ["test_kubex_*.py", "test_peers_*.py"]

#: ``async with open_pods(cluster.configuration, heartbeat=None) as pods``; the keywords are those of ClientOptions.
OpenPods = Callable[..., AbstractAsyncContextManager[Pods]]


@pytest.fixture
def open_pods(make_client: MakeClient) -> OpenPods:
    """The pods of a cluster, through an open client of this test's backend."""

    @asynccontextmanager
    async def opened(
        configuration: ClientConfiguration, *, observer: Observer | None = None, **options: Any
    ) -> AsyncGenerator[Pods, None]:
        async with make_client(configuration, ClientOptions(**options), observer=observer) as client:
            yield Pods(client)

    return opened
