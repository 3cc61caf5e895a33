"""Clients of other packages that are configured for a real cluster: what is made of each runs commands there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from kubex_stream import ClientConfiguration, Pods, create_client
from tests.cluster.conftest import KUBECONFIG
from tests.configuration.from_others import module, their_descriptors_closed

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore:Kubernetes version:UserWarning")]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def _kubernetes(context: str | None) -> ClientConfiguration:
    settings = module("kubernetes.client").Configuration()
    module("kubernetes.config").load_kube_config(KUBECONFIG, context=context, client_configuration=settings)
    with module("kubernetes.client").ApiClient(settings) as client:
        return ClientConfiguration.from_kubernetes(module("kubernetes.client").CoreV1Api(client))


async def _kubernetes_asyncio(context: str | None) -> ClientConfiguration:
    settings = module("kubernetes_asyncio.client").Configuration()
    load = module("kubernetes_asyncio.config").load_kube_config
    with their_descriptors_closed():
        await load(KUBECONFIG, context=context, client_configuration=settings)
    async with module("kubernetes_asyncio.client").ApiClient(settings) as client:
        return ClientConfiguration.from_kubernetes_asyncio(client)


async def _lightkube(context: str | None) -> ClientConfiguration:
    config = module("lightkube").KubeConfig.from_file(KUBECONFIG)
    return ClientConfiguration.from_lightkube(config.get(context))


@asynccontextmanager
async def _kr8s(context: str | None) -> AsyncIterator[Any]:
    api = await module("kr8s.asyncio").api(kubeconfig=KUBECONFIG, context=context)
    try:
        yield api
    finally:
        if api._session is not None:
            await api._session.aclose()


async def _commands_run(configuration: ClientConfiguration, namespace: str) -> None:
    async with create_client(configuration, backend="aiohttp") as client:
        pods = Pods(client, namespace)
        assert "box" in [pod["metadata"]["name"] for pod in await pods.list()]
        done = await pods.exec.run(
            "box", ["sh", "-c", "cat; exit 7"], container="main", input=b"in\n", encoding="utf-8"
        )
    assert (done.stdout, done.exit_code) == ("in\n", 7)


@pytest.mark.parametrize("name", ["kubernetes", "kubernetes_asyncio", "lightkube"])
async def test_commands_run(name: str, context: str | None, namespace: str) -> None:
    pytest.importorskip(name)
    make = {"kubernetes": _kubernetes, "kubernetes_asyncio": _kubernetes_asyncio, "lightkube": _lightkube}[name]
    await _commands_run(await make(context), namespace)


async def test_commands_run_with_kr8s(context: str | None, namespace: str) -> None:
    pytest.importorskip("kr8s")
    async with _kr8s(context) as api:
        await _commands_run(ClientConfiguration.from_kr8s(api), namespace)
