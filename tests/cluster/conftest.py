"""A real cluster: the one that KUBECONFIG names, with a namespace and a pod of these tests' own.

Where the kubeconfig has the contexts ``admin`` and ``translated`` (streams that end at the kubelet, and at the API server), tests run on
both; elsewhere on the current one.  ``KUBEX_STREAM_IMAGE`` names an image with a shell, where ``busybox`` cannot be pulled.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml
from anyio.abc import ByteReceiveStream, SocketStream

from kubex_stream import (
    BaseClient,
    ClientConfiguration,
    ClientOptions,
    Pods,
    PortForwardError,
    PortForwardStream,
    create_client,
)
from kubex_stream.api.forwarder import PortForwardProtocol
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


PORTS = (("echo", 8080), ("http", 8081), ("digest", 8082))


def _deployment(name: str, replicas: int) -> dict[str, object]:
    labels = {"app": name}
    declared = [{"name": port, "containerPort": number} for port, number in PORTS]
    pod = {
        "terminationGracePeriodSeconds": 0,
        "containers": [_container("ports", ["/bin/ports"], ports=declared)],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _service(name: str) -> dict[str, object]:
    ports = [
        {"name": "echo", "port": 80, "targetPort": "echo"},
        {"name": "http", "port": 81, "targetPort": "http"},
        {"name": "digest", "port": 82, "targetPort": 8082},
    ]
    spec = {"selector": {"app": name}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


async def _deploy(client: BaseClient, namespace: str, name: str, replicas: int) -> None:
    deployments = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    await client.request(_post(deployments, json.dumps(_deployment(name, replicas)).encode()))
    await client.request(_post(f"/api/v1/namespaces/{namespace}/services", json.dumps(_service(name)).encode()))
    with anyio.fail_after(90):
        while True:
            response = await client.request(Request(path=f"{deployments}/{name}"))
            if json.loads(response.content).get("status", {}).get("readyReplicas", 0) == replicas:
                return
            await anyio.sleep(0.1)


@pytest.fixture(scope="session")
def ports(namespace: str) -> str:
    """The name of a Deployment of two pods, and of its Service: their containers run ``/bin/ports``, TCP servers that each treat their
    connections in a way of their own.  ``single`` is the same with one pod.  An image that has no such program skips the test.
    """
    runtimes: list[str] = []

    async def make(client: BaseClient) -> None:
        pods = Pods(client, namespace)
        look = await pods.exec.run("box", ["test", "-x", "/bin/ports"], container="main")
        if look.exit_code:
            return
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_deploy, client, namespace, "ports", 2)
            tasks.start_soon(_deploy, client, namespace, "single", 1)
        box = await pods.get("box")
        runtimes.append(box["status"]["containerStatuses"][0]["containerID"].partition("://")[0])

    _with_admin(make)
    if not runtimes:
        pytest.skip(f"the image {IMAGE} has no /bin/ports; set KUBEX_STREAM_IMAGE to one that has")
    if runtimes != ["containerd"]:
        pytest.skip(f"these facts are those of containerd, and the cluster's nodes have {runtimes[0]}")
    return "ports"


@dataclass(frozen=True, slots=True)
class Way:
    """How a forwarded connection gets to the pod."""

    context: str | None
    protocol: PortForwardProtocol

    @property
    def tunnel(self) -> bool:
        """Whether it is in a tunnel."""
        return self.protocol == "tunnel"


@pytest.fixture
def ways() -> list[Way]:
    """All of them.  Tests that mostly wait take them at once."""
    contexts: list[str | None] = [name for name in ("admin", "translated") if name in _contexts()]
    protocols: tuple[PortForwardProtocol, ...] = ("tunnel", "legacy")
    return [Way(context, protocol) for context in contexts or [None] for protocol in protocols]


async def on_each(ways: list[Way], check: Callable[[Way], Coroutine[Any, Any, None]]) -> None:
    """Run a check on all ways at once; what fails is said with the way it failed on."""

    async def one(way: Way) -> None:
        try:
            await check(way)
        except Exception as error:
            error.add_note(f"on the way {way}")
            raise

    async with anyio.create_task_group() as tasks:
        for way in ways:
            tasks.start_soon(one, way)


@asynccontextmanager
async def local_connection(port: int) -> AsyncGenerator[SocketStream, None]:
    """A connection to a local port, which is reset at the end where the test leaves something unread."""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        yield stream


async def read_exactly(stream: ByteReceiveStream, size: int) -> bytes:
    """So many bytes."""
    received = bytearray()
    while len(received) < size:
        received += await stream.receive(size - len(received))
    return bytes(received)


async def read_all(stream: ByteReceiveStream) -> bytes:
    """Everything up to the end."""
    received = bytearray()
    with suppress(anyio.EndOfStream):
        while True:
            received += await stream.receive()
    return bytes(received)


async def ending(stream: PortForwardStream) -> tuple[bytes, PortForwardError | None]:
    """What comes until the end, and how it ends."""
    received = bytearray()
    try:
        while True:
            received += await stream.receive()
    except PortForwardError as error:
        return bytes(received), error
    except anyio.EndOfStream:
        return bytes(received), None
