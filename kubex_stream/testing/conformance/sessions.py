"""The whole library over the transport: exec, attach and port-forward with the embedded cluster."""

from __future__ import annotations

import weakref
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Literal

import anyio
import pytest

from kubex_stream.api.pods import Pods
from kubex_stream.client import ClientOptions, create_client
from kubex_stream.errors import ApiError, ConnectionLost, NotFound, PortForwardError
from kubex_stream.testing.behaviour import Behaviour
from kubex_stream.testing.cluster import EmbeddedCluster
from kubex_stream.testing.conformance.base import Conformance
from kubex_stream.testing.conformance.claims import needs
from kubex_stream.testing.pods import EmbeddedContainer, EmbeddedPod
from kubex_stream.testing.ports import EmbeddedPort
from kubex_stream.testing.scripted import ScriptedPeer, ScriptedServer

__all__ = ("Sessions",)

OpenPods = Callable[..., AbstractAsyncContextManager[Pods]]
DATA: Final = bytes(range(256)) * 4096
POD: Final = EmbeddedPod(
    "conformance",
    containers=(EmbeddedContainer(command=("cat",), stdin=True),),
    ports=(EmbeddedPort(7, target="echo"), EmbeddedPort(9, target=None)),
)
HASTY: Final = Behaviour(half_close_grace=0.1)
_ready: Final = weakref.WeakSet[EmbeddedCluster]()


class Sessions(Conformance):
    """The whole library over the transport."""

    @pytest.fixture
    def conformance_cluster(self, kubex_stream_shared_cluster: EmbeddedCluster) -> Iterator[EmbeddedCluster]:
        """A running cluster with the pods of these tests, and with less than a container runtime's second after a half-close."""
        cluster, behaviour = kubex_stream_shared_cluster, kubex_stream_shared_cluster.behaviour
        if cluster not in _ready:
            cluster.add_pod(POD)
            _ready.add(cluster)
        cluster.behaviour = HASTY
        yield cluster
        cluster.behaviour = behaviour

    @pytest.fixture
    def open_pods(self, conformance_cluster: EmbeddedCluster) -> OpenPods:
        """The pods of that cluster: ``async with open_pods() as pods``."""

        @asynccontextmanager
        async def opened(**options: Any) -> AsyncGenerator[Pods, None]:
            async with create_client(
                conformance_cluster.configuration,
                options=ClientOptions(**options),
                backend=self.transport.client_class(),
            ) as client:
                yield Pods(client)

        return opened

    @needs("tls")
    async def test_a_command(self, open_pods: OpenPods) -> None:
        async with open_pods() as pods:
            done = await pods.exec.run("demo", ["sh", "-c", "cat; echo no >&2; exit 7"], input=DATA, timeout=30)
        assert done.stdout == DATA
        assert (done.stderr, done.exit_code) == (b"no\n", 7)

    @needs("tls")
    async def test_a_conversation(self, open_pods: OpenPods) -> None:
        async with open_pods() as pods, pods.exec.stream("demo", ["cat"], stdin=True) as process:
            for number in range(20):
                await process.stdin.send(b"%03d" % number)
                assert await process.stdout.receive() == b"%03d" % number
            await process.stdin.aclose()
            assert await process.wait() == 0

    @needs("tls")
    async def test_a_pod_that_is_not_there(self, open_pods: OpenPods) -> None:
        async with open_pods() as pods:
            with pytest.raises(NotFound):
                await pods.exec.run("nowhere", ["true"])
            with pytest.raises(NotFound):
                await pods.get("nowhere")
            assert (await pods.get("demo"))["metadata"]["name"] == "demo"

    @needs("tls")
    async def test_leaving_does_not_wait_for_the_process(self, open_pods: OpenPods) -> None:
        async with open_pods() as pods:
            with anyio.fail_after(15):
                async with pods.exec.stream(
                    "demo", ["sh", "-c", "echo up; exec sleep 60"], on_cancel="kill"
                ) as process:
                    assert await process.stdout.receive() == b"up\n"

    @needs("tls")
    async def test_attach(self, open_pods: OpenPods) -> None:
        async with open_pods() as pods, pods.attach.stream("conformance", stdin=True) as process:
            await process.stdin.send(b"hello")
            assert await process.stdout.receive() == b"hello"

    @needs("tls")
    @pytest.mark.parametrize("protocol", ["auto", "tunnel", "legacy"])
    async def test_a_forwarded_port(self, open_pods: OpenPods, protocol: Literal["auto", "tunnel", "legacy"]) -> None:
        if protocol == "tunnel" and "any_subprotocol" not in self.transport.claims:
            pytest.skip("this transport does not claim: any_subprotocol")
        async with open_pods() as pods:
            async with (
                pods.portforward.connect("conformance", 7, protocol=protocol) as stream,
                anyio.create_task_group() as group,
            ):
                group.start_soon(stream.send, DATA)
                received = bytearray()
                while len(received) < len(DATA):
                    received += await stream.receive()
                assert received == DATA
            async with pods.portforward.connect("conformance", 9, protocol=protocol) as stream:
                with pytest.raises(PortForwardError):
                    await stream.receive()

    @needs("tls")
    async def test_many_at_once(self, open_pods: OpenPods) -> None:
        codes: list[int | None] = []
        async with open_pods(pool_size=2) as pods, anyio.create_task_group() as group:

            async def run(number: int) -> None:
                done = await pods.exec.run("demo", ["sh", "-c", f"exit {number}"], timeout=60)
                codes.append(done.exit_code)

            for number in range(10):
                group.start_soon(run, number)
        assert sorted(map(str, codes)) == [str(number) for number in range(10)]

    @needs("tls")
    async def test_a_connection_that_breaks_is_no_exit_code(self) -> None:
        with EmbeddedCluster(behaviour=Behaviour(tcp_reset_after_bytes=5000), quiet=True) as cluster:
            async with create_client(cluster.configuration, backend=self.transport.client_class()) as client:
                with pytest.raises(ConnectionLost):
                    await Pods(client).exec.run("demo", ["head", "-c", "100000", "/dev/zero"], timeout=30)

    async def test_a_refusal_tells_why(self) -> None:
        async def script(peer: ScriptedPeer) -> None:
            body = b'{"kind":"Status","status":"Failure","message":"no, because","code":400}'
            await peer.send_raw(b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await peer.end()

        async with (
            ScriptedServer(script, handshake=False) as server,
            create_client(server.configuration, backend=self.transport.client_class()) as client,
        ):
            with pytest.raises(ApiError, match="no, because") as caught:
                await Pods(client).exec.run("demo", ["true"], container="main", request_timeout=20)
        assert caught.value.status_code == 400
