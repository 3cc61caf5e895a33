"""What the tests of the ways into other libraries share: a pod whose ports are servers of these tests, and forwarders to it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import anyio
import anyio.to_thread
import pytest

from kubex_stream import ClientOptions, Pods, create_client
from kubex_stream.api.forwarder import PortForwarder
from kubex_stream.testing import (
    Behaviour,
    EmbeddedCluster,
    EmbeddedPod,
    EmbeddedPort,
    EmbeddedService,
    EmbeddedServicePort,
)
from kubex_stream.testing.ports import PortTarget
from tests.conftest import BACKENDS

#: No test waits longer than this for something that it has caused.
PATIENCE: Final = 30.0
HTTP, ECHO, SILENT, OPEN_ENDED, CUT, ONCE, SEND, RESET, COUNTING, REFUSED = 80, 7, 9, 81, 82, 83, 84, 85, 86, 9999
MIB: Final = 1024 * 1024
_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


class Counter:
    """Serves HTTP with the number of its connection, and shows whose ``Host`` it was."""

    def __init__(self) -> None:
        self.connections = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        while head := await _head(reader):
            host = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"host:"))
            body = b"%d %s" % (number, host.partition(b":")[2].strip())
            writer.write(_HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""


async def _open_ended(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A body that lasts until the connection ends."""
    await _head(reader)
    writer.write(_HEAD + b"\r\n" + bytes(100_000))


async def _cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The same, but its end is a reset, once its beginning has been received."""
    await _open_ended(reader, writer)
    await writer.drain()
    await reader.read(1)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Ends its connections after the first answer without having said so."""
    await _head(reader)
    writer.write(_HEAD + b"Content-Length: 4\r\n\r\nonce")


def pod(name: str, counter: Counter, **more: PortTarget) -> EmbeddedPod:
    """A pod with every server.

    :param more: what answers behind the ports from 1000 on
    """
    ports = [
        EmbeddedPort(HTTP, target="http", name="http"),
        EmbeddedPort(ECHO, target="echo"),
        EmbeddedPort(SILENT, target="silent"),
        EmbeddedPort(OPEN_ENDED, target=_open_ended),
        EmbeddedPort(CUT, target=_cut),
        EmbeddedPort(ONCE, target=_once),
        EmbeddedPort(SEND, target="send"),
        EmbeddedPort(RESET, target="reset"),
        EmbeddedPort(COUNTING, target=counter),
        *(EmbeddedPort(1000 + index, target=target, name=name) for index, (name, target) in enumerate(more.items())),
    ]
    return EmbeddedPod(name, labels={"app": "web"}, ports=ports)


@contextmanager
def web_cluster(counter: Counter | None = None, **more: PortTarget) -> Generator[EmbeddedCluster, None, None]:
    """A cluster with a pod ``web`` and a Service of this name whose port 80 is the pod's ``http``."""
    service = EmbeddedService("web", ports=[EmbeddedServicePort(80, "http", name="web")], selector={"app": "web"})
    behaviour = Behaviour(half_close_grace=0.1)
    with EmbeddedCluster(
        [pod("web", counter or Counter(), **more)], services=[service], behaviour=behaviour, quiet=True
    ) as cluster:
        yield cluster


@asynccontextmanager
async def forwarder(
    cluster: EmbeddedCluster, backend: str, target: str = "web", *, close_timeout: float = 1.0, **options: Any
) -> AsyncGenerator[PortForwarder, None]:
    """A forwarder; when it has been left, nothing may be forwarded any more."""
    client_options = ClientOptions(close_timeout=close_timeout)
    async with create_client(cluster.configuration, options=client_options, backend=backend) as client:
        async with Pods(client).portforward.forwarder(target, **options) as opened:
            yield opened
    await ended(cluster)
    await anyio.to_thread.run_sync(cluster.wait_for, lambda: not cluster.open_sessions, PATIENCE)


async def ended(cluster: EmbeddedCluster) -> None:
    """Wait until the cluster forwards no connection."""
    await anyio.to_thread.run_sync(cluster.wait_for, lambda: not cluster.forwarded_connections, PATIENCE)


async def connected(cluster: EmbeddedCluster) -> None:
    """Wait until it forwards one."""
    await anyio.to_thread.run_sync(cluster.wait_for, lambda: cluster.forwarded_connections > 0, PATIENCE)


def asyncio_pairs(metafunc: pytest.Metafunc) -> None:
    """Each backend on asyncio or uvloop by default, and on the other one with ``-m volume``."""
    own = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "backend" in metafunc.fixturenames:
        pairs = [(loop, backend) for loop in ("asyncio", "uvloop") for backend in BACKENDS]
        params = [
            pytest.param(*pair, marks=() if (pair[0] == "uvloop") == (pair[1] == "picows") else pytest.mark.volume)
            for pair in pairs
        ]
        metafunc.parametrize(("anyio_backend", "backend"), params, indirect=True)
    elif "anyio_backend" in metafunc.fixturenames and "anyio_backend" not in own:
        metafunc.parametrize("anyio_backend", ["asyncio", "uvloop"], indirect=True)
