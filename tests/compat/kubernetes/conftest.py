"""The official client over this library.  Each test ends with nothing left: neither a connection nor a thread."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from kubex_stream.compat.kubernetes import configure, shutdown

if TYPE_CHECKING:
    from kubex_stream.testing import EmbeddedCluster

#: That package is typed in parts, and wrongly for lists of words.
official: Any = importlib.import_module("kubernetes.client")
config: Any = importlib.import_module("kubernetes.config")

Connect = Callable[["EmbeddedCluster"], Any]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """``connect(cluster)`` gives a ``CoreV1Api``; at the end everything of this library is closed."""
    before = set(threading.enumerate())
    made = []

    def connected(cluster: EmbeddedCluster) -> Any:
        made.append(config.new_client_from_config(str(cluster.kubeconfig)))
        return official.CoreV1Api(made[-1])

    yield connected
    for api_client in made:
        api_client.close()
        pools = api_client.rest_client.pool_manager.pools
        for key in pools.keys():  # noqa: SIM118  # no dict  # older packages leave these connections open
            pools[key].close()
    shutdown()
    configure()
    left = [thread for thread in threading.enumerate() if thread not in before and thread.name.startswith("kubex")]
    assert not left, f"threads left behind: {left}"


@pytest.fixture
def v1(connect: Connect, cluster: EmbeddedCluster) -> Any:
    """The API of the shared cluster."""
    return connect(cluster)


@pytest.fixture(params=["aiohttp", "httpx", "picows"])
def each_backend(request: pytest.FixtureRequest, connect: Connect) -> str:  # noqa: ARG001  # which puts it back
    """Makes the test run on each backend."""
    configure(backend=request.param)
    name: str = request.param
    return name
