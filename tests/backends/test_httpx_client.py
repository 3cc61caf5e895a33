"""What only the httpx backend has: its options, an application's own ``httpx.AsyncClient``, its pools, resumable streams."""

from __future__ import annotations

import ssl
import threading
import warnings
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest

from kubex_stream.client import ClientOptions, PreparedRequest, Response
from kubex_stream.configuration import ClientConfiguration
from kubex_stream.core.params import Timeout
from kubex_stream.errors import ConfigurationError, ConnectionFailed, StreamTimeout
from kubex_stream.testing.conformance.raw import CLOSE, Head, Peer, RawServer, frame, proxy_handler, response
from kubex_stream_httpx import HttpxClient, HttpxWebSocketConnection
from kubex_stream_httpx.settings import limits, timeouts
from tests.backends.conftest import Prepare

pytestmark = pytest.mark.anyio

OFFER = ["v4.channel.k8s.io"]


@asynccontextmanager
async def client_of(*, session: httpx.AsyncClient | None = None, **options: Any) -> AsyncGenerator[HttpxClient, None]:
    configuration = ClientConfiguration(url="http://127.0.0.1:1")
    async with HttpxClient(configuration, ClientOptions(**options), session=session) as client:
        yield client


def serve(peer: Peer) -> None:
    """Answers a request, echoes a WebSocket's first frame."""
    while peer.has_request():
        head = peer.head()
        if not head.all("Upgrade"):
            peer.send(response("200 OK", b"plain", "Set-Cookie: a=b"))
            continue
        peer.send(peer.switching(head))
        peer.send(frame(peer.frame().payload))
        peer.send(frame(peer.frame().payload, CLOSE))
        peer.rest()
        return


async def use_all(client: HttpxClient, request: PreparedRequest) -> None:
    """A plain request, a stream and a WebSocket."""
    assert (await client.send_request(request)).content == b"plain"
    stream = await client.open_stream(request)
    assert b"".join([piece async for piece in stream]) == b"plain"
    await stream.aclose()
    websocket = await client.open_websocket(request, OFFER)
    assert isinstance(websocket, HttpxWebSocketConnection)
    await websocket.send_bytes(b"echo")
    assert await websocket.receive_bytes() == b"echo"
    await websocket.close()


# Options --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["buffer_size", "pool_size_per_host"])
@pytest.mark.parametrize("value", [1000, None])
def test_options_that_httpx_does_not_have(name: str, value: Any) -> None:
    with pytest.warns(UserWarning, match=name):
        HttpxClient(None, ClientOptions(**{name: value}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("proxy", "http://user:secret@proxy.test"),
        ("keep_alive", False),
        ("keep_alive_timeout", 3.0),
        ("pool_size", 3),
        ("ssl_context", ssl.create_default_context()),
    ],
)
async def test_options_that_an_own_client_decides(name: str, value: Any) -> None:
    async with httpx.AsyncClient() as own:
        with pytest.warns(UserWarning, match=f"{name} is ignored") as caught:
            HttpxClient(None, ClientOptions(**{name: value}), session=own)
    assert "secret" not in str(caught[0].message)


def test_defaults_warn_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        HttpxClient()
        HttpxClient(None, ClientOptions(keep_alive_timeout=None, pool_size=None, timeout=Timeout(write=3)))


def test_limits() -> None:
    assert limits(ClientOptions()) == httpx.Limits(
        max_connections=100, max_keepalive_connections=20, keepalive_expiry=5
    )
    given = ClientOptions(pool_size=None, keep_alive=False, keep_alive_timeout=None)
    assert limits(given) == httpx.Limits(max_connections=None, max_keepalive_connections=0, keepalive_expiry=None)
    assert limits(ClientOptions(pool_size=7, keep_alive_timeout=0.5)).max_connections == 7


def test_timeouts() -> None:
    assert timeouts(...) == {"connect": 5.0, "read": 5.0, "write": 5.0, "pool": 5.0}
    assert timeouts(None) == {"connect": None, "read": None, "write": None, "pool": None}
    assert timeouts(Timeout(1, connect=2, pool=3)) == {"connect": 2.0, "read": None, "write": None, "pool": 3.0}


