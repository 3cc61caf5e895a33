"""A real cluster: the one that KUBECONFIG names, with a namespace and a pod of these tests' own.

Where the kubeconfig has the contexts ``admin`` and ``translated`` (streams that end at the kubelet, and at the API server), tests run on
both; elsewhere on the current one.  ``KUBEX_STREAM_IMAGE`` names an image with a shell, where ``busybox`` cannot be pulled.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml

from kubex_stream import BaseClient, ClientConfiguration, ClientOptions, Pods, create_client
from kubex_stream.client import Request

IMAGE = os.environ.get("KUBEX_STREAM_IMAGE", "busybox:1.36")
KUBECONFIG = os.environ.get("KUBECONFIG", "")

Connect = Callable[..., AbstractAsyncContextManager[Pods]]


def _contexts() -> list[str]:
    if not KUBECONFIG or not Path(KUBECONFIG).exists():
        return []
    loaded = yaml.safe_load(Path(KUBECONFIG).read_text())
    return [entry["name"] for entry in loaded.get("contexts") or ()]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.timeout(180))
            if not _contexts():
                item.add_marker(pytest.mark.skip(reason="no real cluster: KUBECONFIG names no kubeconfig"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "context" in metafunc.fixturenames:
        names = [name for name in ("admin", "translated") if name in _contexts()]
        metafunc.parametrize("context", names or [None], ids=lambda name: name or "current")


@pytest.fixture
def special_context(request: pytest.FixtureRequest) -> str:
    """The context named by the test's ``context_of`` marker argument; skips where the kubeconfig has none."""
    name: str = request.param
    if name not in _contexts():
        pytest.skip(f"the kubeconfig has no context {name!r}")
    return name


def _container(name: str, command: list[str], **more: object) -> dict[str, object]:
    return {"name": name, "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": command, **more}


TALK = "i=0; while :; do i=$((i+1)); echo line $i; echo err $i >&2; sleep 1; done"
SPEC: dict[str, object] = {
    "terminationGracePeriodSeconds": 0,
    "containers": [
        _container("main", ["/bin/sh", "-c", TALK]),
        _container("cat", ["/bin/cat"], stdin=True),
        _container("shell", ["/bin/sh"], stdin=True, tty=True),
        _container("once", ["/bin/sh", "-c", "cat; echo done; sleep 100000"], stdin=True, stdinOnce=True),
    ],
}


async def create_pod(client: BaseClient, namespace: str, name: str, spec: dict[str, object]) -> None:
    """Create a pod and wait until it is ready."""
    import json

    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    await client.request(_post(f"/api/v1/namespaces/{namespace}/pods", json.dumps(pod).encode()))
    await Pods(client, namespace).wait(name, "Ready", timeout=90)


def _post(path: str, body: bytes) -> Request:
    return Request(method="POST", path=path, body=body, headers={"Content-Type": "application/json"})


@asynccontextmanager
async def _admin() -> AsyncGenerator[BaseClient, None]:
    configuration = await ClientConfiguration.load(kubeconfig=KUBECONFIG)
    async with create_client(configuration) as client:
        yield client


def _with_admin(work: Callable[[BaseClient], Awaitable[None]]) -> None:
    async def main() -> None:
        async with _admin() as client:
            await work(client)

    anyio.run(main)


@pytest.fixture(scope="session")
def namespace() -> Generator[str, None, None]:
    """A namespace with the pod ``box``; deleted afterwards."""
    name = f"kubex-stream-{secrets.token_hex(4)}"

    async def make(client: BaseClient) -> None:
        body = f'{{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"{name}"}}}}'
        await client.request(_post("/api/v1/namespaces", body.encode()))
        account = Request(path=f"/api/v1/namespaces/{name}/serviceaccounts/default")
        with anyio.fail_after(30):
            while await _missing(client, account):
                await anyio.sleep(0.1)  # the controller makes it a moment after the namespace
        await create_pod(client, name, "box", SPEC)

    async def remove(client: BaseClient) -> None:
        await client.request(Request(method="DELETE", path=f"/api/v1/namespaces/{name}"))

    _with_admin(make)
    try:
        yield name
    finally:
        _with_admin(remove)


async def _missing(client: BaseClient, request: Request) -> bool:
    from kubex_stream import NotFound

    try:
        await client.request(request)
    except NotFound:
        return True
    return False


@pytest.fixture
def connect(backend: str, namespace: str) -> Connect:
    """``async with connect(context, **options) as pods``: a client of the backend under test."""

    @asynccontextmanager
    async def opened(context: str | None, **options: Any) -> AsyncGenerator[Pods, None]:
        configuration = await ClientConfiguration.load(kubeconfig=KUBECONFIG, context=context)
        async with create_client(configuration, options=ClientOptions(**options), backend=backend) as client:
            yield Pods(client, namespace)

    return opened
