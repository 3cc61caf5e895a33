"""HTTP to a pod's port through httpx, on every backend and event loop."""

from __future__ import annotations

import asyncio
import importlib.util
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest
import trustme
from httpx_ws import AsyncWebSocketSession, aconnect_ws

from kubex_stream import NotFound, PortForwardError
from kubex_stream.testing import Behaviour, EmbeddedCluster
from kubex_stream.testing.conformance.raw import Peer, RawServer, frame, response
from kubex_stream_httpx import PortForwardTransport
from tests.backends.forwarded import (
    COUNTING,
    CUT,
    ECHO,
    MIB,
    ONCE,
    OPEN_ENDED,
    PATIENCE,
    REFUSED,
    RESET,
    SILENT,
    Counter,
    connected,
    ended,
    forwarder,
    pod,
    web_cluster,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def counter() -> Counter:
    return Counter()


@pytest.fixture(scope="module")
def web(counter: Counter) -> Generator[EmbeddedCluster, None, None]:
    with web_cluster(counter) as cluster:
        yield cluster


@asynccontextmanager
async def browser(
    cluster: EmbeddedCluster,
    backend: str,
    target: str = "web",
    given: dict[str, Any] | None = None,
    **options: Any,
) -> AsyncGenerator[httpx.AsyncClient, None]:
    async with (
        forwarder(cluster, backend, target, **options) as opened,
        httpx.AsyncClient(transport=PortForwardTransport(opened, **given or {}), timeout=PATIENCE) as http,
    ):
        yield http


@pytest.mark.parametrize("protocol", ["tunnel", "legacy"])
async def test_the_target_is_the_forwarders_and_the_port_the_urls(
    web: EmbeddedCluster, backend: str, protocol: str
) -> None:
    async with browser(web, backend, "svc/web", protocol=protocol) as http:
        answer = await http.get("http://any.name.at.all/")
        assert (answer.status_code, answer.text) == (200, "web\n")


async def test_connections_are_used_again_and_hosts_are_kept_apart(
    web: EmbeddedCluster, backend: str, counter: Counter
) -> None:
    before = counter.connections
    async with browser(web, backend) as http:
        texts = [(await http.get(f"http://{host}:{COUNTING}/")).text for host in ("a", "a", "b", "a")]
    one, two = before + 1, before + 2
    assert texts == [f"{one} a:{COUNTING}", f"{one} a:{COUNTING}", f"{two} b:{COUNTING}", f"{one} a:{COUNTING}"]


async def test_bodies_are_streamed_both_ways(web: EmbeddedCluster, backend: str) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(64):
            yield bytes([number]) * 65536

    async with browser(web, backend) as http:
        async with http.stream("POST", "http://web/echo", content=pieces()) as answer:
            got = b"".join([piece async for piece in answer.aiter_bytes()])
        assert got == b"".join([piece async for piece in pieces()])
        async with http.stream("GET", f"http://web/bytes/{8 * MIB}") as answer:
            assert sum([len(piece) async for piece in answer.aiter_raw()]) == 8 * MIB


async def test_many_at_once(web: EmbeddedCluster, backend: str) -> None:
    sizes = []

    async def one(http: httpx.AsyncClient, number: int) -> None:
        sizes.append(len((await http.get(f"http://web/bytes/{number * 1000}")).content))

    limits = httpx.Limits(max_connections=5)
    async with browser(web, backend, given={"limits": limits}) as http, anyio.create_task_group() as tasks:
        for number in range(30):
            tasks.start_soon(one, http, number)
    assert sorted(sizes) == [number * 1000 for number in range(30)]


# Endings --------------------------------------------------------------------------------------------------------------


async def test_a_body_without_a_length_ends_with_its_connection(web: EmbeddedCluster, backend: str) -> None:
    async with browser(web, backend) as http:
        assert (await http.get(f"http://web:{OPEN_ENDED}/")).content == bytes(100_000)


async def test_a_body_without_a_length_that_is_cut_is_no_whole_one(web: EmbeddedCluster, backend: str) -> None:
    got = 0

    async def fetch(http: httpx.AsyncClient) -> None:
        nonlocal got
        async with http.stream("GET", f"http://web:{CUT}/") as answer:
            async for piece in answer.aiter_raw():
                got += len(piece)
                if got == 100_000:
                    await answer.extensions["network_stream"].write(b"now")

    async with browser(web, backend) as http:
        with pytest.raises(httpx.ReadError, match="reset") as caught:
            await fetch(http)
    assert got == 100_000
    assert isinstance(caught.value.__cause__, PortForwardError)
    assert caught.value.__cause__.kind == "reset"


async def test_a_connection_that_ended_while_it_rested_is_replaced(web: EmbeddedCluster, backend: str) -> None:
    async with browser(web, backend, share=True) as http:
        for _ in range(3):
            answer = await http.post(f"http://web:{ONCE}/", content=b"never repeated")
            assert answer.text == "once"
            await ended(web)
            # Through the same tunnel, so what it said before has arrived as well.
            assert (await http.get("http://web/", headers={"Connection": "close"})).text == "web\n"


async def _twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers one request, and ends at the next one."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")


