"""HTTP and WebSockets to a pod's port through aiohttp, on asyncio and uvloop, over both backends."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anyio.to_thread
import pytest
import trustme

from kubex_stream import NotFound, PortForwardError
from kubex_stream.testing import Behaviour, EmbeddedCluster
from kubex_stream.testing.conformance.raw import Peer, RawServer, close_frame, frame, response
from kubex_stream_aiohttp import PortForwardConnector
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
    asyncio_pairs,
    connected,
    ended,
    forwarder,
    pod,
    web_cluster,
)
from tests.conftest import LOOPS

pytestmark = pytest.mark.anyio


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    asyncio_pairs(metafunc)


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """aiohttp is asyncio's."""
    return LOOPS[request.param]


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


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
) -> AsyncGenerator[aiohttp.ClientSession, None]:
    async with (
        forwarder(cluster, backend, target, **options) as opened,
        aiohttp.ClientSession(
            connector=PortForwardConnector(opened, **given or {}), timeout=aiohttp.ClientTimeout(total=PATIENCE)
        ) as http,
    ):
        yield http


async def text(http: aiohttp.ClientSession, url: str, method: str = "GET", **given: Any) -> str:
    async with http.request(method, url, **given) as answer:
        assert answer.status == 200
        return await answer.text()


@pytest.mark.parametrize("protocol", ["tunnel", "legacy"])
async def test_the_target_is_the_forwarders_and_the_port_the_urls(
    web: EmbeddedCluster, backend: str, protocol: str
) -> None:
    async with browser(web, backend, "svc/web", protocol=protocol) as http:
        assert await text(http, "http://any.name.at.all/") == "web\n"


async def test_connections_are_used_again_and_hosts_are_kept_apart(
    web: EmbeddedCluster, backend: str, counter: Counter
) -> None:
    one, two = counter.connections + 1, counter.connections + 2
    async with browser(web, backend) as http:
        texts = [await text(http, f"http://{host}:{COUNTING}/") for host in ("a", "a", "b", "a")]
    assert texts == [f"{one} a:{COUNTING}", f"{one} a:{COUNTING}", f"{two} b:{COUNTING}", f"{one} a:{COUNTING}"]


async def test_bodies_are_streamed_both_ways(web: EmbeddedCluster, backend: str) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(64):
            yield bytes([number]) * 65536

    async with browser(web, backend) as http:
        async with http.post("http://web/echo", data=pieces()) as answer:
            got = await answer.read()
        assert got == b"".join([piece async for piece in pieces()])
        async with http.get(f"http://web/bytes/{8 * MIB}") as answer:
            assert sum([len(piece) async for piece in answer.content.iter_any()]) == 8 * MIB


async def test_many_at_once(web: EmbeddedCluster, backend: str) -> None:
    async with browser(web, backend, given={"limit": 5}) as http:
        answers = await asyncio.gather(*(text(http, f"http://web/bytes/{number * 1000}") for number in range(30)))
    assert [len(answer) for answer in answers] == [number * 1000 for number in range(30)]


# Endings --------------------------------------------------------------------------------------------------------------


async def test_a_body_without_a_length_ends_with_its_connection(web: EmbeddedCluster, backend: str) -> None:
    async with browser(web, backend) as http, http.get(f"http://web:{OPEN_ENDED}/") as answer:
        assert await answer.read() == bytes(100_000)


@pytest.mark.parametrize("waiting", [True, False])
async def test_a_body_without_a_length_that_is_cut_is_no_whole_one(
    web: EmbeddedCluster, backend: str, waiting: bool
) -> None:
    """Whether somebody waits for more of it or comes later."""

    async with browser(web, backend) as http, http.get(f"http://web:{CUT}/") as answer:
        assert await answer.content.readexactly(100_000) == bytes(100_000)
        connection = answer.connection
        assert connection is not None
        assert connection.transport is not None
        connection.transport.write(b"now")
        if not waiting:
            await ended(web)
        with pytest.raises(aiohttp.ClientPayloadError, match="reset") as caught:
            await answer.read()
    assert isinstance(caught.value.__cause__, PortForwardError)
    assert caught.value.__cause__.kind == "reset"


async def test_a_connection_that_ended_while_it_rested_is_replaced(web: EmbeddedCluster, backend: str) -> None:
    async with browser(web, backend, share=True) as http:
        for _ in range(3):
            assert await text(http, f"http://web:{ONCE}/", "POST", data=b"never repeated") == "once"
            await ended(web)
            # Through the same tunnel, so what it said before has arrived as well.
            assert await text(http, "http://web/", headers={"Connection": "close"}) == "web\n"


async def test_a_reset_before_an_answer(web: EmbeddedCluster, backend: str) -> None:
    async with browser(web, backend) as http:
        with pytest.raises(aiohttp.ClientOSError) as caught:
            await text(http, f"http://web:{RESET}/", "POST")
    assert isinstance(caught.value.__cause__, PortForwardError)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_refused_dial_is_a_failure_to_connect(web: EmbeddedCluster, backend: str, method: str) -> None:
    async with browser(web, backend) as http:
        with pytest.raises(
            aiohttp.ClientConnectorError, match=f"nothing in the pod listens on port {REFUSED}"
        ) as caught:
            await text(http, f"http://web:{REFUSED}/", method, data=bytes(300_000))
        assert isinstance(caught.value.__cause__, PortForwardError)
        assert caught.value.__cause__.kind == "refused"
        assert await text(http, "http://web/") == "web\n"


