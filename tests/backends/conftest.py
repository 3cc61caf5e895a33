"""What the tests of the backends share: the least of a configuration, prepared requests, certificates."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import pytest
import trustme

from kubex_stream.client import BaseClient, ClientOptions, PreparedRequest, Response, WebSocketConnection
from kubex_stream.configuration import ClientConfiguration
from tests.backends.kinds import Send, plain, stream, websocket


class Prepare(Protocol):
    """Make a request that is ready to be sent."""

    def __call__(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        timeout: Any = None,
        ssl_context: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
        proxy: str | None = None,
    ) -> PreparedRequest: ...


@pytest.fixture
def prepare() -> Prepare:
    """Requests as the base class gives them to a backend."""

    def make(
        url: str,
        *,
        method: str = "GET",
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        timeout: Any = None,
        ssl_context: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
        proxy: str | None = None,
    ) -> PreparedRequest:
        return PreparedRequest(
            method=method,
            url=url,
            headers=[("Accept", "*/*"), ("User-Agent", "test"), *headers],
            body=body,
            timeout=timeout,
            ssl_context=ssl_context,
            server_hostname=server_hostname,
            proxy=proxy,
        )

    return make


OpenClient = Callable[..., AbstractAsyncContextManager[BaseClient]]


@pytest.fixture
def client_for(make_client: Callable[..., BaseClient]) -> OpenClient:
    """An open client: ``async with client_for(url, pool_size=3) as client``."""

    @asynccontextmanager
    async def opened(
        url: str = "http://127.0.0.1:1", *, session: object = None, **options: Any
    ) -> AsyncGenerator[BaseClient, None]:
        async with make_client(ClientConfiguration(url=url), ClientOptions(**options), session=session) as client:
            yield client

    return opened


Connect = Callable[..., AbstractAsyncContextManager[WebSocketConnection]]


@pytest.fixture
def connect(client_for: OpenClient, prepare: Prepare) -> Connect:
    """An open WebSocket, which is aborted at the end: ``async with connect(server.url, close_timeout=0.1) as websocket``."""

    @asynccontextmanager
    async def opened(
        url: str, ssl_context: ssl.SSLContext | None = None, **options: Any
    ) -> AsyncGenerator[WebSocketConnection, None]:
        async with client_for(url, **options) as client:
            websocket = await client.open_websocket(
                prepare(url + "/ws", ssl_context=ssl_context), ["v4.channel.k8s.io"]
            )
            assert not isinstance(websocket, Response), websocket
            try:
                yield websocket
            finally:
                await websocket.abort()

    return opened


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Who signs the certificates of these tests."""
    return trustme.CA()


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    """For a server on loopback that is also called ``cluster.test``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "::1", "localhost", "cluster.test").configure_cert(context)
    return context


@pytest.fixture
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    """Trusts that authority and no other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context


@pytest.fixture(params=[plain, stream, websocket])
def send(request: pytest.FixtureRequest) -> Send:
    """The three kinds of requests."""
    kind: Send = request.param
    return kind


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody listens on, and that nobody else gets meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]