async def test_a_connection_that_ends_instead_of_an_answer(backend: str) -> None:
    """As behind containerd, where an end comes a second late."""
    with web_cluster(twice=_twice) as cluster:
        async with browser(cluster, backend) as http:
            for _ in range(3):
                assert (await http.get("http://web:1000/")).status_code == 200
            with pytest.raises(httpx.RemoteProtocolError, match="had been idle"):
                await http.post("http://web:1000/")


async def test_a_reset_before_an_answer(web: EmbeddedCluster, backend: str) -> None:
    async with browser(web, backend) as http:
        with pytest.raises(httpx.ReadError) as caught:
            await http.post(f"http://web:{RESET}/")
    assert isinstance(caught.value.__cause__, PortForwardError)


async def test_a_refused_dial_is_a_failure_to_connect(web: EmbeddedCluster, backend: str) -> None:
    async with browser(web, backend) as http:
        for method in ("GET", "POST"):
            with pytest.raises(httpx.ConnectError, match=f"nothing in the pod listens on port {REFUSED}") as caught:
                await http.request(method, f"http://web:{REFUSED}/", content=bytes(300_000))
            assert isinstance(caught.value.__cause__, PortForwardError)
            assert caught.value.__cause__.kind == "refused"
        assert (await http.get("http://web/")).text == "web\n"


async def test_a_port_that_the_service_lacks(web: EmbeddedCluster, backend: str) -> None:
    async with browser(web, backend, "svc/web") as http:
        with pytest.raises(httpx.ConnectError, match="no port 8080") as caught:
            await http.get("http://web:8080/")
    assert isinstance(caught.value.__cause__, NotFound)


async def test_a_pod_that_was_replaced(backend: str) -> None:
    with web_cluster() as cluster:
        async with browser(cluster, backend, "svc/web") as http:
            assert (await http.get("http://web/")).text == "web\n"
            await anyio.to_thread.run_sync(cluster.delete_pod, "web")
            await anyio.to_thread.run_sync(cluster.add_pod, pod("web-2", Counter()))
            assert (await http.get("http://web/")).text == "web-2\n"


# Limits ---------------------------------------------------------------------------------------------------------------


async def test_timeouts(web: EmbeddedCluster, backend: str) -> None:
    async with browser(web, backend, given={"limits": httpx.Limits(max_connections=1)}) as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.get(f"http://web:{SILENT}/", timeout=httpx.Timeout(PATIENCE, read=0.05))
        async with http.stream("GET", f"http://web/bytes/{8 * MIB}"):
            with pytest.raises(httpx.PoolTimeout):
                await http.get("http://web/", timeout=httpx.Timeout(PATIENCE, pool=0.05))
        with pytest.raises(httpx.WriteTimeout):
            await http.post(f"http://web:{SILENT}/", content=bytes(64 * MIB), timeout=httpx.Timeout(None, write=0.2))
        assert (await http.get("http://web/")).text == "web\n"


async def test_a_server_that_answers_no_new_connection(backend: str) -> None:
    with web_cluster() as cluster:
        cluster.behaviour = Behaviour(no_reply=True)
        async with browser(cluster, backend) as http:
            with pytest.raises(httpx.ConnectTimeout):
                await http.get("http://web/", timeout=httpx.Timeout(PATIENCE, connect=0.1))


