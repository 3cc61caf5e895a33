"""What the tests of port-forward share: a cluster with a pod for each kind of server, and exchanges over streams and sockets."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Final, Literal

import anyio
import anyio.to_thread
from anyio.abc import ByteReceiveStream, ByteStream

from kubex_stream import ClientOptions, Pods
from kubex_stream.testing import (
    Behaviour,
    EmbeddedCluster,
    EmbeddedPod,
    EmbeddedPort,
    EmbeddedService,
    EmbeddedServicePort,
    EmbeddedWorkload,
)
from tests.conftest import MakeClient

Protocol = Literal["tunnel", "legacy"]
#: The pod's port of each built-in server.
SERVICES: Final = ("echo", "http", "sha256", "send", "silent", "reset", "banner", "half")
PORTS: Final = {name: 8080 + number for number, name in enumerate(SERVICES)}
REFUSED: Final = 9999
MIB: Final = 1024 * 1024
#: containerd's habits, with a tenth of its second.
HASTY: Final = Behaviour(half_close_grace=0.1)
#: No test waits longer than this for something that it has caused.
PATIENCE: Final = 30.0


def pod(name: str = "ports", **given: str) -> EmbeddedPod:
    ports = [EmbeddedPort(number, target=service, name=service) for service, number in PORTS.items()]
    return EmbeddedPod(name, labels={"app": "ports", **given}, ports=ports)


@contextmanager
def forwarding_cluster() -> Generator[EmbeddedCluster, None, None]:
    service = EmbeddedService(
        "ports",
        ports=[
            EmbeddedServicePort(80, "http", name="web"),
            EmbeddedServicePort(7, PORTS["echo"], name="echo"),
            EmbeddedServicePort(53, 53, name="dns", protocol="UDP"),
        ],
        selector={"app": "ports"},
    )
    workloads = [
        EmbeddedWorkload(kind, "ports", selector={"app": "ports"})
        for kind in ("Deployment", "ReplicaSet", "StatefulSet")
    ]
    with EmbeddedCluster([pod()], services=[service], workloads=workloads, behaviour=HASTY, quiet=True) as cluster:
        yield cluster


@contextmanager
def behaving(cluster: EmbeddedCluster, behaviour: Behaviour) -> Generator[EmbeddedCluster, None, None]:
    """The cluster with another behaviour, for the length of a block."""
    before = cluster.behaviour
    cluster.behaviour = behaviour
    try:
        yield cluster
    finally:
        cluster.behaviour = before


@asynccontextmanager
async def pods_of(
    make_client: MakeClient, cluster: EmbeddedCluster, options: ClientOptions | None = None
) -> AsyncGenerator[Pods, None]:
    async with make_client(cluster.configuration, options) as client:
        yield Pods(client)


async def settled(cluster: EmbeddedCluster, condition: Callable[[], bool]) -> None:
    """Wait for a state of the cluster."""
    await anyio.to_thread.run_sync(cluster.wait_for, condition, PATIENCE)


async def nothing_left(cluster: EmbeddedCluster) -> None:
    """Wait until the cluster forwards nothing any more."""
    await settled(cluster, lambda: not cluster.forwarded_connections and not cluster.open_sessions)


async def read_all(stream: ByteReceiveStream) -> bytes:
    pieces = []
    async for piece in stream:
        pieces.append(piece)
    return b"".join(pieces)


async def read_exactly(stream: ByteReceiveStream, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        data += await stream.receive(size - len(data))
    return bytes(data)


async def echoes(stream: ByteStream, data: bytes) -> bool:
    """Whether everything comes back, sending and receiving at once."""
    got = b""

    async def receive() -> None:
        nonlocal got
        got = await read_exactly(stream, len(data))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(receive)
        await stream.send(data)
    return got == data


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that repeat nowhere near."""
    block = b"".join(hashlib.sha256(b"%d %d" % (seed, number)).digest() for number in range(min(size, 65536) // 32 + 1))
    return (block * (size // len(block) + 1))[:size]
