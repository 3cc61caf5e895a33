"""kubernetes_asyncio over this library, on every backend and every event loop that both have."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes_asyncio import client

from kubex_stream.compat.kubernetes_asyncio import WsApiClient
from tests.conftest import BACKENDS, LOOPS

if TYPE_CHECKING:
    from kubex_stream.testing import EmbeddedCluster

#: Each backend and each loop once; the other pairs are run with ``-m volume``.
USUAL = (("aiohttp", "asyncio"), ("httpx", "uvloop"), ("picows", "uvloop"))
PAIRS = [(backend, loop) for backend, loops in BACKENDS.items() for loop in loops if loop != "trio"]

Connect = Callable[..., WsApiClient]


@pytest.fixture(
    params=[
        pytest.param(pair, marks=() if pair in USUAL else (pytest.mark.volume,), id="-".join(pair)) for pair in PAIRS
    ]
)
def pair(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Backend and event loop."""
    chosen: tuple[str, str] = request.param
    return chosen


@pytest.fixture
def anyio_backend(pair: tuple[str, str]) -> tuple[str, dict[str, Any]]:
    """asyncio in both of its kinds: that package knows no other."""
    return LOOPS[pair[1]]


@pytest.fixture
def backend(pair: tuple[str, str]) -> str:
    return pair[0]


@pytest.fixture
def configuration(cluster: EmbeddedCluster) -> client.Configuration:
    """That package's own, as its loader makes it."""
    return configured(cluster)


def configured(cluster: EmbeddedCluster) -> client.Configuration:
    """As ``config.load_kube_config()`` makes it, which would leave a file open for each certificate."""
    authorities = cluster.kubeconfig.with_name("ca.pem")
    authorities.write_bytes(cluster.ca_pem)
    made = client.Configuration(host=cluster.url, ssl_ca_cert=str(authorities))
    made.api_key["BearerToken"] = f"Bearer {cluster.token}"
    return made


@pytest.fixture
def connect(configuration: client.Configuration, backend: str) -> Connect:
    """``async with connect(…) as api_client``."""

    def make(given: object = configuration, **more: Any) -> WsApiClient:
        return WsApiClient(given, backend=backend, **more)  # type: ignore[arg-type]

    return make


@pytest.fixture
async def v1(connect: Connect) -> AsyncGenerator[client.CoreV1Api, None]:
    """The generated API over this library."""
    async with connect() as api_client:
        yield client.CoreV1Api(api_client)