@pytest.mark.parametrize("port", [SILENT, ECHO, OPEN_ENDED])
async def test_cancelling_leaves_nothing(web: EmbeddedCluster, backend: str, port: int) -> None:
    """While the head is waited for, and while a body is sent or received."""

    async def endless() -> AsyncGenerator[bytes, None]:
        while True:
            yield bytes(65536)

    async with browser(web, backend, given={"limits": httpx.Limits(max_connections=1)}) as http:
        for _ in range(3):
            async with anyio.create_task_group() as tasks:

                async def request() -> None:
                    async with aclosing(endless()) as body:
                        content = body if port == ECHO else None
                        async with http.stream("POST", f"http://web:{port}/", content=content):
                            await anyio.sleep_forever()

                tasks.start_soon(request)
                await connected(web)
                tasks.cancel_scope.cancel()
            await ended(web)
        assert (await http.get("http://web/")).text == "web\n"


# httpx and httpcore leave generators of their own, and trio minds.
@pytest.mark.filterwarnings("ignore:Async generator 'http(x|core):ResourceWarning")
async def test_a_body_that_is_left_in_the_middle(web: EmbeddedCluster, backend: str) -> None:
    async with browser(web, backend, given={"limits": httpx.Limits(max_connections=1)}) as http:
        for _ in range(2):
            async with http.stream("GET", f"http://web/bytes/{8 * MIB}") as answer:
                parts = answer.aiter_raw()
                assert await anext(parts)
                await parts.aclose()  # type: ignore[attr-defined]  # it is a generator
            await ended(web)


# Above HTTP/1.1 -------------------------------------------------------------------------------------------------------


def _hello(peer: Peer) -> None:
    while peer.has_request():
        peer.head()
        peer.send(response("200 OK", b"safe"))


async def test_https(backend: str, authority: trustme.CA, client_tls: ssl.SSLContext) -> None:
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("pod.test").configure_cert(server_tls)
    with RawServer(_hello, context=server_tls) as server, web_cluster(safe=server.port) as cluster:
        async with browser(cluster, backend, given={"verify": client_tls}) as http:
            for _ in range(2):
                assert (await http.get("https://pod.test:1000/")).text == "safe"
            with pytest.raises(httpx.ConnectError, match=r"certificate verify failed.*other\.test"):
                await http.get("https://other.test:1000/")
            with pytest.raises(httpx.ConnectError, match="SSL"):
                await http.get(f"https://pod.test:{ECHO}/")
            with pytest.raises(httpx.ConnectError, match="nothing in the pod listens") as caught:
                await http.get(f"https://pod.test:{REFUSED}/")
            assert isinstance(caught.value.__cause__, PortForwardError)
            with pytest.raises(httpx.ConnectError) as ended_at_once:
                await http.get(f"https://pod.test:{RESET}/")
            assert isinstance(ended_at_once.value.__cause__, PortForwardError)


async def test_websockets(backend: str) -> None:
    def handle(peer: Peer) -> None:
        peer.accept(None)
        peer.send(frame(peer.frame().payload[::-1]))
        peer.send(frame(peer.frame().payload, 8))

    with RawServer(handle) as server, web_cluster(ws=server.port) as cluster:
        async with browser(cluster, backend) as http:
            websocket: AsyncWebSocketSession
            async with aconnect_ws("http://web:1000/", http) as websocket:
                await websocket.send_bytes(b"abc")
                assert await websocket.receive_bytes(PATIENCE) == b"cba"


@pytest.mark.skipif(importlib.util.find_spec("h2") is not None, reason="h2 is installed")
async def test_http2_needs_its_package(web: EmbeddedCluster, backend: str) -> None:
    async with forwarder(web, backend) as opened:
        with pytest.raises(ImportError, match=r"httpx\[http2\]"):
            PortForwardTransport(opened, http2=True)


def test_a_forwarder_is_wanted() -> None:
    with pytest.raises(TypeError, match=r"pods\.portforward\.forwarder"):
        PortForwardTransport("svc/web")  # type: ignore[arg-type]
