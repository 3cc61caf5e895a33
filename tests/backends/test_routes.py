"""Ways to the server: TLS, proxies, and the errors of each."""

from __future__ import annotations

import socket
import ssl
import threading
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, suppress

import anyio
import anyio.to_thread
import pytest
import trustme

from kubex_stream.client import BaseClient, PreparedRequest, Response, StreamedResponse, WebSocketConnection
from kubex_stream.core.params import Timeout
from kubex_stream.errors import ConnectionFailed, ConnectionLost, KubexClientException, StreamTimeout
from tests.backends.conftest import OpenClient, Prepare
from tests.backends.raw import Head, Peer, RawServer, frame, proxy_handler, response

pytestmark = pytest.mark.anyio

OFFER = ["v4.channel.k8s.io"]
#: Never to be told.
QUERY = "?command=swordfish"
USER = "user:opensesame@"

Send = Callable[[BaseClient, PreparedRequest], Awaitable[None]]


async def plain(client: BaseClient, request: PreparedRequest) -> None:
    assert (await client.send_request(request)).content == b"body"


async def stream(client: BaseClient, request: PreparedRequest) -> None:
    answer = await client.open_stream(request)
    assert isinstance(answer, StreamedResponse)
    assert b"".join([piece async for piece in answer]) == b"body"
    await answer.aclose()


async def websocket(client: BaseClient, request: PreparedRequest) -> None:
    connection = await client.open_websocket(request, OFFER)
    assert isinstance(connection, WebSocketConnection), connection
    await connection.send_bytes(b"there")
    assert await connection.receive_bytes() == b"and back"
    await connection.close()


def serve(peer: Peer) -> None:
    """A server for all three."""
    while peer.has_request():
        head = peer.head()
        if not head.all("Upgrade"):
            peer.send(response("200 OK", b"body"))
            continue
        peer.send(peer.switching(head))
        assert peer.frame().payload == b"there"
        peer.send(frame(b"and back"))
        peer.send(frame(peer.frame().payload, 8))


@pytest.fixture(params=[plain, stream, websocket])
def send(request: pytest.FixtureRequest) -> Send:
    """The three kinds of requests."""
    kind: Send = request.param
    return kind


def told(error: BaseException) -> str:
    """All that a log would show of an error, its causes included."""
    text = "".join(traceback.format_exception(error))
    assert "swordfish" not in text
    assert "opensesame" not in text
    return text


# TLS ------------------------------------------------------------------------------------------------------------------


async def test_tls(
    client_for: OpenClient, prepare: Prepare, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, send: Send
) -> None:
    with RawServer(serve, context=server_tls) as server:
        async with client_for() as client:
            await send(client, prepare(server.url + "/", ssl_context=client_tls))


