"""Port-forward on a real cluster: each port of ``/bin/ports`` with the outcome that its behaviour promises, on every way to the pod."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Awaitable, Callable

import anyio
import pytest

from kubex_stream import NotFound, PortForwardError, PortForwardStream
from kubex_stream.api.forwarder import PortForwardProtocol
from tests.cluster.conftest import Connect, Way, on_each, read_all, read_exactly
from tests.conftest import Runtime

pytestmark = pytest.mark.anyio

#: Much more than everything between us and the pod can hold.
SIZE = 64 * 1024 * 1024
PIECE = 256 * 1024
REQUEST = b"GET / HTTP/1.0\r\n\r\n"


def piece_of(generator: random.Random) -> bytes:
    return generator.randbytes(PIECE)


def digest(seed: int, size: int) -> str:
    generator, sha = random.Random(seed), hashlib.sha256()
    for _ in range(size // PIECE):
        sha.update(piece_of(generator))
    return sha.hexdigest()


async def echo(stream: PortForwardStream) -> None:
    await stream.send(b"hello")
    assert await read_exactly(stream, 5) == b"hello"
    assert (stream.statistics.bytes_in, stream.statistics.bytes_out) == (5, 5)


async def http(stream: PortForwardStream) -> None:
    await stream.send(REQUEST)
    head, _, body = (await read_all(stream)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200")
    assert body.decode().strip() == stream.pod


async def sized(stream: PortForwardStream) -> None:
    await stream.send(b"3000000\n")
    assert await read_all(stream) == b"x" * 3_000_000
    with pytest.raises(PortForwardError) as caught:
        await stream.send(b"more")
    assert caught.value.kind == "closed"


async def silent(stream: PortForwardStream) -> None:
    await stream.send(b"is anybody there?")
    with anyio.move_on_after(1.5) as scope:
        await stream.receive()
    assert scope.cancelled_caught


async def failing(stream: PortForwardStream, kind: str, text: str) -> None:
    with pytest.raises(PortForwardError, match=text) as caught:
        await stream.receive()
    assert (caught.value.kind, caught.value.port) == (kind, stream.port)
    with pytest.raises(PortForwardError) as again:
        await stream.send(b"x")
    assert again.value.kind == kind


async def resetting(stream: PortForwardStream) -> None:
    await failing(stream, "reset", "reset by the pod's server on port 8085")


async def refused(stream: PortForwardStream) -> None:
    await failing(stream, "refused", "nothing in the pod listens on port 9999")


async def banner(stream: PortForwardStream) -> None:
    assert await read_all(stream) == b"banner\n"


async def ended(stream: PortForwardStream) -> None:
    assert await read_all(stream) == b""


BEHAVIOUR: dict[int, Callable[[PortForwardStream], Awaitable[None]]] = {
    8080: echo,
    8081: http,
    8083: sized,
    8084: silent,
    8085: resetting,
    8086: banner,
    8087: ended,
    9999: refused,
}


async def test_each_port_does_what_its_server_does(connect: Connect, ports: str, ways: list[Way]) -> None:
    async def check(way: Way) -> None:
        async with (
            connect(way.context) as pods,
            pods.portforward.forwarder(f"deploy/{ports}", protocol=way.protocol) as forwarder,
        ):

            async def one(port: int) -> None:
                async with forwarder.connect(port) as stream:
                    await BEHAVIOUR[port](stream)

            # Nine at once: one of them that fails, or says nothing, is nothing to the others.
            async with anyio.create_task_group() as tasks:
                for port in (*BEHAVIOUR, 8080):
                    tasks.start_soon(one, port)
            assert (forwarder.tunnels > 0) is way.tunnel
        assert forwarder.tunnels == 0

    with anyio.fail_after(60):
        await on_each(ways, check)


NAMES: dict[tuple[str, int | str], int] = {
    ("svc/ports", 80): 8080,
    ("svc/ports", "echo"): 8080,
    ("service/ports", 82): 8082,
    ("svc/ports", "digest"): 8082,
    ("deploy/ports", 8080): 8080,
    ("deploy/ports", "echo"): 8080,
    ("deployment.apps/ports", "digest"): 8082,
}


async def test_services_and_deployments_by_name_and_number(connect: Connect, context: str | None, ports: str) -> None:
    async with connect(context) as pods:
        named = {pod["metadata"]["name"] for pod in await pods.list(label_selector=f"app={ports}")}

        async def one(target: str, port: int | str, number: int) -> None:
            async with pods.portforward.connect(target, port) as stream:
                assert stream.port == number
                assert stream.pod in named
                if number == 8080:
                    await echo(stream)

        async with anyio.create_task_group() as tasks:
            for (target, port), number in NAMES.items():
                tasks.start_soon(one, target, port, number)


@pytest.mark.parametrize(
    ("target", "port", "text"),
    [
        ("svc/{}", 8080, "service 'ports' has no port 8080"),
        ("svc/{}", "ssh", "service 'ports' has no port 'ssh'"),
        ("deploy/{}", "ssh", "no port named 'ssh'; it names digest, echo, http"),
        ("deploy/no-{}", 80, "no-ports"),
        ("no-{}", 80, "no-ports"),
    ],
)
async def test_what_is_not_there_is_told_at_once(
    connect: Connect, ports: str, target: str, port: int | str, text: str
) -> None:
    async with connect(None) as pods:
        with pytest.raises(NotFound, match=text):
            async with pods.portforward.connect(target.format(ports), port):
                pytest.fail("there is no such port")


@pytest.mark.parametrize("protocol", ["tunnel", "legacy"])
async def test_64_MiB_each_way_at_once(
    connect: Connect, context: str | None, ports: str, protocol: PortForwardProtocol
) -> None:
    seed, sha = 11, hashlib.sha256()
    async with (
        connect(context) as pods,
        pods.portforward.connect(f"deploy/{ports}", 8080, protocol=protocol) as stream,
        anyio.create_task_group() as tasks,
    ):

        async def send() -> None:
            generator = random.Random(seed)
            for _ in range(SIZE // PIECE):
                await stream.send(piece_of(generator))

        tasks.start_soon(send)
        received = 0
        while received < SIZE:
            chunk = await stream.receive(PIECE)
            sha.update(chunk)
            received += len(chunk)
    assert sha.hexdigest() == digest(seed, SIZE)
    assert (stream.statistics.bytes_in, stream.statistics.bytes_out) == (SIZE, SIZE)


async def test_readers_and_writers_of_asyncio(
    connect: Connect, context: str | None, ports: str, runtime: Runtime
) -> None:
    if runtime.loop == "trio":
        pytest.skip("asyncio's readers and writers are asyncio's")
    async with connect(context) as pods:
        async with pods.portforward.open_connection(f"svc/{ports}", "http") as (reader, writer):
            writer.write(REQUEST)
            assert (await reader.readline()).startswith(b"HTTP/1.0 200")
            assert ports.encode() in await reader.read()
        async with pods.portforward.open_connection(f"deploy/{ports}", 9999) as (reader, _):
            with pytest.raises(PortForwardError, match="nothing in the pod listens on port 9999"):
                await reader.read()