def test_a_session_of_another_library() -> None:
    with pytest.raises(TypeError, match=r"httpx\.AsyncClient"):
        HttpxClient(session=object())  # type: ignore[arg-type]


# An application's own client ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [False, True], ids=["ours", "own"])
async def test_a_command_that_is_too_long_for_httpx_is_told_early(prepare: Prepare, own: bool) -> None:
    async with httpx.AsyncClient() as session, client_of(session=session if own else None) as client:
        request = prepare("http://127.0.0.1:9/exec?command=" + "x" * 70_000)
        with pytest.raises(ValueError, match="70032 characters, and httpx takes 65536"):
            await client.open_websocket(request, ["v4.channel.k8s.io"])


async def test_an_own_client_carries_everything_and_stays_open(prepare: Prepare) -> None:
    with RawServer(serve) as server:
        async with httpx.AsyncClient(headers={"X-Own": "1"}) as own:
            async with client_of(session=own) as client:
                await use_all(client, prepare(server.url))
            assert not own.is_closed
            assert (await own.get(server.url)).content == b"plain"


async def test_an_own_clients_headers_go_below_those_of_the_request(prepare: Prepare) -> None:
    heads: list[Head] = []

    def handle(peer: Peer) -> None:
        heads.append(peer.head())
        peer.send(response("200 OK", b""))
        peer.rest()

    with RawServer(handle) as server:
        async with httpx.AsyncClient(headers={"X-Own": "1", "User-Agent": "own"}) as own:
            async with client_of(session=own) as client:
                await client.send_request(
                    prepare(server.url, headers=[("Impersonate-Group", "a"), ("Impersonate-Group", "b")])
                )
    (head,) = heads
    assert head.one("X-Own") == "1"
    assert head.one("User-Agent") == "test"
    assert head.all("Impersonate-Group") == ["a", "b"]


