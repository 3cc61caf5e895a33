"""What carries forwarded connections goes away, on a real cluster: wires that are cut, and an API server that stops."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from kubex_stream import ClientConfiguration, Pods, PortForwardError, PortForwardStream, create_client
from tests.cluster.conftest import KUBECONFIG, Connect, Way, ending, local_connection, on_each, read_all, read_exactly

pytestmark = pytest.mark.anyio

FROZEN = os.environ.get("KUBEX_STREAM_APISERVER_PIDFILE", "")
#: More than everything between us and the pod can hold.
SIZE = 48 * 1024 * 1024


class Wire:
    """A TCP relay between a client and an API server, whose connections can be cut."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._open: set[SocketStream] = set()
        self.local_port = 0

    async def carry(self, near: SocketStream) -> None:
        async with near, await anyio.connect_tcp(self._host, self._port) as far:
            self._open |= {near, far}
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._copy, near, far, tasks.cancel_scope)
                    await self._copy(far, near, tasks.cancel_scope)
            finally:
                self._open -= {near, far}

    @staticmethod
    async def _copy(source: SocketStream, target: SocketStream, scope: anyio.CancelScope) -> None:
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            while True:
                await target.send(await source.receive())
        scope.cancel()

    async def cut(self) -> None:
        """End all TCP connections."""
        for stream in tuple(self._open):
            await stream.aclose()


@asynccontextmanager
async def through_a_wire(context: str | None, backend: str, namespace: str) -> AsyncGenerator[tuple[Pods, Wire], None]:
    """A client whose connections to the API server can be cut."""
    configuration = await ClientConfiguration.load(kubeconfig=KUBECONFIG, context=context)
    url = urlsplit(configuration.url)
    host = url.hostname or ""
    wire = Wire(host, url.port or 443)
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, wire.carry)
        near = f"127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        own = {"url": url._replace(netloc=near).geturl(), "tls_server_name": configuration.tls_server_name or host}
        async with create_client(configuration.model_copy(update=own), backend=backend) as client:
            yield Pods(client, namespace), wire
        tasks.cancel_scope.cancel()


async def test_a_cut_wire_is_lost_and_the_next_connection_works(
    ports: str, namespace: str, backend: str, ways: list[Way]
) -> None:
    async def check(way: Way) -> None:
        async with (
            through_a_wire(way.context, backend, namespace) as (pods, wire),
            pods.portforward.forwarder(f"deploy/{ports}", protocol=way.protocol) as forwarder,
        ):
            async with forwarder.connect(8083) as stream:
                await stream.send(b"%d\n" % SIZE)
                received = len(await stream.receive())
                await wire.cut()
                rest, error = await ending(stream)
                assert received + len(rest) < SIZE
                assert error is not None
                assert (error.kind, error.port) == ("lost", 8083)
                with pytest.raises(PortForwardError) as caught:
                    await stream.send(b"x")
                assert caught.value.kind == "lost"
            async with forwarder.connect(8080) as stream:
                await stream.send(b"hello")
                assert await read_exactly(stream, 5) == b"hello"

    with anyio.fail_after(60):
        await on_each(ways, check)


async def test_a_cut_wire_resets_local_connections_and_the_listener_goes_on(
    ports: str, namespace: str, backend: str, ways: list[Way]
) -> None:
    async def check(way: Way) -> None:
        async with (
            through_a_wire(way.context, backend, namespace) as (pods, wire),
            pods.portforward.listen(f"deploy/{ports}", [":8083", ":8080"], protocol=way.protocol) as (sized, echo),
        ):
            async with local_connection(sized.local_port) as local:
                await local.send(b"%d\n" % SIZE)
                await local.receive()
                await wire.cut()
                with pytest.raises(anyio.BrokenResourceError):
                    await read_all(local)
            async with local_connection(echo.local_port) as local:
                await local.send(b"hello")
                assert await read_exactly(local, 5) == b"hello"

    with anyio.fail_after(60):
        await on_each(ways, check)


@pytest.mark.skipif(not FROZEN, reason="KUBEX_STREAM_APISERVER_PIDFILE names no API server that may be stopped")
@pytest.mark.parametrize("special_context", ["translated"], indirect=True)
async def test_an_api_server_that_stops_answering_is_noticed(
    connect: Connect, special_context: str, ports: str
) -> None:
    pid = int(Path(FROZEN).read_text().split()[0])
    async with (
        connect(special_context, heartbeat=0.3, heartbeat_timeout=1.5) as pods,
        pods.portforward.forwarder(f"deploy/{ports}", protocol="tunnel") as tunnel,
        pods.portforward.forwarder(f"deploy/{ports}", protocol="legacy") as legacy,
    ):

        async def waiting(stream: PortForwardStream) -> None:
            with pytest.raises(PortForwardError, match="no sign of life") as caught:
                await stream.receive()
            assert caught.value.kind == "lost"

        async with tunnel.connect(8084) as first, legacy.connect(8084) as second:
            os.kill(pid, signal.SIGSTOP)
            try:
                with anyio.fail_after(30):
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(waiting, first)
                        tasks.start_soon(waiting, second)
            finally:
                os.kill(pid, signal.SIGCONT)
        for forwarder in (tunnel, legacy):
            async with forwarder.connect(8080) as stream:
                await stream.send(b"hello")
                assert await read_exactly(stream, 5) == b"hello"