async def test_the_name_of_the_server(
    client_for: OpenClient, prepare: Prepare, authority: trustme.CA, client_tls: ssl.SSLContext, send: Send
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("only.test").configure_cert(context)
    names: list[str | None] = []
    context.sni_callback = lambda _sock, name, _context: names.append(name)
    with RawServer(serve, context=context) as server:
        async with client_for() as client:
            await send(client, prepare(server.url, ssl_context=client_tls, server_hostname="only.test"))
            with pytest.raises(ConnectionFailed, match=r"certificate verify failed: .*127\.0\.0\.1"):
                await send(client, prepare(server.url, ssl_context=client_tls))
    assert names[0] == "only.test"


async def test_only_http_1_is_offered(
    client_for: OpenClient, prepare: Prepare, authority: trustme.CA, client_tls: ssl.SSLContext, send: Send
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    client_tls.set_alpn_protocols(["h2", "http/1.1"])
    chosen: list[str | None] = []

    def handle(peer: Peer) -> None:
        assert isinstance(peer.sock, ssl.SSLSocket)
        chosen.append(peer.sock.selected_alpn_protocol())
        serve(peer)

    with RawServer(handle, context=context) as server:
        async with client_for() as client:
            await send(client, prepare(server.url, ssl_context=client_tls))
    assert chosen == ["http/1.1"]


async def test_an_unknown_authority(
    client_for: OpenClient, prepare: Prepare, server_tls: ssl.SSLContext, send: Send
) -> None:
    with RawServer(serve, context=server_tls) as server:
        async with client_for() as client:
            with pytest.raises(ConnectionFailed, match=r"certificate verify failed.*certificate-authority") as caught:
                await send(client, prepare(server.url + "/x" + QUERY, ssl_context=ssl.create_default_context()))
    told(caught.value)


async def test_another_context_is_another_connection(
    client_for: OpenClient, prepare: Prepare, authority: trustme.CA, server_tls: ssl.SSLContext
) -> None:
    with RawServer(serve, context=server_tls) as server:
        async with client_for() as client:
            for expected in (1, 2):
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                authority.configure_trust(context)
                for _ in range(3):
                    await plain(client, prepare(server.url, ssl_context=context))
                assert server.connections == expected


async def test_a_client_certificate(
    client_for: OpenClient, prepare: Prepare, authority: trustme.CA, client_tls: ssl.SSLContext, send: Send
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED

    def handle(peer: Peer) -> None:
        with suppress(OSError):
            serve(peer)

    with RawServer(handle, context=context) as server:
        async with client_for() as client:
            # TLS 1.3 tells it after the handshake, so it may look like a connection that broke.
            with pytest.raises((ConnectionFailed, ConnectionLost)):
                await send(client, prepare(server.url, ssl_context=client_tls))
            authority.issue_cert("somebody").configure_cert(client_tls)
        async with client_for() as client:
            await send(client, prepare(server.url, ssl_context=client_tls))


async def test_tls_with_a_server_that_has_none(
    client_for: OpenClient, prepare: Prepare, client_tls: ssl.SSLContext, send: Send
) -> None:
    def handle(peer: Peer) -> None:
        peer.read(1)
        peer.send(b"HTTP/1.0 400 Bad Request\r\n\r\n")
        peer.finish()
        peer.rest()

    with RawServer(handle) as server:
        async with client_for() as client:
            with pytest.raises(ConnectionFailed, match="TLS"):
                await send(client, prepare(server.url.replace("http:", "https:"), ssl_context=client_tls))


@pytest.mark.parametrize("how", ["read", "left", "refused", "cancelled", "keep-alive-off"])
async def test_tls_does_not_linger(
    client_for: OpenClient, prepare: Prepare, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, how: str
) -> None:
    """TCP ends at once, also when the server does not answer the goodbye of TLS."""
    ended = threading.Event()

    def handle(peer: Peer) -> None:
        peer.head()
        peer.send(response("200 OK", b"body") if how != "cancelled" else response("200 OK", b"body")[:-1])
        peer.wait_for_tcp_end()
        ended.set()

    with RawServer(handle, context=server_tls) as server:
        async with client_for(keep_alive=how != "keep-alive-off") as client:
            request = prepare(server.url, ssl_context=client_tls)
            if how in ("read", "left"):
                answer = await client.open_stream(request)
                assert how == "left" or [piece async for piece in answer] == [b"body"]
                await answer.aclose()
            elif how == "refused":
                assert isinstance(await client.open_websocket(request, OFFER), Response)
            else:
                with anyio.move_on_after(0.2 if how == "cancelled" else 20):
                    await client.send_request(request)
            with anyio.fail_after(15):
                await anyio.to_thread.run_sync(ended.wait, 14)
            assert ended.is_set()


# No connection --------------------------------------------------------------------------------------------------------


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody listens on, and that nobody else gets meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


async def test_refused(client_for: OpenClient, prepare: Prepare, closed_port: int, send: Send) -> None:
    async with client_for() as client:
        with pytest.raises(ConnectionFailed, match=f"127.0.0.1:{closed_port}") as caught:
            await send(client, prepare(f"http://127.0.0.1:{closed_port}/x{QUERY}"))
    assert isinstance(caught.value, ConnectionError)
    told(caught.value)


async def test_an_unknown_name(client_for: OpenClient, prepare: Prepare, send: Send) -> None:
    async with client_for() as client:
        with pytest.raises(ConnectionFailed, match=r"nowhere\.invalid"):
            await send(client, prepare("http://nowhere.invalid/x" + QUERY))


async def test_a_connection_that_takes_too_long(
    client_for: OpenClient, prepare: Prepare, client_tls: ssl.SSLContext, send: Send
) -> None:
    def handle(peer: Peer) -> None:
        peer.rest()

    with RawServer(handle) as server:
        async with client_for() as client:
            request = prepare(
                server.url.replace("http:", "https:") + "/x" + QUERY,
                ssl_context=client_tls,
                timeout=Timeout(connect=0.2),
            )
            with anyio.fail_after(10), pytest.raises(StreamTimeout) as caught:
                await send(client, request)
    told(caught.value)


# Proxies --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("proxy_has_tls", [False, True], ids=["http-proxy", "https-proxy"])
@pytest.mark.parametrize("server_has_tls", [False, True], ids=["http-server", "https-server"])
async def test_a_proxy(
    client_for: OpenClient,
    prepare: Prepare,
    server_tls: ssl.SSLContext,
    client_tls: ssl.SSLContext,
    send: Send,
    proxy_has_tls: bool,
    server_has_tls: bool,
) -> None:
    if proxy_has_tls and not server_has_tls:
        pytest.skip("an API server without TLS behind a proxy with TLS is nobody's")
    heads: list[Head] = []
    with ExitStack() as stack:
        server = stack.enter_context(RawServer(serve, context=server_tls if server_has_tls else None))
        proxy = stack.enter_context(RawServer(proxy_handler(heads), context=server_tls if proxy_has_tls else None))
        url = proxy.url.replace("://", "://us%40er:p%3Ass%2F@")
        async with client_for() as client:
            context = client_tls if server_has_tls else None
            await send(client, prepare(f"{server.url}/a%2Fb?c=d+e", ssl_context=context, proxy=url))
    (head,) = heads
    if server_has_tls:
        assert (head.method, head.target) == ("CONNECT", server.netloc)
        assert head.all("Authorization") == []
    # us@er:p:ss/
    assert head.one("Proxy-Authorization") == "Basic dXNAZXI6cDpzcy8="


async def test_a_proxy_without_a_password(
    client_for: OpenClient, prepare: Prepare, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, send: Send
) -> None:
    heads: list[Head] = []
    with RawServer(serve, context=server_tls) as server, RawServer(proxy_handler(heads)) as proxy:
        async with client_for() as client:
            headers = [("Authorization", "Bearer secret")]
            await send(client, prepare(server.url, headers=headers, ssl_context=client_tls, proxy=proxy.url))
    assert heads[0].all("Proxy-Authorization") == []
    assert heads[0].all("Authorization") == []


@pytest.mark.parametrize("status", ["403 Forbidden", "407 Proxy Authentication Required", "502 Bad Gateway"])
async def test_a_proxy_that_refuses(
    client_for: OpenClient, prepare: Prepare, client_tls: ssl.SSLContext, send: Send, status: str
) -> None:
    heads: list[Head] = []
    with RawServer(proxy_handler(heads, response(status, b"no", "Connection: close"))) as proxy:
        async with client_for() as client:
            url = proxy.url.replace("://", f"://{USER}")
            with pytest.raises(ConnectionFailed) as caught:
                await send(client, prepare("https://cluster.test/x" + QUERY, ssl_context=client_tls, proxy=url))
    assert proxy.netloc in str(caught.value)
    assert status[:3] in str(caught.value)
    told(caught.value)
    assert [head.target for head in heads] == ["cluster.test:443"]


async def test_a_proxy_that_is_not_there(
    client_for: OpenClient, prepare: Prepare, client_tls: ssl.SSLContext, closed_port: int, send: Send
) -> None:
    async with client_for() as client:
        request = prepare(
            "https://cluster.test/", ssl_context=client_tls, proxy=f"http://{USER}127.0.0.1:{closed_port}"
        )
        with pytest.raises(ConnectionFailed, match=f"proxy.*127.0.0.1:{closed_port}") as caught:
            await send(client, request)
    told(caught.value)


async def test_a_proxy_that_hangs_up(
    client_for: OpenClient, prepare: Prepare, client_tls: ssl.SSLContext, send: Send
) -> None:
    def handle(peer: Peer) -> None:
        peer.head()

    with RawServer(handle) as proxy:
        async with client_for() as client:
            with pytest.raises(KubexClientException) as caught:
                await send(client, prepare("https://cluster.test/x" + QUERY, ssl_context=client_tls, proxy=proxy.url))
    assert isinstance(caught.value, ConnectionFailed | ConnectionLost)
    told(caught.value)


async def test_tls_behind_a_proxy_is_verified(
    client_for: OpenClient, prepare: Prepare, server_tls: ssl.SSLContext, send: Send
) -> None:
    heads: list[Head] = []
    with RawServer(serve, context=server_tls) as server, RawServer(proxy_handler(heads)) as proxy:
        async with client_for() as client:
            with pytest.raises(ConnectionFailed, match="certificate verify failed"):
                await send(client, prepare(server.url, ssl_context=ssl.create_default_context(), proxy=proxy.url))


async def test_the_environment_is_not_read(
    client_for: OpenClient, prepare: Prepare, closed_port: int, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The base class has done it, and has decided for none."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port}")
    with RawServer(serve) as server:
        async with client_for() as client:
            await send(client, prepare(server.url))


async def test_a_refused_handshake_behind_a_proxy(
    client_for: OpenClient, prepare: Prepare, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    def handle(peer: Peer) -> None:
        peer.head()
        peer.send(response("403 Forbidden", b"no"))
        peer.rest()

    with RawServer(handle, context=server_tls) as server, RawServer(proxy_handler([])) as proxy:
        async with client_for() as client:
            answer = await client.open_websocket(prepare(server.url, ssl_context=client_tls, proxy=proxy.url), OFFER)
    assert isinstance(answer, Response)
    assert (answer.status_code, answer.content) == (403, b"no")