async def test_an_own_clients_tls_and_name(
    prepare: Prepare, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    with RawServer(serve, context=server_tls) as server:
        async with httpx.AsyncClient(verify=client_tls) as own, client_of(session=own) as client:
            await use_all(client, prepare(server.url, server_hostname="cluster.test"))
            with pytest.raises(ConnectionFailed, match="certificate verify failed"):
                await client.open_websocket(prepare(server.url, server_hostname="other.test"), OFFER)


async def test_redirects_are_not_followed_even_where_an_own_client_would(prepare: Prepare) -> None:
    def handle(peer: Peer) -> None:
        while peer.has_request():
            peer.head()
            peer.send(response("302 Found", b"", "Location: /elsewhere"))

    with RawServer(handle) as server:
        async with httpx.AsyncClient(follow_redirects=True) as own, client_of(session=own) as client:
            assert (await client.send_request(prepare(server.url))).status_code == 302
            answer = await client.open_websocket(prepare(server.url), OFFER)
            assert isinstance(answer, Response)
            assert answer.status_code == 302


async def test_a_transport_without_a_network(prepare: Prepare) -> None:
    """As applications use it in their own tests."""
    transport = httpx.MockTransport(lambda request: httpx.Response(200, text=f"at {request.url.path}"))
    async with httpx.AsyncClient(transport=transport) as own, client_of(session=own) as client:
        assert (await client.send_request(prepare("http://mock.test/a"))).content == b"at /a"
        stream = await client.open_stream(prepare("http://mock.test/b"))
        assert await anext(aiter(stream)) == b"at /b"
        await stream.aclose()


async def test_the_configurations_proxy_cannot_be_used_with_an_own_client() -> None:
    async with httpx.AsyncClient() as own:
        client = HttpxClient(
            ClientConfiguration(url="https://cluster.test", proxy_url="http://us:secret@proxy.test"), session=own
        )
        with pytest.warns(UserWarning, match="proxy is ignored") as caught:
            await client.open()
        await client.aclose()
    assert "secret" not in str(caught[0].message)


# Requests -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\0b"])
async def test_a_header_that_cannot_be_sent(prepare: Prepare, value: str) -> None:
    async with client_of() as client:
        for send in (client.send_request, client.open_stream, lambda request: client.open_websocket(request, OFFER)):
            with pytest.raises(ConfigurationError, match="Authorization") as caught:
                await send(prepare("http://127.0.0.1:1/", headers=[("Authorization", "secret" + value)]))
            assert "secret" not in str(caught.value)


async def test_headers_may_hold_any_letters(prepare: Prepare) -> None:
    heads: list[Head] = []

    def handle(peer: Peer) -> None:
        heads.append(peer.head())
        peer.send(response("200 OK", b""))
        peer.rest()

    with RawServer(handle) as server:
        async with client_of() as client:
            await client.send_request(prepare(server.url, headers=[("Impersonate-User", "José")]))
    assert heads[0].one("Impersonate-User").encode("latin-1").decode() == "José"


async def test_nothing_of_httpx_is_added(prepare: Prepare) -> None:
    heads: list[Head] = []

    def handle(peer: Peer) -> None:
        heads.append(peer.head())
        peer.send(response("200 OK", b""))
        peer.rest()

    with RawServer(handle) as server:
        async with client_of() as client:
            stream = await client.open_stream(prepare(server.url + "/a;b,c/'[x]|?q='|"))
            await stream.aclose()
    (head,) = heads
    assert head.target == "/a;b,c/'[x]|?q='|"
    assert [name for name, _ in head.headers] == ["Host", "Accept", "User-Agent", "Accept-Encoding"]
    assert head.one("Accept-Encoding") == "identity"


async def test_no_free_connection_in_time(prepare: Prepare) -> None:
    hold = threading.Event()

    def handle(peer: Peer) -> None:
        peer.head()
        hold.set()
        peer.rest()

    with RawServer(handle) as server:
        async with client_of(pool_size=1) as client, anyio.create_task_group() as group:
            group.start_soon(client.send_request, prepare(server.url))
            await anyio.to_thread.run_sync(hold.wait, 10)
            with pytest.raises(StreamTimeout, match="pool"):
                await client.send_request(prepare(server.url, timeout=Timeout(pool=0.1)))
            group.cancel_scope.cancel()


async def test_an_ipv6_server_behind_a_proxy(
    prepare: Prepare, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    heads: list[Head] = []
    with RawServer(serve, context=server_tls, host="::1") as server, RawServer(proxy_handler(heads)) as proxy:
        async with client_of() as client:
            await use_all(client, prepare(server.url, ssl_context=client_tls, proxy=proxy.url))
    assert {(head.method, head.target) for head in heads} == {("CONNECT", server.netloc)}


async def test_the_name_of_a_server_behind_a_proxy(
    prepare: Prepare, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """httpcore's own tunnels would verify the URL's host."""
    with RawServer(serve, context=server_tls) as server, RawServer(proxy_handler([])) as proxy:
        async with client_of() as client:
            request = prepare(server.url, ssl_context=client_tls, server_hostname="cluster.test", proxy=proxy.url)
            await use_all(client, request)
            with pytest.raises(ConnectionFailed, match="certificate verify failed"):
                await client.send_request(
                    prepare(server.url, ssl_context=client_tls, server_hostname="other.test", proxy=proxy.url)
                )


# Pools ----------------------------------------------------------------------------------------------------------------


async def test_connections_of_an_older_identity_are_closed(
    prepare: Prepare, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    ended = [threading.Event() for _ in range(2)]
    streaming = threading.Event()
    numbers = iter(range(10))

    def handle(peer: Peer) -> None:
        number = next(numbers)
        while peer.has_request():
            if peer.head().target == "/stream":
                peer.send(response("200 OK"))
                streaming.set()
            else:
                peer.send(response("200 OK", b"plain"))
        if number < 2:
            ended[number].set()

    other = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    other.check_hostname = False
    other.verify_mode = ssl.CERT_NONE
    with RawServer(handle, context=server_tls) as server:
        async with client_of() as client:
            stream = await client.open_stream(prepare(server.url + "/stream", ssl_context=client_tls))
            await client.send_request(prepare(server.url, ssl_context=client_tls))
            await client.send_request(prepare(server.url, ssl_context=other))
            # The stream still uses the older pools, so its connection lives on.
            assert not ended[0].is_set()
            await stream.aclose()
            for event in ended:
                assert await anyio.to_thread.run_sync(event.wait, 10)
            assert (await client.send_request(prepare(server.url, ssl_context=other))).content == b"plain"
    assert server.connections == 3