async def test_a_port_that_the_service_lacks(web: EmbeddedCluster, backend: str) -> None:
    async with browser(web, backend, "svc/web") as http:
        with pytest.raises(aiohttp.ClientConnectorError, match="no port 8080") as caught:
            await text(http, "http://web:8080/")
    assert isinstance(caught.value.__cause__, NotFound)


async def test_a_pod_that_was_replaced(backend: str) -> None:
    with web_cluster() as cluster:
        async with browser(cluster, backend, "svc/web") as http:
            assert await text(http, "http://web/") == "web\n"
            await anyio.to_thread.run_sync(cluster.delete_pod, "web")
            await anyio.to_thread.run_sync(cluster.add_pod, pod("web-2", Counter()))
            assert await text(http, "http://web/") == "web-2\n"


# Limits ---------------------------------------------------------------------------------------------------------------


async def test_timeouts(backend: str) -> None:
    with web_cluster() as cluster:
        async with browser(cluster, backend) as http:
            with pytest.raises(aiohttp.SocketTimeoutError):
                await text(http, f"http://web:{SILENT}/", timeout=aiohttp.ClientTimeout(sock_read=0.05))
            cluster.behaviour = Behaviour(no_reply=True)
        async with browser(cluster, backend) as http:
            with pytest.raises(aiohttp.ConnectionTimeoutError):
                await text(http, "http://web/", timeout=aiohttp.ClientTimeout(sock_connect=0.1))


async def test_cancelling_leaves_nothing(web: EmbeddedCluster, backend: str) -> None:
    async with browser(web, backend, given={"limit": 1}) as http:
        for url in (f"http://web:{SILENT}/", f"http://web/bytes/{64 * MIB}"):

            async def request(url: str = url) -> None:
                async with http.get(url):
                    await asyncio.get_running_loop().create_future()

            task = asyncio.create_task(request())
            await connected(web)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await ended(web)
        assert await text(http, "http://web/") == "web\n"


# Above HTTP -----------------------------------------------------------------------------------------------------------


def _hello(peer: Peer) -> None:
    while peer.has_request():
        peer.head()
        peer.send(response("200 OK", b"safe"))


async def test_https(backend: str, authority: trustme.CA, client_tls: ssl.SSLContext) -> None:
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued = authority.issue_cert("pod.test")
    issued.configure_cert(server_tls)
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())).digest()
    with RawServer(_hello, context=server_tls) as server, web_cluster(safe=server.port) as cluster:
        async with browser(cluster, backend, given={"ssl": client_tls}) as http:
            for _ in range(2):
                assert await text(http, "https://pod.test:1000/") == "safe"
            assert await text(http, "https://any.test:1000/", server_hostname="pod.test") == "safe"
            assert await text(http, "https://any.test:1000/", ssl=False) == "safe"
            assert await text(http, "https://any.test:1000/", ssl=aiohttp.Fingerprint(digest)) == "safe"
            with pytest.raises(aiohttp.ServerFingerprintMismatch):
                await text(http, "https://any.test:1000/", ssl=aiohttp.Fingerprint(bytes(32)))
            with pytest.raises(aiohttp.ClientConnectorCertificateError, match=r"other\.test"):
                await text(http, "https://other.test:1000/")
            with pytest.raises(aiohttp.ClientConnectorSSLError):
                await text(http, f"https://pod.test:{ECHO}/")
            for port in (REFUSED, RESET):
                with pytest.raises(aiohttp.ClientConnectorError, match=r"in the pod|by the pod") as caught:
                    await text(http, f"https://pod.test:{port}/")
                assert isinstance(caught.value.__cause__, PortForwardError)
        async with browser(cluster, backend) as http:
            with pytest.raises(
                aiohttp.ClientConnectorCertificateError, match=r"self.signed|unable to get local issuer"
            ):
                await text(http, "https://pod.test:1000/")


async def test_websockets(backend: str) -> None:
    def handle(peer: Peer) -> None:
        peer.accept(None)
        peer.send(frame(peer.frame().payload[::-1]))
        if peer.frame().opcode == 8:
            peer.send(close_frame(1000))
        else:
            peer.reset()

    with RawServer(handle) as server, web_cluster(ws=server.port) as cluster:
        async with browser(cluster, backend) as http:
            async with http.ws_connect("ws://web:1000/") as websocket:
                await websocket.send_bytes(b"abc")
                assert await websocket.receive_bytes() == b"cba"
            assert websocket.close_code == 1000
            async with http.ws_connect("ws://web:1000/") as websocket:
                await websocket.send_bytes(b"abc")
                assert await websocket.receive_bytes() == b"cba"
                await websocket.send_bytes(b"reset, please")
                message = await websocket.receive()
                assert message.type is aiohttp.WSMsgType.ERROR
                assert isinstance(message.data, PortForwardError)
                assert message.data.kind == "reset"
                assert websocket.close_code == 1006


# Wrong use ------------------------------------------------------------------------------------------------------------


async def test_a_proxy_is_of_no_use(web: EmbeddedCluster, backend: str) -> None:
    async with browser(web, backend) as http:
        with pytest.raises(ValueError, match="proxy"):
            await text(http, "http://web/", proxy="http://proxy.test")


async def test_a_forwarder_is_wanted() -> None:
    with pytest.raises(TypeError, match=r"pods\.portforward\.forwarder"):
        PortForwardConnector("svc/web")  # type: ignore[arg-type]
